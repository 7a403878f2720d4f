"""Trained networks by name: those in this folder, and those of other packages.

A network of this folder is a file that `save_network` wrote; its card lies beside it. Another package names
its own through the entry-point group ``robustlab.zoo``: functions that are called with no argument and return
an ``nn.Module``, images (N, C, H, W) in [0, 1] to logits (N, K).
"""

import importlib.metadata

from torch import nn

from robustlab.core.arguments import check_kind
from robustlab.core.calling import calling
from robustlab.core.errors import SetupError, did_you_mean, offer
from robustlab.core.text import a_kind, shown
from robustlab.core.untrusted import read_json
from robustlab.models.base import Shape
from robustlab.models.files import load_network
from robustlab.shipped import ZOO, zoo_entries, zoo_names


def trained_on(dataset: str, shape: Shape) -> list[nn.Module]:
    """Return robustlab's own networks for a dataset, for images and classes of this shape."""
    cards = {path: read_json(path) for path in sorted(ZOO.glob("*.json"))}
    return [
        load_network(path.with_suffix(".safetensors"))
        for path, card in cards.items()
        if (card["dataset"], card["shape"]) == (dataset, shape._asdict())
    ]


def load_from_zoo(name: str) -> nn.Module:
    """Return a trained network in eval mode.

    Args:
        name: one of `zoo_names`; ``robustlab ls zoo`` prints them.

    Raises:
        SetupError: the zoo has no such network, or the function of another package fails.
    """
    check_kind("name", name, str, "the name of a network of the zoo")
    file = ZOO / f"{name}.safetensors"
    if name in zoo_names() and file.is_file():
        return load_network(file)
    for entry in zoo_entries():
        if entry.name == name:
            return _made(entry)
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
