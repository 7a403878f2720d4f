"""The kinds of work a study consists of; the key of a stage covers all that its result depends on."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from robustlab.runs.ledger import digest
from robustlab.study.workspace import Question, Workspace


@dataclass(frozen=True, kw_only=True)
class StudyStage(ABC):
    """One step of a study. Its result depends on all its fields, and only on them.

    Attributes:
        name: unique within the study; shown to users.
        inputs: the keys of the stages, and the hash of the data, on which it depends.
    """

    name: str
    inputs: tuple[str, ...]

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return the resolved configuration, as JSON values."""

    @abstractmethod
    def run(self, workspace: Workspace) -> dict[str, Any]:
        """Do the work and return its payload as JSON values; files are written to the store first."""

    def effort(self, workspace: Workspace) -> float:
        """Return the estimated cost, in training steps of one image, to estimate the time left."""
        del workspace
        return 100.0

    def intact(self, workspace: Workspace) -> bool:
        """Return whether the files of a finished stage still exist."""
        del workspace
        return True

    @property
    def questions(self) -> tuple[Question, ...]:
        """The evaluations on which the result depends."""
        return ()

    @property
    def key(self) -> str:
        """The hash of the stage's kind, configuration, inputs and robustlab's version."""
        return digest(type(self).__name__, self.identity(), list(self.inputs))
