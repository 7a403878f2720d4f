"""Turns what is asked for into a problem: parses, loads, checks and puts everything in its place."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from robustlab.attacks import Attack
from robustlab.attacks.oracle import slope
from robustlab.certify import IBP, Certifier
from robustlab.core import seeding
from robustlab.core.device import fast_bf16, resolve
from robustlab.core.errors import RobustlabError, SpecError
from robustlab.core.inputs import to_eval_mode
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

_BATCH = {"cpu": 250, "mps": 250, "cuda": 1000}


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


def read(options: EvaluationOptions, progress: Progress) -> Request:
    """Parse and load what the options name; say so where a user's file takes long to import.

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
            options.model,
            weights=options.weights,
            network=options.network,
            name=options.name,
            note=progress.note,
        ),
        surrogates=tuple(load_classifier(model, note=progress.note) for model in options.surrogates),
        chosen=load_images(dataset, data_root=options.data_root, n=options.n, note=progress.note),
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
    before = [
        (_device_of(model), {m: getattr(m, "training", False) for m in model.modules()}) for model in models
    ]
    try:
        in_train_mode = _in_train_mode(request.subject.model)
        for loaded in (request.subject, *request.surrogates):
            if _in_train_mode(loaded.model):
                progress.note(f"a part of {loaded.name} is in train mode; it is evaluated in eval mode")
            if not to_eval_mode(loaded.model):
                progress.note(
                    f"the eval() of {loaded.name} does not put all of it into eval mode; it is evaluated "
                    "with training = False in all parts. A torch.export program keeps the mode it had"
                )
            loaded.model.to(device)
        yield replace(_problem(request, options, device), in_train_mode=in_train_mode)
    finally:
        for model, (place, modes) in zip(models, before, strict=True):
            for module, training in modes.items():
                if training:
                    module.training = True
            if place is not None:
                model.to(place)


def _in_train_mode(model: nn.Module) -> tuple[str, ...]:
    """Return the names of parts in train mode; of a fresh module, which is so as a whole, none."""
    # A part of a module that is not is a choice that someone made.
    parts = {name: getattr(part, "training", False) for name, part in model.named_modules()}
    return () if parts[""] else tuple(name for name, training in parts.items() if training)


def _device_of(model: nn.Module) -> str | None:
    return next((str(parameter.device) for parameter in model.parameters()), None)


def _problem(request: Request, options: EvaluationOptions, device: str) -> Problem:
    images, kind = request.chosen.images, device.partition(":")[0]
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
        half=_searches_in_half(request, options, first),
        device=device,
        batch_size=options.batch_size or _BATCH.get(kind, _BATCH["cpu"]),
    )


def _classes(request: Request, options: EvaluationOptions, first: Tensor) -> int:
    """Return the number of classes, having shown one image and then two to every model."""
    classes = class_count(request.subject.model, first[:1])
    class_count(request.subject.model, first)
    for surrogate in request.surrogates:
        found = class_count(surrogate.model, first)
        if found != classes:
            raise RobustlabError(
                f"the model tells {classes} classes apart, and the surrogate {surrogate.name} {found}"
            )
    given = (options.model, *options.surrogates)
    for loaded, asked in zip((request.subject, *request.surrogates), given, strict=True):
        if not isinstance(asked, nn.Module):
            in_fastest_layout(loaded.model, first)
    return classes


def _searches_in_half(request: Request, options: EvaluationOptions, first: Tensor) -> bool:
    """Tell whether attacks search in bf16: as the user says, else where it is faster and no model refuses."""
    kind = first.device.type
    if options.precision != "auto" or not fast_bf16(kind):
        return options.precision == "bf16"
    try:
        with torch.enable_grad(), seeding.isolated(0):
            for loaded in (request.subject, *request.surrogates):
                points = first.clone().requires_grad_()
                exact = loaded.model(points)
                with torch.autocast(kind, torch.bfloat16):
                    logits = loaded.model(points)
                slope(logits.float().sum(), points)
                if (torch.isfinite(exact) & ~torch.isfinite(logits)).any():
                    return False
    except Exception:  # whatever a user's code raises: quantized layers and sparse products refuse bf16
        return False
    return True


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
