"""Runs an evaluation. The same call resumes; of a changed one, only what is new is done."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from robustlab.core import environment
from robustlab.core.device import full_fp32
from robustlab.core.evaluation import Evaluation
from robustlab.core.files import write_json
from robustlab.core.progress import Progress
from robustlab.core.run import EvaluationRun
from robustlab.core.store import RunStore, check_identity
from robustlab.evaluation.engine.assemble import assemble
from robustlab.evaluation.engine.cascade import Cascade
from robustlab.evaluation.engine.checking import checked
from robustlab.evaluation.engine.curve import nearest_within, robust_curve
from robustlab.evaluation.engine.kept import forget_other_answers
from robustlab.evaluation.engine.options import EvaluationOptions
from robustlab.evaluation.engine.pictures import save_pictures
from robustlab.evaluation.engine.problem import Problem
from robustlab.evaluation.engine.setup import Request, certification, placed, read
from robustlab.evaluation.engine.stages import Attacking
from robustlab.evaluation.engine.verdicts import verdicts, write_verdicts
from robustlab.evaluation.ensembles import resolved


def execute(options: EvaluationOptions, progress: Progress | None = None) -> EvaluationRun:
    """Run an evaluation, or what is left of it, up to ``results.json``; the report is no part of it.

    Raises:
        RobustlabError: bad input; see `robustlab.core.errors`. What was finished stays on the disk.
    """
    progress = progress or Progress()
    request = read(options, progress)
    owner = f"evaluation of {request.subject.name}"
    folder = Path(options.out) if options.out else request.default_folder
    check_identity(folder, owner)
    for remark in (*request.subject.remarks, *request.chosen.remarks):
        progress.note(remark)
    with torch.inference_mode(False), full_fp32(), placed(request, options, progress) as problem:
        attacks = resolved(request.asked, problem.threat, problem.classes)
        stages = tuple(Attacking(attack=attack, threat=problem.threat) for attack in attacks)
        with RunStore(folder, owner) as store:
            forget_other_answers(problem, store, progress)
            cascade = Cascade(
                problem,
                store,
                progress,
                stages=stages,
                nearest=nearest_within(problem.threat) if options.curve else (),
                certify=certification(problem) if options.certify else None,
                further=("checks",) if options.checks else (),
            )
            findings = cascade.run()
            found = verdicts(findings)
            curve = robust_curve(cascade, findings) if options.curve else None
            checks, seconds = checked(cascade, findings, request.chosen.name) if options.checks else ([], 0.0)
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
                checks=checks,
                seconds_of_checks=seconds,
                curve=curve,
                pictures=save_pictures(problem, store, findings, found),
            )
            write_verdicts(folder, found)
            write_json(folder / "results.json", results.model_dump(mode="json"))
            store.keep_only([problem.key])
            write_json(folder / "manifest.json", _manifest(request, options, problem, results))
    return EvaluationRun(folder=folder, results=results)


def _manifest(
    request: Request, options: EvaluationOptions, problem: Problem, results: Evaluation
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
            "batch_size": problem.batch_size,
            "compute": results.compute.model_dump(),
        },
        "git_revision": environment.git_revision(),
        "completed": datetime.now(UTC).isoformat(timespec="seconds"),
    }
