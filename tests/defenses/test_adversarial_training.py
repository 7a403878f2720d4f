"""Adversarial training: which images are changed, how, and what stays."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from robustlab.attacks import FGSM, PGD, Attack
from robustlab.core import seeding
from robustlab.core.progress import Progress, Task
from robustlab.data import Split
from robustlab.defenses import AdversarialTraining, adversarial_training
from robustlab.threats import Linf


def make_split(n: int, dtype: torch.dtype = torch.uint8, name: str = "train") -> Split:
    ids = 5 + 3 * torch.arange(n)
    pixels = seeding.uniform(1, ids, (1, 4, 4))
    images = (255 * pixels).round().to(torch.uint8) if dtype == torch.uint8 else pixels
    return Split(images=images, labels=torch.arange(n) % 3, ids=ids, name=name)


def source() -> nn.Module:
    """Every pixel counts, so that FGSM changes every pixel of every image."""
    layer = nn.Linear(16, 3)
    with torch.no_grad():
        layer.weight.copy_(seeding.normal(2, torch.arange(3), (16,)))
        layer.bias.zero_()
    return nn.Sequential(nn.Flatten(), layer).eval()


def defense(fraction: float = 0.3, attack: Attack | None = None, eps: float = 0.1) -> AdversarialTraining:
    return AdversarialTraining(
        attack=attack or FGSM(), threat=Linf(eps=eps), source="baseline", fraction=fraction
    )


def made(split: Split, how: AdversarialTraining, seed: int = 0, progress: Progress | None = None) -> Split:
    return how.training_set(split, {"baseline": source()}, seed=seed, progress=progress or Progress())


def changed_rows(split: Split, result: Split) -> Tensor:
    return (result.tensor() != split.pixels(slice(None))).flatten(1).any(dim=1)


@given(n=st.integers(4, 60), fraction=st.floats(0.05, 1.0), seed=st.integers(0, 100))
def test_exactly_the_stated_share_is_changed(n: int, fraction: float, seed: int) -> None:
    split = make_split(n)
    if round(fraction * n) == 0:
        return
    result = made(split, defense(fraction), seed)
    assert int(changed_rows(split, result).sum()) == round(fraction * n)
    assert torch.equal(result.labels, split.labels)
    assert torch.equal(result.ids, split.ids)
    assert result.name == split.name
    assert result.images.dtype == torch.float32
    assert result.images.shape == split.images.shape


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("attack", [FGSM(), PGD(steps=3)], ids=repr)
def test_the_changed_images_are_the_attacks(dtype: torch.dtype, attack: Attack) -> None:
    split = make_split(50, dtype)
    before = split.tensor().clone()
    result = made(split, defense(attack=attack))
    changed = changed_rows(split, result)
    clean = split.pixels(slice(None))
    moved = (result.tensor() - clean).abs().flatten(1).amax(dim=1)
    assert (moved[changed] > 0.05).all()
    assert moved.max() <= 0.1 + 1e-6
    assert result.tensor().min() >= 0
    assert result.tensor().max() <= 1
    assert torch.equal(split.tensor(), before)
    if isinstance(attack, FGSM):
        expected = FGSM().run(source(), clean, split.labels, Linf(eps=0.1), early_stop=False).images
        assert torch.allclose(result.tensor()[changed], expected[changed], atol=1e-6)


@pytest.mark.parametrize("attack", [FGSM(random_start=True), PGD(steps=3)], ids=repr)
def test_how_many_are_attacked_at_once_changes_nothing(
    attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = make_split(50)
    at_once = made(split, defense(attack=attack))
    monkeypatch.setattr(adversarial_training, "_AT_ONCE", 4)
    in_blocks = made(split, defense(attack=attack))
    assert torch.allclose(at_once.tensor(), in_blocks.tensor(), atol=1e-6)
    rows = torch.tensor([7, 3, 44, 7])
    assert torch.equal(in_blocks.pixels(rows), in_blocks.tensor()[rows])


def test_misclassified_images_are_attacked_too() -> None:
    split = make_split(50)
    with torch.no_grad():
        wrong = source()(split.pixels(slice(None))).argmax(dim=1) != split.labels
    assert (changed_rows(split, made(split, defense(1.0))) & wrong).any()
    assert changed_rows(split, made(split, defense(1.0))).all()


def test_the_choice_is_deterministic_and_seeded() -> None:
    split = make_split(200)
    first = changed_rows(split, made(split, defense()))
    torch.manual_seed(3)
    assert torch.equal(changed_rows(split, made(split, defense())), first)
    assert not torch.equal(changed_rows(split, made(split, defense(), seed=1)), first)
    validation = make_split(200, name="validation")  # the same images and ids, in another part
    assert not torch.equal(changed_rows(validation, made(validation, defense())), first)


def test_the_choice_does_not_depend_on_the_order() -> None:
    split = make_split(101)
    order = torch.randperm(101, generator=torch.Generator().manual_seed(1))
    shuffled = split.take(order)
    first, second = made(split, defense()), made(shuffled, defense())
    assert torch.allclose(second.tensor(), first.tensor()[order], atol=1e-6)


def test_the_chosen_come_from_all_classes() -> None:
    split = make_split(900)
    chosen = split.labels[changed_rows(split, made(split, defense()))]
    assert (torch.bincount(chosen) - 90).abs().max() < 5 * 9


def test_its_source_and_its_progress_are_told() -> None:
    class Seen(Progress, Task):
        total, seen = 0, 0.0

        @contextmanager
        def track(self, description: str, total: int, unit: str = "images") -> Iterator[Task]:
            del unit
            assert description == "fgsm on the train images"
            self.total = total
            yield self

        def advance(self, amount: float) -> None:
            self.seen += amount

    progress = Seen()
    made(make_split(50), defense(), progress=progress)
    assert progress.seen == progress.total == 15
    assert defense().networks == ("baseline",)
