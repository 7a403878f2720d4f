"""Commands that compute nothing answer at once: they load nothing heavy, and keep what takes long to make."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import robustlab
from robustlab.cli import catalogue, own_units

HEAVY = {"torch", "numpy", "scipy", "matplotlib", "rich", "jinja2", "pydantic", "pydantic_core"}
LOADED = """
import atexit, json, sys
atexit.register(lambda: sys.__stderr__.write(chr(10) + json.dumps([*sys.modules])))
sys.argv[0] = "robustlab"
from robustlab.__main__ import main
main()
"""
NEW_UNIT = '''"""An attack."""
from robustlab.attacks.gradient_attack import GradientAttack
from robustlab.core import register


@register("brand_new")
class BrandNew(GradientAttack):
    """{summary}"""

    steps: int = 3
'''


def loaded(*words: str, code: int, cache: Path) -> set[str]:
    """Run a command in a process of its own, and return the modules that it has loaded."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "XDG_CACHE_HOME": str(cache), "HOME": str(cache)},
    )
    assert done.returncode == code, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache folder in which the descriptions of the units are."""
    folder = tmp_path_factory.mktemp("cache")
    loaded("ls", code=0, cache=folder)
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="the cache folder has another variable")
@pytest.mark.parametrize(
    ("command", "code"),
    [
        *((command, 0) for command in ("--version", "--help", "evaluate --help", "export --help", "explain")),
        *((f"ls {what}".strip(), 0) for what in ("", "attacks", "checks", "zoo", "recipes", "pgd", "--json")),
        *((command, 2) for command in ("evalute", "gate x --min-robst 1", "evaluate --modle x", "ls attaks")),
    ],
)
def test_a_command_loads_nothing_heavy(command: str, code: int, cache: Path) -> None:
    assert not HEAVY & loaded(*command.split(), code=code, cache=cache)


def listed(source: Path, cache: Path) -> str:
    """Return what `ls attacks` of a copy of robustlab prints."""
    done = subprocess.run(
        [sys.executable, "-m", "robustlab", "ls", "attacks"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(source), "XDG_CACHE_HOME": str(cache), "HOME": str(cache)},
        cwd=cache,
    )
    return done.stdout


def test_a_new_file_is_seen_at_once(tmp_path: Path) -> None:
    source = tmp_path / "src"
    shutil.copytree(Path(robustlab.__file__).parent, source / "robustlab")
    before = listed(source, tmp_path)
    file = source / "robustlab" / "attacks" / "brand_new.py"
    file.write_text(NEW_UNIT.format(summary="A first text."))
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    first = listed(source, tmp_path)
    assert "A first text." in first
    file.write_text(NEW_UNIT.format(summary="Another text."))
    os.utime(file, ns=times)  # of the same size and age
    second = listed(source, tmp_path)
    assert "Another text." in second
    assert "A first text." not in second
    file.unlink()
    assert listed(source, tmp_path) == before


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where the descriptions are kept in a test."""
    file = tmp_path / "folder" / "units.json"
    monkeypatch.setattr(own_units, "_file", lambda: file)
    return file


def none_made() -> Any:
    raise AssertionError("the descriptions were made again")


def test_descriptions_are_kept(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = own_units.own_units()
    assert {"pgd", "mnist", "zero-gradients"} <= {unit["listed"]["name"] for unit in found}
    assert kept.is_file()
    monkeypatch.setattr(catalogue, "own_units", none_made)
    assert own_units.own_units() == found


@pytest.mark.parametrize("damage", [b"", b"\xff", b"[]"], ids=["empty", "no text", "another content"])
def test_a_damaged_file_is_made_again(kept: Path, damage: bytes) -> None:
    found = own_units.own_units()
    whole = kept.read_bytes()
    kept.write_bytes(whole[:65] + damage)
    assert own_units.own_units() == found
    assert kept.read_bytes() == whole


def test_a_folder_that_cannot_be_written_does_no_harm(kept: Path) -> None:
    kept.parent.write_text("a file in the place of the folder")
    assert own_units.own_units()
