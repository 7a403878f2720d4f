"""What all commands have: help with examples, completion, a quick start; and `explain` and `ls attacks`."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

import robustlab
from robustlab.attacks import Attack
from robustlab.cli.examples import EXAMPLES
from robustlab.cli.explain import plain
from robustlab.cli.main import app
from robustlab.core.spec import parse, units
from robustlab.evaluation.checks import BUILT_IN
from robustlab.evaluation.ensembles import attack_list
from robustlab.threats import ThreatModel

COMMANDS: Any = typer.main.get_command(app)
ALL = [line for lines in EXAMPLES.values() for line in lines]


def call(*words: str, **environment: str) -> Result:
    return CliRunner(env=environment).invoke(app, list(words))


def test_commands_are_listed_in_the_order_in_which_they_are_used() -> None:
    listed = call("--help").output.partition("Commands:")[2].split("\n")
    names = [line.split()[0] for line in listed if line.startswith("  ") and line[2] != " "]
    assert names == [
        *("study", "train", "evaluate", "certify", "compare", "gate"),
        *("export", "report", "explain", "ls", "doctor"),
    ]


@pytest.mark.parametrize("command", ["", *EXAMPLES])
def test_h_is_help(command: str) -> None:
    short, long = call(*command.split(), "-h"), call(*command.split(), "--help")
    assert short.exit_code == 0
    assert short.output == long.output


@pytest.mark.parametrize("command", EXAMPLES)
def test_help_shows_two_or_three_examples_of_the_command(command: str) -> None:
    assert 2 <= len(EXAMPLES[command]) <= 3
    lines = [line.strip() for line in call(command, "--help").output.splitlines()]
    for example in EXAMPLES[command]:
        assert example in lines, "an example is cut or wrapped"
        assert example.split()[:2] == ["robustlab", command]


@pytest.mark.parametrize("example", ALL)
def test_every_example_is_understood(example: str) -> None:
    _, name, *words = shlex.split(example)
    context = COMMANDS.commands[name].make_context(name, words)
    assert not context.args
    given = context.params
    if name == "evaluate":
        attack_list(given["attacks"] or "standard")
        parse(ThreatModel, given["threat"])
        assert (given["norm"] is None) == (given["eps"] is None)


@pytest.mark.parametrize("example", [*EXAMPLES["explain"], *EXAMPLES["ls"]])
def test_examples_that_need_no_run_work(example: str) -> None:
    result = call(*shlex.split(example)[1:])
    assert result.exit_code == 0
    assert result.output.strip()


def test_version() -> None:
    assert call("--version").output == f"robustlab {robustlab.__version__}\n"


def process(*words: str, code: int = 0, **environment: str) -> str:
    """Run a command in a process of its own, which must not load torch, and return what it prints."""
    check = (
        "import atexit, os, sys\n"
        "heavy = {'torch', 'numpy', 'scipy', 'matplotlib'}\n"
        "atexit.register(lambda: heavy & sys.modules.keys() and os._exit(99))\n"
        "from robustlab.__main__ import main\n"
        "sys.argv[0] = 'robustlab'\n"
        "main()\n"
    )
    command = [sys.executable, "-c", check, *words]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env={**os.environ, **environment}
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--version"], 0),
        (["evaluate", "-h"], 0),
        (["study", "-h"], 0),
        (["export", "nowhere", "--to", "junit"], 2),
        (["explain"], 0),
        (["explain", "zero-gradients"], 0),
        (["explain", "zero-gradient"], 2),
        (["evalute"], 2),
        (["evaluate", "--modle", "x"], 2),
        (["evaluate", "mnist_cnn", "--eps", "8/255"], 2),
        (["gate", "nowhere", "--min-robust", "0.9"], 2),
        (["compare", "nowhere", "nowhere"], 2),
        (["ls", "attaks"], 2),
        (["--show-completion", "bash"], 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_a_command_that_computes_nothing_loads_no_torch(words: list[str], code: int) -> None:
    assert process(*words, code=code, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1").strip()


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("robustlab ev", ["evaluate"]), ("robustlab explain zero-", ["zero-gradients", "zero-distance"])],
)
def test_the_shell_completes(typed: str, expected: list[str]) -> None:
    found = process(
        _ROBUSTLAB_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=str(len(typed.split()) - 1)
    )
    assert found.split() == expected


def test_each_check_can_be_explained() -> None:
    listed = json.loads(call("explain", "--json").output)
    assert listed.keys() == {check.id for check in BUILT_IN}
    for name, title in listed.items():
        found = json.loads(call("explain", name, "--json").output)
        assert found["title"] == title
        text = found["text"]
        assert all(f"{head}." in text for head in ("Computed", "Threshold", "If it fails", "Next"))
        assert not {"`", "**", "]("} & {text[n : n + length] for n in range(len(text)) for length in (1, 2)}
        shown = call("explain", name, COLUMNS="50").output
        assert " ".join(f"{name} {title} {text}".split()) == " ".join(shown.split())
        assert max(map(len, shown.splitlines())) <= 50


OTHER_CHECK = '''"""A check of another package."""
from robustlab.core.spec import register
from robustlab.evaluation.checks import CheckResult, Context, PassiveCheck

@register("full_moon")
class FullMoon(PassiveCheck):
    """Looks at the sky."""

    id = "full-moon"
    doubts = "evaluation"
    title = "The moon is not full"
    expected = "a part of it"
    meaning = "Wait a week."

    def look(self, context: Context) -> CheckResult:
        raise NotImplementedError
'''


def test_a_check_of_another_package_can_be_explained(tmp_path: Path) -> None:
    (tmp_path / "moon.py").write_text(OTHER_CHECK)
    installed = tmp_path / "moon-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: moon\nVersion: 1\n")
    (installed / "entry_points.txt").write_text("[robustlab.check]\nfull_moon = moon\n")
    path = os.pathsep.join([str(tmp_path), *sys.path])

    def explained(*words: str) -> Any:
        command = [sys.executable, "-m", "robustlab", "explain", *words, "--json"]
        environment = {**os.environ, "PYTHONPATH": path}
        return json.loads(subprocess.run(command, capture_output=True, check=True, env=environment).stdout)

    assert explained()["full-moon"] == "The moon is not full"
    assert "Wait a week." in explained("full-moon")["text"]


def test_markdown_is_shown_as_text() -> None:
    text = "**Next.** See\n[more](#more-steps) and `a * b`.\n\nThen [this](x.md)."
    assert plain(text) == "Next. See more and a * b.\n\nThen this."


def test_attacks_are_grouped_by_access_and_norm() -> None:
    found = json.loads(call("ls", "attacks", "--json").output)
    properties = found["attack_properties"]
    assert {name.partition("(")[0] for name in found["attacks"]} == properties.keys()
    assert properties["square"] == {"norms": ["linf", "l2", "l1"], "access": "black box"}
    assert properties["pgd"] == {"norms": ["any norm"], "access": "white box"}
    assert properties["margin_search"]["access"] == "white box", "it can do without gradients, and uses them"
    assert properties["restarts"]["access"] == "as its attack"
    for name, unit in units(Attack).items():
        if name in properties and properties[name]["access"] != "as its attack":
            assert properties[name]["norms"] == (list(unit.norms) or ["any norm"])
    lines = [line.strip() for line in call("ls", "attacks").output.splitlines()]
    white, black = (
        next(n for n, line in enumerate(lines) if line.startswith(kind)) for kind in ("white", "black")
    )
    assert white < lines.index("l1, l2, linf") < black
    assert any(line.startswith("square(") for line in lines[black:])
    assert not any(line.startswith("square(") for line in lines[:black])
    assert json.loads(call("ls", "pgd", "--json").output)["access"] == "white box"


@pytest.mark.parametrize("kind", ["attacks", "criteria", "gradients", "checks", "engines"])
def test_one_kind_is_listed_as_among_all(kind: str) -> None:
    everything = json.loads(process("ls", "--json"))
    assert json.loads(process("ls", kind, "--json"))[kind] == everything[kind]


def test_doctor_says_what_the_commands_would_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBUSTLAB_DATA", str(tmp_path / "elsewhere"))
    monkeypatch.setattr("platformdirs.user_cache_path", lambda _: tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    found = json.loads(call("doctor", "--json").output)
    for name, dataset in {"study": "auto", "evaluate": "mnist"}.items():
        plan = found[name]
        assert (plan["dataset"], plan["data"]) == (dataset, "download")
        assert f"downloads MNIST to {tmp_path / 'cache'}" in plan["says"]
        assert ("it takes the dataset digits" in plan["says"]) == (dataset == "auto")
        assert plan["precision"] in {"fp32", "bf16", "timed"}
    assert found["study"]["trainings_at_once"] >= 1
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte").write_bytes(b"\0" * 100)
    damaged = call("doctor", "--json")
    assert damaged.exit_code == 2
    assert json.loads(damaged.output)["study"]["data"] == "damaged"
    said = " ".join(call("doctor").output.split())
    assert "What `robustlab study` does here" in said
    assert "It stops with an error" in said
