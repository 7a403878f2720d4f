"""The objects that the stages of one run share: the data, the classifiers, perturbed images, the store."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from robustlab.core.device import Compute
from robustlab.core.errors import ModelFileError
from robustlab.core.options import EvaluationMode
from robustlab.core.progress import Progress
from robustlab.core.spec import Unit
from robustlab.data import Split, Splits
from robustlab.evaluation import preprocessing
from robustlab.evaluation.coordinator.arguments import UNITS
from robustlab.evaluation.coordinator.evaluate import cascade_of
from robustlab.evaluation.coordinator.setup import LoadedInputs, on_device
from robustlab.evaluation.ensembles import attack_effort, attack_list
from robustlab.evaluation.identity import identity_of
from robustlab.evaluation.images import EvaluationImages, shown_names
from robustlab.evaluation.jobs.context import EvaluationContext
from robustlab.models import Shape
from robustlab.models.files import load_tensors
from robustlab.options import EvaluationOptions
from robustlab.runs.store import RunStore
from robustlab.study.models import StudyModels
from robustlab.study.sweep import Choice
from robustlab.threats import ThreatModel, Unbounded, as_threat

BATCH = 250
"""Images per pass, and per transaction of the ledger: the fastest measured size (LOG.md, "Speed of gradients
and training")."""

_CACHED_SETS = 4


@dataclass(frozen=True, kw_only=True)
class Question:
    """A classifier, and the attacks on its images; factors in specs are replaced by values.

    Attributes:
        model: the classifier's source.
        attacks: specs; None: clean images.
        threat: what the attacker may do.
        threat_text: the same as the recipe states it.
        surrogates: sources of other classifiers that the attacker uses.
        settings: other options of an evaluation, by name; see `EvaluationOptions`.
        images: the largest number of test images, from the first; None: all.
    """

    model: str
    choice: Choice
    attacks: str | None
    threat: ThreatModel
    threat_text: str
    surrogates: tuple[str, ...]
    settings: Mapping[str, Any]
    images: int | None = None

    @property
    def mode(self) -> EvaluationMode:
        """See `EvaluationOptions`."""
        mode: EvaluationMode = self.settings["mode"]
        return mode

    def limited(self, split: Split) -> Split:
        """Return the images of a split that it is about."""
        return split if self.images is None else split.take(slice(self.images))

    @property
    def effort(self) -> float:
        """The estimated number of passes per image, including proofs and the second measurement."""
        attacks = () if self.attacks is None else attack_list(self.attacks)
        return 1.0 + (self.settings["eot_samples"] or 1) * sum(attack_effort(attack) for attack in attacks)

    def identity(self) -> dict[str, Any]:
        """Return all that a figure depends on except classifiers and images, as JSON values."""
        attacks = None if self.attacks is None else [identity_of(unit) for unit in attack_list(self.attacks)]
        known = {"attacks": attacks, "threat": identity_of(self.threat), **self.settings}
        if self.images is not None:
            known["images"] = self.images
        built = {name: build(known[name]) for name, build in UNITS.items() if name in known}
        return known | {name: identity_of(unit) for name, unit in built.items() if isinstance(unit, Unit)}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The loaded objects for a question."""

    request: LoadedInputs
    options: EvaluationOptions
    context: EvaluationContext


@dataclass(kw_only=True)
class Workspace:
    """Everything a stage works with.

    Attributes:
        dataset: the three splits, already limited in a quick run.
        compute: device and precision of the training; evaluations search in fp32, so that their figures do
            not depend on timings.
        training_threads: threads of each training on the CPU.
        test_source: the text that names the whole test split; None if no text does, as in a quick run.
        data_root: where that text is looked for first.
    """

    dataset: Splits
    compute: Compute
    seed: int
    store: RunStore
    progress: Progress
    models: StudyModels
    training_threads: int
    test_source: str | None
    data_root: str | None
    _fixed_sets: OrderedDict[tuple[object, ...], Tensor] = field(default_factory=OrderedDict)

    @property
    def shape(self) -> Shape:
        """The shape that networks are built for."""
        return shape_of(self.dataset)

    def has_arrays(self, key: str) -> bool:
        """Return whether a stage's file of arrays exists and is complete."""
        try:
            load_tensors(self.store.array_path(key))
        except ModelFileError:
            return False
        return True

    @contextmanager
    def asked(
        self,
        question: Question,
        split: Split,
        *,
        n: int | None = None,
        checks: bool = False,
        whole: bool = False,
    ) -> Iterator[Asked]:
        """Yield the loaded objects for a question about some test images, on the device.

        Args:
            n: the number of images, from the first; default: as many as the question is about.
            checks: whether checks run.
            whole: whether proofs and a curve are looked for, if the question has them.
        """
        n = min([len(split), *(most for most in (n, question.images) if most is not None)])
        more = {} if whole else {"certify": False, "curve": False}
        subject = self.models.classifier(question.model, question.choice)
        surrogates = {text: self.models.classifier(text, question.choice) for text in question.surrogates}
        own = self.models.own_code(question.model, question.choice)
        options = EvaluationOptions(
            model=own[0] if own else self.models.address(question.model, question.choice) or subject.model,
            weights=own[1] if own else None,
            threat=question.threat_text,
            attacks=question.attacks or (),
            dataset=split if self.test_source is None else self.test_source,
            n=n,
            surrogates=tuple(
                self.models.address(text, question.choice) or surrogate.model
                for text, surrogate in surrogates.items()
            ),
            **{**question.settings, **more},
            data_root=self.data_root,
            checks=checks,
            precision="fp32",
            batch_size=BATCH,
            device=self.compute.device,  # type: ignore[arg-type]
            seed=self.seed,
        )
        subject = preprocessing.preprocessed(subject, options, self.shape.channels)
        request = LoadedInputs(
            threat=question.threat,
            asked=() if question.attacks is None else attack_list(question.attacks),
            subject=subject,
            surrogates=tuple(surrogates.values()),
            chosen=EvaluationImages(
                split=split,
                name=self.dataset.name,
                n=n,
                class_names=shown_names(self.dataset.class_names),
            ),
        )
        with on_device(request, options, self.progress) as context:
            yield Asked(request=request, options=options, context=context)

    def perturbed(self, question: Question, images: Split) -> Tensor:
        """Return test images (N, C, H, W), all in memory, perturbed by a question's only attack."""
        models = (question.model, question.surrogates, question.choice.id)
        known = (repr(question.identity()), *models, images.name, tuple(images.ids.tolist()))
        if known in self._fixed_sets:
            self._fixed_sets.move_to_end(known)
            return self._fixed_sets[known]
        with self.asked(question, images) as asked:
            request, options, context = asked.request, asked.options, asked.context
            (stage,) = cascade_of(request, options, context, self.store, self.progress).stages
            found = stage.search(context, images.to(context.device), lambda *_: None)
            points = found.images.cpu()
        self._fixed_sets[known] = points
        while len(self._fixed_sets) > _CACHED_SETS:
            self._fixed_sets.popitem(last=False)
        return points


def shape_of(dataset: Splits) -> Shape:
    """Return the shape of a dataset's images, with the number of its classes."""
    _, channels, height, width = dataset.train.images.shape
    return Shape(channels, height, width, dataset.classes)


def threat_of(text: str | None) -> ThreatModel:
    """Return the threat model of a recipe's text; without a text any image in [0, 1] is allowed."""
    return Unbounded() if text is None else as_threat(text)
