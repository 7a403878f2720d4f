"""Takes a network from the zoo, where that has it already."""

import hashlib
from dataclasses import dataclass, fields
from typing import Any

from robustlab.models import save_network
from robustlab.models.files import load_tensors
from robustlab.models.zoo import file_of, load_from_zoo
from robustlab.study.stages.network import NetworkStage
from robustlab.study.stages.train import TrainStage
from robustlab.study.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class ShippedStage(NetworkStage):
    """Copy one network of the zoo into the run."""

    zoo: str
    """Its name in the zoo."""

    def identity(self) -> dict[str, Any]:
        return {"network": self.network, "zoo": self.zoo}

    def effort(self, workspace: Workspace) -> float:
        del workspace
        return 1.0

    def run(self, workspace: Workspace) -> dict[str, Any]:
        card = load_tensors(file_of(self.zoo))[1] | {"title": self.title, "stage": self.key}
        path = workspace.store.model_path(self.network)
        save_network(path, load_from_zoo(self.zoo), self.model, workspace.shape, card)
        return {"parameters": card["parameters"], "zoo": self.zoo}


def shipped(training: TrainStage, zoo: str) -> ShippedStage:
    """Return what takes the place of a training that would make a network of the zoo again."""
    weights = hashlib.sha256(file_of(zoo).read_bytes()).hexdigest()
    kept = {field.name: getattr(training, field.name) for field in fields(NetworkStage)}
    return ShippedStage(**kept | {"name": f"load {training.network}", "inputs": (weights,), "zoo": zoo})
