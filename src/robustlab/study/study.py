"""Runs a study: plan, stages, results; the same command resumes, a changed option redoes what depends on it."""

import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from robustlab.core import environment
from robustlab.core.device import DeviceChoice, PrecisionChoice, resolve
from robustlab.core.errors import RecipeError, did_you_mean
from robustlab.core.files import write_json
from robustlab.core.progress import Progress
from robustlab.core.results import Results
from robustlab.core.store import RunStore, StageRecord, check_identity
from robustlab.data import Dataset, load_dataset
from robustlab.report import write_report
from robustlab.study.plan import Plan, make_plan
from robustlab.study.recipe import Recipe, load_recipe
from robustlab.study.results import assemble
from robustlab.study.stages import Stage
from robustlab.study.workspace import Workspace

RECIPES = (Path(__file__).parents[1] / "recipes", Path(__file__).parents[3] / "recipes")
"""Where the recipes that come with robustlab lie: in an installed package, and in a checkout."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a study is run; see `study` for the fields."""

    dataset: str | None = None
    data_root: str | None = None
    device: DeviceChoice = "auto"
    precision: PrecisionChoice = "auto"
    seed: int = 0
    quick: bool = False


def study(
    recipe: str | Path = "mnist",
    *,
    out: str | Path | None = None,
    dataset: str | None = None,
    data_root: str | Path | None = None,
    device: DeviceChoice = "auto",
    precision: PrecisionChoice = "auto",
    seed: int = 0,
    quick: bool = False,
    progress: Progress | None = None,
) -> Results:
    """Run a study, or what is left of it, and write its report.

    Args:
        recipe: a TOML file, or the name of a recipe that comes with robustlab.
        out: the run's folder; default ``runs/<recipe>``, for a quick run ``runs/<recipe>-quick``.
        dataset: ``"auto"``, ``"mnist"`` or ``"digits"``; default: what the recipe says.
        data_root: the first folder in which data is looked for.
        device: ``"auto"`` takes a GPU if there is one.
        precision: of the matrix products in training; ``"auto"`` takes bf16 where it is faster.
        seed: of every random choice.
        quick: a few epochs on a part of the images, to see everything work.
        progress: where to show progress.

    Returns:
        Every figure, as in the run's ``results.json``.

    Raises:
        RobustlabError: bad input; see `robustlab.core.errors`. What was finished stays on the disk.
    """
    path = find_recipe(recipe)
    parsed = load_recipe(path)
    options = Options(
        dataset=dataset,
        data_root=str(data_root) if data_root is not None else None,
        device=device,
        precision=precision,
        seed=seed,
        quick=quick,
    )
    folder = (
        Path(out) if out is not None else Path("runs") / (f"{parsed.name}-quick" if quick else parsed.name)
    )
    check_identity(folder, parsed.name)
    return _Study(parsed, options, folder, progress or Progress()).run()


def find_recipe(recipe: str | Path) -> Path:
    """Return the file of a recipe given by path or by name.

    Raises:
        RecipeError: there is none.
    """
    given = Path(recipe)
    if given.is_file():
        return given
    shipped = {path.stem: path for folder in reversed(RECIPES) for path in sorted(folder.glob("*.toml"))}
    if str(recipe) in shipped:
        return shipped[str(recipe)]
    names = ", ".join(shipped)
    raise RecipeError(
        f"no recipe {str(recipe)!r}{did_you_mean(given.stem, shipped)}; give a TOML file, or one of: {names}"
    )


class _Study:
    def __init__(self, recipe: Recipe, options: Options, folder: Path, progress: Progress) -> None:
        self.recipe, self.options, self.folder, self.progress = recipe, options, folder, progress

    def run(self) -> Results:
        environment.check_torchvision()
        compute = resolve(self.options.device, self.options.precision)
        with RunStore(self.folder, self.recipe.name) as store:
            data = self._load()
            if data.fallback:
                self.progress.note(
                    f"MNIST is not available, so this run uses {data.name} instead: {data.source}. Its figures can't "
                    f"be compared with the study's. Why: {data.fallback}"
                )
            plan = make_plan(self.recipe, data, compute, self.options.seed, quick=self.options.quick)
            workspace = Workspace(
                dataset=data,
                compute=compute,
                seed=self.options.seed,
                store=store,
                progress=self.progress,
                composed=plan.composed,
            )
            records = self._run_stages(plan, workspace)
            results = assemble(self.recipe, self.options.quick, plan, records, workspace)
            self._write(results, plan, store)
            store.keep_only(stage.key for stage in plan.stages)
        return results

    def _load(self) -> Dataset:
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
            (self.folder / "manifest.json").unlink(missing_ok=True)
        self.progress.plan([stage.name for stage in plan.stages])
        for stage in plan.stages:
            record = store.stage(stage.key) if stage.key in kept or stage.key in records else None
            if record is not None:
                self.progress.stage(stage.name, "kept")
            else:
                self.progress.stage(stage.name, "running")
                store.start_stage(stage.key, stage.name)
                started = time.perf_counter()
                payload = stage.run(workspace)
                seconds = time.perf_counter() - started
                record = StageRecord(key=stage.key, name=stage.name, payload=payload, seconds=seconds)
                store.finish_stage(record)
                self.progress.stage(stage.name, "done", seconds)
            records[stage.key] = record
        return records

    def _finished(self, stage: Stage, workspace: Workspace) -> bool:
        return workspace.store.stage(stage.key) is not None and stage.intact(workspace)

    def _write(self, results: Results, plan: Plan, store: RunStore) -> None:
        write_json(store.folder / "results.json", results.model_dump(mode="json"))
        write_report(store.folder)
        write_json(store.folder / "manifest.json", self._manifest(results, plan))

    def _manifest(self, results: Results, plan: Plan) -> dict[str, Any]:
        return {
            "study": self.recipe.name,
            "asked": asdict(self.options),
            "resolved": {
                "recipe": self.recipe.model_dump(mode="json", by_alias=True),
                "dataset": results.dataset.model_dump(),
                "compute": results.compute.model_dump(),
                "stages": {stage.name: stage.key for stage in plan.stages},
            },
            "git_revision": environment.git_revision(),
            "completed": datetime.now(UTC).isoformat(timespec="seconds"),
        }
