"""Trains a network, or resumes the training of an earlier run."""

from dataclasses import dataclass
from typing import Any

from robustlab.core.errors import ModelFileError
from robustlab.defenses import TrainedDefense
from robustlab.models import Model, load_network
from robustlab.models.files import load_tensors
from robustlab.study.stages.base import StudyStage
from robustlab.study.workspace import Workspace
from robustlab.training import Objective, TrainConfig, TrainingJob

_STEP = {"classifier": 1.0, "gan": 0.5, "autoencoder": 0.25}
"""The cost of a training step relative to that of the study's CNN, by the kind of network."""


@dataclass(frozen=True, kw_only=True)
class TrainStage(StudyStage):
    """Train one network; the weights are written to ``network`` in the store's ``models`` folder."""

    network: str
    title: str
    model: Model
    objective: Objective
    defense: TrainedDefense | None
    config: TrainConfig
    device: str
    precision: str
    seed: int

    def identity(self) -> dict[str, Any]:
        return {
            "network": self.network,
            "model": repr(self.model),
            "objective": repr(self.objective),
            "defense": self.defense and repr(self.defense),
            "schedule": self.config.described(),
            "device": self.device,
            "precision": self.precision,
            "seed": self.seed,
        }

    def effort(self, workspace: Workspace) -> float:
        step = _STEP.get(self.objective.network_kind, 1.0)
        return step * self.config.epochs * len(workspace.dataset.train)

    def intact(self, workspace: Workspace) -> bool:
        path = workspace.store.model_path(self.network)
        if not path.exists():
            return False
        advice = "remove it and run the same command again to have it trained again"
        try:
            load_network(path)
            header = load_tensors(path)[1]
        except ModelFileError as error:
            raise ModelFileError(f"{error}; {advice}") from None
        if "stage" not in header:
            raise ModelFileError(f"{path} was put there by something else; {advice}")
        return bool(header["stage"] == self.key)

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
