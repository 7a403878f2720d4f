"""The context of an evaluation: everything on which the outcome of an attack on an image depends."""

import hashlib
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from torch import Tensor, nn

import robustlab
from robustlab.attacks.criteria import MISCLASSIFIED, Criterion
from robustlab.core import device as machine
from robustlab.core.batches import BatchSize
from robustlab.core.options import EvaluationMode
from robustlab.data import Split
from robustlab.evaluation.checked_model import CheckedModel
from robustlab.evaluation.classify import Responses, responses
from robustlab.evaluation.identity import identity_of
from robustlab.evaluation.jobs import eight_bit
from robustlab.evaluation.subject import LoadedClassifier
from robustlab.models.black_box import is_black_box, only_labels
from robustlab.options import OF_OUTCOMES
from robustlab.runs.ledger import digest
from robustlab.runs.records import PassTime
from robustlab.runs.subject import BlackBoxAnswers
from robustlab.threats import ThreatModel

_PROGRAM = (
    # Random numbers, the settings and types of models, and the validity of answers.
    *(f"core/{name}.py" for name in ("seeding", "calling", "isolation", "own_dtype", "logits", "inputs")),
    "core/batches.py",
    "core/tolerance.py",
    "attacks",
    "certify",
    "threats",
    "models",
    "defenses",
    "evaluation/jobs",
    *(f"evaluation/{name}.py" for name in ("checked_model", "classify", "preprocessing")),
)
"""The code that attacks, measures and answers. Engines and the cascade decide only where and when, so they
are not part of it."""


@cache
def source_of(*places: str) -> str:
    """Return the hash of robustlab's source in some of its files and folders."""
    sources = hashlib.sha256()
    root = Path(robustlab.__file__).parent
    for place in places:
        path = root / place
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            sources.update(f"{file.relative_to(root)}\n".encode() + file.read_bytes())
    return sources.hexdigest()


def program() -> str:
    """Return the hash of the code that an outcome depends on: a changed version repeats all measurements."""
    return source_of(*_PROGRAM)


@dataclass(frozen=True, kw_only=True)
class EvaluationContext:
    """A classifier, the images to attack, and the threat model with its settings.

    Attributes:
        subject: the classifier, on the device.
        surrogates: other classifiers, for attacks that transfer.
        images: the images to attack, on the CPU.
        split: the whole split, whose first images these are.
        criteria: the attacker's goals, one after the other; an image is robust if none is reached.
        data: the hash of the whole split; so evaluations of more images share a ledger.
        device: where to compute.
        batch_size: images per pass and transaction, halved when memory runs out; outcomes do not depend on
            it.
        bf16: whether attacks search in bf16.
        pass_time: the time of a pass in both precisions, if it decided the precision.
        in_train_mode: names of the classifier's parts in train mode, if the classifier itself was not.
        queries_before: how many images a black box was asked about before the evaluation.
    """

    subject: LoadedClassifier
    surrogates: tuple[LoadedClassifier, ...]
    images: Split
    split: Split
    data: str
    classes: int
    threat: ThreatModel
    criteria: tuple[Criterion, ...]
    seed: int
    mode: EvaluationMode
    eot_samples: int
    eight_bit: bool
    bf16: bool
    device: str
    batch_size: BatchSize
    pass_time: PassTime | None = None
    in_train_mode: tuple[str, ...] = ()
    queries_before: int = 0

    @property
    def black_box(self) -> BlackBoxAnswers:
        """What the classifier returns, if it has no gradient."""
        if not is_black_box(self.model):
            return ""
        return "labels" if only_labels(self.model) else "scores"

    @cached_property
    def classifier_key(self) -> str:
        """The hash of all that the classifier's answers depend on, except the image and the attacker."""
        model = [self.subject.code, self.subject.sha256()]
        return digest("classifier", program(), model, self.data, self.seed, self.eot_samples, self.eight_bit)

    @cached_property
    def key(self) -> str:
        """The hash of all that an outcome depends on except the image, the attack and its goal."""
        models = [[model.code, model.sha256()] for model in (self.subject, *self.surrogates)]
        settings = [self.seed, self.bf16, *(getattr(self, name) for name in OF_OUTCOMES if name != "target")]
        return digest("evaluation", program(), models, self.data, identity_of(self.threat), settings)

    @cached_property
    def measured_key(self) -> str:
        """The hash of all that the speed of a pass depends on, the key of its record."""
        models = [[model.code, model.sha256()] for model in (self.subject, *self.surrogates)]
        return digest("pass", models, self.data, machine.hardware(self.kind))

    @property
    def kind(self) -> str:
        """The kind of the device: ``"cpu"``, ``"cuda"`` or ``"mps"``."""
        return self.device.partition(":")[0]

    @property
    def models(self) -> tuple[nn.Module, ...]:
        """The classifier and the surrogates in the form that attacks use."""
        return (self.attacked, *self.surrogate_models)

    @property
    def model(self) -> nn.Module:
        """The classifier itself."""
        return self.subject.model

    @cached_property
    def attacked(self) -> nn.Module:
        """The classifier in the form that attacks use."""
        return eight_bit.rounded(self._guarded) if self.eight_bit else self._guarded

    @cached_property
    def _guarded(self) -> nn.Module:
        return CheckedModel(self.model, self.classes)

    @cached_property
    def surrogate_models(self) -> tuple[nn.Module, ...]:
        """The surrogates in the form that attacks use."""
        return tuple(CheckedModel(surrogate.model, self.classes) for surrogate in self.surrogates)

    def responses(self, images: Tensor, *purpose: object) -> Responses:
        """Return the classifier's answers to images; a random one draws depending on the purpose."""
        key = int(digest(self.seed, [str(part) for part in purpose]), 16) >> 1
        return responses(
            self._guarded, images, batch_size=self.batch_size, eot_samples=self.eot_samples, key=key
        )

    @property
    def criterion(self) -> Criterion:
        """The criterion of the checks: the only one; if there are several, any class except the label."""
        return self.criteria[0] if len(self.criteria) == 1 else MISCLASSIFIED
