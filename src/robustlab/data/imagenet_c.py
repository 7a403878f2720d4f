"""ImageNet-C (Hendrycks & Dietterich 2019, arXiv:1903.12261): ImageNet's photos with common corruptions."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from robustlab.core.spec import BareText, register
from robustlab.data.corruptions import chosen
from robustlab.data.imagenet import wordnet_part
from robustlab.data.parts import PartDataset, ReadPart, no_training_part, placed
from robustlab.data.resizing import Pixels, Resize, Resizing


@register("imagenet_c")
class ImageNetC(PartDataset):
    """ImageNet-C: 50,000 photos for each corruption and severity, in CORRUPTION/SEVERITY/WORDNET-ID."""

    path: BareText
    """The folder of the corruptions."""
    corruption: str
    """Such as ``fog``; the name of a folder."""
    severity: Annotated[int, Field(ge=1, le=5)] = 3
    """From 1, the weakest, to 5."""
    resize: Resize = None
    """The new length of the shorter side, or (height, width); the photos have 224x224 pixels already."""
    crop: Pixels | None = None
    """The height and width of the centre that is cut out, after resizing."""

    def part(self, *, train: bool, data_root: Path | None, download: bool) -> ReadPart:
        del download
        if train:
            raise no_training_part(self)
        folder = chosen(placed(self.path, data_root), self.corruption)
        return wordnet_part(
            chosen(folder, str(self.severity), "severity"), Resizing(resize=self.resize, crop=self.crop)
        )
