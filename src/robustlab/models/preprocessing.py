"""The steps between the images of a dataset and a network: they become the network's first layer.

Outside the network they would change the meaning of eps. They are differentiable, so an attack goes through
them.
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Size = int | tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Resize, crop the centre, then ``(images * scale - mean) / std``.

    Attributes:
        mean, std: one number, or one per channel.
        resize: the length of the shorter side afterwards, or (height, width); None: no change.
        crop: the side of the square in the centre, or (height, width); None: no change. Smaller images get a
            black border.
        interpolation: of the resize, always antialiased.
        origin: what states these steps, such as the weights of a library; empty: the user's options.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    scale: float = 1.0
    resize: Size | None = None
    crop: Size | None = None
    interpolation: str = "bilinear"
    origin: str = field(default="", compare=False, repr=False)

    def __str__(self) -> str:
        mean, std = (" ".join(f"{value:g}" for value in values) for values in (self.mean, self.std))
        resized = [f"resize {_shown(self.resize)} ({self.interpolation})"] if self.resize else []
        cropped = [f"crop {_shown(self.crop)}"] if self.crop else []
        scaled = [f"times {self.scale:g}"] if self.scale != 1 else []
        normalised = [f"mean {mean}", f"std {std}"] if (self.mean, self.std) != ((0.0,), (1.0,)) else []
        return ", ".join(resized + cropped + scaled + normalised) or "no preprocessing"

    def fits(self, channels: int) -> bool:
        """Return whether the preprocessing has one number for all channels, or one per channel."""
        return {len(self.mean), len(self.std)} <= {1, channels}


def sentences_on(name: str, steps: Preprocessing | None) -> tuple[str, ...]:
    """Return a sentence on what is in front of the network of a name; nothing without a preprocessing."""
    if steps is None:
        return ()
    reason = f"{steps.origin} states" if steps.origin else "the options ask"
    return (f"in front of {name}, as {reason}: {steps}",)


def _shown(size: Size) -> str:
    return str(size) if isinstance(size, int) else "x".join(map(str, size))


class Preprocessed(nn.Module):
    """A network behind its preprocessing; the network itself does not change."""

    mean: Tensor
    std: Tensor
    network: nn.Module
    preprocessing: Preprocessing

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network, self.preprocessing = network, preprocessing
        for name, values in (("mean", preprocessing.mean), ("std", preprocessing.std)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32, device="cpu").view(-1, 1, 1))
        self.training = network.training

    def forward(self, images: Tensor) -> Tensor:
        """Return the network's answer to images (N, C, H, W) in [0, 1]."""
        mean, std, steps = self.mean.to(images.dtype), self.std.to(images.dtype), self.preprocessing
        if steps.resize:
            images = _resized(images, steps.resize, steps.interpolation)
        if steps.crop:
            images = _cropped(images, steps.crop)
        answer: Tensor = self.network((images * steps.scale - mean) / std)
        return answer


def _resized(images: Tensor, size: Size, interpolation: str) -> Tensor:
    height, width = images.shape[-2:]
    if isinstance(size, int):
        shorter = min(height, width)
        size = (size * height // shorter, size * width // shorter)
    if size == (height, width):
        return images
    if interpolation == "nearest":
        return F.interpolate(images, size, mode="nearest")
    return F.interpolate(images, size, mode=interpolation, antialias=True)


def _cropped(images: Tensor, size: Size) -> Tensor:
    rows, columns = (size, size) if isinstance(size, int) else size
    height, width = images.shape[-2:]
    if rows > height or columns > width:
        down, right = max(rows - height, 0), max(columns - width, 0)
        images = F.pad(images, (right // 2, (right + 1) // 2, down // 2, (down + 1) // 2))
        height, width = images.shape[-2:]
    # The same pixels as torchvision's CenterCrop.
    top, left = round((height - rows) / 2.0), round((width - columns) / 2.0)
    return images[..., top : top + rows, left : left + columns]
