"""Networks whose weights are not float32: they get their images in their own type."""

from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from robustlab.core import seeding
from robustlab.core.calling import UserCodeError, ask, calling


class InOwnDtype(nn.Module):
    """A classifier of float32 images (N, C, H, W); they are cast to its own type first.

    The images of an attack stay float32, and so do all distances; gradients pass through the cast. In float16
    the gradient of a confident answer is proportional to the probability of another class, and would be
    rounded to zero. So inside the model the gradient of each image is scaled: its largest value at the logits
    is 1.

    Args:
        model: the classifier of images in ``dtype``, in eval mode.
        dtype: float64, float16 or bfloat16.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.model, self.dtype = model, dtype
        self.training = False

    def forward(self, images: Tensor) -> Tensor:
        """Return the model's answer."""
        before = torch.get_default_dtype()
        if self.dtype == torch.float64:
            # A user of float64 has often made it the default, and the model's code may rely on that.
            torch.set_default_dtype(torch.float64)
        try:
            if self.dtype != torch.float16:
                answer: Tensor = self.model(images.to(self.dtype))
                return answer
            scale: list[Tensor] = []
            answer = self.model(_ScaledBack.apply(images, scale))
            if isinstance(answer, Tensor):
                answer = _ScaledUp.apply(answer, scale)
            return answer
        finally:
            torch.set_default_dtype(before)


class _ScaledUp(torch.autograd.Function):
    """Forward: casts from float16 to float32. Backward, at the start: scales the gradient."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, scale: list[Tensor]) -> Tensor:
        ctx.scale, ctx.dtype = scale, logits.dtype
        return logits.float()

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        size = slopes[0].abs().flatten(1).amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny)
        ctx.scale[:] = [size]
        return _by_row(slopes[0], 1 / size).to(ctx.dtype), None


class _ScaledBack(torch.autograd.Function):
    """Forward: casts from float32 to float16. Backward, at the end: undoes the gradient's scaling."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, scale: list[Tensor]) -> Tensor:
        ctx.scale = scale
        return images.half()

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        return _by_row(slopes[0].float(), *ctx.scale), None


def _by_row(values: Tensor, factors: Tensor) -> Tensor:
    return values * factors.view(-1, *[1] * (values.ndim - 1))


def in_own_dtype(model: nn.Module, images: Tensor) -> nn.Module:
    """Return a classifier of float32 images: the model, inside an `InOwnDtype` if it needs one.

    A model with only float32 weights, or without weights, gets float32 without a test. Any other model is
    tested on an image. It gets float32 if it accepts that, since it then casts by itself; otherwise the first
    type of its weights that it accepts.

    Args:
        model: in eval mode.
        images: (N, C, H, W) float32, at least one.

    Raises:
        UserCodeError: it ends the program during the test.
    """
    with calling("the model", " when its weights were looked at"):
        weights = chain(model.parameters(), model.buffers())
        own = dict.fromkeys(weight.dtype for weight in weights if weight.is_floating_point())
        cast_already = any(isinstance(part, InOwnDtype) for part in model.modules())
    if set(own) <= {torch.float32} or cast_already:
        return model
    for dtype in dict.fromkeys([torch.float32, *own]):
        one = model if dtype == torch.float32 else InOwnDtype(model, dtype)
        try:
            with torch.no_grad(), seeding.isolated(0):
                ask(one, images[:1].clone())
        except UserCodeError as error:
            if error.quits:
                raise
        else:
            return one
    return model


def dtype_of(model: nn.Module) -> torch.dtype:
    """Return the type in which `in_own_dtype` gives a model its images."""
    return model.dtype if isinstance(model, InOwnDtype) else torch.float32


def short_name(dtype: torch.dtype) -> str:
    """Return ``"fp32"``, ``"fp64"``, ``"fp16"`` or ``"bf16"``."""
    return str(dtype).removeprefix("torch.").replace("bfloat", "bf").replace("float", "fp")
