"""Runs an evaluation. The same call resumes it; a changed call repeats only the changed work."""

import itertools
from contextlib import chdir
from pathlib import Path

from robustlab.core.batches import enough_memory
from robustlab.core.errors import RobustlabError
from robustlab.core.isolation import own_settings, working_folder
from robustlab.core.options import progress_of
from robustlab.core.progress import Progress
from robustlab.evaluation.coordinator.arguments import with_units
from robustlab.evaluation.coordinator.certification import certification
from robustlab.evaluation.coordinator.evaluate import attacks_of, cascade_of, evaluated, manifest
from robustlab.evaluation.coordinator.folder import default_folder, owner_of
from robustlab.evaluation.coordinator.kept import OtherAnswersError, forget_other_answers
from robustlab.evaluation.coordinator.larger import LargerEps
from robustlab.evaluation.coordinator.measured import measured
from robustlab.evaluation.coordinator.setup import LoadedInputs, on_device, read
from robustlab.evaluation.jobs.context import EvaluationContext
from robustlab.options import EvaluationOptions
from robustlab.runs.evaluation import Evaluation
from robustlab.runs.manifest import write_manifest
from robustlab.runs.owner import Owner, check_owner
from robustlab.runs.run import EvaluationFolder, load_results
from robustlab.runs.store import RunStore


@own_settings()
def execute(
    options: EvaluationOptions,
    progress: Progress | None = None,
    *,
    larger: EvaluationFolder | None = None,
    command: str | None = None,
    inside: Path | None = None,
) -> EvaluationFolder:
    """Run an evaluation, or the rest of it, up to ``results.json``; the report is not part of it.

    Args:
        options: what is evaluated, and how.
        progress: where to show progress; default: as the options say.
        larger: the same evaluation within a larger eps; what withstood the attacks there is not attacked.
        command: the command that repeats it, if it is not that of the options.
        inside: where the default folder lies; default: ``runs``.

    Raises:
        RobustlabError: bad input; see `robustlab.core.errors`. Finished work stays on the disk.
    """
    progress = progress_of(options, progress)
    here = working_folder()  # the model's code may change the working directory
    with chdir(here or Path()):  # changes that the import of a user's file makes are undone
        built = with_units(options)
    request = read(options, progress)
    owner = owner_of(request, options)
    for remark in (*request.on_the_model, *request.remarks):
        progress.note(remark)
    default = default_folder(request, options, owner)
    first = (here or Path()) / (options.out or (inside / default.name if inside else default))
    folder = first
    others = itertools.count(2)
    while True:
        try:
            return _execute(request, options, built, folder, owner, progress, larger, command)
        except OtherAnswersError:
            if options.out:
                raise
            folder = first.with_name(f"{first.name}-{next(others)}")


def _execute(
    request: LoadedInputs,
    options: EvaluationOptions,
    built: EvaluationOptions,
    folder: Path,
    owner: Owner,
    progress: Progress,
    larger: EvaluationFolder | None,
    command: str | None,
) -> EvaluationFolder:
    """Run an evaluation in a folder; ``built`` are the options as `with_units` returns them."""
    check_owner(folder, owner, overwrite=options.overwrite)
    with (
        enough_memory("take a machine or a --device with more"),
        on_device(request, built, progress) as context,
        _store(request, built, context, folder, owner) as store,
    ):
        earlier = _earlier_results(folder)
        times = None if larger is None else larger.results.compute.pass_time
        context = measured(context, options, store, progress, times)
        forget_other_answers(context, store, progress, overwrite=options.overwrite)
        known = None if larger is None else LargerEps.of(larger, context.threat)
        cascade = cascade_of(request, built, context, store, progress, known)
        done = evaluated(cascade, request, options, folder, command=command)
        results = done.results
        cascade.drop_other_examples(done.findings)
        if earlier is not None and (lost := _loss(earlier, results)):
            progress.note(lost)
        store.keep_only([context.key, context.classifier_key, context.measured_key])
        write_manifest(folder, manifest(request, options, context, results))
    return EvaluationFolder(folder=folder, results=results, images=request.chosen.images)


def _store(
    request: LoadedInputs, options: EvaluationOptions, context: EvaluationContext, folder: Path, owner: Owner
) -> RunStore:
    """Return the run's store, before it exists on the disk; invalid input creates none."""
    attacks_of(request, context)
    if options.proofs_only:
        certification(context, options, lambda _: None)
    return RunStore(folder, owner, overwrite=options.overwrite)


def _earlier_results(folder: Path) -> Evaluation | None:
    """Return the results of the finished evaluation in a folder; None if none can be read."""
    try:
        results = load_results(folder)
    except RobustlabError:
        return None
    return results if isinstance(results, Evaluation) else None


def _loss(earlier: Evaluation, now: Evaluation) -> str:
    """Return what the earlier results had and the new ones lack, as text; empty: nothing."""
    parts = []
    if earlier.images.n > now.images.n:
        parts.append(f"{earlier.images.n} images, now {now.images.n}")
    if earlier.attacks != now.attacks:
        parts.append("other attacks")
    lacking = [
        name
        for name, had, has in (
            ("checks", earlier.checks, now.checks),
            ("a curve", earlier.curve, now.curve),
            ("proofs", earlier.certified, now.certified),
        )
        if had and not has
    ]
    if lacking:
        parts.append(f"{', '.join(lacking)}, now without")
    if not parts:
        return ""
    return (
        f"this replaces the figures of an earlier command in the same folder ({'; '.join(parts)}); its work "
        "is kept, and that command brings its figures back. For both, give --out"
    )
