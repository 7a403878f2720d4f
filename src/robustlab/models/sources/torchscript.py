"""A network that TorchScript saved."""

import warnings
from typing import Any

import torch

from robustlab.core.errors import ModelFileError
from robustlab.core.spec import BareText, register
from robustlab.models.checkpoints import kind_of
from robustlab.models.sources.base import Loaded, Note, Source
from robustlab.models.sources.library import file_of


@register("torchscript")
class FromTorchScript(Source):
    """A TorchScript file, network and weights in one; its path means the same."""

    path: BareText
    """The path of a file that ``torch.jit.save`` wrote."""

    def load(self, note: Note) -> Loaded:
        del note
        path = file_of(self.path)
        if kind_of(path) != "torchscript":
            raise ModelFileError(f"{path} is not a TorchScript file, as torch.jit.save writes it")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch recommends torch.export instead
                script: Any = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
        except Exception as error:  # a damaged file may fail anywhere in the reader
            raise ModelFileError(
                f"{path} is a TorchScript file that can't be read; it may be damaged"
            ) from error
        return Loaded(network=script, name=path.stem, origin=self.path)
