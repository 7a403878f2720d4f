"""Makes the plan of a study from its options, and loads all that its stages need."""

from dataclasses import dataclass
from pathlib import Path

from robustlab.core import environment
from robustlab.core.device import resolve
from robustlab.core.errors import RecipeError, did_you_mean
from robustlab.core.memory import give_back_freed_memory
from robustlab.core.progress import Progress
from robustlab.core.text import file_part, shown
from robustlab.core.user_code import is_user_code
from robustlab.data import Splits, check_dataset
from robustlab.options import StudyOptions
from robustlab.runs.owner import Owner, check_owner
from robustlab.runs.store import RunStore
from robustlab.shipped import shipped_recipes
from robustlab.study.data import load_splits
from robustlab.study.loading import load_recipe
from robustlab.study.models import StudyModels
from robustlab.study.plan import Plan, make_plan
from robustlab.study.recipe import Recipe
from robustlab.study.workspace import Workspace
from robustlab.training.side_by_side import threads_per_training


@dataclass(frozen=True, kw_only=True)
class PreparedStudy:
    """A study that is ready to run; its folder is neither created nor locked yet."""

    recipe: Recipe
    plan: Plan
    workspace: Workspace


def find_recipe(recipe: str) -> Path:
    """Return the file of a recipe given by path or by name.

    Raises:
        RecipeError: the recipe does not exist.
    """
    if Path(recipe).is_file():
        return Path(recipe)
    shipped = shipped_recipes()
    if recipe in shipped:
        return shipped[recipe]
    hint = did_you_mean(Path(recipe).stem, shipped)
    raise RecipeError(f"no recipe {shown(recipe)}{hint}; give a TOML file, or one of: {', '.join(shipped)}")


def prepare(options: StudyOptions, here: Path, progress: Progress) -> PreparedStudy:
    """Read the recipe and the data, and plan the study. The same options give the same plan in any process.

    Args:
        here: the working directory.

    Raises:
        RobustlabError: the recipe, the data or the options have a mistake.
    """
    path = here / find_recipe(str(options.recipe))
    recipe = load_recipe(path)
    if options.out:  # before data are downloaded
        check_owner(Path(options.out), Owner(name=recipe.name), overwrite=options.overwrite)
    data = _load(recipe, options, progress)
    folder = here / (options.out or _default_folder(recipe, options, data))
    return prepare_recipe(
        recipe,
        data,
        folder,
        _owner(recipe, path, options, data),
        options,
        progress,
        test_source=_test_source(recipe, options, data),
    )


def prepare_recipe(
    recipe: Recipe,
    data: Splits,
    folder: Path,
    owner: Owner,
    options: StudyOptions,
    progress: Progress,
    *,
    test_source: str | None,
) -> PreparedStudy:
    """Plan a study of a recipe that was checked, on these images.

    Args:
        data: the splits, cut down already in a quick run.
        folder: where the run goes.
        owner: whose folder that must be.
        options: of device, precision, seed, ``quick`` and ``overwrite``.
        test_source: the text that names the whole test split for `evaluate`; None if no text does.
    """
    environment.check_torchvision()
    compute = resolve(options.device, options.precision)
    models = StudyModels(recipe=recipe, folder=folder, device=compute.device, note=progress.note)
    give_back_freed_memory()  # of the loading of the data; trainings may run in several processes
    plan = make_plan(recipe, data, compute, options.seed, quick=options.quick, models=models)
    workspace = Workspace(
        dataset=data,
        compute=compute,
        seed=options.seed,
        store=RunStore(folder, owner, overwrite=options.overwrite),
        progress=progress,
        models=models,
        training_threads=_threads(plan, len(data.train)),
        test_source=None if options.quick else test_source,
        data_root=None if options.data_root is None else str(options.data_root),
    )
    return PreparedStudy(recipe=recipe, plan=plan, workspace=workspace)


def _load(recipe: Recipe, options: StudyOptions, progress: Progress) -> Splits:
    data = load_splits(
        recipe.data,
        dataset=options.dataset,
        data_root=options.data_root,
        seed=options.seed,
        note=progress.note,
    )
    quick = recipe.quick
    return data.limited(quick.train, quick.validation, quick.test) if options.quick else data


def _default_folder(recipe: Recipe, options: StudyOptions, data: Splits) -> Path:
    """Return the default folder of the study; other data or seeds have another folder."""
    usual = recipe.data.dataset
    usual = usual if is_user_code(usual) else check_dataset(usual).wished.shown_as
    parts = [
        recipe.name,
        *(["quick"] if options.quick else []),
        *([file_part(data.name)] if data.name != usual else []),
        *([f"seed-{options.seed}"] if options.seed else []),
    ]
    return Path("runs") / "-".join(parts)


def _owner(recipe: Recipe, path: Path, options: StudyOptions, data: Splits) -> Owner:
    """Return the study's owner record; a changed recipe continues in the same folder."""
    # A recipe that comes with robustlab is the same one in any installation.
    shipped = path.resolve() in {path.resolve() for path in shipped_recipes().values()}
    identity = {
        "recipe": path.stem if shipped else str(path.resolve()),
        "dataset": data.name,
        "seed": str(options.seed),
        "quick": str(options.quick),
    }
    return Owner(name=recipe.name, identity=identity)


def _test_source(recipe: Recipe, options: StudyOptions, data: Splits) -> str:
    """Return the text that names the whole test split for `evaluate`."""
    named = options.dataset or recipe.data.test or recipe.data.dataset
    replaceable = not is_user_code(named) and check_dataset(named).stand_in is not None
    return data.name if replaceable else named


def _threads(plan: Plan, images: int) -> int:
    stages = plan.trainings
    place = {stage.key: number for number, stage in enumerate(stages)}
    after = [[place[key] for key in stage.inputs if key in place] for stage in stages]
    return threads_per_training([stage.config.epochs for stage in stages], after, images)
