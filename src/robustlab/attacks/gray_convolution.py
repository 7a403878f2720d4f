"""A faster gradient with respect to the input, for convolutions of images with one channel."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_FEWEST = 8
"""The smallest batch for which it is faster; for fewer images the calls cost more than the sums."""


class _GrayConvolution(torch.autograd.Function):
    """A convolution of one channel; the gradient of the input is a matrix product, folded into images.

    oneDNN's own gradient takes three to four times as long (LOG.md, "Gradients of one channel, and larger
    batches for small networks").
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(images: Tensor, conv: nn.Conv2d) -> Tensor:
        return nn.Conv2d.forward(conv, images)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, nn.Conv2d], output: Tensor) -> None:  # noqa: ARG004
        images, ctx.conv = inputs
        ctx.size = images.shape[2:]
        ctx.save_for_backward(ctx.conv.weight)

    @staticmethod
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor, None]:
        (weight,), conv = ctx.saved_tensors, ctx.conv
        columns = weight.to(slopes.dtype).flatten(1).T @ slopes.flatten(2)
        # In fp32, since many columns are added for each pixel.
        folded = F.fold(columns.float(), ctx.size, conv.kernel_size, conv.dilation, conv.padding, conv.stride)
        return folded, None


@contextmanager
def faster_input_gradient(model: nn.Module) -> Iterator[None]:
    """Inside the block, convolutions of one channel compute the gradient of their input faster, on a CPU.

    Their parameters get no gradients. Answers don't change, and gradients only by rounding.
    """
    convolutions = [part for part in model.modules() if isinstance(part, nn.Conv2d) and _is_plain(part)]
    for conv in convolutions:
        # A method, whose copy belongs to the copy of the convolution.
        conv.forward = MethodType(forward, conv)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for conv in convolutions:
            del conv.forward


def _is_plain(part: nn.Conv2d) -> bool:
    """Return whether it is torch's own convolution of one channel, on a CPU, with its own forward."""
    return (
        type(part) is nn.Conv2d
        and part.in_channels == 1
        and part.padding_mode == "zeros"
        and not isinstance(part.padding, str)
        and part.weight.device.type == "cpu"
        and part.weight.dtype == torch.float32
        and "forward" not in vars(part)
    )


def forward(conv: nn.Conv2d, images: Tensor) -> Tensor:
    """Return the convolution's answer; it replaces the method of this name."""
    wanted = torch.is_grad_enabled() and images.requires_grad and not conv.weight.requires_grad
    if not wanted or len(images) < _FEWEST or images.ndim != 4:
        return nn.Conv2d.forward(conv, images)
    answer: Tensor = _GrayConvolution.apply(images, conv)
    return answer
