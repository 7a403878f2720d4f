"""A user's code may raise anything and set anything: it is told in one line, and put back."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from rich.console import Console

import robustlab
from hostile_settings import change_everything
from robustlab.core.calling import UserCodeError, blaming, calling
from robustlab.core.errors import SpecError
from robustlab.core.isolation import callers_settings


class Mute(Exception):  # noqa: N818
    def __str__(self) -> str:
        raise SystemExit(0)


class Own(BaseException):
    """One of nobody's family."""


class NotCtrlC(KeyboardInterrupt):
    """Derived from what Ctrl-C raises."""


class DerivedError(SpecError):
    """A user's own, derived from one of ours."""

    exit_code = 0


ERRORS: list[BaseException] = [
    DerivedError("two\nlines"),
    SystemExit(0),
    SystemExit(),
    GeneratorExit(),
    asyncio.CancelledError(),
    BrokenPipeError(32, "Broken pipe"),
    StopIteration(),
    Own("own"),
    NotCtrlC(),
    Mute(),
    RecursionError("deep"),
    ValueError("x" * 1_000_000),
    ValueError("two\nlines and \x1b[31mcolours\x07 \ud800"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("around", [calling, blaming])
def test_whatever_is_raised_is_one_line(around: Any, error: BaseException) -> None:
    with pytest.raises(UserCodeError) as caught, around("the model"):
        raise error
    said = str(caught.value)
    assert said.startswith("the model ")
    assert type(error).__name__ in said
    assert "(test_calling.py, line " in said
    assert len(said) < 300
    assert said.isprintable()
    assert caught.value.__cause__ is error
    assert caught.value.quits == (not isinstance(error, Exception))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), MemoryError(), torch.OutOfMemoryError("CUDA"), SpecError("one of ours")],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("around", [calling, blaming])
def test_what_passes_as_it_came(around: Any, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, around("the model"):
        raise error
    assert caught.value is error


def test_settings_are_put_back_but_not_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path.parent)
    before, threads = callers_settings(), torch.get_num_threads()
    with calling("the model"):
        change_everything(tmp_path)
    # A model that goes into its folder when it is imported finds its files there when it is asked.
    assert Path.cwd() == tmp_path
    torch.set_num_threads(threads)
    assert callers_settings() == before


def test_output_that_nobody_reads_is_not_the_users_fault() -> None:
    # Progress is shown, by typer or rich, while a user's attack is asking its questions.
    reader, writer = os.pipe()
    os.close(reader)
    closed = os.fdopen(writer, "w")
    with pytest.raises(BrokenPipeError), blaming("pgd"):
        typer.echo("half of it is done", file=closed)
    with pytest.raises(SystemExit), blaming("pgd"):
        Console(file=closed).print("half of it is done")
    with pytest.raises(BrokenPipeError):
        closed.close()


def test_a_fault_of_our_own_stays_one() -> None:
    ours = compile("with blaming('pgd'): 1 + ''", robustlab.__file__, "exec")
    with pytest.raises(TypeError):
        exec(ours, {"blaming": blaming})
