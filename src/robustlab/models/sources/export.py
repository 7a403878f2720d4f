"""A program that torch.export saved."""

import warnings
from typing import Any

import torch

from robustlab.core.errors import ModelFileError
from robustlab.core.spec import BareText, register
from robustlab.models.checkpoints import kind_of
from robustlab.models.sources.base import Loaded, Note, Source
from robustlab.models.sources.declared import in_declared_input
from robustlab.models.sources.library import file_of, hash_of_file


@register("export")
class FromExport(Source):
    """A program of torch.export, network and weights in one; its path means the same."""

    path: BareText
    """The path of a file that ``torch.export.save`` wrote."""

    def load(self, note: Note) -> Loaded:
        del note
        path = file_of(self.path)
        if kind_of(path) != "export":
            raise ModelFileError(f"{path} is not a torch.export program, as torch.export.save writes it")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                program = torch.export.load(path)
                network, remarks = in_declared_input(program.module(), _declared(program))
        except Exception as error:  # a damaged file may fail anywhere in the reader
            raise ModelFileError(
                f"{path} is a torch.export program that can't be read; it may be damaged, or of another torch"
            ) from error
        return Loaded(
            network=network,
            name=path.stem,
            origin=self.path,
            files=hash_of_file(path),
            determined=True,
            remarks=remarks,
        )


def _declared(program: Any) -> list[int | None]:
    """Return the shape of a program's first input; None for sizes that may change."""
    names = program.graph_signature.user_inputs
    node = next(node for node in program.graph.nodes if node.name == names[0])
    return [size if isinstance(size, int) else None for size in node.meta["val"].shape]
