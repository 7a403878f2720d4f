"""A run that cannot be reported is refused with a message that tells why."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from sample_evaluations import broken, evaluation, write_evaluation
from sample_results import full_results, write_run

from robustlab.core.errors import RunError
from robustlab.report import write_report


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "not found"),
        ("{", "not valid JSON"),
        ("[]", "no schema_version"),
        ('{"schema_version": "one"}', "its schema_version is 'one'"),
        ('{"schema_version": 0}', "not the results of a robustlab run: its schema_version is 0;"),
        ('{"schema_version": -1, "kind": "evaluation"}', "its schema_version is -1;"),
        ('{"kind": "evaluation"}', "it has no schema_version"),
        ('{"schema_version": 1}', "written by an older robustlab"),
        ('{"schema_version": 4}', "damaged: study"),
        ('{"schema_version": 99, "unheard_of": 1}', "upgrade robustlab"),
        ('{"schema_version": 1, "kind": "evaluation"}', "damaged: title"),
        ('{"schema_version": 99, "kind": "evaluation", "unheard_of": 1}', "upgrade robustlab"),
    ],
)
def test_unusable_results(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "results.json").write_text(content, encoding="utf-8")
    with pytest.raises(RunError, match=message):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RunError, match="damaged"):
        write_report(tmp_path)


def test_missing_pictures(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "arrays" / "gallery.safetensors").unlink()
    with pytest.raises(RunError, match=r"gallery\.safetensors is missing"):
        write_report(folder)


def test_corrupt_pictures(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "arrays" / "samples.safetensors").write_bytes(b"rubbish")
    with pytest.raises(RunError, match="cannot be read"):
        write_report(folder)


def test_pictures_of_another_name(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    wrong = {"pictures": np.zeros((6, 8, 8), dtype=np.float32)}
    save_file(wrong, folder / "arrays" / "gallery.safetensors")
    with pytest.raises(RunError, match="no uint8 pictures named 'pictures'"):
        write_report(folder)


def test_gallery_beyond_its_pictures(tmp_path: Path) -> None:
    gallery = full_results()["gallery"]
    gallery["columns"][1]["pictures"][0]["index"] = 600
    with pytest.raises(RunError, match="column 'FGSM' lacks pictures"):
        write_report(write_run(tmp_path / "run", gallery=gallery))


@pytest.mark.parametrize("part", ["ids", "labels", "columns"])
def test_gallery_whose_lists_do_not_fit(tmp_path: Path, part: str) -> None:
    gallery = full_results()["gallery"]
    (gallery["columns"][0]["pictures"] if part == "columns" else gallery[part]).pop()
    with pytest.raises(RunError, match="damaged: gallery: it must hold that a gallery's columns have one"):
        write_report(write_run(tmp_path / "run", gallery=gallery))


def test_evaluation_without_its_pictures(tmp_path: Path) -> None:
    folder = write_evaluation(tmp_path / "run")
    (folder / "arrays" / "broken.safetensors").unlink()
    with pytest.raises(RunError, match=r"broken\.safetensors is missing"):
        write_report(folder)


@pytest.mark.parametrize("wrong", [np.zeros((6, 8, 8), np.float32), np.zeros((6, 1, 8, 8), np.int32)])
def test_evaluation_whose_pictures_are_something_else(tmp_path: Path, wrong: np.ndarray) -> None:
    folder = write_evaluation(tmp_path / "run")
    save_file({"clean": wrong, "adversarial": wrong}, folder / "arrays" / "broken.safetensors")
    with pytest.raises(RunError, match="no images named 'clean'"):
        write_report(folder)


def test_evaluation_with_too_few_pictures(tmp_path: Path) -> None:
    folder = write_evaluation(tmp_path / "run", broken=broken([1, 2, 3]))
    few = np.zeros((2, 1, 28, 28), np.uint8)
    save_file({"clean": few, "adversarial": few}, folder / "arrays" / "broken.safetensors")
    with pytest.raises(RunError, match="broken images lack pictures"):
        write_report(folder)


@pytest.mark.parametrize("file", ["../other.safetensors", "/etc/passwd", "arrays/../../other.safetensors"])
def test_pictures_outside_of_the_run_are_not_read(tmp_path: Path, file: str) -> None:
    few = np.zeros((40, 1, 28, 28), np.uint8)
    save_file({"clean": few, "adversarial": few}, tmp_path / "other.safetensors")
    folder = write_evaluation(tmp_path / "run")
    content = (folder / "results.json").read_text(encoding="utf-8")
    (folder / "results.json").write_text(content.replace("arrays/broken.safetensors", file), encoding="utf-8")
    with pytest.raises(RunError, match="is outside of"):
        write_report(folder)


@pytest.mark.parametrize("classes", [201, 1000, 10**9])
def test_the_number_of_classes_costs_nothing(tmp_path: Path, classes: int) -> None:
    folder = write_evaluation(tmp_path / "run", images=evaluation()["images"] | {"classes": classes})
    write_report(folder)
    # A matrix of so many classes can't be seen; the table of the most frequent errors says it.
    assert not (folder / "figures" / "flips.svg").exists()
    assert "taken for" in (folder / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"clean": evaluation()["clean"] | {"value": 5.0}},
            "clean.value: should be less than or equal",
        ),
        ({"robust": evaluation()["robust"] | {"low": 0.99}}, "robust: .* low <= value <= high"),
        (
            {"robust": evaluation()["clean"] | {"high": 1.0}, "clean": evaluation()["robust"]},
            "robust <= clean",
        ),
        ({"seconds": -1.0}, "seconds"),
        ({"seconds": float("nan")}, "not valid JSON"),
        ({"forwards": 10**29}, "forwards"),
        ({"eps": "0.3"}, "eps: should be a valid number"),
        ({"not_finite": list(range(10_001))}, "at most n ids"),
        ({"flips": [{"label": 1, "prediction": 2, "n": 1}]}, "flips add up"),
        ({"flips": [{"label": 1, "prediction": 1, "n": 667}]}, "another class"),
        ({"flips": [{"label": 1, "prediction": 10, "n": 667}]}, "below the number of classes"),
        ({"distances": {"edges": [0.0, 0.3], "counts": [668]}}, "a distance for each"),
        ({"distances": {"edges": [0.0, 0.3], "counts": [1, 2]}}, "one edge more"),
        ({"distances": {"edges": [0.3, 0.0], "counts": [1]}}, "edges rise"),
        ({"curve": evaluation()["curve"] | {"eps": [0.0]}}, "one figure for each eps"),
        ({"title": 7}, "title: should be a valid string, found 7"),
        ({"unheard_of": 1}, "unheard_of: extra inputs"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_figures_that_cannot_be(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    folder = write_evaluation(tmp_path / "run", **changes)
    with pytest.raises(RunError, match=rf"results\.json is damaged: .*{told}") as caught:
        write_report(folder)
    assert len(str(caught.value)) <= 300


def test_control_characters_reach_no_page(tmp_path: Path) -> None:
    strange = "a\x1b[31m\x00\u202e\x9b b"
    folder = write_evaluation(tmp_path / "run", title=strange, command=strange, attacks=strange)
    write_report(folder)
    for name in ("report.html", "report.md"):
        content = (folder / name).read_text(encoding="utf-8")
        assert "\ufffd[31m" in content
        assert not set("\x1b\x00\u202e\x9b") & set(content)
