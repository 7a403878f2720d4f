"""What the tests of plans share: the recipe of the study, toy data, and what a plan says."""

from collections.abc import Callable
from pathlib import Path

import torch

from robustlab.core.device import Compute
from robustlab.data import Split, Splits
from robustlab.study.loading import load_recipe
from robustlab.study.plan import Plan, make_plan
from robustlab.study.workspace import Question
from robustlab.threats import ThreatModel

RECIPE = Path(__file__).parents[2] / "recipes" / "mnist.toml"
TEXT = RECIPE.read_text(encoding="utf-8")
CPU = Compute(device="cpu", precision="fp32")


def toy_data() -> Splits:
    def part(name: str, first: int) -> Split:
        ids = torch.arange(first, first + 4)
        return Split(images=torch.zeros(4, 1, 28, 28, dtype=torch.uint8), labels=ids % 4, ids=ids, name=name)

    return Splits(
        name="toy", train=part("train", 0), validation=part("validation", 4), test=part("test", 0), source=""
    )


Planner = Callable[..., Plan]


def planner(tmp_path: Path) -> Planner:
    """Return what makes a plan of the study's recipe with some texts replaced; a fixture of each module."""

    def make(
        *changes: tuple[str, str],
        data: Splits | None = None,
        compute: Compute = CPU,
        seed: int = 0,
        quick: bool = False,
    ) -> Plan:
        text = TEXT
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        path = tmp_path / "changed.toml"
        path.write_text(text, encoding="utf-8")
        return make_plan(load_recipe(path), data or toy_data(), compute, seed, quick=quick)

    return make


def keys(plan: Plan) -> dict[str, str]:
    return {stage.name: stage.key for stage in plan.stages}


def changed(one: Plan, other: Plan) -> set[str]:
    before, after = keys(one), keys(other)
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


def asked(question: Question) -> tuple[list[str] | None, ThreatModel]:
    return question.identity()["attacks"], question.threat


def trained(made: Plan, *networks: str) -> set[str]:
    return {stage.key for _, _, stage in made.networks if stage.network in networks}
