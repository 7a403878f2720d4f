"""Runs an evaluation. The same call resumes; of a changed one, only what is new is done."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from torch import nn

from robustlab.attacks import Attack
from robustlab.certify import IBP, Certifier
from robustlab.core import environment
from robustlab.core.device import fast_bf16, full_fp32, resolve
from robustlab.core.errors import RobustlabError
from robustlab.core.evaluation import RobustCurve
from robustlab.core.files import write_json
from robustlab.core.progress import Progress
from robustlab.core.run import EvaluationRun
from robustlab.core.spec import parse
from robustlab.core.store import RunStore, check_identity
from robustlab.core.threat import ThreatModel
from robustlab.data import Split
from robustlab.evaluation.engine import curve, eight_bit
from robustlab.evaluation.engine.assemble import assemble
from robustlab.evaluation.engine.cascade import Cascade, Findings
from robustlab.evaluation.engine.options import EvaluationOptions
from robustlab.evaluation.engine.pictures import save_pictures
from robustlab.evaluation.engine.problem import Problem
from robustlab.evaluation.engine.stages import Attacking, Certify, key_of
from robustlab.evaluation.engine.verdicts import verdicts, write_verdicts
from robustlab.evaluation.ensembles import Ensemble, attack_list, resolved
from robustlab.evaluation.images import load_images, own_images
from robustlab.evaluation.subject import LoadedClassifier, class_count, in_fastest_layout, load_classifier

_BATCH = {"cpu": 250, "mps": 250, "cuda": 1000}


def execute(options: EvaluationOptions, progress: Progress | None = None) -> EvaluationRun:
    """Run an evaluation, or what is left of it, up to ``results.json``; the report is no part of it.

    Raises:
        RobustlabError: bad input; see `robustlab.core.errors`. What was finished stays on the disk.
    """
    progress = progress or Progress()
    threat = parse(ThreatModel, options.threat) if isinstance(options.threat, str) else options.threat
    asked = attack_list(options.attacks)
    subject = load_classifier(
        options.model, weights=options.weights, network=options.network, name=options.name
    )
    surrogates = tuple(load_classifier(model) for model in options.surrogates)
    title = f"{subject.name} under {threat!r}"
    folder = Path(options.out or Path("runs") / _folder_name(subject.name, threat))
    check_identity(folder, f"evaluation of {subject.name}")
    split, data_name, n = _images(options)
    with full_fp32(), _prepared((subject, *surrogates), options, progress) as device:
        problem = _problem(options, asked, threat, subject, surrogates, split, n, device)
        attacks = resolved(asked, threat, problem.classes)
        with RunStore(folder, f"evaluation of {subject.name}") as store:
            nearest = curve.nearest(threat) if options.curve else None
            cascade = Cascade(
                problem,
                store,
                progress,
                stages=tuple(Attacking(attack=a, threat=threat, mode=options.mode) for a in attacks),
                nearest=nearest,
                certify=_certify(problem) if options.certify else None,
            )
            findings = cascade.run()
            found = verdicts(findings)
            results = assemble(
                problem,
                store,
                findings,
                found,
                title=title,
                command=options.command(),
                attacks=", ".join(map(repr, asked)),
                data_name=data_name,
                checks=[],
                curve=_curve(problem, store, findings, nearest),
                pictures=save_pictures(problem, store, findings, found),
            )
            write_verdicts(folder, found)
            write_json(folder / "results.json", results.model_dump(mode="json"))
            store.keep_only([problem.key])
            manifest = {
                "evaluation": subject.name,
                "asked": options.asked(),
                "resolved": {
                    "problem": problem.key,
                    "threat": repr(threat),
                    "attacks": [repr(attack) for attack in attacks],
                    "samples": problem.samples,
                    "batch_size": problem.batch_size,
                    "compute": results.compute.model_dump(),
                    "code": subject.code,
                },
                "git_revision": environment.git_revision(),
                "completed": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            write_json(folder / "manifest.json", manifest)
    return EvaluationRun(folder=folder, results=results)


def _folder_name(name: str, threat: ThreatModel) -> str:
    return re.sub(r"[^\w.-]+", "-", f"evaluate-{name}-{threat.name}-{threat.eps:g}")


def _images(options: EvaluationOptions) -> tuple[Split, str, int]:
    if (options.images is None) != (options.labels is None):
        raise RobustlabError("images and labels must be given together")
    dataset = options.dataset if options.images is None else own_images(options.images, options.labels)
    return load_images(dataset, data_root=options.data_root, n=options.n)


def _problem(
    options: EvaluationOptions,
    asked: tuple[Attack | Ensemble, ...],
    threat: ThreatModel,
    subject: LoadedClassifier,
    surrogates: tuple[LoadedClassifier, ...],
    split: Split,
    n: int,
    device: str,
) -> Problem:
    images = split.take(slice(n))
    if options.eight_bit:
        eight_bit.check(images.images)
    first = images.take(slice(2)).to(device).pixels(slice(None))
    classes = class_count(subject.model, first[:1])
    highest = int(images.labels.max())
    if highest >= classes:
        raise RobustlabError(f"the model tells {classes} classes apart, but a label is {highest}")
    for model, given in zip((subject, *surrogates), (options.model, *options.surrogates), strict=True):
        if class_count(model.model, first[:1]) != classes:
            raise RobustlabError(f"the surrogate {model.name} tells another number of classes apart")
        if not isinstance(given, nn.Module):
            in_fastest_layout(model.model, first)
    wished = max(unit.samples if isinstance(unit, Ensemble) else 1 for unit in asked)
    return Problem(
        subject=subject,
        surrogates=surrogates,
        images=images,
        data=split.sha256(),
        classes=classes,
        threat=threat,
        seed=options.seed,
        mode=options.mode,
        samples=options.samples or wished,
        eight_bit=options.eight_bit,
        half=options.precision == "bf16" or (options.precision == "auto" and fast_bf16(device)),
        device=device,
        batch_size=options.batch_size or _BATCH[device],
    )


@contextmanager
def _prepared(
    loaded: tuple[LoadedClassifier, ...], options: EvaluationOptions, progress: Progress
) -> Iterator[str]:
    """Put the classifiers on the device and into eval mode, and a caller's own back as they were."""
    models = [classifier.model for classifier in loaded]
    device = resolve(options.device).device
    if options.device == "auto" and isinstance(options.model, nn.Module):
        device = _device_of(options.model) or device
    before = [(_device_of(model), {m: m.training for m in model.modules()}) for model in models]
    try:
        for classifier in loaded:
            if any(module.training for module in classifier.model.modules()):
                progress.note(f"{classifier.name} came in train mode; it is evaluated in eval mode")
            classifier.model.eval().to(device)
        yield device
    finally:
        for model, (place, modes) in zip(models, before, strict=True):
            for module, training in modes.items():
                module.training = training
            if place is not None:
                model.to(place)


def _device_of(model: nn.Module) -> str | None:
    return next((parameter.device.type for parameter in model.parameters()), None)


def _curve(
    problem: Problem, store: RunStore, findings: Findings, nearest: Attacking | None
) -> RobustCurve | None:
    if nearest is None:
        return None
    return curve.curve(findings, nearest, store.seconds(key_of(problem, nearest)), problem.threat)


def _certify(problem: Problem) -> Certify | None:
    """Return the stage that looks for proofs, if the certifier understands the classifier and the threat."""
    certifier: Certifier = IBP()
    first = problem.images.take(slice(1)).to(problem.device)
    if problem.samples > 1 or certifier.explain(problem.model, first.pixels(slice(None))) is not None:
        return None
    try:
        certifier.certify(problem.model, first.pixels(slice(None)), first.labels, problem.threat)
    except RobustlabError:
        return None
    return Certify(certifier=certifier)
