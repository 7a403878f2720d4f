"""Corruptions of MNIST-C (Mu & Gilmer 2019, arXiv:1906.02337). Budget: one forward pass.

The parameters are those of github.com/google-research/mnist-c; the random numbers, and so the pictures,
differ.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field
from torch import Tensor

from robustlab.attacks import corruption_pixels as pixels
from robustlab.attacks import corruption_shapes as shapes
from robustlab.attacks.base import Attack
from robustlab.attacks.corruption_fog import fog
from robustlab.attacks.session import Session
from robustlab.core.spec import register

Effect = Literal[
    "shot_noise",
    "impulse_noise",
    "glass_blur",
    "motion_blur",
    "shear",
    "scale",
    "rotate",
    "brightness",
    "translate",
    "stripe",
    "fog",
    "spatter",
    "dotted_line",
    "zigzag",
    "canny_edges",
]


@dataclass(frozen=True)
class _Kind:
    """A corruption, its parameters by severity, and the default severity of MNIST-C's code."""

    apply: Callable[..., Tensor]
    levels: tuple[tuple[Any, ...], ...] = ((),)
    default: int = 1


_KINDS: dict[Effect, _Kind] = {
    "shot_noise": _Kind(pixels.shot_noise, ((60,), (25,), (12,), (5,), (3,)), 5),
    "impulse_noise": _Kind(pixels.impulse_noise, ((0.03,), (0.06,), (0.09,), (0.17,), (0.27,)), 4),
    "glass_blur": _Kind(
        pixels.glass_blur, ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2)), 1
    ),
    "motion_blur": _Kind(pixels.motion_blur, ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)), 1),
    "shear": _Kind(shapes.shear, ((0.2,), (0.4,), (0.6,), (0.8,), (1.0,)), 2),
    "scale": _Kind(shapes.scale, ((0.9,), (0.8,), (0.7,), (0.6,), (0.5,)), 3),
    "rotate": _Kind(shapes.rotate, ((0.2,), (0.4,), (0.6,), (0.8,), (1.0,)), 2),
    "brightness": _Kind(pixels.brightness, ((0.1,), (0.2,), (0.3,), (0.4,), (0.5,)), 5),
    "translate": _Kind(shapes.translate, ((1,), (2,), (3,), (4,), (5,)), 3),
    "stripe": _Kind(shapes.stripe),
    "fog": _Kind(fog, ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)), 5),
    "spatter": _Kind(
        pixels.spatter,
        (
            (0.65, 0.3, 4, 0.69, 0.6),
            (0.65, 0.3, 3, 0.68, 0.6),
            (0.65, 0.3, 2, 0.68, 0.5),
            (0.65, 0.3, 1, 0.65, 1.5),
            (0.67, 0.4, 1, 0.65, 1.5),
        ),
        4,
    ),
    "dotted_line": _Kind(shapes.dotted_line),
    "zigzag": _Kind(shapes.zigzag),
    "canny_edges": _Kind(shapes.canny_edges),
}


@register("corruption")
class Corruption(Attack):
    """One of MNIST-C's corruptions."""

    norms = ("unbounded",)
    targetable = False
    needs_gradient = False
    passes = 1

    effect: Effect
    """The name of the corruption."""
    severity: Annotated[int, Field(ge=1, le=5)] | None = None
    """From 1 to 5; default: that of MNIST-C's code. Four effects have only one severity."""

    def __post_init__(self) -> None:
        levels = len(_KINDS[self.effect].levels)
        if self.severity is not None and self.severity > levels:
            raise ValueError(f"{self.effect} has severity 1 alone, found severity {self.severity}")

    def search(self, session: Session) -> None:
        session.propose(self.apply(session.clean, session))

    def apply(self, images: Tensor, draws: pixels.Draws) -> Tensor:
        """Return the corrupted images (N, C, H, W), in [0, 1]."""
        kind = _KINDS[self.effect]
        parameters = kind.levels[(self.severity or kind.default) - 1]
        return kind.apply(images, draws, *parameters).clamp(0.0, 1.0)
