"""Trained networks by name: those in this folder, and those of other packages.

A network of this folder is a file that `save_network` wrote; its card lies beside it. Another package names
its own through the entry-point group ``robustlab.zoo``: functions that are called with no argument and return
an ``nn.Module``, images (N, C, H, W) in [0, 1] to logits (N, K).
"""

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from robustlab.core.arguments import check_kind
from robustlab.core.calling import calling
from robustlab.core.errors import SetupError, did_you_mean, offer
from robustlab.core.text import a_kind, shown
from robustlab.core.untrusted import read_json
from robustlab.models.base import Shape
from robustlab.models.files import load_network
from robustlab.models.origins import remember
from robustlab.shipped import ZOO, zoo_entries, zoo_names


def file_of(name: str) -> Path:
    """Return the file of one of robustlab's own networks."""
    return ZOO / f"{name}.safetensors"


def trained_like(dataset: str, shape: Shape, recipe: Mapping[str, object]) -> str | None:
    """Return the name of one of robustlab's own networks that a training would only make again, if any.

    Args:
        dataset: the name of the training images' dataset.
        shape: of the images, and the number of classes.
        recipe: the rest of what a training depends on, under the names of the network's card.
    """
    wanted = {**recipe, "dataset": dataset, "shape": shape._asdict()}
    return next((name for name, card in _cards().items() if wanted.items() <= card.items()), None)


def trained_on(dataset: str, shape: Shape) -> list[nn.Module]:
    """Return robustlab's own networks that were trained on a dataset, for images and classes like these.

    Those with a defense, or with another objective than cross-entropy, are left out: they are robust, so
    their adversarial images add little to an attack. A card that names no objective is not left out.
    """
    return [
        load_network(file_of(name))
        for name, card in _cards().items()
        if (card["dataset"], card["shape"]) == (dataset, shape._asdict())
        and card.get("defense") is None
        and card.get("objective", "cross_entropy()") == "cross_entropy()"
    ]


def _cards() -> dict[str, Any]:
    return {path.stem: read_json(path) for path in sorted(ZOO.glob("*.json"))}


def load_from_zoo(name: str) -> nn.Module:
    """Return a trained network in eval mode.

    Args:
        name: one of `zoo_names`; ``robustlab ls zoo`` prints them.

    Raises:
        SetupError: the zoo has no such network, or the function of another package fails.
    """
    check_kind("name", name, str, "the name of a network of the zoo")
    file = file_of(name)
    if name in zoo_names() and file.is_file():
        return remember(load_network(file), name)
    for entry in zoo_entries():
        if entry.name == name:
            return remember(_made(entry), name)
    names = zoo_names()
    raise SetupError(
        f"the zoo has no network {shown(name)}{did_you_mean(name, names)}; {offer(names, 'zoo')}"
    )


def _made(entry: importlib.metadata.EntryPoint) -> nn.Module:
    with calling(entry.value, f" when it made {entry.name!r}"):
        network = entry.load()()
    if not isinstance(network, nn.Module):
        raise SetupError(f"{entry.value} returned {a_kind(network)}, not a torch.nn.Module")
    network.eval()
    return network
