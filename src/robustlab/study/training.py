"""Trains one network: a study of a recipe that is made from options, so that all a study can is there.

It resumes, is locked, and has a ledger and a report, as every run.
"""

from collections.abc import Iterator, Sequence
from contextlib import chdir
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import pydantic

from robustlab.core.arguments import as_typed, check_share
from robustlab.core.batches import enough_memory
from robustlab.core.errors import DataError, RobustlabError, SpecError
from robustlab.core.fields import refusal
from robustlab.core.isolation import own_settings, working_folder
from robustlab.core.options import check_options, progress_of
from robustlab.core.progress import Progress
from robustlab.core.spec import parse
from robustlab.core.text import file_part, shown, with_article
from robustlab.core.user_code import is_user_code
from robustlab.core.user_units import parse_trusted
from robustlab.data import Split, Splits, check_dataset
from robustlab.evaluation.identity import code_of
from robustlab.evaluation.subject import class_count
from robustlab.models import Model, OwnCode
from robustlab.models.own_code import network_of, with_hash
from robustlab.options import StudyOptions
from robustlab.runs.owner import TRAINING, Owner, check_owner
from robustlab.runs.run import TrainingRun
from robustlab.study.card import NETWORK, threats_of, write_card
from robustlab.study.data import NEEDS_TEST, load_splits
from robustlab.study.recipe import NetworkPart, Recipe
from robustlab.study.runner import REMEDY, run_prepared
from robustlab.study.setup import prepare_recipe
from robustlab.threats import Linf
from robustlab.training import Objective
from robustlab.training_options import TrainingFields, TrainOptions


@own_settings()
def execute_training(options: TrainOptions, progress: Progress | None = None) -> TrainingRun:
    """Train a network, or go on where an earlier call was stopped, up to the card.

    Raises:
        RobustlabError: bad input, or the training diverged. What was finished stays on the disk.
    """
    check_options(options, {"Progress": Progress, "Split": Split})
    here = working_folder() or Path()  # a user's code may change it
    with chdir(here), enough_memory(REMEDY):
        return _train(options, here, progress_of(options, progress))


def _train(options: TrainOptions, here: Path, progress: Progress) -> TrainingRun:
    objective, model = _objective(options), _model(options, progress)
    network = _network(options, objective, model)
    threats = _threats(options, objective)
    if not threats and any(threats_of(objective)):
        progress.note(
            "the threat model of the objective is of your own file, so the trained network is not attacked "
            "at the end, unless you give a validation attack with a threat model of robustlab"
        )
    content = _recipe(options, network, objective, threats)
    recipe = Recipe.model_validate(content)
    folder = here / (options.out or _default_folder(options, objective, model))
    owner = _owner(content, options, objective, model)
    check_owner(folder, owner, overwrite=options.overwrite)  # before data are downloaded
    data = load_splits(
        recipe.data,
        dataset=options.dataset if isinstance(options.dataset, Split) else None,
        test=options.test_dataset if isinstance(options.test_dataset, Split) else None,
        data_root=options.data_root,
        seed=options.seed,
        note=progress.note,
    )
    _check_classes(model, data)
    source = options.test_dataset or options.dataset
    names = ("data_root", "device", "precision", "seed", "overwrite")
    asked = StudyOptions(out=options.out, **{name: getattr(options, name) for name in names})
    study = prepare_recipe(
        recipe,
        data,
        folder,
        owner,
        asked,
        progress,
        test_source=None if isinstance(source, Split) else str(source),
    )
    run = run_prepared(study, asked)
    card = write_card(
        run,
        objective,
        model,
        recipe=None if isinstance(options.dataset, Split) else content,
        threats=threats or ([] if any(threats_of(objective)) else [repr(Linf(eps=0.3))]),
        data_name=recipe.data.test or recipe.data.dataset,
        shown_folder=str(options.out or folder.relative_to(here)),
    )
    path = folder / "models" / f"{NETWORK}.safetensors"
    return TrainingRun(folder=run.folder, results=run.results, card=card, file=path)


def _objective(options: TrainOptions) -> Objective:
    objective = parse_trusted(Objective, options.objective)
    if objective.network_kind != "classifier":
        raise SpecError(
            f"{as_typed('objective')}: {objective.name} trains {with_article(objective.network_kind)}; "
            "expected one that trains a classifier (a recipe, robustlab study, trains other networks)"
        )
    return objective


def _model(options: TrainOptions, progress: Progress) -> Model:
    if (options.architecture is None) == (options.model is None):
        given = "neither" if options.model is None else "both"
        raise SpecError(f"give either an architecture, such as cnn, or a model, FILE.py:NAME; found {given}")
    if options.model is not None:
        reference = str(options.model)
        if not is_user_code(reference):
            raise SpecError(
                f"{as_typed('model')} must be your own code, FILE.py:NAME or package.module:NAME, found "
                f"{shown(reference)}; for a network of robustlab give its architecture"
            )
        return with_hash(OwnCode(reference=reference), progress.note)
    model = parse(Model, str(options.architecture))
    if model.network_kind != "classifier" or model.runs_code:
        kind = "your own code, which is a model" if model.runs_code else with_article(model.network_kind)
        raise SpecError(
            f"{as_typed('architecture')}: {model.name} is {kind}; expected the architecture of a classifier"
        )
    return model


def _network(options: TrainOptions, objective: Objective, model: Model) -> dict[str, Any]:
    """Return the network's part of the recipe, without what has its default."""
    title = f"{model.name} trained by {objective.brief()}"
    # A recipe names the code of a user, not the hash of its files, which may change.
    stated = replace(model, files="").brief() if isinstance(model, OwnCode) else repr(model)
    aim = options.objective if code_of(objective) else objective.brief()
    part: dict[str, Any] = {"title": title, "model": stated, "objective": aim}
    for field in fields(TrainingFields):
        value = getattr(options, field.name)
        value = tuple(value) if isinstance(value, list) else value
        if value != field.default:
            assert field.default is not MISSING
            part[field.name] = value
    try:
        NetworkPart(**part).config()
    except pydantic.ValidationError as error:
        raise SpecError(refusal(error, as_typed)) from None
    return part


def _threats(options: TrainOptions, objective: Objective) -> list[str]:
    """Return what the network is meant to withstand: the validation's threat model, else the objective's."""
    if options.validation_threat is not None:
        return [options.validation_threat]
    # The text of a threat model of the user's own file does not name the file.
    return list(dict.fromkeys(repr(threat) for threat in threats_of(objective) if not code_of(threat)))


def _recipe(
    options: TrainOptions, network: dict[str, Any], objective: Objective, threats: Sequence[str]
) -> dict[str, Any]:
    """Return the recipe of a study that does the same."""
    dataset, test = options.dataset, options.test_dataset
    own = isinstance(dataset, Split) or is_user_code(str(dataset))
    if own and test is None:
        raise DataError(f"{NEEDS_TEST}: give {as_typed('test_dataset')}, as {as_typed('dataset')} is given")
    if not own:
        check_dataset(dataset)
        if test is not None:
            raise DataError(f"{as_typed('test_dataset')} is for your own data; {dataset} has a test split")
    elif isinstance(dataset, Split) != isinstance(test, Split):
        raise DataError(
            f"{as_typed('dataset')} and {as_typed('test_dataset')} must be of the same kind: both splits, or "
            "both FILE.py:NAME"
        )
    check_share("validation_fraction", options.validation_fraction)
    data = {
        "dataset": "auto" if isinstance(dataset, Split) else str(dataset),
        "test": str(test) if own and not isinstance(test, Split) else None,
        "validation_fraction": options.validation_fraction,
        "train": options.train,
        "validation": options.validation,
    }
    return {
        "schema": 2,
        "name": f"train_{objective.name}",
        "title": network["title"],
        "data": {key: value for key, value in data.items() if value is not None},
        "networks": {NETWORK: network},
        "evaluations": [
            {"id": "clean", "title": "Clean test images", "group": "summary", "model": NETWORK},
            *_attacked(options, threats),
        ],
    }


def _attacked(options: TrainOptions, threats: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a recipe that attack the trained network."""
    for place, threat in enumerate(threats if options.attack_images else ()):
        yield {
            "id": f"attacked_{place + 1}" if place else "attacked",
            "title": f"Test images under standard, {threat}",
            "group": "summary",
            "model": NETWORK,
            "attacks": "standard",
            "threat": threat,
            "images": options.attack_images,
        }


def _owner(content: dict[str, Any], options: TrainOptions, objective: Objective, model: Model) -> Owner:
    """Return what the folder records of the training: all options that make it another one."""
    network = content["networks"][NETWORK]
    names = [field.name for field in fields(TrainingFields)]
    names += ["dataset", "test_dataset", "validation_fraction", "train", "validation", "seed"]
    identity = {"objective": f"{network['objective']}{code_of(objective)}", "model": repr(model)}
    for name in names:
        value = getattr(options, name)
        value = value.sha256() if isinstance(value, Split) else value
        identity[name] = str(list(value) if isinstance(value, tuple) else value)
    return Owner(name=TRAINING, identity=identity)


def _default_folder(options: TrainOptions, objective: Objective, model: Model) -> Path:
    dataset = "own" if isinstance(options.dataset, Split) else str(options.dataset)
    dataset = Path(dataset.partition(":")[0]).stem if is_user_code(dataset) else dataset
    name = Path(str(options.model).partition(":")[0]).stem if options.model else model.name
    parts = [
        "train",
        objective.name,
        name,
        file_part(dataset),
        *([f"seed-{options.seed}"] if options.seed else []),
    ]
    return Path("runs") / "-".join(parts)


def _check_classes(model: Model, data: Splits) -> None:
    """Check that a user's own network takes the images and has a logit for each class."""
    if not isinstance(model, OwnCode):
        return
    network = network_of(model.reference)[0].eval()
    classes = class_count(network, data.train.take(slice(2)).pixels(slice(None)))
    if classes < data.classes:
        raise RobustlabError(f"the model outputs {classes} logits, but labels go up to {data.classes - 1}")
