"""The source kind: a unit that loads a network from a certain place."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from robustlab.core.spec import Unit
from robustlab.models.preprocessing import Preprocessed, Preprocessing, sentences_on

Note = Callable[[str], None]
"""Called with a message when something takes long."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A network that a source loaded.

    Attributes:
        network: in its original mode (train or eval).
        name: its name, unless the user gives another one.
        origin: its source, as text.
        network_kind: its kind (`Model.network_kind`), if known.
        files: the hash of the user's files that made it; empty if there are none.
        determined: whether these files alone determine the network and its code.
        preprocessing: what the source states that images go through before the network; None: nothing.
        class_names: of the logits in their order, if the source states them.
        remarks: notes for the user, such as that the weights are random.
    """

    network: nn.Module
    name: str
    origin: str
    network_kind: str | None = None
    files: str = ""
    determined: bool = False
    preprocessing: Preprocessing | None = None
    class_names: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def in_front(self) -> tuple[str, ...]:
        """A sentence on the preprocessing, if there is one."""
        return sentences_on(self.name, self.preprocessing)

    @property
    def whole(self) -> nn.Module:
        """The network behind its preprocessing."""
        return self.network if self.preprocessing is None else Preprocessed(self.network, self.preprocessing)


class Source(Unit, ABC):
    """A place from which a network is loaded.

    Another package adds one through the entry-point group ``robustlab.source``.
    """

    kind = "source"
    example = "run(runs/mnist, baseline)"
    by_place: ClassVar[bool] = True

    @abstractmethod
    def load(self, note: Note) -> Loaded:
        """Return the network.

        Raises:
            SetupError, ModelFileError: the network does not exist, or can't be read.
        """
