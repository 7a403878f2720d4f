"""A training that is stopped after any epoch ends with the same bits, whatever its recipe."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import PGD
from robustlab.core import seeding
from robustlab.core.device import Compute
from robustlab.core.spec import parse
from robustlab.data import Splits
from robustlab.models import StridedCNN
from robustlab.models.base import Shape
from robustlab.models.files import load_tensors, save_tensors
from robustlab.threats import Linf
from robustlab.training import (
    EMA,
    SGD,
    Adam,
    Cosine,
    HorizontalFlip,
    Milestones,
    Objective,
    Optimizer,
    RobustValidation,
    Shift,
    TrainConfig,
    Triangle,
    train,
)

VALIDATION = RobustValidation(attack=PGD(steps=2, rel_step_size=0.5), threat=Linf(eps=0.1), images=20)
RECIPES: dict[str, tuple[str, dict[str, Any]]] = {
    "momentum": (
        "cross_entropy",
        {"optimizer": SGD(lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)},
    ),
    "plain gradient": ("cross_entropy", {"optimizer": SGD(lr=0.05, momentum=0.0), "schedule": Cosine()}),
    "average": ("cross_entropy", {"averaging": EMA(decay=0.8), "augmentation": (Shift(), HorizontalFlip())}),
    "all": (
        "pgd_training(threat=linf(eps=0.1), attack=pgd(steps=2, rel_step_size=0.6), clean=0.3)",
        {
            "optimizer": Adam(lr=3e-3, weight_decay=1e-4),
            "schedule": Triangle(peak=0.3),
            "augmentation": (Shift(pixels=1),),
            "averaging": EMA(decay=0.7),
            "clip": 1.0,
            "validation": VALIDATION,
        },
    ),
    "trades": (
        "trades(threat=linf(eps=0.1), steps=2)",
        {"optimizer": SGD(lr=0.05), "schedule": Milestones(), "validation": VALIDATION},
    ),
    "weight perturbation": (
        "awp(objective=mart(threat=linf(eps=0.1), steps=2), warmup=0.4)",
        {"schedule": Cosine()},
    ),
    "several norms": ("eps_ramp(objective=msd(linf=0.1, l2=0.5, l1=0, steps=2), share=0.7)", {}),
    "mixed": ("mixed(threat=linf(eps=0.1), fraction=0.4)", {"optimizer": SGD(lr=0.05)}),
    "interval bounds": ("ibp_training(threat=linf(eps=0.1))", {"clip": 1.0}),
    "small boxes": ("sabr(threat=linf(eps=0.1), steps=2, ramp=0.5)", {"schedule": Triangle()}),
    "linear bounds": ("crown_ibp_training(threat=linf(eps=0.1))", {"clip": 1.0}),
    "statistics of the training set": (
        "ibp_training(threat=linf(eps=0.1))",
        {"averaging": EMA(decay=0.7), "reestimate_batch_norm": True},
    ),
    "norms in turn": (
        "alternating(first=fgsm_training(threat=linf(eps=0.1)), second=fgsm_training(threat=l1(eps=2.0)))",
        {},
    ),
    "noise": ("noise_training(std=0.2)", {}),
    "consistent under noise": ("consistency(std=0.2)", {"schedule": Cosine()}),
    "one step": ("fgsm_training(threat=linf(eps=0.1))", {"schedule": Triangle(), "clip": 0.1}),
}
EPOCHS = 3


class Memory(torch.optim.Optimizer):
    """An optimizer whose state is not of tensors alone: steps that grow, and settings that change."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.01, "taken": 0})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        del closure
        for group in self.param_groups:
            group["taken"] += 1
            for parameter in group["params"]:
                state = self.state[parameter]
                state["count"], state["nothing"] = state.get("count", 0) + 1, None
                state["sum"] = parameter.grad + state.get("sum", 0.0)
                scale = group["lr"] / (state["count"] + group["taken"]) ** 0.5
                with torch.no_grad():
                    parameter.sub_(scale * state["sum"])


class Remembering(Optimizer):
    """Builds a `Memory`."""

    def build(self, parameters: Any, *, fused: bool) -> torch.optim.Optimizer:
        del fused
        return Memory(parameters)


RECIPES["an optimizer of another package"] = ("cross_entropy", {"optimizer": Remembering()})


class StopAfter:
    """Writes so many checkpoints and then stands for a kill."""

    def __init__(self, epochs: int) -> None:
        self.left = epochs

    def __call__(self, *content: Any) -> None:
        save_tensors(*content)
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def build(seed: int = 1) -> nn.Module:
    """A network with batch normalisation and dropout."""
    with seeding.isolated(seed):
        network = StridedCNN(hidden=20).build(Shape(1, 28, 28, 10))
        return nn.Sequential(network, nn.BatchNorm1d(10), nn.Dropout(0.2), nn.Linear(10, 10))


def state(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", RECIPES)
def test_stopped_after_any_epoch_it_ends_with_the_same_bits(
    name: str, precision: str, digits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, parts = RECIPES[name]
    config = TrainConfig(epochs=EPOCHS, batch_size=24, **parts)
    data = (digits.train.take(slice(60)), digits.validation.take(slice(30)))
    compute = Compute(device="cpu", precision=precision)

    def run(network: nn.Module, checkpoint: Path | None) -> Any:
        objective = parse(Objective, spec)
        return train(network, objective, *data, config=config, compute=compute, key=7, checkpoint=checkpoint)

    whole = build()
    expected = run(whole, None)
    assert len({epoch["train loss"] for epoch in expected.epochs}) == EPOCHS
    for finished in range(1, EPOCHS + 1):
        checkpoint = tmp_path / f"checkpoint-{finished}"
        monkeypatch.setattr("robustlab.training.loop.save_tensors", StopAfter(finished))
        with pytest.raises(KeyboardInterrupt):
            run(build(), checkpoint)
        monkeypatch.undo()
        resumed = build(seed=99)  # the fresh weights are not used
        assert run(resumed, checkpoint) == expected
        for key, tensor in state(whole).items():
            assert torch.equal(state(resumed)[key], tensor), (finished, key)


def test_a_checkpoint_of_another_layout_is_not_used(digits: Splits, fp32: Compute, tmp_path: Path) -> None:
    data = (digits.train.take(slice(60)), digits.validation.take(slice(30)))
    checkpoint, config = tmp_path / "checkpoint", TrainConfig(epochs=1)

    def run(epochs: int) -> dict[str, Tensor]:
        network = build()
        longer = dataclasses.replace(config, epochs=epochs)
        train(
            network,
            parse(Objective, "cross_entropy"),
            *data,
            config=longer,
            compute=fp32,
            key=7,
            checkpoint=checkpoint,
        )
        return state(network)

    expected = run(1)
    tensors, header = load_tensors(checkpoint)
    del header["layout"]
    save_tensors(checkpoint, {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}, header)
    found = run(1)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
