"""Turns the options into an evaluation context: parses, loads and checks all input."""

from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

from torch import Tensor, nn

from robustlab.attacks import Attack
from robustlab.core.arguments import as_typed
from robustlab.core.batches import BatchSize, in_batches
from robustlab.core.calling import UserCodeError, calling
from robustlab.core.device import resolve
from robustlab.core.errors import RobustlabError, SpecError
from robustlab.core.inputs import check_classes, to_eval_mode
from robustlab.core.isolation import working_folder
from robustlab.core.own_dtype import InOwnDtype, dtype_of, in_own_dtype, short_name
from robustlab.core.progress import Progress
from robustlab.data.own import own_images
from robustlab.evaluation import preprocessing
from robustlab.evaluation.coordinator.arguments import check
from robustlab.evaluation.coordinator.curve import check_curve
from robustlab.evaluation.coordinator.goals import as_goal, criteria_of
from robustlab.evaluation.ensembles import Ensemble, attack_list, with_effort
from robustlab.evaluation.images import EvaluationImages, load_images, shown_names
from robustlab.evaluation.jobs import eight_bit
from robustlab.evaluation.jobs.context import EvaluationContext
from robustlab.evaluation.rows import on_rows
from robustlab.evaluation.subject import LoadedClassifier, class_count, in_fastest_layout, load_classifier
from robustlab.models.adapters import adapted
from robustlab.models.black_box import is_black_box, number_classes, queries
from robustlab.models.preprocessing import sentences_on
from robustlab.options import EvaluationOptions
from robustlab.threats import ThreatModel, as_threat

_NAMES_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class LoadedInputs:
    """All input of an evaluation, parsed and loaded, before any computation."""

    threat: ThreatModel
    asked: tuple[Attack | Ensemble, ...]
    subject: LoadedClassifier
    surrogates: tuple[LoadedClassifier, ...]
    chosen: EvaluationImages

    def class_names(self, classes: int) -> tuple[str, ...]:
        """Return the classes' names: those of the images, else those of the model, if all have one."""
        stated = self.subject.class_names
        return self.chosen.class_names[:classes] or (shown_names(stated) if len(stated) == classes else ())

    @property
    def on_the_model(self) -> tuple[str, ...]:
        """What is in front of each network, and the classes that the source names, one sentence each."""
        loaded = (self.subject, *self.surrogates)
        layers = [line for one in loaded for line in sentences_on(one.name, one.preprocessing)]
        names = self.subject.class_names
        if names:
            more = ", ..." if len(names) > _NAMES_SHOWN else ""
            first = ", ".join(name.partition(",")[0] for name in names[:_NAMES_SHOWN])
            layers.append(f"the {len(names)} classes of the model, in order: {first}{more}")
        return tuple(layers)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Notes for the user on the weights, the images and the threat model, one sentence each."""
        known = (*self.subject.remarks, *self.chosen.remarks)
        threat, shape = self.threat, tuple(self.chosen.split.images.shape[1:])
        largest = threat.largest_distance(shape)
        if not threat.bounded or threat.eps < largest or not largest:
            return known
        size = "x".join(map(str, shape))
        apart = f"no two images of {size} values are farther apart than {largest:g}"
        return (*known, f"{threat!r} allows every image: {apart}")

    @property
    def title(self) -> str:
        """The title of the evaluation on its page."""
        return f"{self.subject.name} under {self.threat!r}"


def read(options: EvaluationOptions, progress: Progress) -> LoadedInputs:
    """Parse and load the options' values; note it if the import of a user's file takes long.

    Raises:
        RobustlabError: something does not exist, or is not valid.
    """
    check(options)
    if (options.images is None) != (options.labels is None):
        raise RobustlabError("images and labels must be given together")
    here, note = working_folder() or Path(), progress.note
    with chdir(here):  # changes that the import of a user's file makes are undone
        threat = as_threat(options.threat)
    if options.curve:
        check_curve(threat)
    with chdir(here):
        asked = () if options.proofs_only else with_effort(attack_list(options.attacks, note), options.effort)
    as_goal(options.target)  # refuses a wrong one
    wished = preprocessing.wished(options)  # refuses wrong values
    dataset = options.dataset if options.images is None else own_images(options.images, options.labels)
    subject = load_classifier(
        cast("str | nn.Module", options.model),
        weights=options.weights,
        network=options.network,
        name=options.name,
        note=note,
    )
    with chdir(here):  # the model's code may have changed it
        surrogates = tuple(load_classifier(model, note=note) for model in options.surrogates)
    with chdir(here):
        chosen = load_images(dataset, data_root=options.data_root, n=options.n, note=note)
    ranges = chosen.split.features
    if ranges is not None:
        if wished is not None:
            raise SpecError("mean, std and scale are for images; rows of features have their ranges")
        if options.eight_bit:
            name = as_typed("eight_bit")
            raise SpecError(f"{name} is for images of 8-bit files; these are rows of features: leave it out")
        subject, *others = (on_rows(loaded, ranges) for loaded in (subject, *surrogates))
        surrogates = tuple(others)
    else:
        subject = preprocessing.preprocessed(subject, options, chosen.images.images.shape[1])
    return LoadedInputs(threat=threat, asked=asked, subject=subject, surrogates=surrogates, chosen=chosen)


def eot_samples(request: LoadedInputs, options: EvaluationOptions) -> int:
    """Return how often the classifier is evaluated at each point: the user's value or an ensemble's."""
    needed = max((unit.eot_samples for unit in request.asked if isinstance(unit, Ensemble)), default=1)
    return options.eot_samples or needed


@contextmanager
def on_device(
    request: LoadedInputs, options: EvaluationOptions, progress: Progress
) -> Iterator[EvaluationContext]:
    """Put the classifiers on the device and into eval mode inside the block, and yield the context.

    The modes and devices of a caller's own modules are restored.

    Raises:
        RobustlabError: the classifier, the images and the rest do not fit together.
    """
    device = resolve(options.device).device
    models = [loaded.model for loaded in (request.subject, *request.surrogates)]
    with calling("the model", " when its parts were looked at"):
        if options.device == "auto" and isinstance(options.model, nn.Module):
            device = _device_of(options.model) or device
        before = [
            (_device_of(model), {m: getattr(m, "training", False) for m in model.modules()})
            for model in models
        ]
        in_train_mode = _in_train_mode(request.subject.model)
    try:
        for loaded in (request.subject, *request.surrogates):
            if _in_train_mode(loaded.model):
                progress.note(f"a part of {loaded.name} is in train mode; it is evaluated in eval mode")
            with calling("the model", f" when it was put into eval mode on {device}"):
                complete = to_eval_mode(loaded.model)
                loaded.model.to(device)
            if not complete:
                progress.note(
                    f"the eval() of {loaded.name} does not put all of it into eval mode; it is evaluated "
                    "with training = False in all parts. A torch.export program keeps the mode it had"
                )
        yield replace(_context(request, options, device, progress), in_train_mode=in_train_mode)
    finally:
        for model, (place, modes) in zip(models, before, strict=True):
            for module, training in modes.items():
                if training:
                    module.training = True
            if place is not None:
                with calling("the model", f" when it was put back on {place}"):
                    model.to(place)


def _in_train_mode(model: nn.Module) -> tuple[str, ...]:
    """Return the names of parts in train mode; none if the whole module is, as a new one."""
    # If only a part is in train mode, somebody chose that.
    parts = {name: getattr(part, "training", False) for name, part in model.named_modules()}
    return () if parts[""] else tuple(name for name, training in parts.items() if training)


def _device_of(model: nn.Module) -> str | None:
    return next((str(parameter.device) for parameter in model.parameters()), None)


def _context(
    request: LoadedInputs, options: EvaluationOptions, device: str, progress: Progress
) -> EvaluationContext:
    images = request.chosen.images
    if options.eight_bit:
        images = replace(images, images=eight_bit.levels(images.images))
    first = images.take(slice(2)).to(device).pixels(slice(None))
    before = queries(request.subject.model)
    # Of all images, since a classifier may return other labels than those of the chosen ones.
    known = max(int(request.chosen.split.labels.max()) + 1, len(request.chosen.class_names))
    for loaded in (request.subject, *request.surrogates):
        number_classes(loaded.model, known)
    request = _in_own_dtypes(request, first, progress)
    try:
        classes = _classes(request, options, first)
    except RobustlabError as error:
        if isinstance(error, UserCodeError) and error.quits:
            raise
        request, changes = _adapted(request, first)
        if not changes:
            raise
        classes = _classes(request, options, first)
        if int(images.labels.max()) >= classes:  # then one output is not a binary classifier
            raise
        for change in changes:
            progress.note(change)
    check_classes(classes, int(images.labels.max()))
    return EvaluationContext(
        subject=request.subject,
        surrogates=request.surrogates,
        images=images,
        split=request.chosen.split,
        data=request.chosen.split.sha256(),
        classes=classes,
        threat=request.threat,
        criteria=criteria_of(options.target, classes),
        seed=options.seed,
        mode=options.mode,
        eot_samples=eot_samples(request, options),
        eight_bit=options.eight_bit,
        device=device,
        # `measured` decides both, when a ledger exists that keeps the choice.
        bf16=False,
        batch_size=BatchSize(options.batch_size or 1),
        queries_before=before,
    )


def _in_own_dtypes(request: LoadedInputs, first: Tensor, progress: Progress) -> LoadedInputs:
    """Return the request with models that accept float32 images, with weights of any type."""

    def cast(loaded: LoadedClassifier) -> LoadedClassifier:
        model = in_own_dtype(loaded.model, first)
        if model is not loaded.model:
            name = short_name(dtype_of(model))
            progress.note(
                f"{loaded.name} computes in {name}: the images are cast to it, and bf16 is not tried for the "
                "search. Images, distances and losses stay in fp32"
            )
        return replace(loaded, model=model)

    surrogates = tuple(map(cast, request.surrogates))
    return replace(request, subject=cast(request.subject), surrogates=surrogates)


def _adapted(request: LoadedInputs, first: Tensor) -> tuple[LoadedInputs, list[str]]:
    """Return the request with models that return logits (N, K), as far as `adapted` can, and the changes."""
    said: list[str] = []

    def changed(loaded: LoadedClassifier) -> LoadedClassifier:
        model = loaded.model.model if isinstance(loaded.model, InOwnDtype) else loaded.model
        model, changes = adapted(model, first[:1])
        said.extend(f"{loaded.name}: {change}" for change in changes)
        return replace(loaded, model=in_own_dtype(model, first), remarks=(*loaded.remarks, *changes))

    surrogates = tuple(map(changed, request.surrogates))
    return replace(request, subject=changed(request.subject), surrogates=surrogates), said


def _classes(request: LoadedInputs, options: EvaluationOptions, first: Tensor) -> int:
    """Return the number of classes, after passing one image and then two through every model."""
    few = first if is_black_box(request.subject.model) else first[:1]
    classes = class_count(request.subject.model, few)
    if len(few) < len(first):  # memory may suffice for only one image
        in_batches(first, 2, partial(class_count, request.subject.model))
    for surrogate in request.surrogates:
        count = in_batches(first, 2, partial(class_count, surrogate.model))[0]
        if count != classes:
            raise RobustlabError(
                f"the model outputs {classes} logits, and the surrogate {surrogate.name} {count}"
            )
    given = (options.model, *options.surrogates)
    for loaded, asked in zip((request.subject, *request.surrogates), given, strict=True):
        if not isinstance(asked, nn.Module) and not is_black_box(loaded.model):
            in_fastest_layout(loaded.model, first)
    return classes
