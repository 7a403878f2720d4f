"""Files are written whole or not at all, and the reason is told."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from robustlab.core.errors import OutputError
from robustlab.core.files import part_of, write_bytes, write_json, write_text, writing


def test_files_are_written_into_folders_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="its folder does not exist"):
        write_bytes(tmp_path / "a" / "b" / "c.bin", b"x")
    assert not list(tmp_path.iterdir())
    (tmp_path / "a" / "b").mkdir(parents=True)
    write_bytes(tmp_path / "a" / "b" / "c.bin", b"\x00\xff")
    write_text(tmp_path / "a" / "t.txt", "größer ≥ 1\n")
    write_json(tmp_path / "j.json", {"b": [1, 2.5], "a": "≥"})
    assert (tmp_path / "a" / "b" / "c.bin").read_bytes() == b"\x00\xff"
    assert (tmp_path / "a" / "t.txt").read_bytes() == "größer ≥ 1\n".encode()
    assert (tmp_path / "j.json").read_text(encoding="utf-8").endswith("}\n")
    assert json.loads((tmp_path / "j.json").read_bytes()) == {"b": [1, 2.5], "a": "≥"}
    assert not list(tmp_path.rglob("*part*"))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EACCES, "permission denied"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EDQUOT, "quota"),
        (errno.EIO, os.strerror(errno.EIO)),
    ],
)
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failure_keeps_the_old_file(
    code: int, reason: str, call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.json"
    write_text(path, "old")

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    if call == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OutputError) as caught:
        write_text(path, "new")
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)
    assert "--out" in str(caught.value)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]


def test_a_path_below_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match=r"a part of the path is a file|a file of that name is in the way"):
        write_bytes(tmp_path / "file" / "run" / "x.bin", b"x")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("place", ["results.json", part_of(Path("results.json")).name])
@pytest.mark.parametrize("what", ["file", "link", "dangling link"])
def test_nothing_is_written_through_what_stands_in_the_way(place: str, what: str, tmp_path: Path) -> None:
    foreign, path = tmp_path / "foreign", tmp_path / "results.json"
    if what == "file":
        (tmp_path / place).write_text("left by a killed run")
    else:
        (tmp_path / place).symlink_to(foreign)
    if what == "link":
        foreign.write_text("mine")
    write_text(path, "new")
    assert path.read_text() == "new"
    assert not path.is_symlink()
    assert sorted(file.name for file in tmp_path.glob("*part*")) == []
    assert foreign.exists() == (what == "link")
    assert what != "link" or foreign.read_text() == "mine"


def test_other_errors_pass_through() -> None:
    def fail() -> None:
        with writing(Path("x")):
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        fail()


LIMITED = """
import resource, sys
from pathlib import Path
from robustlab.core.errors import OutputError
from robustlab.core.files import write_bytes

resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_bytes(Path(sys.argv[1]), bytes(1001))
except OutputError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits on the size of files")
def test_a_file_that_does_not_fit_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    write_bytes(path, b"old")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True
    )
    assert f"cannot write {path}: the file would exceed" in done.stdout
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["weights"]
