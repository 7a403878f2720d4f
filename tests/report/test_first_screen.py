"""What the first screen shows of the images, and what the page says to be cited."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from html_page import Page, read
from sample_evaluations import ODD, broken, evaluation, share, write_evaluation

from robustlab.report.evaluation.pictures import most_convincing
from robustlab.runs.evaluation import BrokenImage

PAIR = '<figure class="before-after">'
Shown = Callable[[dict[str, Any]], tuple[str, Page]]


@pytest.fixture
def shown(tmp_path: Path) -> Shown:
    """A function that returns the page of results."""
    numbers = itertools.count()
    return lambda results: read(write_evaluation(tmp_path / str(next(numbers)), results))


def image(number: int, label: int, confidence: float, distance: float = 0.3) -> BrokenImage:
    described = broken([label])[0] | {"image_id": number, "confidence": confidence, "distance": distance}
    return BrokenImage.model_validate(described)


def test_the_surest_errors_of_different_classes_come_first() -> None:
    images = [image(1, 3, 0.9), image(2, 3, 0.8), image(3, 5, 0.7), image(4, 8, 0.95)]
    for order in itertools.permutations(images):
        assert [one.image_id for one in most_convincing(list(order))] == [4, 1, 3, 2]


def test_the_nearest_of_equally_sure_errors_comes_first() -> None:
    images = [image(1, 3, 0.9, 0.3), image(2, 4, 0.9, 0.1), image(4, 5, 0.9, 0.2), image(3, 6, 0.9, 0.2)]
    assert [one.image_id for one in most_convincing(images)] == [2, 3, 4, 1]


def test_the_strip_is_before_the_sections(shown: Shown) -> None:
    html, page = shown(evaluation())
    first = html[: html.index('<section id="attacks">')]
    assert first.count(PAIR) == 6
    assert html.index('class="worst-number"') < html.index(PAIR)
    alts = [str(a["alt"]) for tag, a in page.attributes if tag == "img"][:12]
    clean = [alt.rpartition(" ")[2] for alt in alts[::2]]
    assert len(set(clean)) == 6, "six classes"
    assert all(alt.startswith("adversarial image, read as ") for alt in alts[1::2])


def test_where_nothing_was_broken_the_page_says_so_first(shown: Shown) -> None:
    html, page = shown(ODD["nothing_broken"]())
    assert html.index("No adversarial image.") < html.index('<section id="attacks">')
    assert PAIR not in html
    assert "closest call" not in page.text


@pytest.mark.parametrize(
    ("beyond", "said"),
    [
        (9945, "The closest call: at eps 0.4 3 images break."),
        (9947, "The closest call: at eps 0.4 1 image breaks."),
        (9948, "None breaks up to eps 0.4 either, where the curve ends."),
    ],
)
def test_the_closest_calls_are_those_of_the_curve(shown: Shown, beyond: int, said: str) -> None:
    curve = evaluation()["curve"] | {"eps": [0.3, 0.4], "robust": [share(9948), share(beyond)]}
    _, page = shown(ODD["nothing_broken"]() | {"curve": curve | {"certified": None}})
    assert said in page.text.replace("\u00a0", " ")


def test_the_citation_names_every_setting(shown: Shown) -> None:
    results = evaluation(created="2031-03-01T09:05:00+00:00", threat="linf(eps=8/255)")
    results["compute"] = results["compute"] | {"versions": {"robustlab": "9.8.7"}}
    _, page = shown(results)
    cited = page.text[page.text.index("Cite it A click") :].replace("\u00a0", " ")
    for part in ("robustlab 9.8.7 measured", "92.81 %", "TRADES small CNN", "10,000 images of mnist (test)"):
        assert part in cited
    assert "within linf(eps=8/255), by the attacks standard (fgsm, apgd, fab and square)" in cited
    assert "@software{robustlab, author = {{The robustlab authors}}," in cited
    assert "version = {9.8.7}, year = {2031}, }" in cited


def test_a_decimal_of_an_older_run_is_shown_as_levels(shown: Shown) -> None:
    _, page = shown(evaluation(threat="linf(eps=0.03137254901960784)"))
    assert "linf(eps=8/255)" in page.text
