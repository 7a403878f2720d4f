"""A network that a user's code makes."""

from pathlib import Path

from torch import nn

from robustlab.core import user_code
from robustlab.core.errors import SetupError
from robustlab.core.spec import BareText, register
from robustlab.core.text import a_kind
from robustlab.models.black_box import as_module
from robustlab.models.sources.base import Loaded, Note, Source


@register("code")
class FromCode(Source):
    """The network that your function returns when called without arguments; its name means the same.

    It may also be a fitted scikit-learn classifier, or a prediction function: a black box.
    """

    reference: BareText
    """``"my_file.py:make_model"`` or ``"package.module:make_model"``."""

    def load(self, note: Note) -> Loaded:
        made, files = user_code.call(self.reference, note)
        network = as_module(made)
        if not isinstance(network, nn.Module):
            raise SetupError(
                f"{self.reference} returned {a_kind(made)}, not a torch.nn.Module, a scikit-learn classifier "
                "or a function that predicts"
            )
        file, _, function = self.reference.rpartition(":")
        return Loaded(
            network=network, name=f"{Path(file).stem}-{function}", origin=self.reference, files=files
        )
