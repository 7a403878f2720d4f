"""An evaluation's report says the worst first, shows every figure, and doubts itself where it must."""

import base64
import io
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from html_page import Page, files, read
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from sample_evaluations import ODD, broken, check, evaluation, flagged, images, rows, share, write_evaluation
from sample_results import write_run

from robustlab.report import text, write_report
from robustlab.report.pictures import perturbation_uri
from robustlab.runs.records import Figure

MakeEvaluation = Callable[..., Path]
ALL = {"full": evaluation} | ODD


@pytest.fixture
def make_evaluation(tmp_path: Path) -> MakeEvaluation:
    """A function that writes an evaluation's folder with results, changed as asked."""

    def make(name: str = "run", results: dict[str, Any] | None = None, **changes: Any) -> Path:
        return write_evaluation(tmp_path / name, results, **changes)

    return make


class Made(NamedTuple):
    """A report: its results, its folder, its page as HTML and as read, and both texts with plain spaces."""

    results: dict[str, Any]
    html: str
    page: Page
    markdown: str
    texts: tuple[str, str]


def made(folder: Path, results: dict[str, Any]) -> Made:
    html, page = read(folder)
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    return Made(results, html, page, markdown, (spaced(page.text), spaced(re.sub(r"\\(.)", r"\1", markdown))))


Sample = Callable[[str], Made]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A function that returns the report of one of the samples, made once."""

    @cache
    def make(name: str) -> Made:
        results = ALL[name]()
        return made(write_evaluation(tmp_path_factory.mktemp("sample") / name, results), results)

    return make


def spaced(content: str) -> str:
    return " ".join(content.replace("\u00a0", " ").split())


def told(folder: Path) -> tuple[str, str]:
    """Return the text of the page and of the Markdown."""
    return made(folder, {}).texts


def figures(content: Any) -> Iterator[Figure]:
    if isinstance(content, dict):
        if set(content) == {"value", "low", "high", "n"}:
            yield Figure.model_validate(content)
        else:
            for part in content.values():
                yield from figures(part)
    elif isinstance(content, list):
        for part in content:
            yield from figures(part)


def decoded(uri: str | None) -> Image.Image:
    assert uri is not None
    image = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2], validate=True)))
    image.load()
    return image


def test_writes_the_page_and_every_chart(make_evaluation: MakeEvaluation) -> None:
    folder = make_evaluation()
    assert write_report(folder) == folder / "report.html"
    charts = {path.stem for path in (folder / "figures").iterdir()}
    assert charts == {"cascade", "robust-curve", "flips", "distances"}
    for path in (folder / "figures").iterdir():
        assert f"figures/{path.name}" in (folder / "report.md").read_text(encoding="utf-8")


def test_charts_of_an_earlier_run_are_removed(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    write_report(folder)
    (folder / "results.json").unlink()
    (folder / "arrays").rename(folder / "old")
    write_report(write_evaluation(folder, ODD["bare"]()))
    assert {path.stem for path in (folder / "figures").iterdir()} == {"cascade"}


def test_same_run_gives_same_bytes(make_evaluation: MakeEvaluation) -> None:
    first, second = make_evaluation("first"), make_evaluation("second")
    write_report(first)
    write_report(second)
    assert files(first) == files(second)


@pytest.mark.parametrize("name", ALL)
def test_page_needs_nothing_but_itself(sample: Sample, name: str) -> None:
    html, page = sample(name).html, sample(name).page
    for reference in page.references:
        assert reference.startswith(("#", "data:image/png;base64,")), reference[:80]
    assert not re.search(r"https?://|@import|<script|<link|<iframe|\bon\w+=\"", html)
    names = re.findall(r'\bid="([^"]+)"', html)
    assert len(names) == len(set(names))
    targets = [reference[1:] for reference in page.references if reference.startswith("#")]
    assert set(targets + re.findall(r"url\(\s*['\"]?#([^)'\"]+)", html)) <= set(names)


@pytest.mark.parametrize("name", ALL)
def test_page_can_be_heard(sample: Sample, name: str) -> None:
    page = sample(name).page
    for tag, attributes in page.attributes:
        if tag == "img":
            assert attributes.get("alt")
        if tag == "th":
            assert attributes.get("scope")
        if tag == "svg":
            assert attributes.get("aria-label") or attributes.get("aria-hidden") == "true"
        if tag == "input":
            assert ("label", attributes["id"]) in [(t, a.get("for")) for t, a in page.attributes]


@pytest.mark.parametrize("name", ALL)
def test_every_figure_appears(sample: Sample, name: str) -> None:
    results = sample(name).results
    for content in sample(name).texts:
        for figure in figures(results):
            assert spaced(text.share(figure)) in content
            assert spaced(text.interval(figure)) in content
        for row in results["rows"]:
            for part in (row["attack"], f"{row['attacked']:,}", f"{row['broken']:,}"):
                assert part in content
            assert f"{row['forwards']:,} / {row['backwards']:,}" in content
        for one in results["checks"]:
            for key in ("title", "found", "expected", "meaning"):
                assert spaced(one[key]) in content
            assert f"docs/flags.md#{one['id']}" in content
        for flip in sorted(results["flips"], key=lambda flip: -flip["n"])[:5]:
            assert f"{flip['n']:,}" in content
        for key in ("forwards", "backwards"):
            assert f"{results[key]:,}" in content
        for part in (results["subject"]["sha256"], results["images"]["sha256"], results["threat"]):
            assert part in content
        assert results["command"] in content
        assert results["subject"]["name"] in content
        assert "python 3.11" in content
        assert "1,205 MB" in content


@pytest.mark.parametrize("name", ALL)
def test_the_worst_case_is_the_first_figure(sample: Sample, name: str) -> None:
    results = sample(name).results
    for content in sample(name).texts:
        first = re.search(r"[\d.]+ %", content)
        assert first is not None
        if not any(one["grade"] == "fail" for one in results["checks"]):
            assert first[0] == spaced(text.share(Figure.model_validate(results["robust"])))


def test_a_failed_check_is_said_before_the_figure(sample: Sample) -> None:
    html, page, markdown = (getattr(sample("flagged"), part) for part in ("html", "page", "markdown"))
    alarm = html.index("Do not believe this figure.")
    reason = html.index("873 of 1,000 images have no gradient")
    assert alarm < reason < html.index("<h1") < html.index('class="worst-number"')
    assert "2 of 3 checks failed" in spaced(page.text)
    banner = html[alarm : html.index("<h1")]
    assert 'href="#check-zero-gradients"' in banner
    assert 'href="#check-more-restarts"' in banner
    assert "more-steps" not in banner
    assert html.index('id="checks"') < html.index('id="attacks"')
    assert markdown.index("Do not believe") < markdown.index("873 of") < markdown.index("95 % interval")
    assert "not to be believed" in markdown


def test_a_doubtful_figure_looks_doubtful(sample: Sample) -> None:
    doubtful, sound = sample("flagged").page, sample("full").page
    assert "92.81 % ?" in spaced(doubtful.text)
    assert "not to be believed: 2 checks failed" in spaced(doubtful.text)
    assert any("doubtful" in css for _, css in doubtful.tags)
    assert not any("doubtful" in css or "loud" in css for _, css in sound.tags)
    assert "believe this figure" not in sound.text


def test_nothing_is_lower_than_zero(make_evaluation: MakeEvaluation) -> None:
    line = [(f"pgd(steps={steps})", 9948, 9948 // 2, 80000, 80000) for steps in (10, 20)]
    results = ODD["everything_broken"]() | {"rows": rows(tuple(line)), "checks": flagged()["checks"]}
    for content in told(make_evaluation(results=results)):
        assert "2 of 3 checks failed." in content
        assert "Yet no attack could bring 0.00 % any lower" in content
        assert "873 of 1,000 images have no gradient" in content
        assert "none still after all 2 attacks" in content
        assert "On these images this is exact" in content
        assert "Do not believe" not in content
        assert not re.search(r"not to be believed[:)]", content)
        assert "upper bound" not in content


def test_grades_are_told_by_words_and_signs(make_evaluation: MakeEvaluation) -> None:
    checks = [check(grade, grade) for grade in ("skip", "pass", "warn", "fail")]
    html, page = read(make_evaluation(checks=checks))
    found = [spaced(" ".join(page.words[n : n + 3])) for n in range(len(page.words) - 2)]
    for shown in ("✗ fail", "! warn", "✓ pass", "– skip", "✗ 1 failed", "! 1 warned"):
        assert shown in found
    places = [html.index(f'id="check-{grade}"') for grade in ("fail", "warn", "skip", "pass")]
    assert places == sorted(places)


def test_passed_checks_are_folded_into_a_line(sample: Sample) -> None:
    html, page = sample("full").html, sample("full").page
    assert "2 checks passed" in spaced(page.text)
    folded = html[html.index('<details class="passed">') : html.index('<section id="broken">')]
    assert re.findall(r'id="check-([\w-]+)"', folded) == ["zero-gradients", "more-steps"]
    before = html[html.index('<section id="checks">') : html.index('<details class="passed">')]
    assert re.findall(r'id="check-([\w-]+)"', before) == ["square-beats-gradients", "randomness"]
    assert '<details class="passed">' not in sample("bare").html


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bare", "No check was computed: the result has not been checked."),
        ("no_attack", "No attack ran, so this says nothing of robustness."),
        ("nothing_broken", "No attack broke a single image."),
        ("everything_broken", "On these images this is exact"),
        ("never_right", "none right even without an attack"),
        ("certified_all", "the proofs say that none can be"),
        ("one_image", "The only image is correct as it is, and wrong after the attack."),
        (
            "hundred_classes",
            "0.5 in Euclidean length, where black is 0 and white is 1, in the steps",
        ),
        ("not_finite", "At or near 20 images the classifier returned NaN or infinity"),
        ("full", "Of 10,000 images the classifier gets 9,948 right as they are, and 9,281 still after"),
        ("full", "between 1.20 % (proven) and 92.81 % (attacked)"),
    ],
)
def test_what_is_said(sample: Sample, name: str, said: str) -> None:
    assert said in sample(name).texts[0]


@pytest.mark.parametrize(
    ("attacker", "said"),
    [
        ("set up to 3 pixels to anything", "set up to 3 pixels to anything."),
        ("", "change the image within linf(eps=0.3)."),  # a run of an earlier version does not say it
    ],
)
def test_the_attacker_in_words(make_evaluation: MakeEvaluation, attacker: str, said: str) -> None:
    assert f"The attacker may {said}" in told(make_evaluation(attacker=attacker))[0]


def test_successes_that_did_not_hold_are_told(sample: Sample, make_evaluation: MakeEvaluation) -> None:
    said = "On 2 images an attack's success did not hold"
    assert said not in sample("full").texts[0]
    for content in told(make_evaluation(unconfirmed=[4, 9])):
        assert said in content


def test_a_curve_whose_search_is_weak_says_so(sample: Sample, make_evaluation: MakeEvaluation) -> None:
    said = "The curve falls at eps 0.3 and hardly around it"
    assert said not in sample("full").texts[0]
    curve = evaluation()["curve"]
    curve["eps"][6] -= 1e-12
    curve["robust"][:6], curve["robust"][7] = [share(9940)] * 6, share(9200)
    for content in told(make_evaluation("weak", curve=curve)):
        assert said in content
    curve["robust"][7] = share(4220)
    assert said not in told(make_evaluation("steep", curve=curve))[0]


def test_pictures_are_the_arrays(sample: Sample) -> None:
    page = sample("full").page
    uris = [(attributes["alt"], attributes["src"]) for tag, attributes in page.attributes if tag == "img"]
    clean, adversarial = images(40, (1, 28, 28))
    before = {decoded(uri).tobytes() for alt, uri in uris if "clean" in str(alt)}
    after = {decoded(uri).tobytes() for alt, uri in uris if "adversarial" in str(alt)}
    for shown, arrays in ((before, clean), (after, adversarial)):
        assert shown == {np.round(255 * image).astype(np.uint8).tobytes() for image in arrays}
    first = next(np.asarray(decoded(uri)) for alt, uri in uris if "change" in str(alt))
    change = (adversarial - clean)[0, 0]
    assert ((first[..., 3] > 0) == (np.abs(change) > 0.3 / 510)).all()
    red_over_blue = first[..., 0].astype(int) > first[..., 2]
    assert (red_over_blue[first[..., 3] > 0] == (change > 0)[first[..., 3] > 0]).all()


@given(st.floats(-1, 1), st.floats(0.01, 2), st.sampled_from([1, 2, 3]))
def test_a_change_is_drawn_by_sign_and_size(change: float, scale: float, channels: int) -> None:
    array: NDArray[np.float32] = np.full((channels, 2, 2), change, dtype=np.float32)
    pixel = np.asarray(decoded(perturbation_uri(array, scale)))[0, 0].astype(float)
    share = np.clip(change / scale, -1, 1)
    if channels == 3:
        assert pixel == pytest.approx([127.5 + 127.5 * share] * 3, abs=1)
    else:
        assert pixel[3] == pytest.approx(255 * abs(share), abs=1)
        assert pixel[3] == 0 or (pixel[0] > pixel[2]) == (change > 0)


def test_nothing_is_drawn_where_nothing_can_change() -> None:
    assert np.asarray(decoded(perturbation_uri(np.zeros((1, 2, 2), np.float32), 0.0))).max() == 0


def test_pictures_of_many_classes_in_turns(make_evaluation: MakeEvaluation) -> None:
    many = broken([label for label in range(10) for _ in range(20)])
    _, page = read(make_evaluation(broken=many))
    assert sum(css == "case" for _, css in page.tags) == 200
    panels = [n for n, (_, css) in enumerate(page.tags) if css == "panel"]
    cases = [n for n, (_, css) in enumerate(page.tags) if css == "case"]
    counts = np.histogram(cases, [*panels, len(page.tags)])[0]
    assert counts.tolist() == [20] * 10
    assert sum("checked" in attributes for _, attributes in page.attributes) == 1


def test_pictures_beyond_the_budget_are_left_out(
    make_evaluation: MakeEvaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robustlab.report.evaluation.pictures._BUDGET", 20_000)
    html, page = read(make_evaluation())
    shown = sum(len(str(attributes["src"])) for tag, attributes in page.attributes if tag == "img")
    assert 15_000 < shown < 20_000
    assert "of them are shown" in html


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_any_number_of_channels(make_evaluation: MakeEvaluation, channels: int) -> None:
    shape = evaluation()["images"] | {"shape": [channels, 9, 5]}
    _, page = read(make_evaluation(images=shape))
    assert {decoded(a["src"]).size for tag, a in page.attributes if tag == "img"} == {(5, 9)}


def test_texts_are_escaped(make_evaluation: MakeEvaluation) -> None:
    attack = "<script>alert('x')</script> $x^2$ | & \"q\""
    results = flagged()
    results["title"] = results["threat"] = results["command"] = results["attacks"] = attack
    results["subject"] |= {"name": attack, "source": attack}
    results["images"]["name"] = results["rows"][0]["attack"] = results["broken"][0]["attack"] = attack
    results["checks"][1] |= {"title": attack, "found": attack, "expected": attack, "meaning": attack}
    results["norm"] = results["curve"]["attack"] = results["compute"]["device_name"] = attack
    folder = make_evaluation(results=results)
    html, page = read(folder)
    assert "<script" not in html
    assert attack in page.text
    for path in (folder / "figures").iterdir():
        assert "<script" not in path.read_text(encoding="utf-8")
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    bare = re.sub(r"```.*?```|`[^`]*`", "", markdown, flags=re.DOTALL)
    assert "<script" not in bare.replace("\\<script", "")


def test_says_how_it_was_computed(sample: Sample) -> None:
    for place in sample("full").texts:
        assert "A machine (cpu), 2 threads, instruction set AVX512, bf16 by amx_tile" in place
        assert "ONEDNN_MAX_CPU_ISA=AVX512_CORE_AMX<b>" in place
        assert (
            "a pass of 60 images forward and back takes 0.5 s in fp32, 0.612 s in bf16), 128 images at once"
            in place
        )


def test_markdown_tables_are_even(sample: Sample) -> None:
    blocks = sample("full").markdown.split("\n\n")
    tables = [block.splitlines() for block in blocks if block.startswith("|")]
    assert [len(table) - 2 for table in tables] == [5, 9, 4, 20, 5]
    for table in tables:
        assert len({re.sub(r"\\\|", "", line).count("|") for line in table}) == 1
