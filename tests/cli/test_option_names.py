"""Errors name an option as the user wrote it: in Python by its name, on the command line by its flag."""

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import robustlab
from robustlab.cli.main import app
from robustlab.core.errors import RobustlabError

PACKAGE = Path(robustlab.__file__).parent
COMMANDS: Any = typer.main.get_command(app)
UNDERSCORED = {
    option.name
    for command in COMMANDS.commands.values()
    for option in command.params
    if option.param_type_name == "option" and "_" in option.name
}
python: Any = robustlab

CASES: dict[str, tuple[Callable[[], object], str]] = {
    "gate x --min-robust 90": (lambda: python.gate("x", min_robust=90), "min_robust must be a share"),
    "gate x --min-clean -1": (lambda: python.gate("x", min_clean=-1), "min_clean must be a share"),
    "gate x --max-drop 0.1": (lambda: python.gate("x", max_drop=0.1), "max_drop needs a baseline; give bas"),
    "gate x": (lambda: python.gate("x"), "pass min_robust, baseline or strict"),
    "gate x --strict --confident": (
        lambda: python.gate("x", strict=True, confident=True),
        "confident needs min_robust, min_clean or min_certified",
    ),
    "gate x --strict --allow-fewer-images": (
        lambda: python.gate("x", strict=True, allow_fewer_images=True),
        "allow_fewer_images is about the images of a baseline; give baseline, too",
    ),
    "evaluate x --batch-size 0": (lambda: python.evaluate("x", batch_size=0), "batch_size must be a whole"),
    "evaluate x --eot-samples -3": (lambda: python.evaluate("x", eot_samples=-3), "eot_samples must be a"),
    "evaluate x -n 0": (lambda: python.evaluate("x", n=0), "n must be a whole number"),
    "certify x --data-root=": (lambda: python.certify_model("x", data_root=""), "data_root must not be"),
    "train cross_entropy --architecture cnn --validation-threat linf(eps=0.1)": (
        lambda: python.train("cross_entropy", architecture="cnn", validation_threat="linf(eps=0.1)"),
        "validation_threat: it needs a validation_attack",
    ),
    "train cross_entropy --architecture cnn --validation-fraction 3": (
        lambda: python.train("cross_entropy", architecture="cnn", validation_fraction=3),
        "validation_fraction must be a share",
    ),
    "train cross_entropy --architecture cnn --validation-stop 3": (
        lambda: python.train("cross_entropy", architecture="cnn", validation_stop=3.0),
        "validation_stop: should be less than 1",
    ),
    "train cross_entropy --architecture cnn --dataset my.py:f": (
        lambda: python.train("cross_entropy", architecture="cnn", dataset="my.py:f"),
        "give test_dataset, as dataset is given",
    ),
}


@pytest.mark.parametrize("typed", CASES)
def test_an_error_names_the_option_as_it_was_written(typed: str) -> None:
    call, expected = CASES[typed]
    result = CliRunner().invoke(app, typed.split())
    assert result.exit_code == 2
    message = result.stderr.splitlines()[-1]
    assert not re.search(rf"\b({'|'.join(UNDERSCORED)})\b", message), message
    with pytest.raises(RobustlabError) as error:
        call()  # after the command: its flags are forgotten
    assert expected in str(error.value)
    assert "--" not in str(error.value)
    named = UNDERSCORED.intersection(re.findall(r"\w+", expected))
    assert all(f"--{name.replace('_', '-')}" in message for name in named)


def test_no_error_spells_out_an_option_with_an_underscore() -> None:
    assert {"min_robust", "batch_size", "validation_threat"} <= UNDERSCORED
    spelled = re.compile(rf"\b({'|'.join(UNDERSCORED)})\b")
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for raised in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(raised, ast.Raise):
                # A text that is the name alone is an argument of `as_typed`, or looks a value up.
                texts = [part.value for part in ast.walk(raised) if isinstance(part, ast.Constant)]
                found += [
                    f"{path.relative_to(PACKAGE)}:{raised.lineno}: {text}"
                    for text in texts
                    if isinstance(text, str) and spelled.search(text) and text not in UNDERSCORED
                ]
    assert found == []
