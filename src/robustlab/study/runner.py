"""Runs a study. The same command resumes; a changed option repeats only the work that depends on it."""

import time
from collections.abc import Iterable
from contextlib import chdir, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from robustlab.core import environment
from robustlab.core.batches import enough_memory
from robustlab.core.calling import blaming
from robustlab.core.errors import ModelFileError
from robustlab.core.files import write_json, writing
from robustlab.core.isolation import own_settings, working_folder
from robustlab.core.options import check_options, progress_of
from robustlab.core.progress import Progress
from robustlab.core.threads import THREADS_USED, measured_threads
from robustlab.data import check_dataset
from robustlab.models.files import load_tensors
from robustlab.options import StudyOptions
from robustlab.runs.ledger import StageRecord
from robustlab.runs.manifest import write_manifest
from robustlab.runs.results import Results
from robustlab.runs.run import Run
from robustlab.runs.store import RunStore
from robustlab.study.answers import forget_other_answers, kept_keys
from robustlab.study.plan import Plan
from robustlab.study.results import assemble
from robustlab.study.setup import PreparedStudy, prepare
from robustlab.study.stages import NetworkStage, StudyStage
from robustlab.study.stages.evaluate import FOLDER, clear_others
from robustlab.study.workspace import Workspace
from robustlab.training.side_by_side import trained_side_by_side

REMEDY = "take a machine or a --device with more, or a smaller batch_size in the recipe"


@own_settings()
def execute(options: StudyOptions, progress: Progress | None = None) -> Run:
    """Run a study, or the rest of it, up to ``results.json``; the report is not part of it.

    Raises:
        RobustlabError: bad input; see `robustlab.core.errors`. Finished work stays on the disk.
    """
    check_options(options, {"Progress": Progress})
    if options.dataset is not None:
        check_dataset(options.dataset)
    here = working_folder() or Path()  # a unit's code may change it
    with chdir(here), enough_memory(REMEDY):
        return run_prepared(prepare(options, here, progress_of(options, progress)), options)


def run_prepared(study: PreparedStudy, options: StudyOptions) -> Run:
    """Run what is left of a study, up to ``results.json`` and the manifest."""
    plan, workspace = study.plan, study.workspace
    store, data = workspace.store, workspace.dataset
    with store:
        if data.fallback:
            workspace.progress.note(
                f"this run uses {data.source} instead of the recipe's dataset, and its figures can't be "
                f"compared with the study's. Why: {data.fallback}"
            )
        records, compared = _run_stages(plan, workspace)
        results = assemble(study.recipe, options.quick, plan, records, workspace)
        store.reopen()
        write_json(store.folder / "results.json", results.model_dump(mode="json"))
        _forget_networks(plan, store)
        clear_others(store.folder / FOLDER, [stage.folder for stage in plan.evaluations.values()])
        store.keep_only([*kept_keys(plan.stages, store), *compared])
        write_manifest(store.folder, _manifest(study, options, results))
    return Run(folder=store.folder, results=results)


def _run_stages(plan: Plan, workspace: Workspace) -> tuple[dict[str, StageRecord], list[str]]:
    """Run the unfinished stages.

    Returns:
        Every stage's record by key, and the keys of `forget_other_answers`.
    """
    store, progress = workspace.store, workspace.progress
    records = _kept_records(plan, workspace)
    if len(records) < len({stage.key for stage in plan.stages}):
        # From here to the end the run is incomplete, so it must not have a manifest.
        store.reopen()
    progress.weigh({stage.name: stage.effort(workspace) for stage in plan.stages})
    progress.plan([stage.name for stage in plan.stages])

    def begin(stage: StudyStage) -> None:
        progress.stage(stage.name, "running")
        store.start_stage(stage.key, stage.name)

    def end(stage: StudyStage, payload: dict[str, Any], seconds: float) -> None:
        seconds += payload.pop("earlier_seconds", 0.0)  # of a training that was resumed
        records[stage.key] = StageRecord(key=stage.key, name=stage.name, payload=payload, seconds=seconds)
        store.finish_stage(records[stage.key])
        progress.stage(stage.name, "done", seconds)

    trainings = {stage.key: stage for stage in plan.trainings if stage.key not in records}
    jobs = [stage.job(workspace) for stage in trainings.values()]
    data, trained = workspace.dataset, set()
    for job, payload, seconds in trained_side_by_side(
        jobs, (data.train, data.validation), progress, lambda job: begin(trainings[job.key])
    ):
        end(trainings[job.key], payload, seconds)
        trained.add(job.key)

    def run_rest(stages: Iterable[StudyStage]) -> None:
        for stage in stages:
            if stage.key in trained:
                continue
            if store.stage(stage.key) is not None and stage.key in records:
                progress.stage(stage.name, "kept")
                continue
            begin(stage)
            started = time.perf_counter()
            with blaming(stage.name), measured_threads() as used:
                payload = stage.run(workspace)
            end(stage, payload | {THREADS_USED: used}, time.perf_counter() - started)

    run_rest(stage for stage in plan.stages if isinstance(stage, NetworkStage))
    compared = forget_other_answers(plan, workspace)
    run_rest(stage for stage in plan.stages if not isinstance(stage, NetworkStage))
    return records, compared


def _kept_records(plan: Plan, workspace: Workspace) -> dict[str, StageRecord]:
    """Return the records, by key, of the stages that an earlier run finished and whose files exist."""
    return {
        stage.key: record
        for stage in plan.stages
        if (record := workspace.store.stage(stage.key)) is not None and stage.intact(workspace)
    }


def _forget_networks(plan: Plan, store: RunStore) -> None:
    """Remove the networks of an earlier recipe or seed; a file that this folder did not train stays."""
    trained, wanted = {key for key, _, _ in store.events()}, {stage.key for stage in plan.stages}
    for path in (store.folder / "models").glob("*.safetensors"):
        with writing(path), suppress(ModelFileError):
            if str(load_tensors(path)[1].get("stage")) in trained - wanted:
                for ending in (".json", ".checkpoint", ".safetensors"):
                    path.with_suffix(ending).unlink(missing_ok=True)


def _manifest(study: PreparedStudy, options: StudyOptions, results: Results) -> dict[str, Any]:
    return {
        "study": study.recipe.name,
        "asked": options.asked(),
        "resolved": {
            "recipe": study.recipe.model_dump(mode="json", by_alias=True),
            "dataset": results.dataset.model_dump(),
            "compute": results.compute.model_dump(),
            "stages": {stage.name: stage.key for stage in study.plan.stages},
        },
        "git_revision": environment.git_revision(),
        "completed": datetime.now(UTC).isoformat(timespec="seconds"),
    }
