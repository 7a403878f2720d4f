"""Python arguments of the public functions: right ones, and one or two that are anything."""

import contextlib
import random
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import robustlab
from fuzz.registry import Attempt, family
from fuzz.specs import KINDS
from fuzz.text import word
from robustlab.attacks import FGSM, PGD, Square
from robustlab.certify import IBP
from robustlab.core.spec import parse, units
from robustlab.evaluation.ensembles import attack_list
from robustlab.threats import L2, Linf

NUMBERS = (None, True, False, 0, 1, 3, -1, 2.5, -0.5, 1e39, float("nan"), float("inf"), 10**29, 10**5000, 1j)
OBJECTS: tuple[Callable[[], Any], ...] = (
    *(
        object,
        dict,
        list,
        set,
        lambda: (1, 2),
        lambda: b"x",
        lambda: [[1], [2, 3]],
        lambda: lambda: 3,
        lambda: range(2),
    ),
    *(
        lambda: Path("nowhere"),
        lambda: Path("x" * 300),
        lambda: "x" * 1_000_000,
        lambda: nn.Linear,
        lambda: PGD,
    ),
    *(lambda: "linf(eps=0.3)", lambda: "fgsm", lambda: "mnist_cnn", lambda: "digits", lambda: Linf(eps=0.1)),
)


@family("arguments")
def make(draw: random.Random, folder: Path) -> Attempt:
    """A call of one public function with arguments of which some are anything."""
    call = draw.choice((_unit, _unit, _run, _run, _certify, _evaluate, _others))
    ready = call(draw, folder)

    def attempt() -> None:
        with contextlib.chdir(folder):
            ready()

    return attempt


def anything(draw: random.Random) -> Any:
    """Return any value."""
    return draw.choice(
        (
            lambda: draw.choice(NUMBERS),
            lambda: draw.choice(OBJECTS)(),
            lambda: word(draw),
            lambda: tensor(draw),
            lambda: tensor(draw).cpu().numpy() if draw.random() < 0.5 else np.array([None, "x"]),
        )
    )()


def tensor(draw: random.Random) -> Tensor:
    """Return a dense tensor on the CPU of any shape and type, which images or labels may have."""
    shape = draw.choice(((), (0,), (2,), (3,), (2, 1), (2, 1, 4, 4), (0, 1, 4, 4), (2, 4, 4), (2, 1, 0, 4)))
    values = torch.full(shape, draw.choice((0.0, 1.0, 0.5, -2.98e-8, 2.0, 255.0, -1.0, float("nan"), 1e30)))
    kinds = (
        torch.float32,
        torch.float64,
        torch.float16,
        torch.uint8,
        torch.int32,
        torch.int64,
        torch.bool,
        torch.complex64,
    )
    return values.nan_to_num(0.0).to(draw.choice(kinds)) if draw.random() < 0.7 else values


def _changed(draw: random.Random, arguments: dict[str, Any]) -> dict[str, Any]:
    for name in draw.sample(list(arguments), min(len(arguments), draw.choice((1, 1, 2)))):
        arguments[name] = anything(draw)
    return arguments


def _unit(draw: random.Random, folder: Path) -> Attempt:
    del folder
    unit: Any = draw.choice(list(units(draw.choice(KINDS)).values()))
    names = [field.name for field in fields(unit)]
    given = {name: anything(draw) for name in draw.sample(names, draw.randrange(len(names) + 1))}
    if draw.random() < 0.1:
        return lambda: unit(anything(draw))
    return lambda: unit(**given)


def _run(draw: random.Random, folder: Path) -> Attempt:
    del folder
    images, labels = batch()
    right: dict[str, Any] = {
        "threat": Linf(eps=0.1),
        "criterion": "misclassified",
        "targets": None,
        "eps": None,
        "ids": None,
        "seed": 0,
        "early_stop": True,
    }
    right |= {"images": images, "labels": labels, "batch_size": 2, "eot_samples": 1}
    attack = draw.choice((FGSM(), PGD(steps=2), Square(queries=3)))
    given = _changed(draw, right)
    return lambda: attack.run(net(), **given)


def _certify(draw: random.Random, folder: Path) -> Attempt:
    del folder
    images, labels = batch()
    given = _changed(draw, {"images": images, "labels": labels, "threat": L2(eps=0.1), "batch_size": 2})
    return lambda: IBP().certify(net(), **given)


def _evaluate(draw: random.Random, folder: Path) -> Attempt:
    images, labels = batch()
    right: dict[str, Any] = {"model": net(), "images": images, "labels": labels, "threat": "linf(eps=0.1)"}
    right |= {"attacks": "fgsm", "checks": False, "certify": False, "out": folder / "run", "weights": None}
    right |= {
        "network": None,
        "name": None,
        "dataset": "digits",
        "data_root": None,
        "n": None,
        "mode": "verdict",
    }
    right |= {"eight_bit": False, "curve": False, "eot_samples": None, "surrogates": (), "device": "auto"}
    right |= {"precision": "fp32", "batch_size": None, "seed": 0, "progress": None}
    given = _changed(draw, right)
    return lambda: robustlab.evaluate(**given)


def _others(draw: random.Random, folder: Path) -> Attempt:
    del folder
    one, two, kind = anything(draw), anything(draw), draw.choice(KINDS)
    public: Any = robustlab
    calls: tuple[Attempt, ...] = (
        lambda: public.compare(one, two),
        lambda: public.gate(one, min_robust=two),
        lambda: public.gate("run", min_clean=one, max_drop=two),
        lambda: public.load_run(one),
        lambda: public.write_report(one),
        lambda: public.load_network(one),
        lambda: public.load_from_zoo(one),
        lambda: public.load_dataset("digits", validation_fraction=one, seed=two),
        lambda: public.load_dataset(one, download=False),
        lambda: public.run_study(one, out=two),
        lambda: public.run_study("nowhere.toml", seed=one, device=two),
        lambda: parse(kind, one),
        lambda: attack_list(one),
    )
    return draw.choice(calls)


@cache
def net() -> nn.Module:
    """Return a small classifier of images (N, 1, 4, 4)."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()


def batch() -> tuple[Tensor, Tensor]:
    """Return two images and their labels."""
    return torch.full((2, 1, 4, 4), 0.5), torch.tensor([0, 1])
