"""Augmentations: what they do to images, and what their draws depend on."""

import pytest
import torch
from torch import Tensor, nn

from robustlab.core import seeding
from robustlab.core.device import Compute
from robustlab.core.spec import parse, units
from robustlab.data import Split
from robustlab.training import (
    Augmentation,
    HorizontalFlip,
    Objective,
    Shift,
    TrainConfig,
    TrainingStep,
    train,
)


def images(n: int = 300, shape: tuple[int, int, int] = (2, 5, 4)) -> Tensor:
    return seeding.uniform(3, torch.arange(n), shape) * 0.9 + 0.1


IDS = 1000 + 3 * torch.arange(300)


@pytest.mark.parametrize("name", units(Augmentation))
def test_an_images_change_depends_on_its_id_and_the_key_alone(name: str) -> None:
    augmentation, before = parse(Augmentation, name), images()
    kept = before.clone()
    whole = augmentation.apply(before, 7, IDS)
    assert torch.equal(before, kept)
    assert whole.shape == before.shape
    assert whole.dtype == torch.float32
    assert whole.min() >= 0
    assert whole.max() <= 1
    order = torch.randperm(300, generator=torch.Generator().manual_seed(1))[:50]
    assert torch.equal(augmentation.apply(before[order], 7, IDS[order]), whole[order])
    assert not torch.equal(augmentation.apply(before, 8, IDS), whole)


@pytest.mark.parametrize("pixels", [1, 2, 6])
def test_a_shift_moves_whole_images(pixels: int) -> None:
    before = images()
    after = Shift(pixels=pixels).apply(before, 7, IDS)
    padded = nn.functional.pad(before, 4 * [pixels])
    places = [(y, x) for y in range(2 * pixels + 1) for x in range(2 * pixels + 1)]
    same = torch.stack(
        [(padded[:, :, y : y + 5, x : x + 4] == after).flatten(1).all(dim=1) for y, x in places]
    )
    assert same.any(dim=0).all()
    if pixels < 4:  # otherwise some shifts leave nothing of the image
        assert (same.sum(dim=0) == 1).all()
        assert same.any(dim=1).all(), "every shift is drawn"


def test_a_share_of_the_images_is_shifted() -> None:
    before = images()
    everywhere, some = (Shift(pixels=1, share=share).apply(before, 7, IDS) for share in (1.0, 0.3))
    still = (some == before).flatten(1).all(dim=1)
    assert torch.equal(some[~still], everywhere[~still])
    assert 0.2 < (~still).double().mean() < 0.33  # a ninth of the shifts goes nowhere


def test_a_flip_swaps_left_and_right_of_half_the_images() -> None:
    before = images()
    after = HorizontalFlip().apply(before, 7, IDS)
    swapped = (after == before.flip(3)).flatten(1).all(dim=1)
    assert (swapped | (after == before).flatten(1).all(dim=1)).all()
    assert 0.4 < swapped.double().mean() < 0.6


class Watching(Objective):
    network_kind = "one weight"

    def __init__(self) -> None:
        self.seen: list[dict[int, Tensor]] = [{}]
        self.validated: list[Tensor] = []

    def loss(self, step: TrainingStep) -> Tensor:
        if step.validating:
            self.validated.append(step.images)
            self.seen.append({})
        else:
            self.seen[-1] |= dict(zip(step.ids.tolist(), step.images, strict=True))
        return 0 * next(iter(step.network.parameters())).sum()


def test_the_loop_augments_training_images_by_epoch_and_id(fp32: Compute) -> None:
    split = Split(images=images(), labels=torch.zeros(300).long(), ids=IDS, name="train")

    def run(batch_size: int, *augmentation: Augmentation) -> Watching:
        watching = Watching()
        config = TrainConfig(epochs=2, batch_size=batch_size, augmentation=augmentation)
        train(nn.Linear(1, 1), watching, split, split.take(slice(50)), config=config, compute=fp32, key=5)
        return watching

    one, other = run(7, Shift(), HorizontalFlip()), run(100, Shift(), HorizontalFlip())
    for epoch in (0, 1):
        assert one.seen[epoch].keys() == set(IDS.tolist())
        assert all(torch.equal(image, other.seen[epoch][i]) for i, image in one.seen[epoch].items())
    assert sum(torch.equal(one.seen[0][i], one.seen[1][i]) for i in one.seen[0]) < 60
    assert torch.equal(torch.cat(one.validated[:1]), split.tensor()[:50])
    plain = run(7)
    assert all(torch.equal(plain.seen[0][int(i)], split.tensor()[k]) for k, i in enumerate(IDS))
