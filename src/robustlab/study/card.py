"""The card of a training: what was trained on what, what came out, and the commands that check it."""

import hashlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from robustlab.core.errors import SpecError
from robustlab.core.files import write_json, write_text
from robustlab.core.spec import parse
from robustlab.core.toml import to_toml
from robustlab.models import Model, OwnCode
from robustlab.models.sources import Source
from robustlab.options import EvaluationOptions
from robustlab.runs.run import Run
from robustlab.threats import ThreatModel
from robustlab.training import Objective

NETWORK = "network"
"""The name of the network in the recipe. It is the same for each objective, and so are the first weights."""


def write_card(
    run: Run,
    objective: Objective,
    model: Model,
    *,
    recipe: Mapping[str, Any] | None,
    threats: Sequence[str],
    data_name: str,
    shown_folder: str,
) -> dict[str, Any]:
    """Write ``card.json``, ``card.md`` and ``recipe.toml`` into a training's folder; return the card.

    Args:
        recipe: of a study that does the same; None where the images exist in Python alone.
        threats: what the commands attack it with.
        data_name: the dataset, or the user's function, whose test images the commands name.
        shown_folder: the run's folder as it can be typed.

    Raises:
        OutputError: a file can't be written.
    """
    text = None if recipe is None else to_toml(recipe)
    card = _card(run, objective, model, text) | {
        "check": list(_commands(threats, model, shown_folder, None if recipe is None else data_name))
    }
    if text is not None:
        write_text(run.folder / "recipe.toml", text)
    write_json(run.folder / "card.json", card)
    write_text(run.folder / "card.md", _markdown(card))
    return card


def _card(run: Run, objective: Objective, model: Model, recipe: str | None) -> dict[str, Any]:
    results = run.results
    (network,), (clean, *attacked) = results.networks, results.rows
    kept = network.epochs[network.best_epoch - 1] if network.epochs else {}
    compute, data = results.compute, results.dataset
    return {
        "schema_version": 1,
        "title": results.title,
        "objective": repr(objective),
        "model": repr(model),
        "recipe": recipe,
        "dataset": data.model_dump(),
        "seed": results.seed,
        "versions": compute.versions,
        "hardware": {
            "device": compute.device,
            "device_name": compute.device_name,
            "instruction_set": compute.instruction_set,
            "threads": compute.threads,
            "precision": compute.training_precision,
        },
        "seconds": round(next(cost.seconds for cost in results.cost if cost.stage.startswith("train")), 1),
        "parameters": network.parameters,
        "epochs": len(network.epochs),
        "best_epoch": network.best_epoch,
        "validation_accuracy": kept.get("validation accuracy"),
        "validation_robust_accuracy": kept.get("validation robust accuracy"),
        "test_accuracy": clean.accuracy.model_dump(),
        "attacked": [
            {
                "threat": row.threat,
                "attacks": row.attacks,
                "robust_accuracy": row.accuracy.model_dump(),
                "certified": None if row.certified is None else row.certified.model_dump(),
            }
            for row in attacked
        ],
        "weights": {
            "file": network.file,
            "sha256": hashlib.sha256((run.folder / network.file).read_bytes()).hexdigest(),
        },
    }


def _commands(threats: Sequence[str], model: Model, folder: str, data_name: str | None) -> Iterator[str]:
    """Yield what to type to attack the network; nothing where its images exist in Python alone."""
    if data_name is None:
        return
    if isinstance(model, OwnCode):
        weights = str(Path(folder) / "models" / f"{NETWORK}.safetensors")
        words = ["--model", model.reference, "--weights", weights]
    else:
        words = [_source(folder)]
    dataset = [] if data_name == EvaluationOptions.dataset else ["--dataset", data_name]
    for threat in threats:
        command = ["robustlab", "evaluate", *words, *dataset, "--threat", threat]
        yield shlex.join([*command, "--attacks", "standard"])


def _source(folder: str) -> str:
    """Return the source of a run's only network; the path has quotes where a spec needs them."""
    bare = f"run({folder})"
    try:
        if getattr(parse(Source, bare), "folder", None) == folder:
            return bare
    except SpecError:
        pass
    return f"run({folder!r})"


def threats_of(objective: Objective) -> Iterator[ThreatModel]:
    """Yield the threat models that an objective, or the one inside it, trains against."""
    for value in (*vars(objective).values(), *getattr(objective, "threats", ())):
        if isinstance(value, ThreatModel):
            yield value
        elif isinstance(value, Objective):
            yield from threats_of(value)


def _markdown(card: Mapping[str, Any]) -> str:
    data, hardware = card["dataset"], card["hardware"]
    rows = {
        "Objective": f"`{card['objective']}`",
        "Model": f"`{card['model']}`, {card['parameters']:,} parameters",
        "Images": f"{data['name']}: {data['train']:,} for training, {data['validation']:,} for validation, "
        f"{data['test']:,} for the test",
        "SHA-256 of the training images": f"`{data['sha256']['train']}`",
        "Seed": str(card["seed"]),
        "Epochs": f"{card['epochs']}; epoch {card['best_epoch']} is kept",
        "Validation accuracy": _percent(card["validation_accuracy"]),
        "Validation accuracy under attack": _percent(card["validation_robust_accuracy"]),
        "Test accuracy, clean images": _interval(card["test_accuracy"]),
        **dict(_attacked(card["attacked"])),
        "Computed on": f"{hardware['device_name']}, {hardware['threads']} threads, {hardware['precision']}",
        "Seconds": f"{card['seconds']:g}",
        "Versions": ", ".join(f"{name} {version}" for name, version in card["versions"].items()),
        "Weights": f"`{card['weights']['file']}`, SHA-256 `{card['weights']['sha256']}`",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items() if value)
    parts = [f"# {card['title']}", f"| | |\n|---|---|\n{table}"]
    parts.append(f"![Loss and accuracy per epoch](figures/training-{NETWORK}.svg)")
    if card["check"]:
        commands = "\n".join(card["check"])
        parts.append(
            "The accuracy on clean images says nothing about attacks. These commands attack the network; "
            "`-n` says on how many test images:\n\n"
            f"```\n{commands}\n```"
        )
    if card["recipe"] is not None:
        parts.append(
            "The same training as a recipe (`recipe.toml`, for `robustlab study`):\n\n"
            f"```toml\n{card['recipe']}```"
        )
    return "\n\n".join(parts) + "\n"


def _attacked(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for row in rows:
        place = f"the first {row['robust_accuracy']['n']:,} test images within `{row['threat']}`"
        yield f"Robust accuracy under `standard`, {place}", _interval(row["robust_accuracy"])
        if row["certified"] is not None:
            yield f"Proven, {place}", _interval(row["certified"])


def _interval(figure: Mapping[str, float]) -> str:
    return f"{_percent(figure['value'])} ({_percent(figure['low'])} to {_percent(figure['high'])})"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f} %"
