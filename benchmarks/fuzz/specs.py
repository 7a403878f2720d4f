"""Specs: real ones, bent."""

import random
from pathlib import Path

from fuzz.registry import Attempt, family
from fuzz.text import bent
from robustlab.attacks import Attack
from robustlab.core.spec import Unit, parse, units
from robustlab.defenses import Defense
from robustlab.detectors import Detector
from robustlab.evaluation.ensembles import Ensemble, attack_list
from robustlab.models import Model
from robustlab.threats import ThreatModel
from robustlab.training import Augmentation, Averaging, Objective, Optimizer, Schedule

KINDS: tuple[type[Unit], ...] = (
    *(Attack, ThreatModel, Model, Objective, Defense, Detector, Ensemble),
    *(Optimizer, Schedule, Augmentation, Averaging),
)

VALUES = (
    "1",
    "40",
    "0.3",
    "8/255",
    "True",
    "None",
    "1e39",
    "-1",
    "'2'",
    "vae",
    "fgsm",
    "linf(eps=0.1)",
    "pgd",
    "nan",
)


RIGHT = {
    "eps": "1",
    "steps": "3",
    "restarts": "2",
    "std": "0.1",
    "attack": "fgsm",
    "threat": "linf(eps=8/255)",
    "network": "vae",
    "classifier": "baseline",
    "source": "baseline",
    "effect": "fog",
}
"""Arguments that are right in most units."""


@family("specs")
def make(draw: random.Random, folder: Path) -> Attempt:
    """A unit's name with arguments of its own and of others, with some characters changed."""
    del folder
    kind = draw.choice(KINDS)
    text, as_list = (
        bent(draw, spec(draw, kind)) if draw.random() < 0.7 else spec(draw, kind),
        draw.random() < 0.2,
    )

    def attempt() -> None:
        if as_list:
            attack_list(text)
            return
        unit = parse(kind, text)
        assert parse(kind, repr(unit)) == unit

    return attempt


def spec(draw: random.Random, kind: type[Unit]) -> str:
    """Return a spec that is often right."""
    known = units(kind)
    name = draw.choice(list(known))
    own = list(getattr(known[name], "__dataclass_fields__", {}))
    words = [*own, "steps", "eps", "epsilon"]
    # What an example of the unit has is right; a part of it is replaced by what may be wrong.
    given = {field: value for field, value in RIGHT.items() if field in own and draw.random() < 0.8}
    for _ in range(draw.choice((0, 0, 0, 1, 2))):
        given[draw.choice(words)] = draw.choice(VALUES)
    return f"{name}({', '.join(f'{field}={value}' for field, value in given.items())})" if given else name
