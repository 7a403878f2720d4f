"""A run that cannot be reported is refused with a message that tells why."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
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
