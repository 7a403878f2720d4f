"""The report is complete, says what it must where it must, needs nothing but itself, and repeats itself."""

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from html_page import files, read
from PIL import Image
from sample_results import bare_results, detection, full_results, pictures, write_run

from robustlab.report import write_report
from robustlab.report.study.view import StudyView
from robustlab.runs.results import Results

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """A function that writes a run folder with results, changed as asked."""

    def make(name: str = "run", results: dict[str, Any] | None = None, **changes: Any) -> Path:
        return write_run(tmp_path / name, results, **changes)

    return make


def test_returns_the_page_and_writes_every_chart(make_run: MakeRun) -> None:
    folder = make_run()
    assert write_report(folder) == folder / "report.html"
    charts = {path.stem for path in (folder / "figures").iterdir()}
    assert {"curve-eps", "training-base", "scores-d-pixel", "roc-g", "confusion-clean-all"} <= charts
    assert "training-untrained" not in charts
    for path in (folder / "figures").iterdir():
        assert path.read_text(encoding="utf-8").startswith("<?xml")


def test_same_run_gives_same_bytes(make_run: MakeRun) -> None:
    first, second = make_run("first"), make_run("second")
    write_report(first)
    write_report(second)
    once = files(first)
    assert once == files(second)
    write_report(first)
    assert once == files(first)


@pytest.mark.parametrize("results", [full_results(), bare_results()], ids=["full", "bare"])
def test_page_needs_nothing_but_itself(make_run: MakeRun, results: dict[str, Any]) -> None:
    html, page = read(make_run(results=results))
    for reference in page.references:
        assert reference.startswith(("#", "data:image/png;base64,")), reference[:80]
    assert not re.search(r"https?://|@import|<script|<link|<iframe", html)
    assert all(target.startswith("#") for target in re.findall(r"url\(\s*['\"]?([^)]*)", html))


def test_every_reference_inside_the_page_has_one_target(make_run: MakeRun) -> None:
    html, page = read(make_run())
    names = re.findall(r'\bid="([^"]+)"', html)
    assert len(names) == len(set(names))
    targets = [reference[1:] for reference in page.references if reference.startswith("#")]
    assert set(targets + re.findall(r"url\(#([^)]+)\)", html)) <= set(names)


def test_pictures_are_the_arrays(make_run: MakeRun) -> None:
    folder = make_run()
    _, page = read(folder)
    uris = [reference for reference in page.references if reference.startswith("data:")]
    decoded = []
    for uri in uris:
        image = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2], validate=True)))
        image.load()
        assert image.format == "PNG"
        assert image.size == (8, 8)
        decoded.append(np.asarray(image).tobytes())
    assert {picture.tobytes() for picture in pictures()} <= set(decoded)
    assert "✗" in page.text
    assert "✓" in page.text


def test_every_summary_figure_appears(make_run: MakeRun) -> None:
    folder = make_run()
    _, page = read(folder)
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    for figure_text in (
        "99.11",
        "98.11 – 100.00",
        "82.73",
        "40.84",
        "39.84 – 41.84",
        "95.12",
        "12.34",
        "87.5",
    ):
        assert figure_text.replace(" ", "\u00a0") in markdown
        assert figure_text in page.text.replace("\u00a0", " ")
    assert "82.7 % (study units) or 40.8 % (pixel units)" in page.text.replace("\u00a0", " ")
    assert "1 of 1 hold in study units and 0 of 1 hold in pixel units" in page.text
    assert "✓ holds" in page.text
    assert "✗ refuted" in page.text
    assert "Not a bounded attack." in page.text
    assert "The images were in [-1, 1]." in page.text
    assert "1 h 03 min" in page.text.replace("\u00a0", " ")


def test_terms_are_explained_once(make_run: MakeRun) -> None:
    _, page = read(make_run())
    for explanation in (
        "fast gradient sign method",
        "projected gradient descent",
        "the attacker sees the whole",
    ):
        assert page.text.count(explanation) == 1


def test_natural_threshold_is_called_arbitrary_only_for_a_discriminator(make_run: MakeRun) -> None:
    said = "an arbitrary point of its score"
    assert said in read(make_run("with"))[1].text
    grey = [detection("g", None, 0.9, natural=False)]
    assert said not in read(make_run("without", detections=grey))[1].text


def test_says_first_that_the_data_are_others(make_run: MakeRun) -> None:
    fallback = full_results()["dataset"] | {"name": "digits", "fallback": "MNIST was not found."}
    folder = make_run(dataset=fallback, quick=True)
    html, page = read(folder)
    classes = [css for _, css in page.tags]
    assert classes.index("banner loud") < classes.index("banner")
    assert html.index("MNIST was not found.") < html.index("<h1") < html.index("<table")
    assert html.index("A quick run.") < html.index("<table")
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    assert markdown.index("MNIST was not found.") < markdown.index("| --- |")
    assert "quick run" in markdown


def test_says_nothing_of_the_kind_otherwise(make_run: MakeRun) -> None:
    _, page = read(make_run())
    assert not any("banner" in css for _, css in page.tags)


def test_bare_results_leave_out_the_empty_sections(make_run: MakeRun) -> None:
    folder = make_run(results=bare_results())
    _, page = read(folder)
    for heading in ("Claims", "Gallery", "Curves", "Detection", "Samples", "Training"):
        assert heading not in page.text
    assert "99.11" in page.text
    assert "## Detection" not in (folder / "report.md").read_text(encoding="utf-8")


def test_texts_are_escaped(make_run: MakeRun) -> None:
    attack = "<script>alert('x')</script> $x^2$ | & \"q\""
    results = full_results()
    results["title"] = results["dataset"]["fallback"] = attack
    results["rows"][0]["title"] = results["curves"][0]["series"][0]["label"] = attack
    results["networks"][0]["title"] = results["claims"][0]["text"] = attack
    folder = make_run(results=results)
    html, page = read(folder)
    assert "<script" not in html
    assert attack in page.text
    for path in (folder / "figures").iterdir():
        assert "<script" not in path.read_text(encoding="utf-8")
    table = (folder / "report.md").read_text(encoding="utf-8")
    assert "<script" not in table.replace("\\<script", "")


def test_says_which_instruction_set_computed_it(make_run: MakeRun) -> None:
    folder = make_run()
    _, page = read(folder)
    markdown = (folder / "report.md").read_text(encoding="utf-8").replace("\\", "")
    for place in (page.text, markdown):
        place = " ".join(place.replace("\u00a0", " ").split())
        assert (
            "2 threads, instruction set AVX512, bf16 by amx_tile, ONEDNN_MAX_CPU_ISA=AVX512_CORE_AMX<b>"
            in place
        )


def test_letters_unknown_to_the_measuring_font(make_run: MakeRun) -> None:
    results = full_results()
    results["curves"][0]["series"][0]["label"] = "模型"
    html, _ = read(make_run(results=results))
    assert "模型" in html


def tables(markdown: str) -> list[list[str]]:
    return [block.splitlines() for block in markdown.split("\n\n") if block.startswith("|")]


def test_markdown_has_a_line_per_row(make_run: MakeRun) -> None:
    folder = make_run()
    write_report(folder)
    found = tables((folder / "report.md").read_text(encoding="utf-8"))
    results = Results.model_validate(full_results())
    assert [len(table) - 2 for table in found] == [
        len(StudyView(results).lines("summary")),
        2,  # readings of the only claim
        len(results.rows),
        len(results.detections),
        3,  # two kinds of stages, and all else
    ]
    for table in found:
        assert len({re.sub(r"\\\|", "", line).count("|") for line in table}) == 1
    assert "](figures/curve-eps.svg)" in (folder / "report.md").read_text(encoding="utf-8")
