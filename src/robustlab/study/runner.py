"""Runs a study. The same command resumes; a changed option redoes only what depends on it."""

import time
from collections.abc import Iterator
from contextlib import chdir, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from robustlab.core import environment
from robustlab.core.batches import enough_memory
from robustlab.core.calling import blaming
from robustlab.core.device import resolve
from robustlab.core.errors import ModelFileError, RecipeError, did_you_mean
from robustlab.core.files import write_json, writing
from robustlab.core.isolation import own_settings, working_folder
from robustlab.core.options import check_options, progress_of
from robustlab.core.progress import Progress
from robustlab.core.text import shown
from robustlab.data import Splits, check_dataset, load_dataset
from robustlab.models.files import load_tensors
from robustlab.options import StudyOptions
from robustlab.runs.manifest import write_manifest
from robustlab.runs.owner import Owner, check_owner
from robustlab.runs.results import Results
from robustlab.runs.run import Run
from robustlab.runs.store import RunStore, StageRecord
from robustlab.shipped import shipped_recipes
from robustlab.study.loading import load_recipe
from robustlab.study.models import StudyModels
from robustlab.study.plan import Plan, make_plan
from robustlab.study.recipe import Recipe
from robustlab.study.results import assemble
from robustlab.study.stages import StudyStage
from robustlab.study.stages.evaluate import FOLDER, clear_others
from robustlab.study.workspace import Workspace


@own_settings()
def execute(options: StudyOptions, progress: Progress | None = None) -> Run:
    """Run a study, or what is left of it, up to ``results.json``; the report is not part of it.

    Raises:
        RobustlabError: bad input; see `robustlab.core.errors`. What was finished stays on the disk.
    """
    _check(options)
    here = working_folder() or Path()  # a unit's code may change it
    path = here / find_recipe(str(options.recipe))
    with chdir(here):
        return _Study(load_recipe(path), path, options, progress_of(options, progress)).run(here)


def _check(options: StudyOptions) -> None:
    """Check the types and ranges of all options.

    Raises:
        RobustlabError: one of them is not what it should be.
    """
    check_options(options, {"Progress": Progress})
    if options.dataset is not None:
        check_dataset(options.dataset)


def find_recipe(recipe: str) -> Path:
    """Return the file of a recipe given by path or by name.

    Raises:
        RecipeError: there is none.
    """
    if Path(recipe).is_file():
        return Path(recipe)
    shipped = shipped_recipes()
    if recipe in shipped:
        return shipped[recipe]
    hint = did_you_mean(Path(recipe).stem, shipped)
    raise RecipeError(f"no recipe {shown(recipe)}{hint}; give a TOML file, or one of: {', '.join(shipped)}")


class _Study:
    def __init__(self, recipe: Recipe, path: Path, options: StudyOptions, progress: Progress) -> None:
        self.recipe, self.path, self.options, self.progress = recipe, path, options, progress

    def run(self, here: Path) -> Run:
        environment.check_torchvision()
        compute = resolve(self.options.device, self.options.precision)
        if self.options.out:  # before data are downloaded
            named = Owner(name=self.recipe.name)
            check_owner(Path(self.options.out), named, overwrite=self.options.overwrite)
        data = self._load()
        folder = here / (self.options.out or self._default_folder(data))
        remedy = "take a machine or a --device with more, or a smaller batch_size in the recipe"
        store = RunStore(folder, self._owner(data), overwrite=self.options.overwrite)
        with enough_memory(remedy), store:
            if data.fallback:
                self.progress.note(
                    f"MNIST is not available: this run uses {data.source} instead, "
                    f"and its figures can't be compared with the study's. Why: {data.fallback}"
                )
            models = StudyModels(
                recipe=self.recipe, folder=folder, device=compute.device, note=self.progress.note
            )
            quick, seed = self.options.quick, self.options.seed
            plan = make_plan(self.recipe, data, compute, seed, quick=quick, models=models)
            workspace = Workspace(
                dataset=data,
                compute=compute,
                seed=self.options.seed,
                store=store,
                progress=self.progress,
                models=models,
            )
            records = self._run_stages(plan, workspace)
            results = assemble(self.recipe, self.options.quick, plan, records, workspace)
            store.reopen()
            write_json(folder / "results.json", results.model_dump(mode="json"))
            self._forget_networks(plan, store)
            wanted = [stage.folder for stage in plan.evaluations.values()]
            clear_others(folder / FOLDER, wanted)
            store.keep_only(_kept_keys(plan, records))
            write_manifest(folder, self._manifest(results, plan))
        return Run(folder=folder, results=results)

    def _owner(self, data: Splits) -> Owner:
        """Return what the folder records of the study; a changed recipe goes on in the same folder."""
        # A recipe that comes with robustlab is the same one wherever that is installed.
        shipped = self.path.resolve() in {path.resolve() for path in shipped_recipes().values()}
        identity = {
            "recipe": self.path.stem if shipped else str(self.path.resolve()),
            "dataset": data.name,
            "seed": str(self.options.seed),
            "quick": str(self.options.quick),
        }
        return Owner(name=self.recipe.name, identity=identity)

    def _default_folder(self, data: Splits) -> Path:
        """Return where the study goes unless the user says otherwise: on other data or seeds elsewhere."""
        usual = {"auto": "mnist"}.get(self.recipe.data.dataset, self.recipe.data.dataset)
        parts = [
            self.recipe.name,
            *(["quick"] if self.options.quick else []),
            *([data.name] if data.name != usual else []),
            *([f"seed-{self.options.seed}"] if self.options.seed else []),
        ]
        return Path("runs") / "-".join(parts)

    def _load(self) -> Splits:
        data = load_dataset(
            self.options.dataset or self.recipe.data.dataset,
            data_root=self.options.data_root,
            validation_fraction=self.recipe.data.validation_fraction,
            seed=self.options.seed,
        )
        quick = self.recipe.quick
        return data.limited(quick.train, quick.validation, quick.test) if self.options.quick else data

    def _run_stages(self, plan: Plan, workspace: Workspace) -> dict[str, StageRecord]:
        """Run what is not finished yet and return every stage's record by key."""
        store, records = workspace.store, {}
        kept = {stage.key for stage in plan.stages if self._finished(stage, workspace)}
        if len(kept) < len(plan.stages):
            # From here to the end the run is incomplete, and must not look complete.
            store.reopen()
        self.progress.plan([stage.name for stage in plan.stages])
        for stage in plan.stages:
            record = store.stage(stage.key) if stage.key in kept or stage.key in records else None
            if record is not None:
                self.progress.stage(stage.name, "kept")
            else:
                self.progress.stage(stage.name, "running")
                store.start_stage(stage.key, stage.name)
                started = time.perf_counter()
                with blaming(stage.name):
                    payload = stage.run(workspace)
                seconds = time.perf_counter() - started
                record = StageRecord(key=stage.key, name=stage.name, payload=payload, seconds=seconds)
                store.finish_stage(record)
                self.progress.stage(stage.name, "done", seconds)
            records[stage.key] = record
        return records

    def _forget_networks(self, plan: Plan, store: RunStore) -> None:
        """Remove the networks of an earlier recipe or seed; a file that this folder did not train stays."""
        trained, wanted = {key for key, _, _ in store.events()}, {stage.key for stage in plan.stages}
        for path in (store.folder / "models").glob("*.safetensors"):
            with writing(path), suppress(ModelFileError):
                if str(load_tensors(path)[1].get("stage")) in trained - wanted:
                    for ending in (".json", ".checkpoint", ".safetensors"):
                        path.with_suffix(ending).unlink(missing_ok=True)

    def _finished(self, stage: StudyStage, workspace: Workspace) -> bool:
        return workspace.store.stage(stage.key) is not None and stage.intact(workspace)

    def _manifest(self, results: Results, plan: Plan) -> dict[str, Any]:
        return {
            "study": self.recipe.name,
            "asked": self.options.asked(),
            "resolved": {
                "recipe": self.recipe.model_dump(mode="json", by_alias=True),
                "dataset": results.dataset.model_dump(),
                "compute": results.compute.model_dump(),
                "stages": {stage.name: stage.key for stage in plan.stages},
            },
            "git_revision": environment.git_revision(),
            "completed": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def _kept_keys(plan: Plan, records: dict[str, StageRecord]) -> Iterator[str]:
    """Yield the keys of all stages, and of the evaluations that they are made of."""
    for stage in plan.stages:
        payload = records[stage.key].payload
        yield stage.key
        yield from payload.get("problems", ())
