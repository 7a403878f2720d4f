"""A network that a user's code makes."""

from pathlib import Path

from robustlab.core.spec import BareText, register
from robustlab.models.own_code import network_of
from robustlab.models.sources.base import Loaded, Note, Source


@register("code")
class FromCode(Source):
    """The network that your function returns when called without arguments; its name means the same."""

    reference: BareText
    """``"my_file.py:make_model"`` or ``"package.module:make_model"``."""

    def load(self, note: Note) -> Loaded:
        network, files = network_of(self.reference, note)
        file, _, function = self.reference.rpartition(":")
        return Loaded(
            network=network, name=f"{Path(file).stem}-{function}", origin=self.reference, files=files
        )
