"""Runs an evaluation. The same call resumes; of a changed one, only what is new is done."""

import itertools
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from robustlab.core import environment
from robustlab.core.batches import enough_memory
from robustlab.core.files import write_json
from robustlab.core.isolation import own_settings, working_folder
from robustlab.core.options import progress_of
from robustlab.core.progress import Progress
from robustlab.evaluation.engine.assemble import assemble
from robustlab.evaluation.engine.cascade import Cascade
from robustlab.evaluation.engine.checking import checked, warned
from robustlab.evaluation.engine.context import EvaluationContext
from robustlab.evaluation.engine.curve import nearest_within, robust_curve
from robustlab.evaluation.engine.folder import default_folder, owner_of
from robustlab.evaluation.engine.images_csv import write_verdicts
from robustlab.evaluation.engine.kept import OtherAnswersError, forget_other_answers
from robustlab.evaluation.engine.measured import measured
from robustlab.evaluation.engine.pictures import save_pictures
from robustlab.evaluation.engine.replaced import earlier_results, loss
from robustlab.evaluation.engine.setup import LoadedInputs, certification, placed, read
from robustlab.evaluation.engine.stages import AttackStage
from robustlab.evaluation.engine.verdicts import verdicts
from robustlab.evaluation.ensembles import resolved
from robustlab.options import EvaluationOptions
from robustlab.runs.evaluation import Evaluation
from robustlab.runs.manifest import write_manifest
from robustlab.runs.owner import Owner, check_owner
from robustlab.runs.run import EvaluationRun
from robustlab.runs.store import RunStore


@own_settings()
def execute(options: EvaluationOptions, progress: Progress | None = None) -> EvaluationRun:
    """Run an evaluation, or what is left of it, up to ``results.json``; the report is no part of it.

    Raises:
        RobustlabError: bad input; see `robustlab.core.errors`. What was finished stays on the disk.
    """
    progress = progress_of(options, progress)
    here = working_folder()  # the model's code may change it
    request = read(options, progress)
    owner = owner_of(request, options)
    for remark in request.remarks:
        progress.note(remark)
    folder = first = (here or Path()) / (options.out or default_folder(request, owner))
    others = itertools.count(2)
    while True:
        try:
            return _execute(request, options, folder, owner, progress)
        except OtherAnswersError:
            if options.out:
                raise
            folder = first.with_name(f"{first.name}-{next(others)}")


def _execute(
    request: LoadedInputs, options: EvaluationOptions, folder: Path, owner: Owner, progress: Progress
) -> EvaluationRun:
    check_owner(folder, owner, overwrite=options.overwrite)
    remedy = "take a machine or a --device with more"
    with enough_memory(remedy), placed(request, options, progress) as problem:
        attacks = resolved(request.asked, problem.threat, problem.classes)
        stages = tuple(AttackStage(attack=attack, threat=problem.threat) for attack in attacks)
        with RunStore(folder, owner, overwrite=options.overwrite) as store:
            earlier = earlier_results(folder)
            problem = measured(problem, options, store, progress)
            forget_other_answers(problem, store, progress, overwrite=options.overwrite)
            cascade = Cascade(
                problem,
                store,
                progress,
                stages=stages,
                nearest=nearest_within(problem.threat) if options.curve else (),
                certify=certification(problem, progress.note) if options.certify else None,
                further=("checks",) if options.checks else (),
            )
            warnings = warned(cascade, request.chosen.name)
            findings = cascade.run()
            found = verdicts(findings)
            curve = robust_curve(cascade, findings) if options.curve else None
            unsettled = any(verdict.state == "robust" for verdict in found)
            checks, seconds = warnings if unsettled else [], 0.0
            if options.checks:
                checks, seconds = checked(cascade, findings, request.chosen.name)
            said = tuple(check.found for check in warnings if check not in checks)
            # From here to the end the files of an earlier run may not fit together.
            store.reopen()
            results = assemble(
                cascade,
                findings,
                found,
                title=request.title,
                command=options.command(),
                attacks=", ".join(map(repr, request.asked)),
                data_name=request.chosen.name,
                remarks=(*request.remarks, *said),
                checks=checks,
                seconds_of_checks=seconds,
                curve=curve,
                pictures=save_pictures(problem, store, findings, found),
            )
            if earlier is not None and (lost := loss(earlier, results)):
                progress.note(lost)
            write_verdicts(folder, found)
            write_json(folder / "results.json", results.model_dump(mode="json"))
            store.keep_only([problem.key, problem.measured_key])
            write_manifest(folder, _manifest(request, options, problem, results))
    return EvaluationRun(folder=folder, results=results)


def _manifest(
    request: LoadedInputs, options: EvaluationOptions, problem: EvaluationContext, results: Evaluation
) -> dict[str, Any]:
    return {
        "evaluation": request.subject.name,
        "asked": options.asked(),
        "resolved": {
            "problem": problem.key,
            "code": request.subject.code,
            "threat": repr(problem.threat),
            "attacks": [row.attack for row in results.rows],
            "samples": problem.samples,
            "batch_size": int(problem.batch_size),
            "compute": results.compute.model_dump(),
        },
        "git_revision": environment.git_revision(),
        "completed": datetime.now(UTC).isoformat(timespec="seconds"),
    }
