"""Files that are read before anything is computed, damaged: weights, and MNIST's."""

import gzip
import json
import random
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

import robustlab
from fuzz.damage import damaged, damaged_json
from fuzz.registry import Attempt, family
from robustlab.core.spec import parse
from robustlab.data import MNIST
from robustlab.evaluation.subject import load_classifier
from robustlab.models import Model, Shape

MODEL, SHAPE = "vae(hidden=9, latent=2)", Shape(1, 8, 8, 3)
CARD = {"model": MODEL, "shape": SHAPE._asdict(), "title": "A VAE"}


@cache
def _weights() -> dict[str, torch.Tensor]:
    """Return the weights of the network that the card names."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network: nn.Module = parse(Model, MODEL).build(SHAPE)
    return network.state_dict()


@family("weights")
def make_weights(draw: random.Random, folder: Path) -> Attempt:
    """A state dict, of safetensors or of ``torch.save``, that is loaded into a network."""
    network = parse(Model, MODEL).build(SHAPE).eval()
    path = folder / draw.choice(("w.safetensors", "w.pt", "w.pth", "w.bin"))
    if path.suffix == ".safetensors":
        path.write_bytes(save(_weights()))
    else:
        torch.save(_weights(), path)
    path.write_bytes(damaged(draw, path.read_bytes()))
    return lambda: load_classifier(network, weights=str(path))


@family("network cards")
def make_card(draw: random.Random, folder: Path) -> Attempt:
    """A network's file whose card, in its header, is damaged."""
    path = folder / "net.safetensors"
    card = damaged_json(draw, json.dumps(CARD).encode()).decode("utf-8", "replace")
    path.write_bytes(save(_weights(), metadata={"robustlab": card}))
    if draw.random() < 0.3:
        path.write_bytes(damaged(draw, path.read_bytes()))
    return lambda: robustlab.load_network(path)


@cache
def _idx(name: str) -> bytes:
    """Return a file of the official size; its content is not the official one."""
    return bytes(random.Random(name).choices(range(10), k=MNIST.files[name][1]))


@family("MNIST files")
def make_mnist(draw: random.Random, folder: Path) -> Attempt:
    """A folder with damaged files, plain and packed, and bombs."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in draw.sample([name for name in MNIST.files if "labels" in name], draw.randrange(1, 3)):
        content = _idx(name)
        match draw.randrange(4):
            case 0:
                (raw / name).write_bytes(damaged(draw, content))
            case 1:
                (raw / f"{name}.gz").write_bytes(gzip.compress(damaged(draw, content), 1))
            case 2:
                (raw / f"{name}.gz").write_bytes(damaged(draw, gzip.compress(content, 1)))
            case _:
                (raw / f"{name}.gz").write_bytes(_bomb())
    before = sorted(raw.iterdir())

    def attempt() -> None:
        try:
            MNIST().load(data_root=folder, validation_fraction=0.2, seed=0, download=False)
        finally:
            assert sorted(raw.iterdir()) == before, "files are left"

    return attempt


@cache
def _bomb() -> bytes:
    """Return a .gz of 4 GB in 4 MB: a thousand parts after one another."""
    return 1024 * gzip.compress(bytes(2**22))
