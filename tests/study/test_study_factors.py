"""A study of two factors has each thing once for each choice of values; one of none has one column."""

from itertools import product

import pytest
from small_studies import HEAD, SCALE, claim, evaluation, write
from typer.testing import CliRunner

import robustlab
from robustlab.cli.main import app
from robustlab.report.text import share

WIDTH = """
[[factors.width.values]]
id = "thin"
title = "thin"
value = 0.05

[[factors.width.values]]
id = "wide"
title = "wide"
value = 0.4

[networks.other]
title = "Other"
model = "cnn(dropout=width)"
objective = "cross_entropy"

[detectors.grey]
title = "Grey pixels"
detector = "grey_pixels(margin=width)"

[[detections]]
id = "found"
title = "Found"
detector = "grey"
evaluation = "noise"
"""
TWO = (
    evaluation("clean", model="other"),
    evaluation("fgsm", model="other", attacks="fgsm", threat="linf(eps=0.1*scale)"),
    evaluation("noise", attacks="gaussian_noise(std=0.5*scale)", mode="test-set"),
    evaluation("plain"),
    claim(
        width="clean > 0",
        both="clean - fgsm >= 0",
        scale="noise > 0",
        neither="plain > 0",
        apart="clean > noise",
        detected="found.auroc > 0.0",
    ),
)
SCALES, WIDTHS = ("study", "pixel"), ("thin", "wide")
BOTH = [f"{scale}-{width}" for scale, width in product(SCALES, WIDTHS)]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> robustlab.Run:
    folder = tmp_path_factory.mktemp("two")
    return robustlab.run_study(write(folder, HEAD, SCALE, WIDTH, *TWO), out=folder / "run", quick=True)


@pytest.fixture(scope="module")
def none(tmp_path_factory: pytest.TempPathFactory) -> robustlab.Run:
    folder = tmp_path_factory.mktemp("none")
    rows = [
        evaluation("clean"),
        evaluation("fgsm", attacks="fgsm", threat="linf(eps=0.1)", mode="test-set"),
        claim(first="clean > fgsm", second="clean > 2"),
    ]
    return robustlab.run_study(write(folder, HEAD, *rows), out=folder / "run", quick=True)


def test_everything_exists_once_for_each_choice_it_depends_on(two: robustlab.Run) -> None:
    results = two.results
    assert [network.id for network in results.networks] == ["baseline", "other-thin", "other-wide"]
    assert [network.variant for network in results.networks] == [None, *WIDTHS]
    found: dict[str, list[str | None]] = {}
    for row in results.rows:
        found.setdefault(row.id, []).append(row.variant)
    assert found == {"clean": [*WIDTHS], "fgsm": BOTH, "noise": [*SCALES], "plain": [None]}
    assert [detection.variant for detection in results.detections] == BOTH
    folders = [row.folder for row in results.rows]
    assert len(set(folders)) == len(folders)
    assert {path.name for path in (two.folder / "evaluations").iterdir()} == {
        folder.removeprefix("evaluations/") for folder in folders
    }
    stages = [cost.stage for cost in results.cost]
    assert len(set(stages)) == len(stages) == 3 + len(results.rows) + len(BOTH)


def test_claims_are_judged_once_for_each_choice_their_figures_depend_on(two: robustlab.Run) -> None:
    judged: dict[str, list[str | None]] = {}
    for verdict in two.results.claims[0].verdicts:
        judged.setdefault(verdict.reading, []).append(verdict.variant)
    assert judged == {
        "width": [*WIDTHS],
        "both": BOTH,
        "scale": [*SCALES],
        "neither": [None],
        "apart": BOTH,  # one figure depends on the one, the other on the other
        "detected": BOTH,
    }
    accuracy = {(row.id, row.variant): row.accuracy.value for row in two.results.rows}
    auroc = {detection.variant: detection.auroc.value for detection in two.results.detections}
    assert len(set(auroc.values())) > 1, "or this test says nothing"
    for verdict in two.results.claims[0].verdicts:
        scale, _, width = (verdict.variant or "").rpartition("-")
        expected = {
            "both": f"“Row clean” {100 * accuracy['clean', width]:.1f} % − “Row fgsm” "
            f"{100 * accuracy.get(('fgsm', verdict.variant), 0):.1f} % ≥ 0 %"
            if verdict.variant in BOTH
            else "",
            "apart": f"“Row clean” {100 * accuracy['clean', width]:.1f} % > “Row noise” "
            f"{100 * accuracy['noise', scale]:.1f} %"
            if verdict.variant in BOTH
            else "",
            "detected": f"“Found”: AUROC {auroc.get(verdict.variant, 0):.3f} > 0 %",
        }
        if verdict.reading in expected:
            assert [part.text for part in verdict.comparisons] == [expected[verdict.reading]]


def test_every_choice_has_its_column(two: robustlab.Run) -> None:
    results = two.results
    titles = {variant.id: variant.title for variant in results.variants}
    assert titles.keys() == {*SCALES, *WIDTHS, *BOTH}
    assert titles["study-thin"] == "study units, thin"
    assert {v.id: v.factors for v in results.variants}["pixel-wide"] == {"scale": 1.0, "width": 0.4}
    used = [row.variant for row in results.rows] + [d.variant for d in results.detections]
    used += [verdict.variant for part in results.claims for verdict in part.verdicts]
    assert {name for name in used if name} == titles.keys()
    page, markdown = ((two.folder / name).read_text() for name in ("report.html", "report.md"))
    for title in titles.values():
        assert title in page
        assert title in markdown
    for row in results.rows:
        assert share(row.accuracy) in page
        assert share(row.accuracy) in markdown


def test_a_study_of_no_factor_has_one_column(none: robustlab.Run) -> None:
    results = none.results
    assert results.variants == []
    assert [row.variant for row in results.rows] == [None, None]
    assert [(v.reading, v.variant) for v in results.claims[0].verdicts] == [("first", None), ("second", None)]
    page, markdown = ((none.folder / name).read_text() for name in ("report.html", "report.md"))
    summary = markdown[markdown.index("## Summary") : markdown.index("## Claims")]
    lines = [line for line in summary.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {4}, "the row's title, the study's figure, ours"
    for row in results.rows:
        assert any(share(row.accuracy) in line for line in lines)
        assert share(row.accuracy) in page[page.index('id="summary"') : page.index('id="claims"')]
    assert "()" not in summary
    verdicts = markdown[markdown.index("## Claims") :]
    assert verdicts.count("✓ holds") == (results.claims[0].verdicts[0].state == "holds")
    assert "hold in" not in verdicts + page


def test_the_terminal_shows_one_column(none: robustlab.Run) -> None:
    arguments = ["study", str(none.folder.parent / "small.toml"), "--out", str(none.folder), "--quick"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    for row in none.results.rows:
        assert result.output.count(str(row.accuracy).split(" (")[0]) >= 1
    state = none.results.claims[0].verdicts[0].state
    assert {"holds": "holds", "refuted": "refuted", "open": "not shown"}[state] in result.output
