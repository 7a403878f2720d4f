"""The base class of every threat model.

All images are (N, C, H, W) float32 on the pixel scale [0, 1]; every distance is on the pixel scale.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import ClassVar, Self, final

import torch
from torch import Tensor

from robustlab.core.eps_lists import has_eps_list, one_for_each_eps
from robustlab.core.errors import SpecError
from robustlab.core.spec import Unit
from robustlab.core.text import shown
from robustlab.core.user_units import parse_trusted


def per_image(values: Tensor, images: Tensor) -> Tensor:
    """Reshape (N,) so that it broadcasts over the pixels of (N, C, H, W)."""
    return values.view(-1, *[1] * (images.ndim - 1))


def pixels(channels: int | None) -> str:
    """Return the word for one value of an image with so many channels; None: of a row of features."""
    return "value" if channels is None else "pixel" if channels == 1 else "colour value"


def scale(channels: int | None) -> str:
    """Return what 0 and 1 are, to follow a distance."""
    if channels is None:
        return "where 0 and 1 are the ends of each value's range"
    return "where black is 0 and white is 1"


class ThreatModel(Unit, ABC):
    """The set of images into which an attacker may turn an image.

    Each method accepts ``eps`` (N,): one radius per image instead of the threat model's own.
    """

    kind = "threat"
    example = "linf(eps=0.3)"
    bounded: ClassVar[bool] = True
    """Whether eps bounds a distance; if not, the attacks have their own limits."""
    order: ClassVar[float]
    """The p of the norm."""
    separable: ClassVar[bool] = False
    """Whether each pixel moves independently, so that the allowed images are a box."""
    sparse: ClassVar[bool] = False
    """Whether the steepest step moves few pixels."""
    discrete: ClassVar[bool] = False
    """Whether eps counts pixels; then eps and every distance are whole numbers."""
    projects_exactly: ClassVar[bool] = True
    """Whether `project` returns the nearest allowed image; if not, clip to [0, 1] before the projection."""
    largest_eps: ClassVar[float] = math.inf
    """The largest eps that the threat model accepts."""
    eps: float

    def at(self, eps: float) -> Self:
        """Return the same threat model with another eps."""
        return type(self)(**vars(self) | {"eps": eps})

    @property
    def inner(self) -> "ThreatModel":
        """The threat model itself; of one that restricts another one, that one."""
        return self

    @final
    def is_one_of(self, names: Collection[str]) -> bool:
        """Return whether a method that supports threat models of these names supports this one."""
        return self.inner.name in names

    def movable(self, shape: Sequence[int]) -> Tensor | None:
        """Return (D,) bool, which values of a flattened image (C, H, W) may change; None if all may."""
        del shape
        return None

    def free_values(self, images: Tensor) -> Tensor:
        """Return the values of images (N, C, H, W) that may change, as images of another shape."""
        return images

    def with_values(self, images: Tensor, values: Tensor) -> Tensor:
        """Return images (N, C, H, W) with other values, those of `free_values`."""
        del images
        return values

    @abstractmethod
    def largest_distance(self, shape: tuple[int, ...]) -> float:
        """Return the largest distance of two images of a shape (C, H, W); a larger eps allows every image."""

    def eps_to_grey(self, shape: tuple[int, ...]) -> float:
        """Return the eps within which every image of a shape (C, H, W) can become the same grey image."""
        return self.largest_distance(shape) / 2

    def words(self, channels: int | None) -> str:
        """Return what the attacker may do to an image with so many channels, to follow "may".

        None: to a row of features, or a signal.
        """
        del channels
        return f"change the image within {self!r}"

    @abstractmethod
    def distance(self, images: Tensor, clean: Tensor) -> Tensor:
        """Return (N,) distances in the threat model's norm."""

    @abstractmethod
    def project(self, images: Tensor, clean: Tensor, eps: Tensor | None = None) -> Tensor:
        """Return allowed images near the given ones: within eps of the clean ones, inside [0, 1]."""

    @abstractmethod
    def random_start(self, clean: Tensor, key: int, ids: Tensor, eps: Tensor | None = None) -> Tensor:
        """Return a random allowed image for each clean one, drawn by (key, id) as in `seeding`."""

    @abstractmethod
    def ascend(
        self, images: Tensor, gradient: Tensor, fraction: float | Tensor, eps: Tensor | None = None
    ) -> Tensor:
        """Take the step of length ``fraction * eps`` that most increases the loss; not projected.

        Args:
            images: (N, C, H, W) where the step begins.
            gradient: (N, C, H, W) of the loss at the images.
            fraction: one number, or (N,) one per image.
            eps: (N,) one radius per image.
        """

    def dual_norm(self, gradients: Tensor) -> Tensor:
        """Return the dual norms (...), above 0, of gradients (..., C, H, W): the largest gain per unit."""
        dual = math.inf if self.order <= 1 else 1 / (1 - 1 / self.order)
        size: Tensor = torch.linalg.vector_norm(gradients.flatten(-3), ord=dual, dim=-1)
        return size.clamp(min=1e-12)

    @abstractmethod
    def steepest(self, gradient: Tensor) -> Tensor:
        """Return (N, C, H, W) the direction of steepest ascent, per unit of distance; of any length."""

    @final
    def straight_move(self, gradient: Tensor, rise: Tensor) -> Tensor:
        """Return the smallest moves along which a linear function rises by ``rise``.

        Args:
            gradient: (N, C, H, W), of the function.
            rise: (N,) of the function; negative: it should fall. The moves may leave [0, 1].
        """
        direction = self.steepest(gradient)
        gain = (gradient * direction).flatten(1).sum(dim=1).clamp(min=1e-30)
        return direction * per_image((rise / gain).nan_to_num(), gradient)

    @final
    def move_inside(self, starts: Tensor, gradient: Tensor, rise: Tensor) -> Tensor:
        """Return the smallest moves inside [0, 1] along which a linear function rises by ``rise``.

        If no move is large enough, every pixel moves to its limit.

        Args:
            starts: (N, C, H, W) in [0, 1].
            gradient: (N, C, H, W), of the function.
            rise: (N,) of the function; negative: it should fall.
        """
        toward = gradient.sign() * per_image(rise.sign(), gradient)
        room = torch.where(toward > 0, 1 - starts, starts).flatten(1)
        size = self._sizes(gradient.flatten(1).abs(), room, rise.abs()[:, None])
        return toward * size.view_as(starts)

    @abstractmethod
    def _sizes(self, weight: Tensor, room: Tensor, need: Tensor) -> Tensor:
        """Return (N, D) how far each pixel moves, at most ``room``, for a total gain ``need`` at least cost.

        Args:
            weight: (N, D) the gain of a move of 1, not negative.
            room: (N, D) each pixel's distance to its limit.
            need: (N, 1), not negative.
        """

    def between(self, clean: Tensor, images: Tensor, share: Tensor) -> Tensor:
        """Return images on the way from the clean ones to others, at a share (N,) of their distance."""
        return clean + per_image(share, images) * (images - clean)

    def _radius(self, images: Tensor, eps: Tensor | None, fraction: float | Tensor = 1.0) -> float | Tensor:
        """Return ``fraction * eps`` so that it broadcasts over pixels."""
        length = fraction * (self.eps if eps is None else eps)
        return per_image(length, images) if isinstance(length, Tensor) else length


def as_threat(threat: object) -> ThreatModel:
    """Return a threat model from itself, its spec, or a class in a user's file: ``my.py:Mine(eps=0.3)``.

    Raises:
        SpecError, SetupError: it is none of these, or the spec has a mistake.
    """
    if isinstance(threat, str):
        if has_eps_list(threat):
            raise SpecError(
                f"one eps is expected here, found {shown(threat)}; `robustlab evaluate` and "
                "robustlab.evaluate_many take a list"
            )
        return parse_trusted(ThreatModel, threat)
    if isinstance(threat, ThreatModel):
        return threat
    number = isinstance(threat, int | float) and not isinstance(threat, bool)
    example = f"linf(eps={shown(threat)})" if number else ThreatModel.example
    raise SpecError(f"threat must be a threat model or a spec such as {example!r}, found {shown(threat)}")


def each_threat(threat: object) -> list[ThreatModel]:
    """Return the threat models of a text with a list of eps or without, or of a sequence; each one once.

    Raises:
        SpecError, SetupError: none is given, or one of them has a mistake, as `as_threat` finds it.
    """
    found: dict[str, ThreatModel] = {}
    for one in threat if isinstance(threat, list | tuple) else [threat]:
        for built in map(as_threat, one_for_each_eps(one) if isinstance(one, str) else [one]):
            found.setdefault(repr(built), built)
    if not found:
        raise SpecError(f"threat must be at least one threat model, found {shown(threat)}")
    return list(found.values())
