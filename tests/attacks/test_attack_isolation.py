"""An attack leaves everything as it was, and depends on neither the batch, its order nor global draws."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from attack_cases import RANDOM, both_modes, every_attack, every_pair, one_for, run, with_mistakes
from small_networks import mlp
from torch import Tensor, nn

from hostile_settings import SETTINGS, TOGETHER, change_everything, settings
from robustlab.attacks import FGSM, PGD, Attack, AttackResult, IfMasked
from robustlab.core.errors import RobustlabError
from robustlab.threats import Linf, ThreatModel


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return mlp()


@pytest.fixture
def batch(model: nn.Module, make_batch: Callable[..., Any]) -> Any:
    return with_mistakes(make_batch(40), model)


def same(
    one: AttackResult, other: AttackResult, order: Tensor | slice = slice(None), *, counts: bool = True
) -> None:
    names = ["images", "predictions", "confidences", "distances", "restarts"]
    for name in [*names, "forwards", "backwards"] if counts else names:
        a, b = getattr(one, name)[order], getattr(other, name)
        if a.dtype.is_floating_point:
            assert torch.allclose(a, b, rtol=0, atol=1e-5), name
        else:
            assert torch.equal(a, b), name


# It leaves everything as it was


@pytest.mark.parametrize("fails", [False, True])
@both_modes
@every_attack
def test_nothing_but_the_result_changes(
    attack: Attack, early_stop: bool, fails: bool, model: nn.Module, batch: Any
) -> None:
    parameters = dict(model.named_parameters())
    first = next(iter(parameters.values()))
    first.requires_grad_(False)
    for parameter in parameters.values():
        parameter.grad = torch.ones_like(parameter)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    inputs = [batch.images.clone(), batch.labels.clone(), batch.ids.clone()]
    state = torch.get_rng_state()
    hook = model.register_forward_hook(lambda *_: torch.full((1, 3), torch.nan)) if fails else None
    if fails:
        with pytest.raises(RobustlabError):
            run(attack, model, batch, one_for(attack), early_stop=early_stop)
    else:
        run(attack, model, batch, one_for(attack), early_stop=early_stop)
    if hook is not None:
        hook.remove()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert [p.requires_grad for p in parameters.values()] == [p is not first for p in parameters.values()]
    for parameter in parameters.values():
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, torch.ones_like(parameter))
    assert not any(module.training for module in model.modules())
    now = [batch.images, batch.labels, batch.ids]
    assert all(torch.equal(a, b) for a, b in zip(now, inputs, strict=True))
    assert not batch.images.requires_grad


@every_attack
def test_the_result_is_no_part_of_the_input(attack: Attack, model: nn.Module, batch: Any) -> None:
    result = run(attack, model, batch, one_for(attack))
    before = batch.images.clone()
    result.images.add_(1)
    assert torch.equal(batch.images, before)
    assert not result.images.requires_grad


# Batches, order, seeds


@both_modes
@every_pair
def test_batch_size_and_order_do_not_matter(
    attack: Attack, threat: ThreatModel, early_stop: bool, model: nn.Module, batch: Any
) -> None:
    whole = run(attack, model, batch, threat, early_stop=early_stop)
    # Which finished images fill up a batch, and are passed once more, depends on who else is in it.
    finishes = attack.inner.minimum_norm or isinstance(attack, IfMasked)
    counts = not early_stop and not finishes
    for size in (7, 40):
        same(whole, run(attack, model, batch, threat, early_stop=early_stop, batch_size=size), counts=counts)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))[:25]
    part = dataclasses.replace(
        batch, images=batch.images[order], labels=batch.labels[order], ids=batch.ids[order]
    )
    same(whole, run(attack, model, part, threat, early_stop=early_stop, batch_size=10), order, counts=counts)


@every_attack
def test_random_numbers_go_by_seed_and_id(attack: Attack, model: nn.Module, batch: Any) -> None:
    def images(**more: Any) -> Tensor:
        return run(attack, model, batch, one_for(attack), early_stop=False, **more).images

    first = images(seed=3)
    assert torch.equal(images(seed=3), first)
    random = attack in RANDOM
    assert torch.equal(images(seed=4), first) != random
    assert torch.equal(images(seed=3, ids=batch.ids + 1), first) != random
    assert torch.equal(images(seed=3, ids=torch.arange(40)), images(seed=3, ids=None))


def test_progress_counts_the_images(model: nn.Module, batch: Any) -> None:
    seen: list[int] = []
    run(FGSM(), model, batch, Linf(eps=0.1), batch_size=15, on_batch=seen.append)
    assert seen == [15, 15, 10]


# What the caller, or the model, has set for the whole process


def identical(one: AttackResult, other: AttackResult) -> None:
    for name in AttackResult.__annotations__:
        assert torch.equal(getattr(one, name), getattr(other, name)), name


@every_pair
def test_the_callers_types_and_devices_do_not_matter(
    attack: Attack, threat: ThreatModel, model: nn.Module, batch: Any
) -> None:
    plain = run(attack, model, batch, threat, ids=None)
    with settings(*TOGETHER["types and devices"]):
        identical(plain, run(attack, model, batch, threat, ids=None))


@every_attack
def test_the_callers_modes_do_not_matter(attack: Attack, model: nn.Module, batch: Any) -> None:
    plain = run(attack, model, batch, one_for(attack))
    with settings(*TOGETHER["modes"]):
        inside = dataclasses.replace(batch, images=batch.images.clone())
        identical(plain, run(attack, model, inside, one_for(attack)))


@pytest.mark.parametrize("name", SETTINGS)
def test_each_setting_alone_does_not_matter(name: str, model: nn.Module, batch: Any) -> None:
    plain = run(PGD(steps=3), model, batch, Linf(eps=0.2))
    with settings(name):
        identical(plain, run(PGD(steps=3), model, batch, Linf(eps=0.2)))


class Careless(nn.Module):
    """Sets all that can be set, and does not put it back."""

    def __init__(self, inner: nn.Module, folder: Path) -> None:
        super().__init__()
        self.inner, self.folder = inner, folder

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.inner(images)
        change_everything(self.folder)
        return logits


@every_attack
def test_what_the_model_sets_does_not_matter(
    attack: Attack, model: nn.Module, batch: Any, tmp_path: Path
) -> None:
    plain = run(attack, model, batch, one_for(attack))
    with settings():
        found = run(attack, Careless(model, tmp_path).eval(), batch, one_for(attack))
    same(plain, found)
