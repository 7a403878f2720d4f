"""Predicts what `study` and `evaluate` would do on this machine, if called without options."""

from pathlib import Path
from typing import Any

import torch

from robustlab.core import device
from robustlab.core.errors import DataError
from robustlab.data import check_dataset, search_path
from robustlab.data.files import FileDataset
from robustlab.options import EvaluationOptions, StudyOptions
from robustlab.shipped import shipped_recipes
from robustlab.study.loading import load_recipe


def forecast(data_root: Path | None) -> dict[str, dict[str, Any]]:
    """Return for each command its device, precision, threads and data, also as sentences."""
    compute, threads = device.resolve(), torch.get_num_threads()
    shared = {"device": compute.device, "threads": threads}
    on = f"on {compute.device} ({device.hardware(compute.device)}, threads: {threads})"
    at_once = threads if compute.device == "cpu" else 1
    networks = (
        f"up to {at_once} networks at once, where they do not depend on each other"
        if at_once > 1
        else "one network after another"
    )
    timed = device.fast_bf16(compute.device)
    search = "times bf16 and fp32 and searches in the faster one" if timed else "searches in fp32"
    recipe = load_recipe(shipped_recipes()[str(StudyOptions.recipe)])
    plans: dict[str, dict[str, Any]] = {
        "study": {
            **shared,
            "precision": compute.precision,
            "trainings_at_once": at_once,
            **_data(recipe.data.dataset, data_root),
        },
        "evaluate": {
            **shared,
            "precision": "timed" if timed else "fp32",
            **_data(str(EvaluationOptions.dataset), data_root),
        },
    }
    says = {
        "study": f"It trains {networks}, {on}, in {compute.precision}. It measures all figures in fp32.",
        "evaluate": f"It {search} {on}. It confirms every success in fp32.",
    }
    return {name: plan | {"says": f"{says[name]} {plan['says']}"} for name, plan in plans.items()}


def _data(name: str, data_root: Path | None) -> dict[str, str]:
    """Return the name of a dataset, its state, and the same as a sentence."""
    asked = check_dataset(name)
    wished = asked.wished
    if not isinstance(wished, FileDataset):
        return {"dataset": name, "data": "included", "says": f"It takes {wished.name}, which needs no files."}
    root, title = wished.find(data_root), wished.title.partition(" (")[0]
    if root is None:
        fails = (
            f"If that fails, it takes the dataset {asked.stand_in.name}, whose figures can't be compared."
            if asked.stand_in
            else "If that fails, it stops with an error."
        )
        says = f"It downloads {title} to {data_root or search_path()[-1]}. {fails}"
        return {"dataset": name, "data": "download", "says": says}
    where = root / wished.folder
    try:
        wished.verify(root)
    except DataError:
        says = f"It stops with an error: the files of {title} in {where} are damaged."
        return {"dataset": name, "data": "damaged", "says": says}
    return {"dataset": name, "data": str(where), "says": f"It takes {title} from {where}."}
