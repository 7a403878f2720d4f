"""docs/evaluate-a-defense.md: its files and commands run, and its table has every check."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from robustlab.cli.main import app
from robustlab.core.spec import parse
from robustlab.defenses.base import Defense
from robustlab.evaluation.checks import all_checks

PAGE = (Path(__file__).parents[1] / "docs" / "evaluate-a-defense.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, flags=re.DOTALL))
COMMANDS = [
    shlex.split(line.replace("\\\n", "")) for line in re.findall(r"```sh\n(.*?)\n```", PAGE, flags=re.DOTALL)
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, code in FILES.items():
        (tmp_path / name).write_text(code)


def results_of(command: list[str]) -> dict[str, Any]:
    """Run a command of the page on five images that need no MNIST, without the checks, which take longer."""
    assert command[:2] == ["robustlab", "evaluate"]
    words = [*command[1:], "--dataset", "digits", "--no-checks", "--json", "--quiet"]
    words[words.index("-n") + 1] = "5"
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_page_has_its_files_and_commands() -> None:
    assert FILES.keys() == {"my_defense.py", "my_attack.py"}
    assert len(COMMANDS) == PAGE.count("robustlab evaluate ") >= 8
    assert PAGE.count("```") == 2 * (len(FILES) + len(COMMANDS)), "a block that nobody runs"


@pytest.mark.parametrize("command", COMMANDS, ids=range(len(COMMANDS)))
@pytest.mark.usefixtures("folder")
def test_a_command_runs(command: list[str]) -> None:
    results = results_of(command)
    assert results["clean"]["value"] > 0, "nothing was attacked"
    assert results["rows"]
    if "--eot-samples" in command:
        assert results["samples"] == 20


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("attacks", "grade"),
    [
        ("pgd(steps=1, gradient=bpda(part=defense))", "warn"),
        ("pgd(steps=1, gradient=finite_differences)", "warn"),
        ("pgd(steps=1, gradient=bpda(part=defense)), pgd(steps=2)", "fail"),
    ],
)
def test_no_gradient_speaks_of_attacks_that_follow_the_classifiers_own(attacks: str, grade: str) -> None:
    command = next(command for command in COMMANDS if command[2] == "my_defense.py:rounded")
    results = results_of([*command[:7], "--attacks", attacks])
    (check,) = (check for check in results["checks"] if check["id"] == "no-gradient")
    assert check["grade"] == grade
    assert ("bpda" in check["found"].split(" can find nothing")[0]) is False


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("model", "grades"), [("rounded", ["fail"]), ("differentiable", [])])
def test_bpda_gives_the_rounding_a_gradient(model: str, grades: list[str]) -> None:
    command = next(command for command in COMMANDS if command[2] == f"my_defense.py:{model}")
    results = results_of([*command[:7], "--attacks", "pgd(steps=1)"])
    assert [check["grade"] for check in results["checks"] if check["id"] == "no-gradient"] == grades


def test_the_table_has_every_check_in_order() -> None:
    rows = re.findall(r"^\| \[([\w-]+)\]\(flags\.md#([\w-]+)\) \| (.+) \| (.+) \|$", PAGE, flags=re.MULTILINE)
    assert [name for name, *_ in rows] == [check.id for check in all_checks()]
    assert all(name == anchor for name, anchor, *_ in rows)


def test_specs_in_the_text_are_valid() -> None:
    (purifier,) = re.findall(r"`(purifier\(network=run\(.*?)`", PAGE)
    assert parse(Defense, purifier).networks == ("run(runs/mnist, vae)", "run(runs/mnist, baseline)")
