"""What every threat model is.

All images are (N, C, H, W) float32 on the pixel scale [0, 1]; every distance is in pixel units.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Self, TypeVar

from torch import Tensor

from robustlab.core.errors import SpecError
from robustlab.core.spec import Unit, parse
from robustlab.core.text import shown

_TOLERANCE = 1e-6

Length = TypeVar("Length", float, Tensor)


def allowance(eps: Length) -> Length:
    """Return how far images may be within eps: a little more, for what float32 rounds off in a projection."""
    return eps * (1 + _TOLERANCE) + _TOLERANCE


def per_image(values: Tensor, images: Tensor) -> Tensor:
    """Reshape (N,) so that it broadcasts over the pixels of (N, C, H, W)."""
    return values.view(-1, *[1] * (images.ndim - 1))


class ThreatModel(Unit, ABC):
    """The set of images into which an attacker may turn an image.

    Each method takes ``eps``, (N,), to put one radius per image in the place of the threat model's own.
    """

    kind = "threat"
    example = "linf(eps=0.3)"
    bounded: ClassVar[bool] = True
    """Whether eps bounds a distance; if not, it is for attacks that keep a measure of their own."""
    eps: float

    def at(self, eps: float) -> Self:
        """Return the same threat model with another eps."""
        return type(self)(**vars(self) | {"eps": eps})

    @abstractmethod
    def largest_distance(self, shape: tuple[int, ...]) -> float:
        """Return how far apart two images of a shape (C, H, W) can be; a larger eps allows every image."""

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
            images: where the step begins.
            gradient: of the loss, there.
            fraction: one number, or (N,) one per image.
            eps: (N,) one radius per image.
        """

    def _radius(self, images: Tensor, eps: Tensor | None, fraction: float | Tensor = 1.0) -> float | Tensor:
        """Return ``fraction * eps`` so that it broadcasts over pixels."""
        length = fraction * (self.eps if eps is None else eps)
        return per_image(length, images) if isinstance(length, Tensor) else length


def as_threat(threat: object) -> ThreatModel:
    """Return a threat model, given itself or its spec.

    Raises:
        SpecError: it is neither, or a spec with a mistake.
    """
    if isinstance(threat, str):
        return parse(ThreatModel, threat)
    if isinstance(threat, ThreatModel):
        return threat
    number = isinstance(threat, int | float) and not isinstance(threat, bool)
    example = f"linf(eps={shown(threat)})" if number else ThreatModel.example
    raise SpecError(f"threat must be a threat model or a spec such as {example!r}, found {shown(threat)}")
