"""An untrained network of a user's own code."""

from collections.abc import Callable
from dataclasses import replace

from torch import nn

from robustlab.core import user_code
from robustlab.core.errors import SetupError
from robustlab.core.spec import BareText, register
from robustlab.core.text import a_kind
from robustlab.models.base import Model, Shape


@register("code")
class OwnCode(Model):
    """What a function of yours returns, called with no argument, or a class of `torch.nn.Module` of yours."""

    runs_code = True
    by_place = True
    reference: BareText
    """``"my_file.py:make_model"`` or ``"package.module:make_model"``."""
    files: str = ""
    """The hash of the files at the beginning of the training, which robustlab fills in (`with_hash`)."""

    def build(self, shape: Shape) -> nn.Module:
        del shape
        return network_of(self.reference)[0]


def with_hash(model: Model, note: Callable[[str], None] = lambda _: None) -> Model:
    """Return a model with the hash of its files as they are now, so that changed ones are another training.

    Raises:
        SetupError: as for `network_of`.
    """
    if not isinstance(model, OwnCode):
        return model
    return replace(model, files=network_of(model.reference, note)[1][:16])


def network_of(reference: str, note: Callable[[str], None] = lambda _: None) -> tuple[nn.Module, str]:
    """Return a new network of a user's code, and the hash of its files.

    Raises:
        SetupError: the code fails, or returns something else.
    """
    network, files = user_code.call(reference, note)
    if not isinstance(network, nn.Module):
        raise SetupError(f"{reference} returned {a_kind(network)}, not a torch.nn.Module")
    return network, files
