"""The source kind: a unit that says where a network comes from, and loads it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from robustlab.core.spec import Unit

Note = Callable[[str], None]
"""Where to say that something takes long."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A network that a source gave.

    Attributes:
        network: in the mode that it came in.
        name: what to call it, unless the user says otherwise.
        origin: where it came from, in words.
        network_kind: what it does (`Model.network_kind`), where that is known.
        files: the hash of the user's files that made it; empty if there are none.
    """

    network: nn.Module
    name: str
    origin: str
    network_kind: str | None = None
    files: str = ""


class Source(Unit, ABC):
    """Where a network comes from.

    Another package adds one through the entry-point group ``robustlab.source``.
    """

    kind = "source"
    example = "run(runs/mnist, baseline)"
    by_place: ClassVar[bool] = True

    @abstractmethod
    def load(self, note: Note) -> Loaded:
        """Return the network.

        Raises:
            SetupError, ModelFileError: there is none, or it can't be read.
        """
