"""A network of Keras 3, on its torch backend."""

import os
import sys
from typing import Any

from torch import Tensor, nn

from robustlab.core.errors import SetupError
from robustlab.core.spec import BareText, register
from robustlab.models.sources.base import Loaded, Note, Source
from robustlab.models.sources.declared import in_declared_input
from robustlab.models.sources.library import file_of, hash_of_file, imported, loading

_BACKEND = "KERAS_BACKEND"


class KerasNetwork(nn.Module):
    """A Keras model, in its mode for predictions; its gradients are torch's."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Return the model's output."""
        answer: Tensor = self.model(images, training=False)
        return answer


@register("keras")
class FromKeras(Source):
    """A Keras 3 model in one file, with gradients through its torch backend; its path means the same."""

    path: BareText
    """The path of a ``.keras`` or ``.h5`` file."""

    def load(self, note: Note) -> Loaded:
        del note
        path = file_of(self.path)
        keras = _keras()
        with loading(self.path, "robustlab needs a file that model.save of Keras wrote"):
            model = keras.saving.load_model(path, compile=False)
            shape = model.input_shape
        if not isinstance(shape, tuple):
            raise SetupError(f"{self.path} has several inputs; robustlab attacks models of one image")
        network, remarks = in_declared_input(KerasNetwork(model).eval(), shape)
        return Loaded(
            network=network,
            name=path.stem,
            origin=self.path,
            files=hash_of_file(path),
            determined=True,
            remarks=remarks,
        )


def _keras() -> Any:
    """Return keras with its torch backend."""
    before = os.environ.get(_BACKEND)
    if "keras" not in sys.modules:
        os.environ[_BACKEND] = "torch"  # keras reads it when it is imported
    try:
        keras = imported("keras", "keras")
    finally:
        if before is None:
            os.environ.pop(_BACKEND, None)
        else:
            os.environ[_BACKEND] = before
    backend = keras.backend.backend()
    if backend != "torch":
        raise SetupError(
            f"keras was already imported with its backend {backend}, which has no gradients for torch; set "
            f"the environment variable {_BACKEND}=torch before keras is imported"
        )
    return keras
