"""Evaluate, compare and gate on the command line: output, exit codes, wrong input."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import robustlab
from robustlab.cli.main import app
from robustlab.core.errors import RobustlabError
from robustlab.core.evaluation import Check

MODEL = """
import torch
from torch import nn
import robustlab

print("a model file that talks")

class Nearest(nn.Module):
    def __init__(self, images, labels):
        super().__init__()
        self.register_buffer("means", torch.stack([images[labels == c].mean(0).flatten() for c in range(10)]))

    def forward(self, images):
        print("a model that talks")
        return -torch.cdist(images.flatten(1), self.means)

def make_model():
    train = robustlab.load_dataset("digits").train
    return Nearest(train.pixels(slice(None)), train.labels)

def make_data():
    test = robustlab.load_dataset("digits").test
    return test.images[:12], test.labels[:12]
"""


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def error_of(result: Result) -> str:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("robustlab: error:")]
    return line


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    (folder / "net.py").write_text(MODEL)
    return folder


def evaluation(place: Path, name: str, *more: object) -> list[object]:
    options = [
        "--model",
        f"{place / 'net.py'}:make_model",
        "--dataset",
        "digits",
        "--threat",
        "linf(eps=0.1)",
    ]
    options += ["--attacks", "pgd(steps=3)", "-n", "20", "--precision", "fp32", "--no-checks"]
    return ["evaluate", *options, "--out", place / name, *more]


@pytest.fixture(scope="module")
def finished(place: Path) -> Path:
    result = call(*evaluation(place, "one"))
    assert result.exit_code == 0, result.output
    return place / "one"


def test_tables(place: Path, finished: Path) -> None:
    result = call(*evaluation(place, "one"))
    assert result.exit_code == 0
    assert "robust accuracy" in result.stdout
    assert str(finished / "report.html") in result.stdout.replace("\n", "")
    assert "talks" not in result.stdout
    assert "Please note" not in result.stderr, "a fresh model is nothing to warn of"
    assert "kept from an earlier run" in result.stderr
    assert (finished / "report.html").exists()


def test_brackets_in_names_are_no_markup(place: Path) -> None:
    result = call(*evaluation(place, "br[/x]", "--name", "a[/b]"))
    assert result.exit_code == 0, result.output
    assert "a[/b] under" in result.stdout
    assert "br[/x]" in result.stdout


def test_a_surrogate_may_be_a_path(place: Path) -> None:
    with pytest.raises(RobustlabError, match=r"no model .*nowhere"):
        robustlab.evaluate(f"{place / 'net.py'}:make_model", dataset="digits", surrogates=[place / "nowhere"])


def test_json_is_all_of_standard_output(place: Path, finished: Path) -> None:
    result = call(*evaluation(place, "one", "--json"))
    assert json.loads(result.stdout) == json.loads((finished / "results.json").read_text())


def test_quiet_prints_nothing_but_warnings(place: Path, finished: Path) -> None:
    result = call(*evaluation(place, finished.name, "--quiet"))
    assert result.exit_code == 0
    assert result.stdout == ""


def test_the_command_that_is_recorded_does_the_same(finished: Path) -> None:
    command = shlex.split(json.loads((finished / "results.json").read_text())["command"])
    assert command[:2] == ["robustlab", "evaluate"]
    again = call(*command[1:])
    assert again.exit_code == 0, again.output
    assert "running" not in again.stderr
    recorded = json.loads((finished / "results.json").read_text())["command"]
    assert shlex.split(recorded) == command


def test_own_data(place: Path) -> None:
    arguments = evaluation(place, "own", "--json")
    arguments[arguments.index("digits")] = f"{place / 'net.py'}:make_data"
    del arguments[arguments.index("-n") : arguments.index("-n") + 2]
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["images"]["n"] == 12


def red(*_: Any, **__: Any) -> tuple[list[Check], float]:
    described = {"id": "square", "title": "Square wins", "grade": "fail", "found": "3 images", "n": 20}
    return [Check(**described, expected="0", meaning="Masking.", forwards=1, backwards=0)], 0.1


def test_strict_fails_on_a_red_flag(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robustlab.evaluation.engine.run.checked", red)
    assert call(*evaluation(place, "red", "--checks")).exit_code == 0
    result = call(*evaluation(place, "red", "--checks", "--strict", "--json"))
    assert result.exit_code == 1
    assert json.loads(result.stdout)["checks"][0]["grade"] == "fail"
    assert "red flag: Square wins: 3 images" in result.stderr
    assert call("gate", place / "red", "--strict").exit_code == 1


def test_strict_without_a_red_flag(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robustlab.evaluation.engine.run.checked", lambda *_: ([], 0.0))
    assert call(*evaluation(place, "one", "--checks", "--strict", "--quiet")).exit_code == 0


def test_strict_without_checks_is_a_mistake(place: Path) -> None:
    result = call(*evaluation(place, "unchecked", "--strict"))
    assert "--strict needs the checks: leave out --no-checks" in error_of(result)
    assert not (place / "unchecked").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--attacks", "pgdd"], "did you mean 'pgd'"),
        (["--threat", "linf(eps=30)"], "eps"),
        (["--model", "nothing.py:make_model"], "there is no file nothing.py"),
        (["-n", "0"], "n must be a whole number, at least 1"),
        (["--dataset", "mnits"], "did you mean 'mnist'"),
        (["--surrogate", "x"], "no model 'x'"),
        (["--weights", "none.pt"], "none.pt does not exist"),
        (["--weights", f"{'a' * 300}.pt"], "the name is too long"),
        (["--model", f"{'a' * 300}.py:make_model"], "the name is too long"),
        (["--data-root", "a" * 300, "--dataset", "mnist"], "the name is too long"),
    ],
)
def test_wrong_input(place: Path, options: list[str], expected: str) -> None:
    assert expected in error_of(call(*evaluation(place, "wrong", *options)))
    assert not (place / "wrong").exists()


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="permissions are those of POSIX")
@pytest.mark.parametrize("option", ["--model", "--weights"])
def test_a_file_that_may_not_be_read(place: Path, option: str) -> None:
    secret = place / "secret" / {"--model": "net.py", "--weights": "net.pt"}[option]
    secret.parent.mkdir(exist_ok=True)
    secret.write_text(MODEL)
    secret.chmod(0)
    root = os.geteuid() == 0
    for folder in (place, *place.parents) if root else ():
        folder.chmod(folder.stat().st_mode | 0o011)  # for everyone to pass through
    if root:  # who may read everything
        os.seteuid(65534)
    try:
        value = f"{secret}:make_model" if option == "--model" else secret
        error = error_of(call(*evaluation(place, "wrong", option, value)))
    finally:
        if root:
            os.seteuid(0)
    assert str(secret) in error
    assert "permission denied" in error


def test_a_terminal_without_dashes(place: Path, finished: Path) -> None:
    del place
    found = subprocess.run(
        [sys.executable, "-m", "robustlab", "compare", finished, finished],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=False,
        timeout=120,
    )
    assert (found.returncode, found.stderr) == (0, b"")
    assert found.stdout.isascii()


def test_compare(place: Path, finished: Path) -> None:
    assert call(*evaluation(place, "stronger", "--attacks", "apgd", "--quiet")).exit_code == 0
    result = call("compare", finished, place / "stronger")
    assert result.exit_code == 0, result.output
    assert "McNemar" in result.stdout
    assert "other attacks: " in result.stdout
    found = json.loads(call("compare", finished, place / "stronger", "--json").stdout)
    assert found == robustlab.compare(finished, place / "stronger").model_dump(mode="json")
    assert "finished run" in error_of(call("compare", finished, place / "nowhere"))


def test_gate_exit_codes(place: Path, finished: Path) -> None:
    robust = json.loads((finished / "results.json").read_text())["robust"]["value"]
    passed = call("gate", finished, "--min-robust", robust, "--baseline", finished)
    assert (passed.exit_code, "passed" in passed.stdout) == (0, True)
    failed = call("gate", finished, "--min-robust", "1.0", "--json")
    assert failed.exit_code == 1
    assert json.loads(failed.stdout)["passed"] is False
    assert "asks for nothing" in error_of(call("gate", finished))
    assert "90 % is 0.9" in error_of(call("gate", finished, "--min-robust", "90"))
    assert "finished run" in error_of(call("gate", place / "nowhere", "--min-robust", "0.9"))


def test_ls_knows_ensembles() -> None:
    found = json.loads(call("ls", "ensembles", "--json").stdout)["ensembles"]
    assert {name.split("(")[0] for name in found} >= {"autoattack", "standard"}


def test_another_evaluation_is_refused_until_it_may_replace(place: Path, finished: Path) -> None:
    before = (finished / "results.json").read_bytes()
    other = evaluation(place, finished.name, "--seed", 1, "--quiet")
    assert "seed 0, not 1; choose another folder with --out, or replace it with --overwrite" in error_of(
        call(*other)
    )
    assert (finished / "results.json").read_bytes() == before
    copy = Path(shutil.copytree(finished, place / "replaced"))
    assert call(*evaluation(place, copy.name, "--seed", 1, "--quiet", "--overwrite")).exit_code == 0
    assert json.loads((copy / "results.json").read_text())["seed"] == 1
