"""What is done to the images, block by block; every kind of work returns rows of the ledger."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustlab.attacks import Attack, AttackResult, Mode
from robustlab.attacks.criteria import MISCLASSIFIED, Criterion
from robustlab.attacks.watch import OnPass
from robustlab.certify import Certifier
from robustlab.data import Split
from robustlab.evaluation.identity import code_of
from robustlab.evaluation.jobs import eight_bit
from robustlab.evaluation.jobs.context import EvaluationContext
from robustlab.runs.store import Outcome
from robustlab.threats import ThreatModel, allowance


@dataclass(frozen=True, kw_only=True)
class Block:
    """The rows of some images, and the perturbed images that are kept, by image id."""

    outcomes: list[Outcome]
    examples: dict[int, bytes] = field(default_factory=dict)


class EvaluationStage(ABC):
    """One kind of work on every image it is given; an image's row depends on no other image."""

    told: bool = True
    """Whether people are told of it: a second measurement of successes, say, goes without saying."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Unique within the problem."""

    @property
    def code(self) -> str:
        """What an outcome depends on beside the name: the source of a unit that is not robustlab's."""
        return ""

    @property
    def title(self) -> str:
        """What people are shown."""
        return self.name

    @abstractmethod
    def run(
        self, problem: EvaluationContext, block: Split, stored: Mapping[int, bytes], tell: OnPass
    ) -> Block:
        """Do the work on a block of images that lies on the device.

        Args:
            problem: what is evaluated, and how.
            block: the images.
            stored: by id, adversarial images that an earlier stage kept; see `Job.stored`.
            tell: may be called with how far it is.
        """


@dataclass(frozen=True, kw_only=True)
class Clean(EvaluationStage):
    """Classifies the images as they are."""

    @property
    def name(self) -> str:
        return "clean images"

    def run(
        self, problem: EvaluationContext, block: Split, stored: Mapping[int, bytes], tell: OnPass
    ) -> Block:
        del stored, tell
        found = problem.responses(block.pixels(slice(None)), "clean", int(block.ids[0]))
        nothing, once = torch.zeros_like(block.labels), torch.full_like(block.labels, problem.samples)
        said = (found.classes, found.confidences, nothing.float())
        return Block(outcomes=rows(block, *said, once, nothing, nothing - 1, nothing))


@dataclass(frozen=True, kw_only=True)
class Certify(EvaluationStage):
    """Looks for a proof that no attack can succeed; ``restart`` is 0 where there is one, else -1."""

    certifier: Certifier
    threat: ThreatModel
    told: bool = True

    @property
    def name(self) -> str:
        return f"{self.certifier!r} of {self.threat!r}"

    @property
    def code(self) -> str:
        return code_of(self.certifier)

    def run(
        self, problem: EvaluationContext, block: Split, stored: Mapping[int, bytes], tell: OnPass
    ) -> Block:
        del stored, tell
        images = block.pixels(slice(None))
        proven = self.certifier.certify(
            problem.model, images, block.labels, self.threat, batch_size=problem.batch_size
        )
        nothing, once = torch.zeros_like(block.labels), torch.ones_like(block.labels)
        forwards = once if self.threat.eps == 0 else self.certifier.passes(proven)
        said = (block.labels, nothing.float(), nothing.float())
        return Block(outcomes=rows(block, *said, forwards, nothing, proven.long() - 1, nothing))


class SearchStage(EvaluationStage):
    """Looks for adversarial images, and keeps them."""

    attack: Attack
    threat: ThreatModel
    criterion: Criterion

    @property
    def goal(self) -> str:
        """What the attacker wants, to follow the attack's name; empty: any class but the label."""
        return "" if self.criterion == MISCLASSIFIED else f" for {self.criterion!r}"

    @property
    def code(self) -> str:
        return code_of(self.attack) + code_of(self.criterion)

    @abstractmethod
    def search(self, problem: EvaluationContext, block: Split, tell: OnPass) -> AttackResult:
        """Return what was found for a block of images that lies on the device."""

    def run(
        self, problem: EvaluationContext, block: Split, stored: Mapping[int, bytes], tell: OnPass
    ) -> Block:
        del stored
        result = self.search(problem, block, tell)
        encode = eight_bit.to_png if problem.eight_bit else to_bytes
        won = result.successes.nonzero().squeeze(1).tolist()
        found = (result.predictions, result.confidences, result.distances)
        spent = (result.forwards, result.backwards, result.restarts)
        return Block(
            outcomes=rows(block, *found, *spent, result.successes.long()),
            examples={int(block.ids[row]): encode(result.images[row]) for row in won},
        )


@dataclass(frozen=True, kw_only=True)
class AttackStage(SearchStage):
    """Runs an attack of the cascade."""

    attack: Attack
    threat: ThreatModel
    criterion: Criterion = MISCLASSIFIED

    @property
    def name(self) -> str:
        return f"{self.attack!r}{self.goal}"

    @property
    def title(self) -> str:
        return f"{self.attack.brief()}{self.goal}"

    def search(self, problem: EvaluationContext, block: Split, tell: OnPass) -> AttackResult:
        mode: Mode = "verdict" if problem.mode == "verdict" else "max-loss"
        return problem.attack(self.attack, block, self.threat, self.criterion, mode=mode, tell=tell)


@dataclass(frozen=True, kw_only=True)
class MinNormStage(SearchStage):
    """Looks for each image's nearest success, with an attack that is made for that."""

    attack: Attack
    threat: ThreatModel
    criterion: Criterion = MISCLASSIFIED

    @property
    def name(self) -> str:
        return f"{self.attack!r} within {self.threat!r}{self.goal}"

    @property
    def title(self) -> str:
        return f"nearest success: {self.attack.brief()}"

    def search(self, problem: EvaluationContext, block: Split, tell: OnPass) -> AttackResult:
        return problem.attack(self.attack, block, self.threat, self.criterion, mode="max-loss", tell=tell)


@dataclass(frozen=True, kw_only=True)
class Verify(EvaluationStage):
    """Reads an attack's successes back from the disk and measures them again, in fp32."""

    searching: SearchStage
    told: bool = False

    @property
    def name(self) -> str:
        return f"{self.searching.name} verified"

    @property
    def code(self) -> str:
        return self.searching.code

    def run(
        self, problem: EvaluationContext, block: Split, stored: Mapping[int, bytes], tell: OnPass
    ) -> Block:
        del tell
        clean = block.pixels(slice(None))
        images = decoded(problem, [stored[number] for number in block.ids.tolist()]).to(clean.device)
        found = problem.responses(images, self.name, int(block.ids[0]))
        reached = problem.reached(self.searching.criterion, images, found, clean, block.labels)
        inside = ((images >= 0) & (images <= 1)).flatten(1).all(dim=1)
        distances = self.searching.threat.distance(images, clean)
        distances = torch.where(inside, distances, torch.inf)
        nothing, once = torch.zeros_like(block.labels), torch.full_like(block.labels, problem.samples)
        said = (found.classes, found.confidences, distances)
        return Block(outcomes=rows(block, *said, once, nothing, nothing, reached.long()))


def succeeded(outcome: Outcome, eps: float) -> bool:
    """Tell whether a row is of an image inside the ball on which the attacker's goal is reached."""
    return bool(outcome.success) and outcome.distance <= allowance(eps)


def decoded(problem: EvaluationContext, stored: list[bytes]) -> Tensor:
    """Return adversarial images (N, C, H, W) as a stage kept them."""
    if problem.eight_bit:
        return torch.stack([eight_bit.from_png(content) for content in stored])
    pixels = torch.frombuffer(bytearray(b"".join(stored)), dtype=torch.float32)
    return pixels.view(len(stored), *problem.images.images.shape[1:])


def to_bytes(image: Tensor) -> bytes:
    """Return the float32 values of an image."""
    return image.detach().cpu().contiguous().numpy().tobytes()


def key_of(problem: EvaluationContext, stage: EvaluationStage) -> str:
    """Return the key of a stage's rows; the part before the slash is the problem's."""
    return f"{problem.key}/{stage.name}{stage.code}"


def rows(block: Split, *columns: Tensor) -> list[Outcome]:
    """Return rows of the ledger from columns (N,), in the order of `Outcome`."""
    names = tuple(Outcome.__dataclass_fields__)
    values = [column.tolist() for column in (block.ids, block.labels, *columns)]
    return [Outcome(**dict(zip(names, row, strict=True))) for row in zip(*values, strict=True)]
