"""Trains a network, or resumes the training of an earlier run."""

from dataclasses import dataclass
from typing import Any

from robustlab.evaluation.identity import code_of
from robustlab.study.stages.network import NetworkStage
from robustlab.study.workspace import Workspace
from robustlab.training import TrainConfig, TrainingJob

_STEP = {"classifier": 1.0, "gan": 0.5, "autoencoder": 0.25, "diffusion model": 8.0}
"""What a step of one image costs beside that of the study's CNN, by the kind of network."""


@dataclass(frozen=True, kw_only=True)
class TrainStage(NetworkStage):
    """Train one network."""

    config: TrainConfig
    device: str
    precision: str
    seed: int

    def recipe(self) -> dict[str, Any]:
        """Return how the network is trained, as its card says it."""
        return {
            "model": repr(self.model),
            "objective": repr(self.objective),
            "defense": self.defense and repr(self.defense),
            "schedule": self.config.described(),
            "seed": self.seed,
        }

    def identity(self) -> dict[str, Any]:
        computed = {"device": self.device, "precision": self.precision}
        own = code_of(self.model, self.objective, self.defense, self.config)
        return {"network": self.network, **self.recipe(), **computed, **({"code": own} if own else {})}

    def effort(self, workspace: Workspace) -> float:
        step = _STEP.get(self.objective.network_kind, 1.0)
        return step * self.config.epochs * len(workspace.dataset.train)

    def run(self, workspace: Workspace) -> dict[str, Any]:
        data = workspace.dataset
        return self.job(workspace).run(data.train, data.validation, workspace.progress)

    def job(self, workspace: Workspace) -> TrainingJob:
        """Return the training; the networks on which it depends need not exist yet."""
        sources = () if self.defense is None else self.defense.networks
        return TrainingJob(
            network=self.network,
            title=self.title,
            model=self.model,
            shape=workspace.shape,
            objective=self.objective,
            defense=self.defense,
            sources={name: workspace.store.model_path(name) for name in sources},
            config=self.config,
            compute=workspace.compute,
            threads=workspace.training_threads,
            seed=self.seed,
            dataset=workspace.dataset.name,
            path=workspace.store.model_path(self.network),
            key=self.key,
        )
