"""A network, a step and the objectives for the tests of certified trainings."""

import dataclasses

import torch
from torch import nn

from robustlab.core import seeding
from robustlab.core.spec import parse
from robustlab.training import CertifiedObjective, Objective, TrainingStep

SHAPE = (1, 4, 4)
NAMES = ["ibp_training", "sabr", "crown_ibp_training"]


def network_of() -> nn.Sequential:
    """A network with all that behaves differently in training."""
    with seeding.isolated(1):
        network = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16, 12),
            nn.BatchNorm1d(12),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(12, 8),
            nn.ReLU(inplace=True),
            nn.Linear(8, 3),
        )
        network(torch.rand(50, *SHAPE))  # running statistics
    return network


def step_on(network: nn.Module, n: int = 20, progress: float = 1.0) -> TrainingStep:
    ids = 300 + torch.arange(n)
    images = seeding.uniform(2, ids, SHAPE)
    labels = (seeding.uniform(3, ids, (1,)).squeeze(1) * 3).long()
    return TrainingStep(
        network=network.train(),
        player="loss",
        images=images,
        labels=labels,
        ids=ids,
        progress=progress,
        key=11,
    )


def make(name: str, **more: object) -> CertifiedObjective:
    objective = parse(Objective, f"{name}(threat=linf(eps=0.1))")
    assert isinstance(objective, CertifiedObjective)
    return dataclasses.replace(objective, **more)  # type: ignore[type-var]
