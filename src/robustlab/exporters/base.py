"""The exporter kind: gives a finished run to another program, from its results.json alone."""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from robustlab.core.errors import OutputError, RobustlabError, SetupError
from robustlab.core.files import write_as_named
from robustlab.core.spec import Unit
from robustlab.runs.run import EvaluationFolder, Run

FinishedRun = EvaluationFolder | Run
"""A finished run of an evaluation, or of a study or a training."""


class Exporter(Unit, ABC):
    """Gives a finished run to another program."""

    kind = "exporter"
    example = "mlflow(experiment=robustlab)"

    @abstractmethod
    def export(self, run: FinishedRun, out: str | None) -> str:
        """Write a run, and return where it is, in words for the user.

        Args:
            run: its folder and its results.
            out: where to: a file, a folder or an address; None: where the program expects it.
        """


class TextExporter(Exporter, ABC):
    """Writes a run as one text."""

    @abstractmethod
    def text(self, run: FinishedRun) -> str:
        """Return the text."""

    def export(self, run: FinishedRun, out: str | None) -> str:
        """Write the text to the file ``out`` and return its name; without ``out`` return the text."""
        if out is None:
            return self.text(run)
        write_as_named(out, self.text(run))
        return out


def package(name: str, *modules: str) -> Any:
    """Return a package that an extra of the same name installs, with modules of it.

    Raises:
        SetupError: it is not installed.
    """
    try:
        for module in modules:
            importlib.import_module(f"{name}.{module}")
        return importlib.import_module(name)
    except ImportError as error:
        raise SetupError(
            f"{name} can't be imported ({error}); type: pip install 'robustlab[{name}]'"
        ) from error


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn any error of a package in the block into an `OutputError` of one line."""
    try:
        yield
    except RobustlabError:
        raise
    except Exception as error:
        raise OutputError(f"{name} can't take the run: {type(error).__name__}: {error}") from error
