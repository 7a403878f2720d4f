"""Trains a network, or goes on where an earlier run was stopped."""

from dataclasses import dataclass
from typing import Any

from robustlab.core import seeding
from robustlab.core.errors import ModelFileError
from robustlab.core.isolation import own_threads
from robustlab.defenses import TrainedDefense
from robustlab.models import Model, load_network, save_network
from robustlab.models.files import load_tensors
from robustlab.study.stages.base import StudyStage
from robustlab.study.workspace import Workspace
from robustlab.training import Objective, TrainConfig, train


@dataclass(frozen=True, kw_only=True)
class TrainStage(StudyStage):
    """Train one network; the weights go to the store's ``models`` folder under ``network``."""

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
        with own_threads(workspace.training_threads):
            return self._train(workspace)

    def _train(self, workspace: Workspace) -> dict[str, Any]:
        splits = [workspace.dataset.train, workspace.dataset.validation]
        if self.defense is not None:
            sources = {name: workspace.models.network(name) for name in self.defense.networks}
            splits = [
                self.defense.training_set(split, sources, seed=self.seed, progress=workspace.progress)
                for split in splits
            ]
        with seeding.isolated(seeding.derive(self.seed, "weights", self.network)):
            network = self.model.build(workspace.shape)
        path = workspace.store.model_path(self.network)
        checkpoint = path.with_suffix(".checkpoint")
        history = train(
            network,
            self.objective,
            *splits,
            config=self.config,
            compute=workspace.compute,
            # By the name alone: a word that changes in a spec changes no draw.
            key=seeding.derive(self.seed, "training", self.network),
            checkpoint=checkpoint,
            identity=self.key,
            progress=workspace.progress,
            description=self.title,
        )
        parameters = sum(parameter.numel() for parameter in network.parameters())
        card = {
            "title": self.title,
            "objective": repr(self.objective),
            "defense": self.defense and repr(self.defense),
            "schedule": self.config.described(),
            "dataset": workspace.dataset.name,
            "seed": self.seed,
            "best_epoch": history.best_epoch,
            "parameters": parameters,
            "stage": self.key,
        }
        save_network(path, network, self.model, workspace.shape, card)
        checkpoint.unlink(missing_ok=True)
        return {"epochs": history.epochs, "best_epoch": history.best_epoch, "parameters": parameters}
