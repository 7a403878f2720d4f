"""The kinds of work a study consists of; each stage is keyed by everything its result depends on."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from robustlab.runs.ledger import digest
from robustlab.study.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class StudyStage(ABC):
    """One step of a study. Its fields, all of them, are what its result depends on.

    Attributes:
        name: unique within the study; shown to people.
        inputs: the keys of the stages, and the hash of the data, that it builds on.
    """

    name: str
    inputs: tuple[str, ...]

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return the resolved configuration, as JSON can hold it."""

    @abstractmethod
    def run(self, workspace: Workspace) -> dict[str, Any]:
        """Do the work and return its payload, as JSON can hold it; files go to the store before that."""

    def effort(self, workspace: Workspace) -> float:
        """Return about how many training steps of one image take as long: an estimate for the time left."""
        del workspace
        return 100.0

    def intact(self, workspace: Workspace) -> bool:
        """Tell whether the files of a finished stage are still there."""
        del workspace
        return True

    @property
    def key(self) -> str:
        """The hash of the stage's kind, configuration, inputs and robustlab's version."""
        return digest(type(self).__name__, self.identity(), list(self.inputs))
