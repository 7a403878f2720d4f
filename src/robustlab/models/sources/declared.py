"""Networks of files that declare the shape of their input: images are brought into it."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robustlab.core.errors import RobustlabError

_CHANNELS = (1, 3, 4)

Declared = Sequence[int | None]
"""The sizes of an input with its batch; None: any."""


class DeclaredInput(nn.Module):
    """A network of an input with a declared shape, as a classifier of images (N, C, H, W).

    Channels are moved to the end if the network expects them there, and images are flattened for another
    number of axes. A fixed batch is filled with copies of the last image.

    Args:
        network: takes the declared input.
        declared: its shape with the batch.
        fixed_batch: whether the network takes only batches of the declared size.
    """

    def __init__(self, network: nn.Module, declared: Declared, *, fixed_batch: bool = True) -> None:
        super().__init__()
        self.network = network
        self.batch, self.shape = (declared[0] if declared and fixed_batch else None), tuple(declared[1:])
        self.training = network.training

    @property
    def channels_last(self) -> bool:
        """Whether the network takes (N, H, W, C)."""
        shape = self.shape
        return len(shape) == 3 and shape[-1] in _CHANNELS and shape[0] not in _CHANNELS

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences for the user on what happens to the images."""
        shown = f"({', '.join(['N', *('any' if size is None else str(size) for size in self.shape)])})"
        found = []
        if self.channels_last:
            found.append(f"the network takes images of shape {shown}: the channels go to the end")
        elif len(self.shape) != 3:
            found.append(f"the network takes an input of shape {shown}: images are reshaped, row by row")
        if self.batch is not None:
            found.append(f"the network takes only batches of {self.batch}: larger ones are split")
        return tuple(found)

    def forward(self, images: Tensor) -> Tensor:
        """Return the network's answer to images (N, C, H, W)."""
        given = tuple(images.shape[1:])
        if self.channels_last:
            images = images.permute(0, 2, 3, 1).contiguous()
        elif len(self.shape) != 3:
            sizes = [size for size in self.shape if size is not None]
            if len(sizes) == len(self.shape) and math.prod(sizes) == math.prod(given):
                images = images.reshape(len(images), *sizes)
        pairs = zip(self.shape, images.shape[1:], strict=False)
        if len(self.shape) != images.ndim - 1 or any(size not in {None, found} for size, found in pairs):
            raise RobustlabError(self._refusal(given))
        if self.batch is None:
            answer: Tensor = self.network(images)
            return answer
        missing = -len(images) % self.batch
        whole = torch.cat([images, images[-1:].expand(missing, *images.shape[1:])])
        answers = [self.network(part) for part in torch.split(whole, self.batch)]
        return torch.cat(answers)[: len(images)]

    def _refusal(self, given: tuple[int, ...]) -> str:
        sides = self.shape[:2] if self.channels_last else self.shape[1:]
        remedy = ""
        if len(self.shape) == 3 and sides[0] is not None and sides[0] == sides[1]:
            remedy = f"; give --resize {sides[0]} --crop {sides[0]}"
        wished = ", ".join("any" if size is None else str(size) for size in self.shape)
        return f"the network takes images of shape ({wished}), not {given} (C, H, W){remedy}"


def in_declared_input(network: nn.Module, declared: Declared) -> tuple[nn.Module, tuple[str, ...]]:
    """Return a network as a classifier of images (N, C, H, W), and sentences on what happens to them."""
    batch = declared[0] if declared else None
    wrapped = DeclaredInput(network, declared, fixed_batch=batch is not None and _is_fixed(network, declared))
    plain = wrapped.batch is None and len(wrapped.shape) == 3 and not wrapped.channels_last
    return (network if plain and None in wrapped.shape else wrapped), wrapped.remarks


def _is_fixed(network: nn.Module, declared: Declared) -> bool:
    """Return whether a network refuses larger batches than declared, or answers otherwise to them."""
    size, *shape = (2 if length is None else length for length in declared)
    images = torch.rand(2 * size, *shape, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            parts = torch.cat([network(images[:size]), network(images[size:])])
            return not torch.allclose(network(images), parts, atol=1e-4)
    except Exception:  # it refuses them in any way
        return True
