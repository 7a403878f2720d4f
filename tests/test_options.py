"""An option is written once: Python, the command line, the checks and the documents follow."""

import inspect
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import torch
import typer
from annotated_types import Ge, Le
from typer.testing import CliRunner

import robustlab
from robustlab.certify_options import CertifyOptions
from robustlab.cli.main import app
from robustlab.cli.options import with_options
from robustlab.core.errors import SpecError
from robustlab.core.options import check_options, option_info, options_of, taking, texts_for_paths
from robustlab.evaluation.jobs.context import EvaluationContext
from robustlab.options import OF_OUTCOMES, PREPROCESSING, AttackFields, EvaluationOptions, StudyOptions
from robustlab.training_options import TrainOptions

JOBS: list[tuple[str, type, Any]] = [
    ("evaluate", EvaluationOptions, robustlab.evaluate),
    ("certify", CertifyOptions, robustlab.certify_model),
    ("study", StudyOptions, robustlab.run_study),
    ("train", TrainOptions, robustlab.train),
]


def test_an_option_of_the_attacker_is_in_the_keys() -> None:
    # `EvaluationContext.key` reads these fields by name; the target is in the name of a stage.
    assert set(OF_OUTCOMES) == {"mode", "target", "eight_bit", "eot_samples"}
    assert {*OF_OUTCOMES, *PREPROCESSING} == set(options_of(AttackFields))
    assert set(OF_OUTCOMES) - {"target"} <= set(EvaluationContext.__dataclass_fields__)


@pytest.mark.parametrize(("command", "kind", "function"), JOBS, ids=[job[0] for job in JOBS])
def test_every_option_is_in_python_on_the_command_line_and_documented(
    command: str, kind: type, function: Any
) -> None:
    parameters = inspect.signature(function).parameters
    assert sorted(parameters) == sorted(options_of(kind))
    usage = CliRunner(env={"COLUMNS": "300"}).invoke(app, [command, "--help"]).output
    documented = " ".join((function.__doc__ or "").split())
    manual = (Path(__file__).parents[1] / "docs" / "evaluate.md").read_text()
    for name, (option, said) in options_of(kind).items():
        assert f"{name}: {said.help}." in documented
        assert parameters[name].default in (option.default, inspect.Parameter.empty)
        flag = said.flag or f"--{name.replace('_', '-')}"
        shown = "".join(said.help[1:].split()) in "".join(usage.split())
        assert shown == bool(said.command_line)
        if said.command_line and not said.by_place:
            assert re.search(rf"{flag}\b", usage), flag
            if command == "evaluate" and name not in {"network", "overwrite"}:
                forms = (flag, flag.replace("--", "--no-"))
                assert any(f"`{form}" in manual for form in forms), f"docs/evaluate.md lacks {flag}"


def test_the_command_line_shows_its_help_without_torch() -> None:
    code = "import sys, robustlab.cli.main; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@dataclass(frozen=True, kw_only=True)
class Few:
    """A few options."""

    place: str | Path = field(
        kw_only=False, metadata=option_info("where", command_line="text", by_place=True)
    )
    many: Annotated[int, Ge(2), Le(9)] = field(default=3, metadata=option_info("how many"))
    kind: Literal["one", "other"] = field(default="one", metadata=option_info("which"))
    fast: bool = field(default=True, metadata=option_info("whether it is fast"))
    parts: list[str] = field(
        default_factory=list, metadata=option_info("its parts", command_line="texts", flag="-p")
    )

    def __post_init__(self) -> None:
        texts_for_paths(self)


@taking(Few)
def job(options: Few) -> Few:
    """Do it."""
    check_options(options, {})
    return options


def test_one_field_is_all_that_an_option_needs() -> None:
    seen: list[Few] = []
    few = typer.Typer()

    @few.command()
    @with_options(Few)
    def command(given: dict[str, Any], loud: bool = False) -> None:
        seen.append(job(**given))
        assert loud

    line = ["here", "--many", "5", "--kind", "other", "--no-fast", "-p", "a", "-p", "b", "--loud"]
    result = CliRunner().invoke(few, line)
    assert result.exit_code == 0, result.output
    assert CliRunner().invoke(few, ["there", "--loud"]).exit_code == 0
    assert seen == [
        Few(place="here", many=5, kind="other", fast=False, parts=["a", "b"]),
        Few(place="there"),
    ]
    assert job(Path("a") / "b").place == str(Path("a") / "b")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"place": 3}, "place must be a text or a path; found an int"),
        ({"place": ""}, "place must not be empty"),
        ({"many": 1}, "many must be a whole number, at least 2"),
        ({"many": 10}, "many must be at most 9"),
        ({"many": True}, "many must be a whole number"),
        ({"kind": "ohter"}, r"kind must be one of one, other; found 'ohter' \(did you mean 'other'\?\)"),
        ({"fast": 1}, "fast must be True or False"),
        ({"fats": True}, r"job has no argument 'fats' \(did you mean 'fast'\?\); accepted: place, many"),
    ],
)
def test_what_an_option_can_not_be_is_one_line(given: dict[str, Any], expected: str) -> None:
    with pytest.raises(SpecError, match=expected):
        job(**{"place": "here"} | given)


@dataclass(frozen=True, kw_only=True)
class Either:
    """An option that may be given by its place or by its name."""

    file: str = field(
        kw_only=False, metadata=option_info("which", command_line="text", by_place=True, flag="--file")
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["a"], "a"),
        (["--file", "a"], "a"),
        ([], "the file is missing: give FILE or --file"),
        (["a", "--file", "b"], "--file is given twice: 'a' and 'b'"),
    ],
)
def test_an_option_by_place_or_by_name(line: list[str], expected: str) -> None:
    few = typer.Typer()

    @few.command()
    @with_options(Either)
    def command(given: dict[str, Any]) -> None:
        typer.echo(given["file"])

    result = CliRunner().invoke(few, line)
    assert expected in (str(result.exception) if result.exception else result.output)


def test_arguments_by_place_are_told_of_the_function() -> None:
    call: Any = robustlab.evaluate
    with pytest.raises(SpecError, match=r"^evaluate: missing a required argument: 'model'"):
        call()
    with pytest.raises(SpecError, match=r"^evaluate: too many positional arguments"):
        call("mnist_cnn", "digits")


@pytest.mark.parametrize("value", [torch.zeros(2), [], 0, "loud", object()])
def test_a_progress_that_is_none_is_one_line(value: Any) -> None:
    for function, given in ((robustlab.evaluate, {"model": "mnist_cnn"}), (robustlab.run_study, {})):
        call: Any = function
        with pytest.raises(SpecError, match=r"progress must be a robustlab\.core\.progress\.Progress"):
            call(**given, progress=value)
