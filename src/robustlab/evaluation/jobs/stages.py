"""The kinds of work on images, block by block; each returns rows of the ledger."""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from robustlab.attacks import Attack, AttackResult
from robustlab.attacks.criteria import MISCLASSIFIED, Criterion, Observation
from robustlab.attacks.progress_reporter import OnPass
from robustlab.certify import Certifier
from robustlab.core.tolerance import with_tolerance
from robustlab.data import Split
from robustlab.evaluation.identity import code_of
from robustlab.evaluation.jobs import eight_bit
from robustlab.evaluation.jobs.context import EvaluationContext
from robustlab.runs.ledger import Outcome
from robustlab.threats import ThreatModel

Stored = Mapping[int, bytes]
"""Adversarial images in the ledger's format, by id."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """The rows of some images, and the perturbed images that are kept, by image id."""

    outcomes: list[Outcome]
    examples: dict[int, bytes] = field(default_factory=dict)


class EvaluationStage(ABC):
    """One kind of work on images; an image's row does not depend on other images."""

    reported: bool = True
    """Whether progress shows it; the second measurement of successes is not shown."""

    of_classifier: ClassVar[bool] = False
    """Whether the rows do not depend on the attacker, so that evaluations of the classifier share them."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Unique within the evaluation."""

    @property
    def code(self) -> str:
        """The hash of a unit's code if it is not robustlab's; outcomes depend on it and the name."""
        return ""

    @property
    def title(self) -> str:
        """The title for users."""
        return self.name

    @property
    def at_once(self) -> int | None:
        """The most images in one job; None: as many as fit into memory."""
        return None

    @abstractmethod
    def run(self, context: EvaluationContext, block: Split, stored: Stored, report: OnPass) -> Block:
        """Do the work on a block of images that lies on the device.

        Args:
            context, block: the evaluation, and the images.
            stored: the adversarial images that an earlier stage kept; see `Job.stored`.
            report: may be called with the progress.
        """


@dataclass(frozen=True, kw_only=True)
class Clean(EvaluationStage):
    """Classifies the clean images."""

    of_classifier = True

    @property
    def name(self) -> str:
        return "clean images"

    def run(self, context: EvaluationContext, block: Split, stored: Stored, report: OnPass) -> Block:
        del stored, report
        answers = context.responses(block.pixels(slice(None)), "clean", int(block.ids[0]))
        nothing, once = torch.zeros_like(block.labels), torch.full_like(block.labels, context.eot_samples)
        said = (answers.classes, answers.confidences, nothing.float())
        return Block(outcomes=rows(block, *said, once, nothing, nothing - 1, nothing))


@dataclass(frozen=True, kw_only=True)
class Certify(EvaluationStage):
    """Looks for a certificate that no attack can succeed; ``restart`` is 0 with one, else -1."""

    of_classifier = True

    certifier: Certifier
    threat: ThreatModel
    reported: bool = True

    @property
    def proves(self) -> bool:
        """Whether it finds proofs, not statistical certificates."""
        return self.certifier.confidence == 1

    @property
    def at_once(self) -> int | None:
        return self.certifier.at_once

    @property
    def name(self) -> str:
        return f"{self.certifier!r} of {self.threat!r}"

    @property
    def code(self) -> str:
        return code_of(self.certifier) + code_of(self.threat)

    def run(self, context: EvaluationContext, block: Split, stored: Stored, report: OnPass) -> Block:
        del stored, report
        images = block.pixels(slice(None))
        certified, forwards, backwards = self.certifier.proofs(
            context.model, images, block.labels, self.threat, batch_size=context.batch_size
        )
        nothing = torch.zeros_like(block.labels)
        said = (block.labels, nothing.float(), nothing.float())
        return Block(outcomes=rows(block, *said, forwards, backwards, certified.long() - 1, nothing))


@dataclass(frozen=True, kw_only=True)
class AttackStage(EvaluationStage):
    """Looks for adversarial images with an attack, and keeps them.

    Attributes:
        threat: the evaluation's threat model, or a wider one.
        criterion: the attacker's goal.
        min_norm: whether it looks for each image's nearest success, for the curve, instead of the verdict.
    """

    attack: Attack
    threat: ThreatModel
    criterion: Criterion = MISCLASSIFIED
    min_norm: bool = False

    @property
    def goal(self) -> str:
        """The attacker's goal, to follow the attack's name; empty: any class except the label."""
        return "" if self.criterion == MISCLASSIFIED else f" for {self.criterion!r}"

    @property
    def name(self) -> str:
        return f"{self.attack!r}{f' within {self.threat!r}' if self.min_norm else ''}{self.goal}"

    @property
    def title(self) -> str:
        return f"{'nearest success: ' if self.min_norm else ''}{self.attack.brief()}{self.goal}"

    @property
    def code(self) -> str:
        return code_of(self.attack) + code_of(self.criterion)

    def run(self, context: EvaluationContext, block: Split, stored: Stored, report: OnPass) -> Block:
        del stored
        result = self.search(context, block, report)
        encode = eight_bit.to_png if context.eight_bit else to_bytes
        won = result.successes.nonzero().squeeze(1).tolist()
        measured = (result.predictions, result.confidences, result.distances)
        spent = (result.forwards, result.backwards, result.restarts)
        return Block(
            outcomes=rows(block, *measured, *spent, result.successes.long()),
            examples={int(block.ids[row]): encode(result.images[row]) for row in won},
        )

    def search(self, context: EvaluationContext, block: Split, report: OnPass) -> AttackResult:
        """Return the results for a block of images on the device."""
        return self.attack.run(
            context.attacked,
            block.pixels(slice(None)),
            block.labels,
            eight_bit.searched(self.threat) if context.eight_bit else self.threat,
            criterion=self.criterion,
            ids=block.ids,
            seed=context.seed,
            early_stop=context.mode == "verdict" and not self.min_norm,
            batch_size=context.batch_size,
            eot_samples=context.eot_samples,
            surrogates=context.surrogate_models,
            bf16=context.bf16,
            quantize=eight_bit.quantize(self.threat) if context.eight_bit else None,
            on_pass=report,
        )


@dataclass(frozen=True, kw_only=True)
class Verify(EvaluationStage):
    """Reads an attack's successes back from the disk and measures them again, in fp32."""

    searching: AttackStage
    reported: bool = False

    @property
    def name(self) -> str:
        return f"{self.searching.name} verified"

    @property
    def code(self) -> str:
        return self.searching.code

    def run(self, context: EvaluationContext, block: Split, stored: Stored, report: OnPass) -> Block:
        del report
        clean = block.pixels(slice(None))
        images = decoded(context, [stored[number] for number in block.ids.tolist()]).to(clean.device)
        answers = context.responses(images, self.name, int(block.ids[0]))
        criterion = self.searching.criterion
        seen = Observation(
            points=images,
            logits=answers.logits,
            valid=answers.valid,
            labels=block.labels,
            targets=criterion.targets(block.labels, lambda: context.responses(clean, "clean logits").logits),
        )
        inside = ((images >= 0) & (images <= 1)).flatten(1).all(dim=1)
        distances = self.searching.threat.distance(images, clean)
        distances = torch.where(inside, distances, torch.inf)
        nothing, once = torch.zeros_like(block.labels), torch.full_like(block.labels, context.eot_samples)
        said = (answers.classes, answers.confidences, distances)
        return Block(outcomes=rows(block, *said, once, nothing, nothing, criterion.reached(seen).long()))


def succeeded(outcome: Outcome, eps: float) -> bool:
    """Return whether a row's image lies inside the ball and reaches the attacker's goal."""
    return bool(outcome.success) and outcome.distance <= with_tolerance(eps)


def decoded(context: EvaluationContext, stored: list[bytes]) -> Tensor:
    """Return adversarial images (N, C, H, W) from the format in which a stage stored them."""
    return images_of(stored, context.images.images.shape[1:], png=context.eight_bit)


def images_of(stored: list[bytes], shape: tuple[int, ...], *, png: bool) -> Tensor:
    """Return stored images (N, *shape), float32 on the pixel scale; ``png``: with 8 bits per value."""
    if png and stored:
        return torch.stack([eight_bit.from_png(content) for content in stored])
    values = bytearray(b"".join(map(zlib.decompress, stored)))
    pixels = torch.frombuffer(values, dtype=torch.float32) if values else torch.empty(0)
    return pixels.view(len(stored), *shape)


def to_bytes(image: Tensor) -> bytes:
    """Return the float32 values of an image, compressed without loss."""
    # MNIST images of FGSM shrink to about a quarter, of PGD to half or less (LOG.md, "Time and disk space of
    # a study whose rows are evaluations").
    return zlib.compress(image.detach().cpu().contiguous().numpy().tobytes(), level=1)


def key_of(context: EvaluationContext, stage: EvaluationStage) -> str:
    """Return the key of a stage's rows; the part before the slash is the evaluation's or the classifier's."""
    key = context.classifier_key if stage.of_classifier else context.key
    return f"{key}/{stage.name}{stage.code}"


def rows(block: Split, *columns: Tensor) -> list[Outcome]:
    """Return rows of the ledger from columns (N,), in the order of `Outcome`."""
    names = tuple(Outcome.__dataclass_fields__)
    values = [column.tolist() for column in (block.ids, block.labels, *columns)]
    return [Outcome(**dict(zip(names, row, strict=True))) for row in zip(*values, strict=True)]
