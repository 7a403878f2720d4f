"""What the stages that bring a network into a run have in common."""

from dataclasses import dataclass

from robustlab.core.errors import ModelFileError
from robustlab.defenses import TrainedDefense
from robustlab.models import Model, load_network
from robustlab.models.files import load_tensors
from robustlab.study.stages.base import StudyStage
from robustlab.study.workspace import Workspace
from robustlab.training import Objective


@dataclass(frozen=True, kw_only=True)
class NetworkStage(StudyStage):
    """Leaves the weights of one network in the store's ``models`` folder, under ``network``.

    Its payload has the network's ``parameters``, and of a training ``epochs`` and ``best_epoch``.
    """

    network: str
    title: str
    model: Model
    objective: Objective
    defense: TrainedDefense | None

    def intact(self, workspace: Workspace) -> bool:
        path = workspace.store.model_path(self.network)
        if not path.exists():
            return False
        advice = "remove it and run the same command again to have it made again"
        try:
            load_network(path, own_code=True)
            header = load_tensors(path)[1]
        except ModelFileError as error:
            raise ModelFileError(f"{error}; {advice}") from None
        if "stage" not in header:
            raise ModelFileError(f"{path} was put there by something else; {advice}")
        return bool(header["stage"] == self.key)
