"""A finished evaluation is read back as it was written, or refused in one line that says what is wrong."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from evaluation_runs import SHAPE, evaluate, grey_split
from torch import nn

import robustlab
from robustlab.core.errors import RunError
from robustlab.evaluation.finished import read_finished
from robustlab.runs.run import EvaluationFolder

Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def whole(
    make_linear: Callable[..., nn.Module], tmp_path_factory: pytest.TempPathFactory
) -> EvaluationFolder:
    """An evaluation with images of every state."""
    model = make_linear(classes=4, shape=SHAPE, seed=2)
    folder = tmp_path_factory.mktemp("whole") / "run"
    run = evaluate(folder, model, grey_split(model), attacks="fgsm, pgd(steps=5)", certify=True)
    assert {verdict.state for verdict in read_finished(run).verdicts} >= {
        "misclassified",
        "broken",
        "certified",
    }
    return run


@pytest.fixture
def run(whole: EvaluationFolder, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(whole.folder, tmp_path / "run")


@pytest.fixture
def old(run: Path) -> Path:
    """A copy as older versions wrote it: its manifest holds no hashes."""
    manifest = json.loads((run / "manifest.json").read_text())
    del manifest["sha256"]
    (run / "manifest.json").write_text(json.dumps(manifest))
    return run


def change_rows(run: Path, change: Callable[[Rows], Any]) -> None:
    rows = list(csv.DictReader(io.StringIO((run / "images.csv").read_text())))
    names = list(rows[0])
    change(rows)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    (run / "images.csv").write_text(buffer.getvalue())


def change_results(run: Path, *place: str | int, value: Any) -> None:
    results = json.loads((run / "results.json").read_text())
    part = results
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    (run / "results.json").write_text(json.dumps(results))


def first(rows: Rows, state: str) -> dict[str, str]:
    return next(row for row in rows if row["state"] == state)


def refused(run: Path, reported: str) -> None:
    for read in (lambda: robustlab.gate(run, min_robust=0.0), lambda: robustlab.compare(run, run)):
        with pytest.raises(RunError, match=reported) as caught:
            read()
        assert len(str(caught.value)) <= 300
        assert "\n" not in str(caught.value)


CELLS = [
    ("misclassified", "label", "-5"),
    ("misclassified", "state", "robust"),
    ("misclassified", "prediction", "3000000000"),
    ("misclassified", "attack", "fgsm(random_start=False, rel_step_size=None)"),
    ("broken", "label", "4"),
    ("broken", "clean_confidence", "nan"),
    ("broken", "confidence", "1.5"),
    ("broken", "distance", "0.03"),
    ("broken", "distance", "-0.01"),
    ("broken", "distance", "inf"),
    ("broken", "attack", "pgd(steps=7)"),
    ("broken", "attack", ""),
    ("broken", "state", "robust"),
    ("broken", "state", "misclassified"),
    ("broken", "restart", "-2"),
    ("certified", "state", "broken"),
    ("certified", "state", "fine"),
    ("certified", "prediction", "seven"),
    ("certified", "clean_prediction", "-2"),
    ("certified", "image_id", "1e400"),
    ("certified", "image_id", "9" * 5000),
    ("certified", "distance", "0.01"),
    ("certified", "attack", "x" * 200_000),
]


@pytest.mark.parametrize(("state", "column", "value"), CELLS, ids=lambda value: value[:12])
def test_a_cell_that_cannot_be_is_refused(old: Path, state: str, column: str, value: str) -> None:
    def change(rows: Rows) -> None:
        first(rows, state)[column] = value

    change_rows(old, change)
    refused(old, "field larger" if len(value) > 131_072 else r"images\.csv is damaged \(line \d+, \w+: ")


@pytest.mark.parametrize("state", ["broken", "certified"])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_another_label_is_refused(old: Path, state: str, step: int) -> None:
    def change(rows: Rows) -> None:
        row = first(rows, state)
        row["label"] = str((int(row["label"]) + step) % 4)

    change_rows(old, change)
    refused(old, rf"state: {state}, although clean_prediction is \d and label \d")


def test_rows_that_cannot_be_are_refused(old: Path) -> None:
    def copy_over(rows: Rows) -> None:
        rows[5] = dict(rows[9])

    change_rows(old, copy_over)
    refused(old, r"line 11, image_id: \d+ occurs twice")
    change_rows(old, lambda rows: rows.pop(5))
    refused(old, "do not agree on the number of images: 59, and 60")


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("", "line 1 must be image_id,label"),
        ("image_id,label\n1,2\n", "line 1 must be image_id,label"),
        ("\0", r"line 1 must be .* found '.x00'"),
        ('"' + "x" * 1000, "unexpected end of data"),
    ],
)
def test_another_file_is_refused(old: Path, text: str, reported: str) -> None:
    (old / "images.csv").write_text(text)
    refused(old, reported)


def test_a_file_that_is_far_too_large_is_not_read(old: Path) -> None:
    with (old / "images.csv").open("wb") as file:
        file.truncate(10**12)
    refused(old, "larger than")


def test_figures_that_the_verdicts_do_not_give_are_refused(old: Path, whole: EvaluationFolder) -> None:
    n, original = whole.results.images.n, (old / "results.json").read_text()
    for name in ("clean", "robust", "certified"):
        figure = getattr(whole.results, name)
        raised = round(figure.value * n + 1) / n
        changes = [
            ("value", 5.0, "less than or equal to 1"),
            ("value", raised, "do not agree|must hold"),
            ("low", figure.value, f"do not agree on {name}"),
            ("n", n + 1, "share of n images"),
            ("n", float(n), "valid integer"),
            ("value", "0.9", "valid number"),
            ("value", None, "valid number"),
        ]
        for part, value, reported in changes:
            change_results(old, name, part, value=value)
            refused(old, reported)
            (old / "results.json").write_text(original)
    change_results(old, "rows", 0, "broken", value=0)
    refused(old, "which attack broke how many images")


def test_the_hash_finds_what_is_possible_but_was_not_measured(run: Path, whole: EvaluationFolder) -> None:
    def exchange(rows: Rows) -> None:
        one, two = first(rows, "broken"), first(rows, "certified")
        one["image_id"], two["image_id"] = two["image_id"], one["image_id"]

    change_rows(run, exchange)
    refused(run, r"images\.csv was changed after the run")
    shutil.copy(whole.folder / "images.csv", run)
    change_results(run, "title", value="another")
    refused(run, r"results\.json was changed after the run")
    with pytest.raises(RunError, match="was changed after the run"):
        robustlab.load_run(run)
    with pytest.raises(RunError, match="was changed after the run"):
        robustlab.write_report(run)


@pytest.mark.parametrize("content", ["{}", ""])
def test_the_hash_finds_another_owner(run: Path, content: str) -> None:
    (run / "run.json").write_text(content)
    refused(run, r"run\.json was changed after the run")


def test_three_files_are_enough_for_a_baseline(run: Path, tmp_path: Path) -> None:
    """As docs/ci.md says."""
    (tmp_path / "kept").mkdir()
    for name in ("results.json", "images.csv", "manifest.json"):
        shutil.copy(run / name, tmp_path / "kept")
    assert robustlab.gate(run, baseline=tmp_path / "kept").passed
    assert robustlab.compare(tmp_path / "kept", run).n == robustlab.load_run(run).results.images.n  # type: ignore[union-attr]


def test_the_manifest_has_a_hash_too(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | {"evaluation": "another"}))
    refused(run, r"manifest\.json was changed after the run")


def test_line_ends_of_another_system_are_no_change(run: Path) -> None:
    for name in ("run.json", "results.json", "images.csv"):
        (run / name).write_bytes((run / name).read_bytes().replace(b"\n", b"\r\n"))
    assert robustlab.gate(run, min_robust=0.0).passed


@pytest.mark.parametrize("content", ["", "[]", "3", "null", '{"sha256": [1]}', '{"sha256": 5}', "[" * 10**5])
def test_a_damaged_manifest_is_refused(run: Path, content: str) -> None:
    (run / "manifest.json").write_text(content)
    refused(run, r"manifest\.json is damaged")


@pytest.mark.parametrize("file", ["run.json", "results.json", "images.csv"])
@pytest.mark.parametrize("value", [None, [], {}, 5, True, "", "ab" * 32])
def test_a_hash_that_is_none_is_refused(run: Path, value: object, file: str) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["sha256"][file] = value
    (run / "manifest.json").write_text(json.dumps(manifest))
    refused(run, rf"{file} was changed after the run")
    del manifest["sha256"][file]
    (run / "manifest.json").write_text(json.dumps(manifest))
    refused(run, rf"{file} was changed after the run")


def test_a_run_of_an_older_version_has_no_hashes(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    del manifest["sha256"]
    (run / "manifest.json").write_text(json.dumps(manifest))
    assert robustlab.gate(run, min_robust=0.0).passed


def test_a_run_of_an_older_version_is_read(old: Path, whole: EvaluationFolder) -> None:
    assert robustlab.gate(old, min_robust=0.0).passed
    assert read_finished(old).results == whole.results
