"""What the checks may look at: the classifier, its images, and what the attacks found."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from robustlab.attacks import Attack, AttackResult, Mode, frozen
from robustlab.attacks.losses import Loss, measure
from robustlab.core import seeding
from robustlab.core.spec import make
from robustlab.core.threat import ThreatModel
from robustlab.data import Split


class Skip(Exception):  # noqa: N818 (nothing went wrong)
    """A check does not apply; the message tells why."""


@dataclass(kw_only=True)
class Passes:
    """Passes of single images, one way and the other."""

    forwards: int = 0
    backwards: int = 0


@dataclass(frozen=True, kw_only=True)
class Row:
    """An attack of the evaluation: images that it met, images that it was the first to break, gradients."""

    attack: str
    attacked: int
    broken: int
    backwards: int


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the evaluation found.

    Attributes:
        right: ids of the images that are classified correctly as they are.
        proven: ids of those for which no attack can exist; None without a certifier.
        broken: the attack that broke an image first, by id.
        no_answer: ids of images at which the classifier's answer is not finite.
        no_answer_near: ids of images of which an adversarial image has no finite answer.
        rows: the attacks in order.
        adversarial: the stored adversarial images (N, C, H, W) of ids that are broken.
    """

    right: frozenset[int]
    proven: frozenset[int] | None
    broken: dict[int, str]
    no_answer: frozenset[int]
    no_answer_near: frozenset[int]
    rows: tuple[Row, ...]
    adversarial: Callable[[list[int]], Tensor]

    @property
    def survivors(self) -> frozenset[int]:
        """Ids of the images that withstood all attacks, and are not proven to withstand any."""
        return self.right - self.broken.keys() - (self.proven or frozenset())


@dataclass(frozen=True, kw_only=True)
class Context:
    """One evaluation, as a check sees it.

    Attributes:
        model: as the attacks see it, on the device and in eval mode.
        surrogates: other classifiers, for attacks that transfer.
        images: all of them, on the CPU.
        threat: what the attacks search.
        attacks: those of the evaluation, in order.
        samples: how often a random classifier is asked about each point.
        half: whether attacks search in bf16.
        batch_size: images per pass; no outcome depends on it.
        spent: the passes of the check that runs.
    """

    model: nn.Module
    surrogates: tuple[nn.Module, ...] = ()
    images: Split
    classes: int
    threat: ThreatModel
    attacks: tuple[Attack, ...]
    found: Found
    seed: int = 0
    samples: int = 1
    half: bool = False
    device: str = "cpu"
    batch_size: int = 250
    spent: Passes = field(default_factory=Passes)

    # Images: the same ones whatever the batches and the order

    def any_images(self, most: int) -> Split:
        """Return at most so many images, on the device."""
        return self._pick(self.images.ids.tolist(), most, "there are no images")

    def right_images(self, most: int) -> Split:
        """Return at most so many of the images that are classified correctly, on the device."""
        return self._pick(self.found.right, most, "no image is classified correctly")

    def survivors(self, most: int) -> Split:
        """Return at most so many of the images that withstood all attacks and are not proven to."""
        return self._pick(self.found.survivors, most, "no image is left: all are broken, or proven")

    def proven_images(self, most: int) -> Split:
        """Return at most so many of the images that are proven to withstand all attacks."""
        if self.found.proven is None:
            raise Skip("no proofs were looked for, or the certifier does not know this classifier")
        return self._pick(self.found.proven, most, "no image is proven")

    def _pick(self, ids: Iterable[int], most: int, otherwise: str) -> Split:
        wanted = torch.tensor(sorted(ids), dtype=torch.int64)
        if len(wanted) == 0:
            raise Skip(otherwise)
        rank = seeding.uniform(seeding.derive(self.seed, "checks", "images"), wanted, (1,)).squeeze(1)
        chosen = wanted[rank.argsort(stable=True)[:most]]
        return self.images.take(torch.isin(self.images.ids, chosen)).to(self.device)

    # Threat models

    def at(self, eps: float) -> ThreatModel:
        """Return the threat model with another eps."""
        whole = int(eps) if self.threat.name == "l0" else eps
        return make(type(self.threat), vars(self.threat) | {"eps": whole})

    @property
    def widest(self) -> float:
        """The eps that reaches every image of [0, 1] from every other one."""
        values = float(self.images.images[0].numel())
        return {"linf": 1.0, "l2": math.sqrt(values)}.get(self.threat.name, values)

    # Passes, which are counted

    def attack(
        self,
        attack: Attack,
        block: Split,
        *,
        threat: ThreatModel | None = None,
        eps: Tensor | None = None,
        mode: Mode = "verdict",
        model: nn.Module | None = None,
    ) -> AttackResult:
        """Attack images as `Attack.run` does, with other random numbers than the evaluation's."""
        result = attack.run(
            model or self.model,
            block.pixels(slice(None)),
            block.labels,
            threat or self.threat,
            eps=eps,
            ids=block.ids,
            seed=seeding.derive(self.seed, "checks"),
            mode=mode,
            batch_size=self.batch_size,
            samples=self.samples,
            surrogates=self.surrogates,
            half=self.half,
        )
        self.spent.forwards += int(result.forwards.sum())
        self.spent.backwards += int(result.backwards.sum())
        return result

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """Return logits (N, K) in fp32."""
        self.spent.forwards += len(images)
        return torch.cat([self.model(batch).float() for batch in torch.split(images, self.batch_size)])

    def gradients(self, images: Tensor, labels: Tensor, loss: Loss) -> Tensor:
        """Return the gradient (N, C, H, W) of the loss, in fp32; zeros where no path leads to the input."""
        parts = []
        with frozen(self.model), torch.enable_grad():
            for points, truth in zip(
                torch.split(images, self.batch_size), torch.split(labels, self.batch_size), strict=True
            ):
                leaf = points.detach().requires_grad_()
                total = measure(loss, self.model(leaf).float(), truth).sum()
                slope = (
                    torch.autograd.grad(total, leaf, allow_unused=True)[0] if total.requires_grad else None
                )
                parts.append(torch.zeros_like(points) if slope is None else slope)
        self.spent.forwards += len(images)
        self.spent.backwards += len(images)
        return torch.cat(parts)
