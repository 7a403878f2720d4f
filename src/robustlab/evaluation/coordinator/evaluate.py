"""One evaluation on a ledger: cascade, checks and files, for a separate run or for a row of a study."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch import nn

from robustlab.attacks import Attack
from robustlab.core import environment
from robustlab.core.errors import RobustlabError
from robustlab.core.files import write_json
from robustlab.core.progress import Progress
from robustlab.evaluation.checks import Which
from robustlab.evaluation.coordinator.assemble import assemble
from robustlab.evaluation.coordinator.cascade import QUICK, Cascade, CascadeResult
from robustlab.evaluation.coordinator.certification import certification
from robustlab.evaluation.coordinator.checking import checked, warned
from robustlab.evaluation.coordinator.curve import nearest_of, robust_curve
from robustlab.evaluation.coordinator.kept import counted_repeats, counted_threads, repeats_of
from robustlab.evaluation.coordinator.larger import LargerEps
from robustlab.evaluation.coordinator.pictures import save_pictures
from robustlab.evaluation.coordinator.setup import LoadedInputs
from robustlab.evaluation.coordinator.verdicts import verdicts
from robustlab.evaluation.engines import as_engine
from robustlab.evaluation.ensembles import resolved
from robustlab.evaluation.jobs.context import EvaluationContext
from robustlab.evaluation.jobs.stages import AttackStage
from robustlab.evaluation.subject import load_classifier
from robustlab.models.black_box import AS_LOGITS, guessed
from robustlab.models.origins import remembered
from robustlab.options import EvaluationOptions
from robustlab.runs.evaluation import Evaluation
from robustlab.runs.images_csv import write_verdicts
from robustlab.runs.store import RunStore

_GUESS = (
    "the scores are taken for probabilities, since those of the first images lie in [0, 1] and sum up to 1; "
    f"of other scores say so: {AS_LOGITS}"
)


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """An evaluation's results, and the results of its cascade for each image."""

    results: Evaluation
    findings: CascadeResult


def attacks_of(request: LoadedInputs, context: EvaluationContext) -> tuple[Attack, ...]:
    """Return the requested attacks, in order.

    Raises:
        SpecError: an attack does not support the threat model, or a target.
    """
    targeted = any(criterion.targeted for criterion in context.criteria)
    return resolved(
        request.asked, context.threat, context.classes, targeted=targeted, black_box=context.black_box
    )


def cascade_of(
    request: LoadedInputs,
    options: EvaluationOptions,
    context: EvaluationContext,
    store: RunStore,
    progress: Progress,
    larger: LargerEps | None = None,
) -> Cascade:
    """Return the cascade of the requested attacks; ``larger``: the results within a larger eps."""
    attacks = attacks_of(request, context)
    return Cascade(
        context,
        store,
        progress,
        engine=as_engine(options.engine),
        stages=tuple(
            AttackStage(attack=attack, threat=context.threat, criterion=criterion)
            for criterion in context.criteria
            for attack in attacks
        ),
        nearest=nearest_of(context) if options.curve else (),
        certify=certification(context, options, progress.note) if options.certify else None,
        larger=larger,
        further=("checks",) if options.checks else (),
    )


def evaluated(
    cascade: Cascade,
    request: LoadedInputs,
    options: EvaluationOptions,
    folder: Path,
    checks: Which = "all",
    command: str | None = None,
) -> Evaluated:
    """Run a cascade and the checks, and write results.json, images.csv and the pictures.

    Args:
        cascade: the cascade of `cascade_of`.
        request, options: those of the cascade.
        folder: the folder of the files.
        checks: which checks run, if the options want any; see `checked`.
        command: the command that repeats it, if it is not that of the options.
    """
    access = [*_access(cascade), *_withstood(cascade)]
    for sentence in access:
        cascade.progress.note(sentence)
    warnings = [] if options.proofs_only else warned(cascade, request.chosen.name)
    with counted_repeats(cascade.context, cascade.store), counted_threads(cascade.context, cascade.store):
        findings = cascade.run()
    if again := repeats_of(cascade.context, cascade.store):
        access.append(f"{again:,} queries were sent again after requests that failed; the cost includes them")
    of_images = verdicts(findings)
    curve = robust_curve(cascade, findings) if options.curve else None
    unsettled = any(verdict.state == "robust" for verdict in of_images)
    computed, seconds = warnings if unsettled else [], 0.0
    if options.checks:
        with counted_threads(cascade.context, cascade.store):
            computed, seconds = checked(cascade, findings, request.chosen.name, checks)
    said = [check.found for check in warnings if check not in computed]
    # From here to the end, files of an earlier run may contradict each other.
    cascade.store.reopen()
    results = assemble(
        cascade,
        findings,
        of_images,
        request=request,
        command=_as_typed(options).command() if command is None else command,
        remarks=[*access, *said, *_contradicted(cascade, findings)],
        checks=computed,
        seconds_of_checks=seconds,
        curve=curve,
        pictures=save_pictures(cascade, findings, of_images, folder),
    )
    write_verdicts(folder, of_images)
    write_json(folder / "results.json", results.model_dump(mode="json"))
    return Evaluated(results=results, findings=findings)


def _as_typed(options: EvaluationOptions) -> EvaluationOptions:
    """Return the options with texts for the networks that robustlab loaded and nobody changed since."""

    def named(model: Any) -> Any:
        text = remembered(model) if isinstance(model, nn.Module) else None
        if text is None:
            return model
        try:
            here, again = load_classifier(model), load_classifier(text)
        except RobustlabError:  # the file was removed
            return model
        return text if (here.code, here.sha256()) == (again.code, again.sha256()) else model

    # With a file of weights the network is another one than the text names.
    model = options.model if options.weights else named(options.model)
    if not options.surrogates:  # a search for certificates has none
        return replace(options, model=model)
    return replace(options, model=model, surrogates=tuple(map(named, options.surrogates)))


def _access(cascade: Cascade) -> list[str]:
    """Return a remark on a classifier without gradients: what it returns, and what attacks it."""
    answers = cascade.context.black_box
    if not answers:
        return []
    attacks = ", ".join(dict.fromkeys(stage.attack.brief() for stage in cascade.stages))
    return [
        f"black box: {cascade.context.subject.name} returns {answers} and no gradients; attacks: "
        f"{attacks or 'none'}; no proofs; the cost is the number of queries, the images it is asked about",
        *([_GUESS] if guessed(cascade.context.model) else []),
    ]


def _withstood(cascade: Cascade) -> list[str]:
    """Return a remark on images that were attacked within a larger eps, if there are any."""
    larger = cascade.larger
    if larger is None or not larger.withstood:
        return []
    return [
        f"{len(larger.withstood)} images withstood all attacks within {larger.threat!r}; here they meet only "
        f"the attacks of at most {QUICK:.0f} passes again"
    ]


def _contradicted(cascade: Cascade, findings: CascadeResult) -> list[str]:
    """Return a remark on images with a statistical certificate that an attack broke, if there are any."""
    broken = findings.probable & {number for found in findings.attacks for number in found.won}
    if not broken or cascade.certify is None:
        return []
    confidence = cascade.certify.certifier.confidence
    return [
        f"{len(broken)} of the images that are certified with confidence {confidence:g} are broken: the "
        "attacks met an estimate of the most frequent class, by a few draws; or the certificate is wrong"
    ]


def manifest(
    request: LoadedInputs, options: EvaluationOptions, context: EvaluationContext, results: Evaluation
) -> dict[str, Any]:
    """Return the content of an evaluation's manifest.json: the options, and their resolved values."""
    return {
        "evaluation": request.subject.name,
        "asked": options.asked(),
        "resolved": {
            "problem": context.key,
            "code": request.subject.code,
            "threat": repr(context.threat),
            "attacks": [row.attack for row in results.rows],
            "samples": context.eot_samples,
            "batch_size": int(context.batch_size),
            "compute": results.compute.model_dump(),
        },
        "git_revision": environment.git_revision(),
        "completed": datetime.now(UTC).isoformat(timespec="seconds"),
    }
