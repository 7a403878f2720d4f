"""A prediction function of a user's code, as a black box."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from robustlab.core import user_code
from robustlab.core.errors import SetupError
from robustlab.core.spec import BareText, register
from robustlab.core.text import a_kind
from robustlab.models.black_box import BlackBox, as_module
from robustlab.models.sources.base import Loaded, Note, Source


@register("predict")
class FromPrediction(Source):
    """A function of yours that predicts the classes of images (N, C, H, W) in [0, 1], without gradients.

    It returns probabilities or logits (N, K), or labels (N,). Or it is a fitted scikit-learn classifier.
    """

    reference: BareText
    """``"my_file.py:predict"`` or ``"package.module:predict"``."""
    classes: Annotated[int, Field(ge=2)] | None = None
    """How many classes exist, if it returns labels; default: as many as the dataset has."""
    answers: Literal["auto", "probabilities", "logits", "labels"] = "auto"
    """What it returns; by default the first answer decides."""
    tensors: bool = False
    """Whether it takes a torch tensor instead of a NumPy array."""
    batch_size: Annotated[int, Field(ge=1)] | None = None
    """The most images that it gets at once; default: all of a pass."""
    budget: Annotated[int, Field(ge=1)] | None = None
    """How many images a command may ask about."""

    def load(self, note: Note) -> Loaded:
        found, files = user_code.call(self.reference, note, as_it_is=True)
        box = as_module(found)
        if not isinstance(box, BlackBox):
            raise SetupError(f"{self.reference} is {a_kind(found)}, not a function that predicts")
        network = BlackBox(
            box.predict,
            classes=self.classes,
            answers=self.answers,
            tensors=self.tensors,
            batch_size=self.batch_size,
            budget=self.budget,
        )
        file, _, function = self.reference.rpartition(":")
        return Loaded(
            network=network,
            name=f"{Path(file).stem}-{function}",
            origin=self.brief(),
            network_kind="classifier",
            files=files,
        )
