"""A run that cannot be reported is refused with a message that tells why."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from sample_evaluations import broken, write_evaluation
from sample_results import full_results, write_run

from robustlab.core.errors import RunError
from robustlab.report import write_report


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "not found"),
        ("{", "not valid JSON"),
        ("[]", "no schema_version"),
        ('{"schema_version": "one"}', "no schema_version"),
        ('{"schema_version": 1}', "damaged: study"),
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
