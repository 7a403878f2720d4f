"""The first screen of a study: what is left of each defense, in words, as a table and as a picture."""

import json
import re
import struct
from pathlib import Path
from typing import Any

import pytest
from html_page import read
from sample_results import VARIANTS, bare_results, full_results, row, write_run

from robustlab.report import write_report

LEFT = {"study": (0.1, 0.55), "pixel": (0.0, 0.3)}


def results(*, undefended: float | None = None, **left: tuple[float, float]) -> dict[str, Any]:
    """Return results with a finding on a defense and on no defense; ``left``: of both, by choice."""
    made = full_results()
    for variant, (defended, none) in (LEFT | left).items():
        made["rows"] += [
            row("published", variant, 0.981, model="guarded", reference=0.95),
            row("left", variant, defended, model="guarded", reference=None),
            row("undefended", variant, none if undefended is None else undefended, reference=None),
        ]
    made["findings"] = [
        {"title": "None", "published": "fgsm", "left": "undefended", "why": "", "role": "reference"},
        {
            "title": "The guard",
            "published": "published",
            "left": "left",
            "why": "It was attacked elsewhere.",
            "role": "defense",
        },
    ]
    return made


def text_of(folder: Path) -> str:
    return read(folder)[1].text.replace("\u00a0", " ")


def headline_of(folder: Path) -> str:
    (headline,) = re.findall(r'property="og:description" content="([^"]*)"', read(folder)[0])
    return str(headline).replace("\u00a0", " ")


def test_says_what_is_left_of_each_defense(tmp_path: Path) -> None:
    text = text_of(write_run(tmp_path / "run", results()))
    headline = headline_of(tmp_path / "run")
    assert "the defense, the guard has at most 10.0 % accuracy (98.1 % in the published test)." in headline
    assert "Without a defense the same attack leaves 55.0 % (study units) and 30.0 % (pixel units)" in text
    assert "It was attacked elsewhere." in text
    assert text.index("the guard has") < text.index("Summary")
    markdown = (tmp_path / "run" / "report.md").read_text(encoding="utf-8").replace("\u00a0", " ")
    assert "| The guard | study units | 98.10 % (" in markdown


@pytest.mark.parametrize(("undefended", "places"), [(0.5, VARIANTS), (0.06, ["pixel"]), (0.0, [])])
def test_compares_with_no_defense_only_where_that_is_better(
    tmp_path: Path, undefended: float, places: list[str]
) -> None:
    text = text_of(write_run(tmp_path / "run", results(undefended=undefended)))
    (sentence,) = re.findall(r"Without a defense the same attack leaves (.*?):", text) or [""]
    assert [variant for variant in VARIANTS if f"({variant} units)" in sentence] == list(places)


def test_the_picture_to_share_is_of_the_usual_size(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", results())
    html, _ = read(folder)
    (address,) = re.findall(r'property="og:image" content="([^"]*)"', html)
    picture = (folder / address).read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", picture[16:24]) == (1200, 630)
    write_report(folder)
    assert (folder / address).read_bytes() == picture, "the same run gives the same bytes"


def test_a_study_without_findings_has_no_picture(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", results())
    write_report(folder)
    assert (folder / "figures" / "finding.png").exists()
    (folder / "results.json").write_text(json.dumps(full_results()), encoding="utf-8")
    html, page = read(folder)
    assert "og:image" not in html
    assert "published test" not in page.text
    assert not (folder / "figures" / "finding.png").exists()


def test_a_finding_of_one_choice_is_not_at_most(tmp_path: Path) -> None:
    made = results()
    made["rows"] = [
        one for one in made["rows"] if one["id"] not in {"published", "left"} or one["variant"] != "pixel"
    ]
    headline = headline_of(write_run(tmp_path / "run", made))
    assert "the guard has 10.0 % accuracy (98.1 % in the published test)" in headline


def test_a_row_of_fewer_images_says_how_many(tmp_path: Path) -> None:
    rows = [row("clean", None, 0.99), row("fgsm", None, 0.41, attacks="fgsm")]
    rows[1]["accuracy"] = rows[1]["accuracy"] | {"n": 1000}
    text = text_of(write_run(tmp_path / "run", full_results() | bare_results() | {"rows": rows}))
    assert "99.0 % of 10,000 test images correctly" in text
    assert re.search(r"it classifies 41\.0 % of the first 1,000 images correctly", text)
    assert text.count("the first 1,000 images") == 3, "the sentence, the summary and the table"
    markdown = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert "the first 1,000 images" in markdown
