"""A network in one file: safetensors that `save_network` wrote, or a file of another source."""

from collections.abc import Mapping
from pathlib import Path

from robustlab.core.errors import SetupError
from robustlab.core.spec import BareText, register
from robustlab.models.checkpoints import kind_of
from robustlab.models.files import load_network, network_kind
from robustlab.models.sources.base import Loaded, Note, Source
from robustlab.models.sources.export import FromExport
from robustlab.models.sources.keras import FromKeras
from robustlab.models.sources.onnx import FromOnnx
from robustlab.models.sources.torchscript import FromTorchScript

_BY_SUFFIX: Mapping[str, type[FromExport | FromKeras | FromOnnx]] = {
    ".onnx": FromOnnx,
    ".keras": FromKeras,
    ".h5": FromKeras,
    ".pt2": FromExport,
}
SUFFIXES = {".safetensors", ".pt", ".pth", ".ckpt", ".bin", *_BY_SUFFIX}
"""Of files of networks or weights."""


@register("saved")
class FromFile(Source):
    """A network in one file, of any kind that has a source of its own; its path means the same."""

    path: BareText
    """The path of a ``.safetensors`` file that has the network's card, or of a file of TorchScript,
    torch.export, ONNX or Keras."""

    def load(self, note: Note) -> Loaded:
        path = Path(self.path)
        if (kind := kind_of(path)) == "torchscript":
            return FromTorchScript(path=self.path).load(note)
        if kind == "export":
            return FromExport(path=self.path).load(note)
        if path.suffix in _BY_SUFFIX:
            return _BY_SUFFIX[path.suffix](path=self.path).load(note)
        if path.suffix != ".safetensors":
            raise SetupError(
                f"{path} holds weights, but not the network they belong to; "
                f"give --model FILE.py:FUNCTION --weights {path}"
            )
        return Loaded(
            network=load_network(path), name=path.stem, origin=self.path, network_kind=network_kind(path)
        )
