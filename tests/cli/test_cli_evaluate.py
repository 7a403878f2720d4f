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
from robustlab.runs.evaluation import CheckRecord

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


def test_control_characters_in_a_name_do_nothing(place: Path) -> None:
    result = call(*evaluation(place, "control", "--name", "a\x1b]0;owned\x07\u202eb"))
    assert result.exit_code == 0, result.output
    page = (place / "control" / "report.html").read_text()
    for text in (result.output, page, (place / "control" / "report.md").read_text()):
        assert not set(text) & set("\x1b\x07\u202e")
        assert r"a\x1b]0;owned\x07\u202eb" in text.replace("\\\\", "\\").replace("\\]", "]")


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


def test_norm_and_eps_are_a_threat_with_eps_as_it_was_typed(place: Path) -> None:
    arguments = evaluation(place, "fraction", "--norm", "linf", "--eps", "8/255")
    del arguments[arguments.index("--threat") : arguments.index("--threat") + 2]
    assert call(*arguments).exit_code == 0
    command = json.loads((place / "fraction" / "results.json").read_text())["command"]
    assert "--threat 'linf(eps=8/255)'" in command
    assert "by up to 8/255" in (place / "fraction" / "report.html").read_text()
    again = call(*shlex.split(command)[1:])
    assert again.exit_code == 0
    assert "running" not in again.stderr


def red(*_: Any, **__: Any) -> tuple[list[CheckRecord], float]:
    described = {"id": "square", "title": "Square wins", "grade": "fail", "found": "3 images", "n": 20}
    return [CheckRecord(**described, expected="0", meaning="Masking.", forwards=1, backwards=0)], 0.1


def test_the_verdict_comes_last(finished: Path) -> None:
    result = call(*evaluation(finished.parent, finished.name))
    robust = json.loads((finished / "results.json").read_text())["robust"]["value"]
    said = f"Robust accuracy is at most {100 * robust:.1f} % on these 20 images: no check was computed."
    assert " ".join(result.stdout.split()).endswith(said)
    run = robustlab.load_run(finished)
    assert isinstance(run, robustlab.EvaluationRun)
    assert run.results.verdict == said


@pytest.mark.parametrize("option", ["--quiet", "--json", None])
def test_a_failed_check_is_always_printed(
    option: str | None, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robustlab.evaluation.coordinator.evaluate.checked", red)
    result = call(*evaluation(place, "red", "--checks", *([option] if option else [])))
    assert result.exit_code == 0
    assert result.stderr.splitlines().count("red flag: Square wins: 3 images") == 1
    assert ("Do not believe" in result.stdout) == (option is None)
    if option is None:
        assert " ".join(result.stdout.split()).endswith('1 failed: not so: "Square wins".')


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_no_digit_is_lost_on_a_narrow_terminal(
    width: int, place: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    results = json.loads((finished / "results.json").read_text())
    shown = call(*evaluation(place, finished.name)).stdout
    compared = call("compare", finished, finished).stdout
    for figure in (results["clean"], results["robust"]):
        assert f"{100 * figure['value']:.2f} %" in shown
    assert "+0.00 points" in compared
    assert ("95 % interval" in shown) or width == 20
    table = shown.partition("Report:")[0] + compared
    assert max(map(len, table.splitlines())) <= width
    assert "…" not in table
    assert ("Not shown" in shown) == (width < 80)
    gate = call("gate", finished, "--min-robust", "0.001").stdout
    assert f"{100 * results['robust']['value']:.2f} %" in gate.replace("\n", " ")


def test_strict_fails_on_a_red_flag(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robustlab.evaluation.coordinator.evaluate.checked", red)
    assert call(*evaluation(place, "red", "--checks")).exit_code == 0
    result = call(*evaluation(place, "red", "--checks", "--strict", "--json"))
    assert result.exit_code == 1
    assert json.loads(result.stdout)["checks"][0]["grade"] == "fail"
    assert "red flag: Square wins: 3 images" in result.stderr
    assert call("gate", place / "red", "--strict").exit_code == 1


def test_strict_without_a_red_flag(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robustlab.evaluation.coordinator.evaluate.checked", lambda *_: ([], 0.0))
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
        (["--model", "nothing.py:make_model"], "the file nothing.py does not exist"),
        (["-n", "0"], "n must be a whole number, at least 1"),
        (["--dataset", "mnits"], "did you mean 'mnist'"),
        (["--surrogate", "x"], "no model 'x'"),
        (["--weights", "none.pt"], "none.pt does not exist"),
        (["--weights", f"{'a' * 300}.pt"], "weights is too long"),
        (["--model", f"{'a' * 300}.py:make_model"], "model is too long"),
        (["--data-root", "a" * 300, "--dataset", "mnist"], "--data-root is too long"),
        (["--name", ""], "name must not be empty"),
        (["--model", ""], "model must not be empty"),
        (["--batch-size", "9" * 30], "--batch-size must be below 2^63"),
        (["--name", "half \udcff"], r"name must be text in UTF-8, found 'half \udcff'"),
        (["--out", "half \udcff"], r"out must be text in UTF-8, found 'half \udcff'"),
        (["--threat", "l2(eps=1e39)"], "l2: eps must be at most"),
        (["--threat", "linf(0.3)"], "linf takes its arguments by name: linf(eps=0.3)"),
        (["--threat", "Linf"], "did you mean 'linf'"),
        (["--attacks", "APGD-CE"], "'APGD-CE' (did you mean 'apgd'"),
        (["--attacks", "pgd # steps, fgsm"], "can't parse attacks 'pgd # steps, fgsm'"),
        (["--attacks", "lambda a, b: 0"], "can't parse attacks 'lambda a, b: 0'"),
        (["--attacks", "pgd(eps=0.3)"], "eps belongs to the threat model"),
        (["--epsilon=0.3"], "did you mean --norm linf --eps 0.3?"),
        (["--eps", "0.3"], "--threat 'linf(eps=0.1)' already says norm and eps"),
        (["--batch", "3"], "did you mean '--batch-size'"),
        (["-n", "many"], "'-n'"),
        (["a\x1b[31m"], r"a\x1b[31m"),
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


@pytest.mark.parametrize(
    "command",
    [
        *("--help", "ls", "ls attacks", "ls pgd", "ls more-steps", "ls recipes", "ls zoo", "ls criteria"),
        *("gate RUN --min-robust 0.001 --baseline RUN", "compare RUN RUN"),
    ],
)
def test_what_needs_no_torch_does_not_load_it(command: str, finished: Path) -> None:
    code = (
        "import sys\n"
        "from robustlab.cli.main import app\n"
        "try: app()\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'numpy', 'scipy', 'matplotlib'} & sys.modules.keys()\n"
    )
    words = [str(finished) if word == "RUN" else word for word in command.split()]
    subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=True)


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
    assert "no condition given" in error_of(call("gate", finished))
    assert "0.9 for 90 %" in error_of(call("gate", finished, "--min-robust", "90"))
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


ALARMED = """
import signal
import sys
import torch

def network():
    signal.signal(signal.SIGALRM, lambda *_: sys.exit(0))
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGALRM")
def test_a_signal_handler_that_exits_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(ALARMED)
    command = [sys.executable, "-m", "robustlab", "evaluate", "--model", "net.py:network", "--out", "run"]
    command += ["--dataset", "digits", "--attacks", "pgd(steps=1000)", "--no-checks"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "SystemExit" in done.stderr or "ended the program" in done.stderr
