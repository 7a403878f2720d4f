"""One training loop for every network: seeded per epoch, resumable after a kill."""

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from robustlab.core import seeding
from robustlab.core.calling import ask
from robustlab.core.device import Compute
from robustlab.core.errors import ModelFileError, RobustlabError, SpecError
from robustlab.core.inputs import check_classes
from robustlab.core.logits import no_tensor
from robustlab.core.progress import Progress, Task
from robustlab.core.threads import begin_work, measured_threads
from robustlab.data import Split
from robustlab.models.files import load_tensors, save_tensors
from robustlab.training import checkpoint as checkpoints
from robustlab.training.averaging import AveragedWeights
from robustlab.training.averaging.weights import state_of
from robustlab.training.batch_norm import reestimate, require_batch_norm
from robustlab.training.config import TrainConfig
from robustlab.training.objectives import Objective
from robustlab.training.step import TrainingStep

_VALIDATION_BATCH = 250
_ROBUST = "validation robust accuracy"
_LAYOUT = 2
"""The version of the checkpoint's layout; a checkpoint of an older version is ignored."""


@dataclass(kw_only=True)
class History:
    """The losses and accuracies of a training.

    Attributes:
        epochs: per finished epoch the mean training and validation loss of each player (``"train loss"``,
            ``"validation loss"``), for classifiers ``"validation accuracy"`` and, with robust validation,
            ``"validation robust accuracy"``.
        best_epoch: the epoch, counted from 1, whose weights were kept.
        earlier_seconds: the time of the epochs that the checkpoint of a stopped training held.
    """

    epochs: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    earlier_seconds: float = field(default=0.0, compare=False)


def train(
    network: nn.Module,
    objective: Objective,
    train_split: Split,
    validation_split: Split,
    *,
    config: TrainConfig,
    compute: Compute,
    key: int,
    checkpoint: Path | None = None,
    identity: str = "",
    progress: Progress | None = None,
    description: str = "training",
) -> History:
    """Train a network in place and leave it in eval mode with the kept weights.

    Args:
        network: the module, on any device; it is moved to ``compute.device``.
        validation_split: the images that choose the kept epoch.
        key: from `seeding.derive`; the order of the images and all noise follow from it and the epoch.
        checkpoint: a file in which every finished epoch is kept, so that a killed run resumes with the same
            result; the caller removes it after storing the network.
        identity: represents the objective, the data and the config. A checkpoint of another key or identity
            is ignored, and the training begins at its first epoch.
        description: the label of the progress bar.

    Raises:
        RobustlabError: the loss became infinite or NaN; the objective or the config needs a classifier, and
            the network is another one; or it has no batch normalisation to estimate statistics of.
    """
    if objective.network_kind != "classifier":
        for name, wanted in (
            ("robust validation", config.validation is not None),
            ("reestimate_batch_norm", config.reestimate_batch_norm),
        ):
            if wanted:
                raise RobustlabError(f"{name} needs a classifier; {objective.name} trains another network")
    if config.reestimate_batch_norm:
        require_batch_norm(network)
    _check_ramp(objective, train_split, config)
    network.to(compute.device).to(memory_format=torch.channels_last)
    if objective.network_kind == "classifier":
        _check_classifier(network, objective, train_split, compute)
    loop = _Loop(network, objective, config, compute, key, identity)
    loop.resume(checkpoint)
    data, held_out = train_split.to(compute.device), validation_split.to(compute.device)
    total = config.epochs * len(data)
    with (progress or Progress()).track(description, total) as bar, measured_threads():
        bar.advance(len(loop.history.epochs) * len(data))
        for epoch in range(len(loop.history.epochs), config.epochs):
            if loop.collapsed():
                break
            with seeding.isolated(seeding.derive(key, "epoch", epoch)):
                losses = loop.run_epoch(epoch, data, bar)
                loop.check_finite(losses)  # an attack in the validation would only say that logits are NaN
            with seeding.isolated(seeding.derive(key, "validation", epoch)), loop.averaged():
                if config.reestimate_batch_norm:
                    reestimate(network, data, compute)
                losses |= loop.validate(epoch, held_out)
                loop.finish_epoch(losses)
            loop.save(checkpoint)
    if len(loop.history.epochs) < config.epochs:
        (progress or Progress()).note(
            f"{description}: stopped after epoch {len(loop.history.epochs)}, since the accuracy under attack "
            f"fell; epoch {loop.history.best_epoch} is kept"
        )
    network.load_state_dict(loop.best)
    network.eval()
    return loop.history


def _batches(data: Split, config: TrainConfig) -> int:
    """Return the steps of an epoch."""
    size = config.batch_size
    # A last image alone joins the batch before it: batch normalisation can't train on one value.
    alone = len(data) > size and len(data) % size == 1
    return -(-len(data) // size) - alone


def _check_ramp(objective: Objective, data: Split, config: TrainConfig) -> None:
    """Refuse a training whose last step comes before eps has its full value."""
    steps = config.epochs * _batches(data, config)
    if objective.full_from and objective.full_from * steps > steps - 0.5:
        raise SpecError(
            f"{objective.name}: eps has its full value only after {objective.full_from:g} of the training, "
            f"which is after the last of its {steps} steps; let eps rise sooner, or train for more epochs"
        )


def _check_classifier(network: nn.Module, objective: Objective, data: Split, compute: Compute) -> None:
    """Refuse a network that does not return a row of logits for each image, one for each class."""
    few = data.take(slice(2)).to(compute.device)
    network.eval()
    with torch.no_grad(), seeding.isolated(0):
        logits = ask(network, few.pixels(slice(None)))
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(few):
        description = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else no_tensor(logits)
        raise RobustlabError(
            f"{objective.name} trains a classifier, which returns logits ({len(few)}, K) for {len(few)} "
            f"images; the network returned {description}"
        )
    check_classes(logits.shape[1], int(data.labels.max()))


class _Loop:
    """The state that a checkpoint holds, and the steps that change it.

    The position of the schedule and of the average follows from the number of epochs.
    """

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        config: TrainConfig,
        compute: Compute,
        key: int,
        identity: str,
    ) -> None:
        self.network, self.objective, self.config, self.compute = network, objective, config, compute
        self.key, self.identity = key, identity
        self.players = objective.players(network)
        self.optimizers = {
            name: config.optimizer.build(part.parameters(), fused=compute.device != "mps")
            for name, part in self.players.items()
        }
        self.rates = {
            name: [group["lr"] for group in optimizer.param_groups]
            for name, optimizer in self.optimizers.items()
        }
        self.average = None if config.averaging is None else AveragedWeights(network)
        self.history, self.started = History(), time.perf_counter()
        self.best: dict[str, Tensor] = {}

    def run_epoch(self, epoch: int, data: Split, bar: Task) -> dict[str, float]:
        """Take one pass over the data and return the mean loss per player."""
        self.network.train()
        size, batches = self.config.batch_size, _batches(data, self.config)
        order = torch.randperm(len(data)).to(data.labels.device)
        sums = {name: torch.zeros((), device=data.labels.device) for name in self.players}
        for batch in range(batches):
            number = epoch * batches + batch
            progress = (number + 0.5) / (self.config.epochs * batches)
            rows = order[batch * size : (batch + 1) * size if batch + 1 < batches else None]
            begin_work(rows, "step")
            images, labels, ids = self._augmented(epoch, data, rows), data.labels[rows], data.ids[rows]
            for name in self.players:
                step = TrainingStep(
                    network=self.network,
                    player=name,
                    images=images,
                    labels=labels,
                    ids=ids,
                    progress=progress,
                    key=seeding.derive(self.key, "step", name, number),
                )
                sums[name] += self._take(step) * len(rows)
            if self.average is not None and self.config.averaging is not None:
                self.average.update(self.network, self.config.averaging.kept(number))
            bar.advance(len(rows))
        return {f"train {name}": float(total) / len(data) for name, total in sums.items()}

    def _augmented(self, epoch: int, data: Split, rows: Tensor) -> Tensor:
        images = data.pixels(rows)
        for place, augmentation in enumerate(self.config.augmentation):
            key = seeding.derive(self.key, "augmentation", place, epoch)
            images = augmentation.apply(images, key, data.ids[rows])
        return images

    def _take(self, step: TrainingStep) -> Tensor:
        for name, part in self.players.items():
            part.requires_grad_(name == step.player)
        with self.compute.autocast():
            loss = self.objective.loss(step)
        optimizer = self.optimizers[step.player]
        scale = self.config.schedule.scale(step.progress)
        for group, rate in zip(optimizer.param_groups, self.rates[step.player], strict=True):
            group["lr"] = rate * scale
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.config.clip is not None:
            nn.utils.clip_grad_norm_(self.players[step.player].parameters(), self.config.clip)
        optimizer.step()
        return loss.detach()

    def averaged(self) -> AbstractContextManager[None]:
        """Return the context in which the network has its averaged weights, if there are any."""
        return nullcontext() if self.average is None else self.average.inside(self.network)

    @torch.no_grad()
    def validate(self, epoch: int, data: Split) -> dict[str, float]:
        """Return the mean validation loss per player and, for a classifier, the accuracies."""
        self.network.eval()
        losses = dict.fromkeys(self.players, 0.0)
        classifies, correct = self.objective.network_kind == "classifier", 0
        for start in range(0, len(data), _VALIDATION_BATCH):
            rows = slice(start, start + _VALIDATION_BATCH)
            images, labels = data.pixels(rows), data.labels[rows]
            begin_work(images, "validation")
            with self.compute.autocast(), _answers(self.network) as answers:
                for name in self.players:
                    step = TrainingStep(
                        network=self.network,
                        player=name,
                        images=images,
                        labels=labels,
                        ids=data.ids[rows],
                        progress=(epoch + 1) / self.config.epochs,
                        key=seeding.derive(self.key, "validation step", name, epoch, start),
                        validating=True,
                    )
                    losses[name] += float(self.objective.loss(step)) * len(labels)
                if classifies:
                    # The loss has evaluated the network on the same images.
                    logits = next((answer for given, answer in answers if given is images), None)
                    logits = self.network(images) if logits is None else logits
                    correct += int((logits.argmax(dim=1) == labels).sum())
        result = {f"validation {name}": total / len(data) for name, total in losses.items()}
        if classifies:
            result["validation accuracy"] = correct / len(data)
        if self.config.validation is not None:
            seed = seeding.derive(self.key, "robust validation")
            result[_ROBUST] = self.config.validation.accuracy(self.network, data, seed)
        return result

    def finish_epoch(self, losses: dict[str, float]) -> None:
        """Record an epoch and keep its weights if they are the best so far."""
        self.check_finite(losses)
        epoch = len(self.history.epochs) + 1
        previous = self.history.epochs[self.history.best_epoch - 1] if self.history.best_epoch else None
        self.history.epochs.append(losses)
        if previous is None or not self.objective.selects or self._rank(losses) < self._rank(previous):
            self.history.best_epoch = epoch
            self.best = state_of(self.network)

    def check_finite(self, losses: dict[str, float]) -> None:
        """Raise `RobustlabError` if a loss of the present epoch is infinite or NaN."""
        for name, value in losses.items():
            if not math.isfinite(value):
                groups = [group for part in self.optimizers.values() for group in part.param_groups]
                raise RobustlabError(
                    f"training diverged in epoch {len(self.history.epochs) + 1}: the {name} is {value}, at a "
                    f"learning rate of {max(group['lr'] for group in groups):.3g}; try a lower one, or clip "
                    "the gradient"
                )

    def collapsed(self) -> bool:
        """Return whether the accuracy under attack has fallen as far as ends the training."""
        reached = [epoch[_ROBUST] for epoch in self.history.epochs if _ROBUST in epoch]
        stop = None if self.config.validation is None else self.config.validation.stop
        return stop is not None and bool(reached) and reached[-1] < max(reached) - stop

    def _rank(self, losses: dict[str, float]) -> tuple[float, float]:
        """Return the sort key of epochs, the best first."""
        return -losses.get(_ROBUST, 0.0), losses[f"validation {next(iter(self.players))}"]

    def save(self, path: Path | None) -> None:
        """Write everything the next epoch depends on."""
        if path is None:
            return
        tensors = {f"now/{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"best/{name}": tensor for name, tensor in self.best.items()}
        if self.average is not None:
            tensors |= {f"average/{name}": tensor for name, tensor in self.average.tensors.items()}
        for player, optimizer in self.optimizers.items():
            state = checkpoints.tensors_of(optimizer)
            tensors |= {f"optimizer/{player}/{name}": tensor for name, tensor in state.items()}
        header = {
            "layout": _LAYOUT,
            "key": self.key,
            "identity": self.identity,
            "epochs": self.history.epochs,
            "best_epoch": self.history.best_epoch,
            "seconds": self.history.earlier_seconds + time.perf_counter() - self.started,
            "optimizers": {name: checkpoints.plain_of(part) for name, part in self.optimizers.items()},
        }
        save_tensors(path, tensors, header)

    def resume(self, path: Path | None) -> None:
        """Continue from a checkpoint of the same training, if there is a readable one."""
        if path is None or not path.exists():
            return
        try:
            tensors, header = load_tensors(path)
        except ModelFileError:
            return  # a damaged checkpoint costs only time: the training starts again
        expected = {"layout": _LAYOUT, "key": self.key, "identity": self.identity}
        if any(header.get(name) != value for name, value in expected.items()):
            return
        device = self.compute.device
        self.network.load_state_dict(_below("now", tensors))
        self.best = {name: tensor.to(device) for name, tensor in _below("best", tensors).items()}
        if self.average is not None:
            for name, tensor in _below("average", tensors).items():
                self.average.tensors[name].copy_(tensor)
        for player, optimizer in self.optimizers.items():
            checkpoints.restore(
                optimizer,
                list(self.players[player].parameters()),
                _below(f"optimizer/{player}", tensors),
                header["optimizers"][player],
            )
        self.history = History(
            epochs=header["epochs"],
            best_epoch=header["best_epoch"],
            earlier_seconds=header.get("seconds", 0.0),
        )


@contextmanager
def _answers(network: nn.Module) -> Iterator[list[tuple[object, Tensor]]]:
    """Yield a list that fills with the network's inputs and outputs inside the block."""
    answers: list[tuple[object, Tensor]] = []
    handle = network.register_forward_hook(
        lambda _, given, answer: answers.append((given[0] if given else None, answer))
    )
    try:
        yield answers
    finally:
        handle.remove()


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = prefix + "/"
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
