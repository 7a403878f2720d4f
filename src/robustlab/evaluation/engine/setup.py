"""Turns what is asked for into a problem: parses, loads, checks and puts everything in its place."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from torch import Tensor, nn

from robustlab.attacks import Attack
from robustlab.certify import IBP, Certifier
from robustlab.core.batches import BatchSize, in_batches
from robustlab.core.device import resolve
from robustlab.core.errors import RobustlabError, SpecError
from robustlab.core.progress import Progress
from robustlab.core.spec import parse
from robustlab.core.threat import ThreatModel
from robustlab.evaluation.engine import eight_bit
from robustlab.evaluation.engine.arguments import check
from robustlab.evaluation.engine.options import EvaluationOptions
from robustlab.evaluation.engine.problem import Problem
from robustlab.evaluation.engine.stages import Certify
from robustlab.evaluation.ensembles import Ensemble, attack_list
from robustlab.evaluation.images import Chosen, load_images, own_images
from robustlab.evaluation.subject import LoadedClassifier, class_count, in_fastest_layout, load_classifier


@dataclass(frozen=True, kw_only=True)
class Request:
    """Everything an evaluation works with, parsed and loaded, before anything is computed."""

    threat: ThreatModel
    asked: tuple[Attack | Ensemble, ...]
    subject: LoadedClassifier
    surrogates: tuple[LoadedClassifier, ...]
    chosen: Chosen

    @property
    def title(self) -> str:
        """What the evaluation is called on its page."""
        return f"{self.subject.name} under {self.threat!r}"

    @property
    def default_folder(self) -> Path:
        """Where it goes unless the user says otherwise."""
        eps = f"-{self.threat.eps:g}" if self.threat.bounded else ""
        name = f"evaluate-{self.subject.name}-{self.threat.name}{eps}"
        return Path("runs") / re.sub(r"[^\w.-]+", "-", name)


def read(options: EvaluationOptions) -> Request:
    """Parse and load what the options name.

    Raises:
        RobustlabError: something is not there, or is not what it should be.
    """
    check(options)
    if (options.images is None) != (options.labels is None):
        raise RobustlabError("images and labels must be given together")
    threat = parse(ThreatModel, options.threat) if isinstance(options.threat, str) else options.threat
    if options.curve and not threat.bounded:
        raise SpecError(f"a curve against eps needs a threat model that bounds a distance; found {threat!r}")
    asked = attack_list(options.attacks)
    dataset = options.dataset if options.images is None else own_images(options.images, options.labels)
    return Request(
        threat=threat,
        asked=asked,
        subject=load_classifier(
            options.model, weights=options.weights, network=options.network, name=options.name
        ),
        surrogates=tuple(load_classifier(model) for model in options.surrogates),
        chosen=load_images(dataset, data_root=options.data_root, n=options.n),
    )


@contextmanager
def placed(request: Request, options: EvaluationOptions, progress: Progress) -> Iterator[Problem]:
    """Put the classifiers on the device and into eval mode inside the block, and yield the problem.

    A caller's own modules are left as they were found.

    Raises:
        RobustlabError: the classifier, the images and the rest do not fit together.
    """
    device = resolve(options.device).device
    if options.device == "auto" and isinstance(options.model, nn.Module):
        device = _device_of(options.model) or device
    models = [loaded.model for loaded in (request.subject, *request.surrogates)]
    before = [(_device_of(model), {m: m.training for m in model.modules()}) for model in models]
    try:
        in_train_mode = _in_train_mode(request.subject.model)
        for loaded in (request.subject, *request.surrogates):
            if _in_train_mode(loaded.model):
                progress.note(f"a part of {loaded.name} is in train mode; it is evaluated in eval mode")
            loaded.model.eval()  # whose `train` may return nothing
            loaded.model.to(device)
        yield replace(_problem(request, options, device), in_train_mode=in_train_mode)
    finally:
        for model, (place, modes) in zip(models, before, strict=True):
            for module, training in modes.items():
                module.training = training
            if place is not None:
                model.to(place)


def _in_train_mode(model: nn.Module) -> tuple[str, ...]:
    """Return the names of parts in train mode; of a fresh module, which is so as a whole, none."""
    # A part of a module that is not is a choice that someone made.
    return () if model.training else tuple(name for name, part in model.named_modules() if part.training)


def _device_of(model: nn.Module) -> str | None:
    return next((str(parameter.device) for parameter in model.parameters()), None)


def _problem(request: Request, options: EvaluationOptions, device: str) -> Problem:
    images = request.chosen.images
    if options.eight_bit:
        images = replace(images, images=eight_bit.levels(images.images))
    first = images.take(slice(2)).to(device).pixels(slice(None))
    classes = _classes(request, options, first)
    highest = int(images.labels.max())
    if highest >= classes:
        raise RobustlabError(f"the model tells {classes} classes apart, but a label is {highest}")
    wished = max(unit.samples if isinstance(unit, Ensemble) else 1 for unit in request.asked)
    return Problem(
        subject=request.subject,
        surrogates=request.surrogates,
        images=images,
        data=request.chosen.split.sha256(),
        classes=classes,
        threat=request.threat,
        seed=options.seed,
        mode=options.mode,
        samples=options.samples or wished,
        eight_bit=options.eight_bit,
        device=device,
        # `measured` settles both, once there is a ledger that keeps what was chosen.
        half=False,
        batch_size=BatchSize(options.batch_size or 1),
    )


def _classes(request: Request, options: EvaluationOptions, first: Tensor) -> int:
    """Return the number of classes, having shown one image and then two to every model."""
    classes = class_count(request.subject.model, first[:1])
    # Memory may suffice for one image alone.
    in_batches(first, 2, partial(class_count, request.subject.model))
    for surrogate in request.surrogates:
        found = in_batches(first, 2, partial(class_count, surrogate.model))[0]
        if found != classes:
            raise RobustlabError(
                f"the model tells {classes} classes apart, and the surrogate {surrogate.name} {found}"
            )
    given = (options.model, *options.surrogates)
    for loaded, asked in zip((request.subject, *request.surrogates), given, strict=True):
        if not isinstance(asked, nn.Module):
            in_fastest_layout(loaded.model, first)
    return classes


def certification(problem: Problem) -> Certify | None:
    """Return the stage that looks for proofs, if the certifier understands the classifier and the threat."""
    certifier: Certifier = IBP()
    first = problem.images.take(slice(1)).to(problem.device)
    pixels = first.pixels(slice(None))
    try:
        if problem.samples > 1 or certifier.explain(problem.model, pixels) is not None:
            return None
        certifier.certify(problem.model, pixels, first.labels, problem.threat)
    except RobustlabError:
        return None
    return Certify(certifier=certifier, threat=problem.threat)
