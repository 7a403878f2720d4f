"""Lets a check evaluate or attack the classifier, and counts every pass."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from robustlab.attacks import Attack, AttackResult, Quantize, frozen
from robustlab.attacks.counted_model import input_gradient
from robustlab.attacks.criteria import MISCLASSIFIED, Criterion
from robustlab.attacks.losses import Loss, measure
from robustlab.core import seeding
from robustlab.core.batches import BatchSize, in_batches
from robustlab.core.calling import ask
from robustlab.core.logits import finite
from robustlab.core.threads import begin_work
from robustlab.data import Split
from robustlab.threats import ThreatModel


class NotApplicable(Exception):  # noqa: N818 (nothing went wrong)
    """A check does not apply; the message gives the reason."""


@dataclass(kw_only=True)
class Passes:
    """Forward and backward passes of single images."""

    forwards: int = 0
    backwards: int = 0


@dataclass(frozen=True, kw_only=True)
class AttackRunner:
    """The classifier and the settings of attacks; they are the same for all images of the evaluation.

    Attributes:
        model: in the form that attacks use, on the device and in eval mode.
        surrogates: other classifiers, for attacks that transfer.
        threat: the threat model of the attacks.
        criterion: the goal of the attacks.
        eot_samples: how often a random classifier is evaluated at each point.
        bf16: whether attacks search in bf16.
        quantize: turns points into images that can be stored, as in `Attack.run`.
        batch_size: images per pass, halved when memory runs out; results do not depend on it.
        spent: the passes of the current check.
    """

    model: nn.Module
    surrogates: tuple[nn.Module, ...] = ()
    classes: int
    threat: ThreatModel
    criterion: Criterion = MISCLASSIFIED
    seed: int = 0
    eot_samples: int = 1
    bf16: bool = False
    quantize: Quantize | None = None
    device: str = "cpu"
    batch_size: int | BatchSize = 250
    spent: Passes = field(default_factory=Passes)

    def widest(self, block: Split) -> float:
        """Return the eps within which every image in [0, 1] can become every other one."""
        return self.threat.largest_distance(tuple(block.images.shape[1:]))

    def check_no_mask(self, block: Split) -> None:
        """Raise `NotApplicable` if some values can't change: then no eps allows every image."""
        if self.threat.movable(tuple(block.images.shape[1:])) is not None:
            raise NotApplicable("some values can't change, so that no eps allows every image")

    # Counted passes

    def targets(self, block: Split) -> Tensor | None:
        """Return the classes (N,) that the criterion aims at; None if any wrong class is a success."""
        return self.criterion.targets(block.labels, lambda: self.logits(block.pixels(slice(None))))

    def attack(
        self,
        attack: Attack,
        block: Split,
        *,
        targets: Tensor | None = None,
        threat: ThreatModel | None = None,
        eps: Tensor | None = None,
        early_stop: bool = True,
        model: nn.Module | None = None,
    ) -> AttackResult:
        """Attack images as `Attack.run` does, with random numbers that differ from the evaluation's."""
        criterion: Criterion | str = self.criterion if targets is None else "misclassified"
        if (self.criterion.targeted or targets is not None) and not attack.inner.targetable:
            raise NotApplicable(f"{attack.inner.name} can't move towards a target class")
        result = attack.run(
            model or self.model,
            block.pixels(slice(None)),
            block.labels,
            threat or self.threat,
            criterion=criterion,
            targets=targets,
            eps=eps,
            ids=block.ids,
            seed=seeding.derive(self.seed, "checks"),
            early_stop=early_stop,
            batch_size=self.batch_size,
            eot_samples=self.eot_samples,
            surrogates=self.surrogates,
            bf16=self.bf16,
            quantize=self.quantize,
        )
        self.spent.forwards += int(result.forwards.sum())
        self.spent.backwards += int(result.backwards.sum())
        return result

    @torch.no_grad()
    def logits(self, images: Tensor, model: nn.Module | None = None) -> Tensor:
        """Return unchanged logits (N, K) in fp32, of the classifier or of another model."""
        self.spent.forwards += len(images)
        asked = model or self.model

        def answers(batch: Tensor) -> Tensor:
            begin_work(batch)
            logits: Tensor = ask(asked, batch)
            return logits.float()

        return torch.cat(in_batches(images, self.batch_size, answers))

    def gradients(self, images: Tensor, labels: Tensor, loss: Loss) -> Tensor:
        """Return the gradient (N, C, H, W) of the loss, in fp32; zeros if no gradient reaches the input."""

        def slopes(rows: Tensor) -> Tensor:
            leaf = images[rows].detach().requires_grad_()
            begin_work(leaf)
            return input_gradient(measure(loss, finite(ask(self.model, leaf))[0], labels[rows]).sum(), leaf)

        with frozen(self.model), torch.enable_grad():
            parts = in_batches(torch.arange(len(images), device=images.device), self.batch_size, slopes)
        self.spent.forwards += len(images)
        self.spent.backwards += len(images)
        return torch.cat(parts)
