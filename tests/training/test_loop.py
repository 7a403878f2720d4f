"""The training loop: what it learns, what it keeps, and what a kill costs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustlab.core import seeding
from robustlab.core.device import Compute
from robustlab.core.errors import RobustlabError, SpecError
from robustlab.core.progress import Progress, Task
from robustlab.core.spec import parse
from robustlab.data import Split, Splits
from robustlab.evaluation.classify import classify
from robustlab.models import GAN, GANNetwork, Model, Shape
from robustlab.training import (
    Adam,
    CrossEntropy,
    GanLoss,
    History,
    Objective,
    TrainConfig,
    TrainingStep,
    VaeLoss,
    train,
)

SHAPE = Shape(1, 28, 28, 10)
NETWORKS: dict[str, tuple[str, Objective]] = {
    "classifier": ("cnn", CrossEntropy()),
    "vae": ("vae(hidden=50, latent=5)", VaeLoss(kl_weight=1.0)),
    "gan": ("gan(hidden=40, latent=8)", GanLoss(smoothing=0.1)),
}


def build(model: str, seed: int = 1) -> nn.Module:
    with seeding.isolated(seed):
        return parse(Model, model).build(SHAPE)


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


class StopError(Exception):
    """Stands for a kill."""


class Watch(Progress, Task):
    """Adds up the images, and stops after so many of them."""

    def __init__(self, limit: float = float("inf")) -> None:
        self.total, self.seen, self.limit = 0, 0.0, limit

    @contextmanager
    def track(self, description: str, total: int, unit: str = "images") -> Iterator[Task]:
        del unit, description
        self.total = total
        yield self

    def advance(self, amount: float) -> None:
        self.seen += amount
        if self.seen > self.limit:
            raise StopError


@pytest.fixture(scope="module")
def small(digits: Splits) -> tuple[Split, Split]:
    return digits.train.take(slice(100)), digits.validation.take(slice(40))


# It learns


def test_a_classifier_learns_the_digits(digits: Splits, fp32: Compute) -> None:
    network = build("cnn")
    config = TrainConfig(epochs=4, batch_size=16, optimizer=Adam(lr=2e-3))
    data = (digits.train.take(slice(480)), digits.validation)
    history = train(network, CrossEntropy(), *data, config=config, compute=fp32, key=1)
    losses = [epoch["train loss"] for epoch in history.epochs]
    assert losses[0] < 2.3026  # the loss of guessing
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.4 * losses[0]
    # What the history says of the kept epoch is true of the network that is given back.
    images, labels = digits.validation.pixels(slice(None)), digits.validation.labels
    predictions, _ = classify(network, images)
    kept = history.epochs[history.best_epoch - 1]
    assert kept["validation accuracy"] == pytest.approx(float((predictions == labels).float().mean()))
    assert kept["validation loss"] == min(epoch["validation loss"] for epoch in history.epochs)
    with torch.no_grad():
        loss = nn.functional.cross_entropy(network(images), labels).item()
    assert kept["validation loss"] == pytest.approx(loss, rel=1e-4)
    assert kept["validation accuracy"] > 0.8


@pytest.mark.parametrize("name", ["vae", "gan"])
def test_generative_networks_are_trained(name: str, small: tuple[Split, Split], fp32: Compute) -> None:
    model, objective = NETWORKS[name]
    network = build(model)
    before = weights(network)
    config = TrainConfig(epochs=3, batch_size=10)
    history = train(network, objective, *small, config=config, compute=fp32, key=1)
    assert all(not torch.equal(before[n], w) for n, w in network.state_dict().items())
    assert len(history.epochs) == 3
    if name == "vae":
        assert history.epochs[-1]["train loss"] < 0.8 * history.epochs[0]["train loss"]
        assert history.epochs[-1].keys() == {"train loss", "validation loss"}
    else:
        players = ("discriminator", "generator")
        assert history.epochs[-1].keys() == {
            f"{part} {p}" for part in ("train", "validation") for p in players
        }
        assert history.best_epoch == 3
    assert not any(module.training for module in network.modules())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_plain_recipe_is_the_loop_that_people_write(precision: str, small: tuple[Split, Split]) -> None:
    data, compute = small[0], Compute(device="cpu", precision=precision)
    config = TrainConfig(epochs=3, batch_size=30, optimizer=Adam(lr=3e-3, betas=(0.8, 0.99)))
    network = build("cnn")
    history = train(network, CrossEntropy(), *small, config=config, compute=compute, key=7)
    plain = build("cnn").to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(plain.parameters(), lr=3e-3, betas=(0.8, 0.99), fused=True)
    for epoch in range(history.best_epoch):
        with seeding.isolated(seeding.derive(7, "epoch", epoch)):
            plain.train()
            for rows in torch.split(torch.randperm(len(data)), 30):
                with compute.autocast():
                    logits = plain(data.pixels(rows)).float()
                    loss = nn.functional.cross_entropy(logits, data.labels[rows])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
    assert_same(weights(network), weights(plain))


# A kill costs at most an epoch, and changes nothing


@pytest.mark.parametrize(
    ("name", "precision", "finished"),
    [
        *[(name, precision, 1) for name in NETWORKS for precision in ("fp32", "bf16")],
        ("classifier", "fp32", 2),
        ("vae", "fp32", 0),
        ("gan", "fp32", 2),
    ],
)
def test_an_interrupted_training_ends_with_the_same_bits(
    name: str, precision: str, finished: int, small: tuple[Split, Split], tmp_path: Path
) -> None:
    model, objective = NETWORKS[name]
    checkpoint = tmp_path / "checkpoint"
    compute = Compute(device="cpu", precision=precision)
    config = TrainConfig(epochs=3, batch_size=30, optimizer=Adam(lr=3e-3, betas=(0.8, 0.99)))

    def run(network: nn.Module, checkpoint: Path | None, watch: Watch) -> History:
        return train(
            network,
            objective,
            *small,
            config=config,
            compute=compute,
            key=7,
            checkpoint=checkpoint,
            progress=watch,
        )

    whole = build(model)
    expected = run(whole, None, Watch())
    with pytest.raises(StopError):
        run(build(model), checkpoint, Watch(finished * 100 + 60))
    assert checkpoint.exists() == (finished > 0)
    resumed, watch = build(model, seed=99), Watch()  # the fresh weights are not used
    if not finished:
        resumed = build(model)
    assert run(resumed, checkpoint, watch) == expected
    assert_same(weights(resumed), weights(whole))
    assert watch.seen == watch.total == 300
    # Once more, with nothing left to do.
    again = build(model, seed=98)
    assert run(again, checkpoint, Watch()) == expected
    assert_same(weights(again), weights(whole))


@pytest.mark.parametrize(
    "damage", ["truncated", "overwritten", "empty", "another training's", "another recipe's"]
)
def test_an_unusable_checkpoint_is_ignored(
    damage: str, small: tuple[Split, Split], fp32: Compute, tmp_path: Path
) -> None:
    model, objective = NETWORKS["vae"]
    checkpoint, config = tmp_path / "checkpoint", TrainConfig(epochs=2)
    whole = build(model)
    expected = train(whole, objective, *small, config=config, compute=fp32, key=7)
    others: dict[str, dict[str, Any]] = {
        "another training's": {"key": 8},
        "another recipe's": {"identity": "other"},
    }
    other = others.get(damage)
    settings: dict[str, Any] = {"config": config, "compute": fp32, "key": 7, "checkpoint": checkpoint}
    train(build(model), objective, *small, **settings | (other or {}))
    content = checkpoint.read_bytes()
    if other is None:
        cut = {"truncated": content[:-1], "overwritten": b"\xff" * len(content), "empty": b""}
        checkpoint.write_bytes(cut[damage])
    network = build(model)
    found = train(network, objective, *small, **settings)
    assert found == expected
    assert_same(weights(network), weights(whole))


def test_more_epochs_go_on_from_fewer(small: tuple[Split, Split], fp32: Compute) -> None:
    # Each epoch has its own draws, so that what came before does not depend on how many are to come.
    model, objective = NETWORKS["classifier"]
    histories = [
        train(build(model), objective, *small, config=TrainConfig(epochs=n), compute=fp32, key=7)
        for n in (1, 2)
    ]
    assert histories[1].epochs[0] == histories[0].epochs[0]
    assert histories[1].epochs[1] != histories[0].epochs[0]


# Where its random numbers come from


@pytest.mark.parametrize("name", NETWORKS)
def test_the_global_generator_is_neither_used_nor_changed(
    name: str, small: tuple[Split, Split], fp32: Compute
) -> None:
    model, objective = NETWORKS[name]

    def run(seed: int, key: int) -> dict[str, Tensor]:
        network = build(model)
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        train(network, objective, *small, config=TrainConfig(epochs=1), compute=fp32, key=key)
        assert torch.equal(torch.get_rng_state(), before)
        return weights(network)

    first = run(1, 7)
    assert_same(first, run(2, 7))
    assert not all(torch.equal(a, b) for a, b in zip(first.values(), run(1, 8).values(), strict=True))


def test_the_validation_split_does_not_change_what_is_learnt(digits: Splits, fp32: Compute) -> None:
    def run(validation: Split) -> dict[str, Tensor]:
        model, objective = NETWORKS["gan"]
        network = build(model)
        data = digits.train.take(slice(100))
        train(network, objective, data, validation, config=TrainConfig(epochs=2), compute=fp32, key=7)
        return weights(network)

    assert_same(run(digits.validation.take(slice(10))), run(digits.validation))


# The game


class WatchedGame(Objective):
    """The adversarial game, noting who plays and what changed since the last move."""

    network_kind = "gan"
    selects = False

    def __init__(self) -> None:
        self.moves: list[tuple[str, set[str]]] = []
        self._before: dict[str, Tensor] = {}

    def players(self, network: nn.Module) -> dict[str, nn.Module]:
        return GanLoss().players(network)

    def loss(self, step: TrainingStep) -> Tensor:
        network, player = step.network, step.player
        if network.training:
            now = weights(network)
            changed = {n.split(".")[0] for n, w in now.items() if not torch.equal(w, self._before.get(n, w))}
            self.moves.append((player, changed))
            self._before = now
            for name, part in self.players(network).items():
                assert all(p.requires_grad == (name == player) for p in part.parameters())
        return GanLoss().loss(step)


def test_the_players_move_in_turn_and_only_themselves(small: tuple[Split, Split], fp32: Compute) -> None:
    with seeding.isolated(1):
        network: GANNetwork = GAN(hidden=16, latent=4).build(SHAPE)
    game = WatchedGame()
    train(network, game, *small, config=TrainConfig(epochs=1, batch_size=40), compute=fp32, key=1)
    assert [player for player, _ in game.moves] == 3 * ["discriminator", "generator"]
    assert [changed for _, changed in game.moves] == [
        set(),
        {"discriminator"},
        {"generator"},
        {"discriminator"},
        {"generator"},
        {"discriminator"},
    ]


# When it goes wrong


def test_a_learning_rate_that_is_too_high_is_told(small: tuple[Split, Split], fp32: Compute) -> None:
    config = TrainConfig(epochs=3, optimizer=Adam(lr=1e30))
    with pytest.raises(RobustlabError, match="diverged"):
        train(build("cnn"), CrossEntropy(), *small, config=config, compute=fp32, key=1)


@pytest.mark.parametrize(
    "text",
    [
        "eps_ramp(objective=fgsm_training(threat=linf(eps=0.1)), share=0.99)",
        "purifying(objective=eps_ramp(objective=fgsm_training(threat=linf(eps=0.1)), share=0.99))",
        "eps_ramp(objective=awp(objective=fgsm_training(threat=linf(eps=0.1))), share=0.99)",
        "ibp_training(threat=linf(eps=0.1), ramp=0.99)",
        "crown_ibp_training(threat=linf(eps=0.1), ramp=0.99)",
        "sabr(threat=linf(eps=0.1), warmup=0.98, ramp=0.99)",
    ],
)
def test_an_eps_that_never_has_its_full_value_is_refused(
    text: str, small: tuple[Split, Split], fp32: Compute
) -> None:
    objective, config = parse(Objective, text), TrainConfig(epochs=2, batch_size=50)
    with pytest.raises(SpecError, match=r"after 0\.99 of the training.* of its 4 steps"):
        train(build("strided_cnn(hidden=4)"), objective, *small, config=config, compute=fp32, key=0)


def test_without_eps_none_is_missed(small: tuple[Split, Split], fp32: Compute) -> None:
    objective = parse(Objective, "ibp_training(threat=linf(eps=0.0), ramp=0.99)")
    config = TrainConfig(epochs=1, batch_size=100)
    assert train(build("strided_cnn(hidden=4)"), objective, *small, config=config, compute=fp32, key=0).epochs
