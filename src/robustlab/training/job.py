"""A training as pure data: the data, the configuration, and the file for the weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from robustlab.core import seeding
from robustlab.core.device import Compute
from robustlab.core.memory import give_back_freed_memory
from robustlab.core.progress import Progress
from robustlab.core.threads import measured_threads
from robustlab.data import Split
from robustlab.models import Model, Shape, load_network, save_network
from robustlab.training.config import TrainConfig
from robustlab.training.loop import train
from robustlab.training.objectives import Objective


class ChangesTheTrainingSet(Protocol):
    """A defense that changes the training set of the classifier."""

    def training_set(
        self, split: Split, networks: Mapping[str, nn.Module], *, seed: int, progress: Progress
    ) -> Split:
        """Return the split to train, or to validate, on instead of the given one."""


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """All settings of a training, without the images.

    The same job gives the same weights in any process, up to the last bits that depend on the number of
    threads; see `measured_threads`.

    Attributes:
        network: its name; all draws depend on it.
        defense: changes the training set; None: no change.
        sources: by name, the files of the trained networks that the defense needs.
        threads: the largest number of threads on the CPU.
        dataset: the name of the images' dataset.
        path: the file for the weights.
        key: the hash of all that the weights depend on; it is stored in that file.
    """

    network: str
    title: str
    model: Model
    shape: Shape
    objective: Objective
    defense: ChangesTheTrainingSet | None
    sources: Mapping[str, Path]
    config: TrainConfig
    compute: Compute
    threads: int
    seed: int
    dataset: str
    path: Path
    key: str

    def run(self, train_split: Split, validation_split: Split, progress: Progress) -> dict[str, Any]:
        """Train the network, or resume an earlier run, and save it; return its history.

        Raises:
            RobustlabError: the training diverged, or a file can't be read or written.
        """
        with measured_threads(self.threads):
            return self._run(train_split, validation_split, progress)

    def _run(self, train_split: Split, validation_split: Split, progress: Progress) -> dict[str, Any]:
        if self.defense is not None:
            sources = {
                name: load_network(path, self.compute.device, own_code=True)
                for name, path in self.sources.items()
            }
            train_split, validation_split = (
                self.defense.training_set(split, sources, seed=self.seed, progress=progress)
                for split in (train_split, validation_split)
            )
            give_back_freed_memory()  # of the validation attack
        with seeding.isolated(seeding.derive(self.seed, "weights", self.network)):
            network = self.model.build(self.shape)
            self.objective.initialize(network, train_split)
        checkpoint = self.path.with_suffix(".checkpoint")
        history = train(
            network,
            self.objective,
            train_split,
            validation_split,
            config=self.config,
            compute=self.compute,
            # Only the name: a changed word in a spec then changes no random numbers.
            key=seeding.derive(self.seed, "training", self.network),
            checkpoint=checkpoint,
            identity=self.key,
            progress=progress,
            description=f"train {self.network}",
        )
        parameters = sum(parameter.numel() for parameter in network.parameters())
        card = {
            "title": self.title,
            "objective": repr(self.objective),
            "defense": self.defense and repr(self.defense),
            "schedule": self.config.described(),
            "dataset": self.dataset,
            "seed": self.seed,
            "best_epoch": history.best_epoch,
            "parameters": parameters,
            "stage": self.key,
        }
        save_network(self.path, network, self.model, self.shape, card)
        checkpoint.unlink(missing_ok=True)
        return {
            "epochs": history.epochs,
            "best_epoch": history.best_epoch,
            "parameters": parameters,
            "earlier_seconds": history.earlier_seconds,
        }
