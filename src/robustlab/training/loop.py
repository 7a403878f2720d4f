"""One training loop for every network: set in memory, seeded per epoch, resumable after a kill."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robustlab.core import seeding
from robustlab.core.device import Compute
from robustlab.core.errors import ModelFileError, RobustlabError
from robustlab.core.progress import Progress, Task
from robustlab.data import Split
from robustlab.models.files import load_tensors, save_tensors
from robustlab.training.objectives import Objective

_VALIDATION_BATCH = 250


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long and how fast to train.

    Attributes:
        epochs: passes over the training split.
        batch_size: images per step; the last, smaller batch of an epoch is trained on too.
        lr: Adam's learning rate.
        betas: Adam's two decay rates.
    """

    epochs: int
    batch_size: int = 64
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)


@dataclass(kw_only=True)
class History:
    """What happened in training.

    Attributes:
        epochs: per finished epoch the mean training and validation loss of each player
            (``"train loss"``, ``"validation loss"``) and, for classifiers, ``"validation accuracy"``.
        best_epoch: the epoch, counted from 1, whose weights were kept.
    """

    epochs: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0


def train(
    network: nn.Module,
    objective: Objective,
    train_split: Split,
    validation_split: Split,
    *,
    schedule: TrainConfig,
    compute: Compute,
    key: int,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    description: str = "training",
) -> History:
    """Train a network in place and leave it in eval mode with the kept weights.

    Args:
        network: the module, on any device; it is moved to ``compute.device``.
        objective: the loss; see `Objective`.
        train_split: what is learnt from.
        validation_split: what the kept epoch is chosen by.
        schedule: epochs, batch size and learning rate.
        compute: device and precision.
        key: from `seeding.derive`; the order of the images and all noise follow from it and the epoch.
        checkpoint: a file in which every finished epoch is kept, so that a run that was killed goes on
            from there with the same result; removed at the end by whoever stores the network.
        progress: where to show progress.
        description: the bar's label.

    Raises:
        RobustlabError: the loss became infinite or NaN.
    """
    network.to(compute.device).to(memory_format=torch.channels_last)
    loop = _Loop(network, objective, schedule, compute)
    loop.resume(checkpoint, key)
    data, held_out = train_split.to(compute.device), validation_split.to(compute.device)
    total = schedule.epochs * len(data)
    with (progress or Progress()).track(description, total) as bar:
        bar.advance(len(loop.history.epochs) * len(data))
        for epoch in range(len(loop.history.epochs), schedule.epochs):
            with seeding.isolated(seeding.derive(key, "epoch", epoch)):
                losses = loop.run_epoch(data, bar)
            with seeding.isolated(seeding.derive(key, "validation", epoch)):
                losses |= loop.validate(held_out)
            loop.finish_epoch(losses)
            loop.save(checkpoint, key)
    network.load_state_dict(loop.best)
    network.eval()
    return loop.history


class _Loop:
    """The state that a checkpoint holds, and the steps that change it."""

    def __init__(
        self, network: nn.Module, objective: Objective, schedule: TrainConfig, compute: Compute
    ) -> None:
        self.network, self.objective, self.schedule, self.compute = network, objective, schedule, compute
        self.players = objective.players(network)
        self.optimizers = {
            name: torch.optim.Adam(
                part.parameters(),
                lr=schedule.lr,
                betas=schedule.betas,
                fused=compute.device != "mps",
            )
            for name, part in self.players.items()
        }
        self.history = History()
        self.best: dict[str, Tensor] = {}

    def run_epoch(self, data: Split, bar: Task) -> dict[str, float]:
        """Take one pass over the data and return the mean loss per player."""
        self.network.train()
        size = self.schedule.batch_size
        order = torch.randperm(len(data)).to(data.labels.device)
        sums = {name: torch.zeros((), device=data.labels.device) for name in self.players}
        for start in range(0, len(data), size):
            rows = order[start : start + size]
            images, labels = data.pixels(rows), data.labels[rows]
            for name in self.players:
                sums[name] += self._step(name, images, labels) * len(rows)
            bar.advance(len(rows))
        return {f"train {name}": float(total) / len(data) for name, total in sums.items()}

    def _step(self, player: str, images: Tensor, labels: Tensor) -> Tensor:
        for name, part in self.players.items():
            part.requires_grad_(name == player)
        with self.compute.autocast():
            loss = self.objective.loss(self.network, player, images, labels)
        optimizer = self.optimizers[player]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    @torch.no_grad()
    def validate(self, data: Split) -> dict[str, float]:
        """Return the mean validation loss per player and, for a classifier, the accuracy."""
        self.network.eval()
        losses = dict.fromkeys(self.players, 0.0)
        correct: int | None = 0
        for start in range(0, len(data), _VALIDATION_BATCH):
            rows = slice(start, start + _VALIDATION_BATCH)
            images, labels = data.pixels(rows), data.labels[rows]
            with self.compute.autocast():
                for name in self.players:
                    loss = self.objective.loss(self.network, name, images, labels)
                    losses[name] += float(loss) * len(labels)
                right = self.objective.correct(self.network, images, labels)
            correct = None if right is None or correct is None else correct + int(right.sum())
        result = {f"validation {name}": total / len(data) for name, total in losses.items()}
        if correct is not None:
            result["validation accuracy"] = correct / len(data)
        return result

    def finish_epoch(self, losses: dict[str, float]) -> None:
        """Record an epoch and keep its weights if they are the best so far."""
        epoch = len(self.history.epochs) + 1
        if not all(math.isfinite(value) for value in losses.values()):
            raise RobustlabError(f"training diverged in epoch {epoch} ({losses}); try a lower learning rate")
        previous = self.history.epochs[self.history.best_epoch - 1] if self.history.best_epoch else None
        self.history.epochs.append(losses)
        first = f"validation {next(iter(self.players))}"
        if previous is None or not self.objective.selects or losses[first] < previous[first]:
            self.history.best_epoch = epoch
            self.best = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}

    def save(self, path: Path | None, key: int) -> None:
        """Write everything the next epoch depends on."""
        if path is None:
            return
        tensors = {f"now/{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"best/{name}": tensor for name, tensor in self.best.items()}
        for player, optimizer in self.optimizers.items():
            for index, state in optimizer.state_dict()["state"].items():
                tensors |= {f"adam/{player}/{index}/{name}": tensor for name, tensor in state.items()}
        header = {"key": key, "epochs": self.history.epochs, "best_epoch": self.history.best_epoch}
        save_tensors(path, tensors, header)

    def resume(self, path: Path | None, key: int) -> None:
        """Continue from a checkpoint of the same training, if there is a readable one."""
        if path is None or not path.exists():
            return
        try:
            tensors, header = load_tensors(path)
        except ModelFileError:
            return  # a damaged checkpoint costs time, not correctness: the training starts again
        if header.get("key") != key:
            return
        device = self.compute.device
        self.network.load_state_dict(_below("now", tensors))
        self.best = {name: tensor.to(device) for name, tensor in _below("best", tensors).items()}
        for player, optimizer in self.optimizers.items():
            parameters = list(self.players[player].parameters())
            state: dict[int, dict[str, Any]] = {}
            for name, tensor in _below(f"adam/{player}", tensors).items():
                index, part = name.split("/")
                parameter = parameters[int(index)]
                if tensor.shape == parameter.shape:
                    # The fused step goes through memory, so moments must lie in it as their parameter does.
                    tensor = torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor)
                state.setdefault(int(index), {})[part] = tensor
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.history = History(epochs=header["epochs"], best_epoch=header["best_epoch"])


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = prefix + "/"
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
