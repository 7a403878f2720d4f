"""What is done to the images, block by block; every kind of work returns rows of the ledger."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustlab.attacks import Attack, AttackResult
from robustlab.attacks.watch import OnPass
from robustlab.certify import Certifier
from robustlab.data import Split
from robustlab.evaluation.engine import eight_bit
from robustlab.evaluation.engine.context import EvaluationContext
from robustlab.evaluation.identity import code_of
from robustlab.runs.store import Outcome, RunStore
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
    def run(self, problem: EvaluationContext, block: Split, tell: OnPass) -> Block:
        """Do the work on a block of images that lies on the device; it may tell how far it is."""


@dataclass(frozen=True, kw_only=True)
class Clean(EvaluationStage):
    """Classifies the images as they are."""

    @property
    def name(self) -> str:
        return "clean images"

    def run(self, problem: EvaluationContext, block: Split, tell: OnPass) -> Block:
        del tell
        predictions, confidences = problem.predict(block.pixels(slice(None)), "clean", int(block.ids[0]))
        nothing, once = torch.zeros_like(block.labels), torch.full_like(block.labels, problem.samples)
        return Block(
            outcomes=rows(block, predictions, confidences, nothing.float(), once, nothing, nothing - 1)
        )


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

    def run(self, problem: EvaluationContext, block: Split, tell: OnPass) -> Block:
        del tell
        images = block.pixels(slice(None))
        proven = self.certifier.certify(
            problem.model, images, block.labels, self.threat, batch_size=problem.batch_size
        )
        nothing, once = torch.zeros_like(block.labels), torch.ones_like(block.labels)
        forwards = once if self.threat.eps == 0 else self.certifier.passes(proven)
        return Block(
            outcomes=rows(
                block, block.labels, nothing.float(), nothing.float(), forwards, nothing, proven.long() - 1
            )
        )


class SearchStage(EvaluationStage):
    """Looks for adversarial images, and keeps them."""

    attack: Attack
    threat: ThreatModel

    @property
    def code(self) -> str:
        return code_of(self.attack)

    @abstractmethod
    def search(self, problem: EvaluationContext, block: Split, tell: OnPass) -> AttackResult:
        """Return what was found for a block of images that lies on the device."""

    def run(self, problem: EvaluationContext, block: Split, tell: OnPass) -> Block:
        result = self.search(problem, block, tell)
        encode = eight_bit.to_png if problem.eight_bit else to_bytes
        won = (result.predictions != block.labels).nonzero().squeeze(1).tolist()
        found = (result.predictions, result.confidences, result.distances)
        return Block(
            outcomes=rows(block, *found, result.forwards, result.backwards, result.restarts),
            examples={int(block.ids[row]): encode(result.images[row]) for row in won},
        )


@dataclass(frozen=True, kw_only=True)
class AttackStage(SearchStage):
    """Runs an attack of the cascade."""

    attack: Attack
    threat: ThreatModel

    @property
    def name(self) -> str:
        return repr(self.attack)

    @property
    def title(self) -> str:
        return self.attack.brief()

    def search(self, problem: EvaluationContext, block: Split, tell: OnPass) -> AttackResult:
        return problem.attack(self.attack, block, self.threat, mode=problem.mode, tell=tell)


@dataclass(frozen=True, kw_only=True)
class Verify(EvaluationStage):
    """Reads an attack's successes back from the disk and measures them again, in fp32."""

    searching: SearchStage
    store: RunStore
    told: bool = False

    @property
    def name(self) -> str:
        return f"{self.searching.name} verified"

    @property
    def code(self) -> str:
        return self.searching.code

    def run(self, problem: EvaluationContext, block: Split, tell: OnPass) -> Block:
        del tell
        clean = block.pixels(slice(None))
        images = stored_images(self.store, problem, self.searching, block.ids.tolist()).to(clean.device)
        predictions, confidences = problem.predict(images, self.name, int(block.ids[0]))
        inside = ((images >= 0) & (images <= 1)).flatten(1).all(dim=1)
        distances = self.searching.threat.distance(images, clean)
        distances = torch.where(inside, distances, torch.inf)
        nothing, once = torch.zeros_like(block.labels), torch.full_like(block.labels, problem.samples)
        return Block(outcomes=rows(block, predictions, confidences, distances, once, nothing, nothing))


def succeeded(outcome: Outcome, eps: float) -> bool:
    """Tell whether a row is of an image inside the ball that is classified wrongly."""
    return outcome.prediction != outcome.label and outcome.distance <= allowance(eps)


def stored_images(store: RunStore, problem: EvaluationContext, stage: SearchStage, ids: list[int]) -> Tensor:
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


def key_of(problem: EvaluationContext, stage: EvaluationStage) -> str:
    """Return the key of a stage's rows; the part before the slash is the problem's."""
    return f"{problem.key}/{stage.name}{stage.code}"


def rows(block: Split, *columns: Tensor) -> list[Outcome]:
    """Return rows of the ledger from columns (N,), in the order of `Outcome`."""
    names = tuple(Outcome.__dataclass_fields__)
    values = [column.tolist() for column in (block.ids, block.labels, *columns)]
    return [Outcome(**dict(zip(names, row, strict=True))) for row in zip(*values, strict=True)]
