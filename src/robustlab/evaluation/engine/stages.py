"""What is done to the images, block by block; every kind of work returns rows of the ledger."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from robustlab.attacks import Attack, Mode
from robustlab.certify import Certifier
from robustlab.core.store import Outcome, RunStore
from robustlab.core.threat import ThreatModel
from robustlab.data import Split
from robustlab.evaluation.engine import eight_bit
from robustlab.evaluation.engine.problem import Problem

TOLERANCE = 1e-6
"""Of distances, relative and absolute: what float32 rounds off in a projection."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """The rows of some images, and the perturbed images that are kept, by image id."""

    outcomes: list[Outcome]
    examples: dict[int, bytes] = field(default_factory=dict)


class Stage(ABC):
    """One kind of work on every image it is given; an image's row depends on no other image."""

    told: ClassVar[bool] = True
    """Whether people are told of it: the second measurement of an attack's successes goes without saying."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Unique within the problem, and shown to people."""

    @abstractmethod
    def run(self, problem: Problem, block: Split) -> Block:
        """Do the work on a block of images that lies on the device."""


@dataclass(frozen=True, kw_only=True)
class Clean(Stage):
    """Classifies the images as they are."""

    @property
    def name(self) -> str:
        return "clean images"

    def run(self, problem: Problem, block: Split) -> Block:
        predictions, confidences = problem.predict(block.pixels(slice(None)), "clean", int(block.ids[0]))
        nothing, once = torch.zeros_like(block.labels), torch.full_like(block.labels, problem.samples)
        return Block(
            outcomes=rows(block, predictions, confidences, nothing.float(), once, nothing, nothing - 1)
        )


@dataclass(frozen=True, kw_only=True)
class Certify(Stage):
    """Looks for a proof that no attack can succeed; ``restart`` is 0 where there is one, else -1."""

    certifier: Certifier

    @property
    def name(self) -> str:
        return repr(self.certifier)

    def run(self, problem: Problem, block: Split) -> Block:
        images = block.pixels(slice(None))
        proven = self.certifier.certify(problem.model, images, block.labels, problem.threat)
        nothing = torch.zeros_like(block.labels)
        return Block(
            outcomes=rows(
                block, block.labels, nothing.float(), nothing.float(), nothing, nothing, proven.long() - 1
            )
        )


@dataclass(frozen=True, kw_only=True)
class Attacking(Stage):
    """Runs an attack, and keeps the images that are classified wrongly.

    Attributes:
        threat: the problem's, or a wider one.
        mode: see `Attack.run`.
        remark: sets it apart from the same attack with another threat model or mode.
    """

    attack: Attack
    threat: ThreatModel
    mode: Mode
    remark: str = ""

    @property
    def name(self) -> str:
        return f"{self.attack!r}{self.remark}"

    def run(self, problem: Problem, block: Split) -> Block:
        clean = block.pixels(slice(None))
        result = self.attack.run(
            problem.attacked,
            clean,
            block.labels,
            eight_bit.searched(self.threat) if problem.eight_bit else self.threat,
            ids=block.ids,
            seed=problem.seed,
            mode=self.mode,
            batch_size=problem.batch_size,
            samples=problem.samples,
            surrogates=tuple(surrogate.model for surrogate in problem.surrogates),
            half=problem.half,
        )
        images, predictions, confidences = result.images, result.predictions, result.confidences
        distances, encode = result.distances, to_bytes
        if problem.eight_bit:
            images = eight_bit.to_8_bit(images, clean, self.threat)
            predictions, confidences = problem.predict(images, self.name, int(block.ids[0]))
            distances, encode = self.threat.distance(images, clean), eight_bit.to_png
        won = (predictions != block.labels).nonzero().squeeze(1).tolist()
        return Block(
            outcomes=rows(
                block,
                predictions,
                confidences,
                distances,
                result.forwards,
                result.backwards,
                result.restarts,
            ),
            examples={int(block.ids[row]): encode(images[row]) for row in won},
        )


@dataclass(frozen=True, kw_only=True)
class Verify(Stage):
    """Reads an attack's successes back from the disk and measures them again, in fp32."""

    told = False

    attacking: Attacking
    store: RunStore

    @property
    def name(self) -> str:
        return f"{self.attacking.name} verified"

    def run(self, problem: Problem, block: Split) -> Block:
        clean = block.pixels(slice(None))
        images = stored_images(self.store, problem, self.attacking, block.ids.tolist()).to(clean.device)
        predictions, confidences = problem.predict(images, self.name, int(block.ids[0]))
        inside = ((images >= 0) & (images <= 1)).flatten(1).all(dim=1)
        distances = self.attacking.threat.distance(images, clean)
        distances = torch.where(inside, distances, torch.inf)
        nothing, once = torch.zeros_like(block.labels), torch.full_like(block.labels, problem.samples)
        return Block(outcomes=rows(block, predictions, confidences, distances, once, nothing, nothing))


def succeeded(outcome: Outcome, eps: float) -> bool:
    """Tell whether a row is of an image inside the ball that is classified wrongly."""
    return outcome.prediction != outcome.label and outcome.distance <= eps * (1 + TOLERANCE) + TOLERANCE


def stored_images(store: RunStore, problem: Problem, stage: Attacking, ids: list[int]) -> Tensor:
    """Return the adversarial images (N, C, H, W) that a stage kept for the given ids."""
    found = store.examples(key_of(problem, stage), ids)
    shape = problem.images.images.shape[1:]
    if problem.eight_bit:
        return torch.stack([eight_bit.from_png(found[number]) for number in ids])
    pixels = torch.frombuffer(bytearray(b"".join(found[number] for number in ids)), dtype=torch.float32)
    return pixels.view(len(ids), *shape)


def to_bytes(image: Tensor) -> bytes:
    """Return the float32 values of an image."""
    return image.detach().cpu().contiguous().numpy().tobytes()


def key_of(problem: Problem, stage: Stage) -> str:
    """Return the key of a stage's rows; the part before the slash is the problem's."""
    return f"{problem.key}/{stage.name}"


def rows(block: Split, *columns: Tensor) -> list[Outcome]:
    """Return rows of the ledger from columns (N,), in the order of `Outcome`."""
    names = tuple(Outcome.__dataclass_fields__)
    values = [column.tolist() for column in (block.ids, block.labels, *columns)]
    return [Outcome(**dict(zip(names, row, strict=True))) for row in zip(*values, strict=True)]
