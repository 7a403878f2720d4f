"""A threat model whose attacker can change only a part of the values."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, ClassVar, Self

import torch
from pydantic import Field
from torch import Tensor

from robustlab.core.errors import RobustlabError
from robustlab.core.spec import register
from robustlab.threats.base import ThreatModel

_GEOMETRY = ("eps", "bounded", "order", "separable", "sparse", "discrete", "projects_exactly", "largest_eps")


@register("masked")
class Masked(ThreatModel):
    """Another threat model, in which some values of an image keep their value, such as the age of a person.

    Distances are those of the values that may change. Attacks search among these alone.
    """

    example: ClassVar[str] = "masked(threat=linf(eps=0.1), fixed=(0, 3))"

    threat: ThreatModel
    """What the attacker may do with the other values."""
    fixed: tuple[Annotated[int, Field(ge=0)], ...]
    """The places of the values that keep their value: in a row of features, or in the flattened image."""

    def __post_init__(self) -> None:
        if isinstance(self.threat, Masked):
            raise ValueError("threat must not be masked itself; give all places in one fixed=(...)")
        if not self.threat.bounded:
            raise ValueError(f"threat must bound a distance; {self.threat!r} does not")
        if list(self.fixed) != sorted(set(self.fixed)) or not self.fixed:
            raise ValueError(f"fixed must be places from low to high, each once; found {self.fixed}")
        for name in _GEOMETRY:
            object.__setattr__(self, name, getattr(self.threat, name))

    @property
    def inner(self) -> ThreatModel:
        return self.threat

    def at(self, eps: float) -> Self:
        return dataclasses.replace(self, threat=self.threat.at(eps))

    def movable(self, shape: Sequence[int]) -> Tensor:
        """Return (D,) bool, which values of a flattened image of a shape (C, H, W) may change.

        Raises:
            RobustlabError: a place lies outside the image, or no value is left.
        """
        size = torch.Size(shape).numel()
        if self.fixed[-1] >= size:
            raise RobustlabError(
                f"fixed names place {self.fixed[-1]}, but an image has {size} values, from 0"
            )
        if len(self.fixed) == size:
            raise RobustlabError(f"fixed names all {size} values; leave at least one that may change")
        free = torch.ones(size, dtype=torch.bool)
        free[list(self.fixed)] = False
        return free

    def free_values(self, images: Tensor) -> Tensor:
        """Return (N, 1, 1, M) the values that may change."""
        free = self.movable(images.shape[1:]).to(images.device)
        return images.flatten(1)[:, free][:, None, None]

    def with_values(self, images: Tensor, values: Tensor) -> Tensor:
        free = self.movable(images.shape[1:]).to(images.device)
        changed = images.flatten(1).to(values.dtype).index_copy(1, free.nonzero()[:, 0], values.flatten(1))
        return changed.view_as(images)

    def largest_distance(self, shape: tuple[int, ...]) -> float:
        return self.threat.largest_distance((1, 1, int(self.movable(shape).sum())))

    def eps_to_grey(self, shape: tuple[int, ...]) -> float:
        return self.threat.eps_to_grey((1, 1, int(self.movable(shape).sum())))

    def words(self, channels: int | None) -> str:
        return f"{self.threat.words(channels)}; {len(self.fixed)} of the values can't change"

    def distance(self, images: Tensor, clean: Tensor) -> Tensor:
        """Return (N,) distances of the values that may change; infinite where another one has changed."""
        fixed = ~self.movable(clean.shape[1:]).to(clean.device)
        touched = (images != clean).flatten(1)[:, fixed].any(dim=1)
        return torch.where(
            touched, torch.inf, self.threat.distance(self.free_values(images), self.free_values(clean))
        )

    def project(self, images: Tensor, clean: Tensor, eps: Tensor | None = None) -> Tensor:
        values = self.threat.project(self.free_values(images), self.free_values(clean), eps)
        return self.with_values(clean, values)

    def random_start(self, clean: Tensor, key: int, ids: Tensor, eps: Tensor | None = None) -> Tensor:
        return self.with_values(clean, self.threat.random_start(self.free_values(clean), key, ids, eps))

    def ascend(
        self, images: Tensor, gradient: Tensor, fraction: float | Tensor, eps: Tensor | None = None
    ) -> Tensor:
        values = self.threat.ascend(self.free_values(images), self.free_values(gradient), fraction, eps)
        return self.with_values(images, values)

    def dual_norm(self, gradients: Tensor) -> Tensor:
        size = gradients.shape[-3:]
        values = self.free_values(gradients.reshape(-1, *size))
        return self.threat.dual_norm(values).view(gradients.shape[:-3])

    def steepest(self, gradient: Tensor) -> Tensor:
        values = self.threat.steepest(self.free_values(gradient))
        return self.with_values(torch.zeros_like(gradient), values)

    def between(self, clean: Tensor, images: Tensor, share: Tensor) -> Tensor:
        values = self.threat.between(self.free_values(clean), self.free_values(images), share)
        return self.with_values(clean, values)

    def _sizes(self, weight: Tensor, room: Tensor, need: Tensor) -> Tensor:
        free = self.movable((1, 1, weight.shape[1])).to(weight.device)
        sizes = torch.zeros_like(room)
        sizes[:, free] = self.threat._sizes(weight[:, free], room[:, free], need)
        return sizes
