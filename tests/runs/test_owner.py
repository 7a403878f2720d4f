"""Whose a run's folder is, and which folders are left alone."""

import json
from pathlib import Path

import pytest

from robustlab.core.errors import RunError
from robustlab.core.files import part_of
from robustlab.runs.ledger import StageRecord
from robustlab.runs.owner import STORE_VERSION, Owner, check_owner, read_owner
from robustlab.runs.store import RunStore

DONE = StageRecord(key="a", name="stage a", payload={}, seconds=1.5)


def test_a_new_folder_becomes_a_run(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "run"
    check_owner(folder, Owner(name="mnist"))
    assert not folder.exists()  # asking makes nothing
    with RunStore(folder, "mnist"):
        pass
    assert json.loads((folder / "run.json").read_text()) == {"store_version": STORE_VERSION, "study": "mnist"}
    check_owner(folder, Owner(name="mnist"))
    (tmp_path / "empty").mkdir()
    check_owner(tmp_path / "empty", Owner(name="mnist"))


def test_a_run_killed_in_its_first_moments_can_be_started_again(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    part_of(tmp_path / "run.json").write_text("{")
    with RunStore(tmp_path, "mnist") as store:
        assert store.stage("a") is None


def refusals(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    file = tmp_path / "file"
    file.write_text("mine")
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "cat.jpg").write_text("meow")
    result = {"file": (file, "is a file"), "photos": (photos, "holds no run")}
    for name, content, message in (
        ("other", '{"store_version": 1, "study": "cifar"}', "belongs to study 'cifar', not to study 'mnist'"),
        ("newer", f'{{"store_version": {STORE_VERSION + 1}, "study": "mnist"}}', "newer robustlab"),
        ("no-json", "{", "can't be read"),
        ("no-dict", "[1]", "can't be read"),
        ("no-version", '{"study": "mnist"}', "can't be read"),
        ("odd-version", '{"store_version": "one", "study": "mnist"}', "can't be read"),
        ("binary", "\udcff\udcfe", "can't be read"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "run.json").write_text(content, errors="surrogateescape", encoding="utf-8")
        result[name] = (folder, message)
    (tmp_path / "nested" / "run.json").mkdir(parents=True)
    result["nested"] = (tmp_path / "nested", "can't be read")
    return result


CASES = [
    "file",
    "photos",
    "other",
    "newer",
    "no-json",
    "no-dict",
    "no-version",
    "odd-version",
    "binary",
    "nested",
]


@pytest.mark.parametrize("case", CASES)
def test_a_folder_that_is_no_run_of_this_study_is_left_alone(case: str, tmp_path: Path) -> None:
    folder, message = refusals(tmp_path)[case]
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RunError) as caught:
        RunStore(folder, "mnist").__enter__()
    assert message in str(caught.value)
    assert str(folder) in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


IDENTITY = {"weights": "a" * 64, "seed": "0"}


def test_an_identity_is_recorded_and_asked_for(tmp_path: Path) -> None:
    mine = Owner(name="evaluation of x", identity=IDENTITY)
    with RunStore(tmp_path, mine) as store:
        store.finish_stage(DONE)
    assert read_owner(tmp_path) == mine
    (tmp_path / "results.json").write_text("{}")
    for other, found in (
        (Owner(name=mine.name, identity=IDENTITY | {"seed": "1"}), "seed 0, not 1"),
        (
            Owner(name=mine.name, identity=IDENTITY | {"weights": "b" * 64}),
            "weights aaaaaaaaaaaa, not bbbbbbbbbbbb",
        ),
        (Owner(name=mine.name, identity=IDENTITY | {"eight_bit": "True"}), "eight bit unknown, not True"),
        (
            Owner(name="evaluation of y", identity=IDENTITY),
            "to an evaluation of 'x', not to an evaluation of 'y'",
        ),
    ):
        with pytest.raises(RunError) as caught:
            RunStore(tmp_path, other).__enter__()
        assert found in str(caught.value)
        assert (tmp_path / "results.json").exists()
        with RunStore(tmp_path, other, overwrite=True) as store:
            assert store.stage("a") == DONE, "what fits may be kept"
        assert read_owner(tmp_path) == other
        assert not (tmp_path / "results.json").exists()
        with RunStore(tmp_path, mine, overwrite=True):
            (tmp_path / "results.json").write_text("{}")
    with RunStore(tmp_path, mine, overwrite=True):  # its own folder: nothing is taken over
        assert (tmp_path / "results.json").exists()
    with pytest.raises(RunError, match="belongs to an evaluation of 'x', not to study 'mnist'"):
        RunStore(tmp_path, "mnist", overwrite=True).__enter__()


@pytest.mark.parametrize("identity", ["[1]", '"x"', "3"])
def test_a_mangled_identity_is_told(identity: str, tmp_path: Path) -> None:
    content = f'{{"store_version": 2, "study": "mnist", "identity": {identity}}}'
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(RunError, match="can't be read"):
        RunStore(tmp_path, "mnist").__enter__()
