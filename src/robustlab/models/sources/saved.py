"""A network in one file: safetensors that `save_network` wrote, or TorchScript."""

import warnings
from pathlib import Path

import torch
from torch import nn

from robustlab.core.errors import ModelFileError, SetupError
from robustlab.core.spec import BareText, register
from robustlab.models.checkpoints import kind_of
from robustlab.models.files import load_network, network_kind
from robustlab.models.sources.base import Loaded, Note, Source


@register("saved")
class FromFile(Source):
    """A network that `save_network` or TorchScript wrote into a file; its path means the same."""

    path: BareText
    """The path of a ``.safetensors`` file that has the network's card, or of a TorchScript file."""

    def load(self, note: Note) -> Loaded:
        del note
        path = Path(self.path)
        if kind_of(path) == "torchscript":
            return Loaded(network=_script(path), name=path.stem, origin=self.path)
        if path.suffix != ".safetensors":
            raise SetupError(_refusal(path))
        return Loaded(
            network=load_network(path), name=path.stem, origin=self.path, network_kind=network_kind(path)
        )


def _script(path: Path) -> nn.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch recommends torch.export instead
            script: nn.Module = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
            return script
    except Exception as error:  # a damaged file may fail anywhere in the reader
        raise ModelFileError(f"{path} is a TorchScript file that can't be read; it may be damaged") from error


def _refusal(path: Path) -> str:
    if kind_of(path) == "export":
        return (
            f"{path} is a torch.export program; write a function that returns "
            f"torch.export.load({path.name!r}).module(), and give --model FILE.py:FUNCTION"
        )
    return (
        f"{path} holds weights, but not the network they belong to; "
        f"give --model FILE.py:FUNCTION --weights {path}"
    )
