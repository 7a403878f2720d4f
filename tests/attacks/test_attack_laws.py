"""Laws that every attack obeys on every classifier, within every threat model."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustlab.attacks import (
    APGD,
    APGDL1,
    CW,
    DDN,
    EAD,
    FAB,
    FGSM,
    FMN,
    MIFGSM,
    PGD,
    SPSA,
    Attack,
    AttackResult,
    Corruption,
    DeepFool,
    FGSMLiteralClamp,
    Focused,
    GaussianNoise,
    HopSkipJump,
    Mode,
    Nearest,
    RandomPoints,
    Restarts,
    RotationTranslation,
    SigmaZero,
    Square,
)
from robustlab.core import seeding
from robustlab.core.errors import RobustlabError
from robustlab.core.spec import units
from robustlab.core.threat import L0, L1, L2, WHOLE_BOX, Linf, ThreatModel

DETERMINISTIC: list[Attack] = [
    FGSM(),
    FGSMLiteralClamp(eps=0.25),
    MIFGSM(steps=4),
    RotationTranslation(rotation=20, shift=1, angles=2, shifts=2),
    Corruption(effect="stripe"),
]
RANDOM: list[Attack] = [
    PGD(steps=5, step=0.3),
    PGD(steps=3, step=0.5, restarts=3),
    GaussianNoise(std=0.2),
    APGD(steps=5),
    APGDL1(steps=9),
    Focused(survey=2, steps=3, rounds=2, patches=7),
    Square(queries=15),
    MIFGSM(steps=4, diversity=0.7, kernel=1),
    SPSA(steps=3, pairs=6),
    HopSkipJump(steps=2, samples=10),
    Corruption(effect="impulse_noise"),
    RandomPoints(count=4),
    RandomPoints(count=4, draw="corners"),
    Restarts(attack=RandomPoints(count=2), times=2),
]
MINIMAL: list[Attack] = [
    CW(steps=5, rounds=2),
    DDN(steps=8),
    DeepFool(steps=4),
    EAD(steps=5, rounds=2),
    FAB(steps=5, targets=2),
    FAB(steps=3, targets=0, restarts=2),
    FMN(steps=8),
    Nearest(steps=8),
    SigmaZero(steps=8),
]
ATTACKS = DETERMINISTIC + RANDOM + MINIMAL
THREATS: list[ThreatModel] = [Linf(eps=0.2), L2(eps=0.6), L1(eps=1.5), L0(eps=3), WHOLE_BOX]


def made_for(attack: Attack, threat: ThreatModel) -> bool:
    return not attack.core.norms or threat.name in attack.core.norms


def one_for(attack: Attack) -> ThreatModel:
    return next(filter(partial(made_for, attack), THREATS))


PAIRS = [(attack, threat) for threat in THREATS for attack in ATTACKS if made_for(attack, threat)]

every_attack = pytest.mark.parametrize("attack", ATTACKS, ids=map(repr, ATTACKS))
every_pair = pytest.mark.parametrize(("attack", "threat"), PAIRS, ids=[f"{a}-{t}" for a, t in PAIRS])
both_modes = pytest.mark.parametrize("mode", ["verdict", "max-loss"])


def mlp(seed: int = 0) -> nn.Module:
    with seeding.isolated(seed):
        network = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Dropout(0.5), nn.Linear(12, 3))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3)
    return network.eval()


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return mlp()


@pytest.fixture
def batch(model: nn.Module, make_batch: Callable[..., Any]) -> Any:
    """Random images of which the model misclassifies some."""
    random = make_batch(40)
    with torch.no_grad():
        right = model(random.images).argmax(dim=1)
    labels = torch.where(torch.arange(40) % 5 == 0, (right + 1) % 3, right)
    return dataclasses.replace(random, labels=labels)


def run(attack: Attack, model: nn.Module, batch: Any, threat: ThreatModel, **more: Any) -> AttackResult:
    return attack.run(model, batch.images, batch.labels, threat, **{"ids": batch.ids, **more})


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


def test_every_registered_attack_is_tried() -> None:
    assert {attack.name for attack in ATTACKS} == set(units(Attack))


@both_modes
@every_pair
def test_results_are_allowed_and_true(
    attack: Attack, threat: ThreatModel, mode: Mode, model: nn.Module, batch: Any
) -> None:
    result = run(attack, model, batch, threat, mode=mode)
    assert result.images.shape == batch.images.shape
    assert result.images.dtype == torch.float32
    assert result.images.min() >= 0
    assert result.images.max() <= 1
    assert (result.distances <= threat.eps * (1 + 1e-6) + 1e-6).all()
    assert torch.equal(result.distances, threat.distance(result.images, batch.images))
    with torch.no_grad():
        confidences, predictions = model(result.images).softmax(dim=1).max(dim=1)
    assert torch.equal(result.predictions, predictions)
    assert torch.allclose(result.confidences, confidences, atol=1e-6)
    for name in ("predictions", "confidences", "distances", "forwards", "backwards", "restarts"):
        assert getattr(result, name).shape == (40,)
    found = result.restarts
    assert ((found >= -1) & (found < attack.restart_count)).all()
    assert torch.equal(result.images[found == -1], batch.images[found == -1])


@every_pair
def test_a_verdict_leaves_misclassified_images_alone(
    attack: Attack, threat: ThreatModel, model: nn.Module, batch: Any
) -> None:
    with torch.no_grad():
        wrong = model(batch.images).argmax(dim=1) != batch.labels
    assert 0 < wrong.sum() < 40
    result = run(attack, model, batch, threat)
    assert torch.equal(result.images[wrong], batch.images[wrong])
    assert not result.distances[wrong].any()
    assert (result.restarts[wrong] == -1).all()
    assert (result.forwards[wrong] >= 2).all()  # looked at in the beginning and in the end
    unbroken = result.predictions == batch.labels
    assert torch.equal(result.restarts < 0, wrong | (unbroken & attack.minimal_norm))


@both_modes
@every_attack
def test_eps_0_changes_nothing(attack: Attack, mode: Mode, model: nn.Module, batch: Any) -> None:
    for threat in filter(partial(made_for, attack), (Linf(eps=0.0), L2(eps=0.0), L1(eps=0.0))):
        result = run(attack, model, batch, threat, mode=mode)
        assert torch.equal(result.images, batch.images)
        assert not result.distances.any()
        with torch.no_grad():
            assert torch.equal(result.predictions, model(batch.images).argmax(dim=1))


@every_pair
def test_the_modes_break_the_same_images(
    attack: Attack, threat: ThreatModel, model: nn.Module, batch: Any
) -> None:
    # Stopping at the first success saves passes and loses nothing: a success is never given up again.
    verdict = run(attack, model, batch, threat)
    full = run(attack, model, batch, threat, mode="max-loss")
    with torch.no_grad():
        right = model(batch.images).argmax(dim=1) == batch.labels
    broken = verdict.predictions != batch.labels
    assert torch.equal(broken[right], (full.predictions != batch.labels)[right])
    assert (verdict.backwards <= full.backwards).all()
    unbroken = right & ~broken
    assert torch.allclose(verdict.images[unbroken], full.images[unbroken], atol=1e-5)


@both_modes
@every_attack
def test_any_number_of_classes_and_channels_and_any_shape(
    attack: Attack, mode: Mode, make_linear: Callable[..., nn.Module], make_batch: Callable[..., Any]
) -> None:
    threat = one_for(attack)
    for classes, shape in ((2, (2, 3, 7)), (100, (4, 6, 2)), (10, (3, 1, 8))):
        model, batch = make_linear(classes=classes, shape=shape), make_batch(6, shape=shape, classes=classes)
        result = run(attack, model, batch, threat, mode=mode)
        assert result.images.shape == batch.images.shape
        assert (result.distances <= threat.eps * (1 + 1e-6) + 1e-6).all()


@every_attack
def test_where_all_is_misclassified_nothing_is_left_to_do(
    attack: Attack, model: nn.Module, batch: Any
) -> None:
    with torch.no_grad():
        wrong = (model(batch.images).argmax(dim=1) + 1) % 3
    result = run(attack, model, dataclasses.replace(batch, labels=wrong), one_for(attack))
    assert result.successes.all()
    assert torch.equal(result.images, batch.images)
    assert (result.forwards == 2).all()


# It leaves everything as it was


@pytest.mark.parametrize("fails", [False, True])
@both_modes
@every_attack
def test_nothing_but_the_result_changes(
    attack: Attack, mode: Mode, fails: bool, model: nn.Module, batch: Any
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
            run(attack, model, batch, one_for(attack), mode=mode)
    else:
        run(attack, model, batch, one_for(attack), mode=mode)
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
    attack: Attack, threat: ThreatModel, mode: Mode, model: nn.Module, batch: Any
) -> None:
    whole = run(attack, model, batch, threat, mode=mode)
    # Which finished images fill up a batch, and are passed once more, depends on who else is in it.
    counts = mode == "max-loss" and not attack.core.minimal_norm
    for size in (7, 40):
        same(whole, run(attack, model, batch, threat, mode=mode, batch_size=size), counts=counts)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))[:25]
    part = dataclasses.replace(
        batch, images=batch.images[order], labels=batch.labels[order], ids=batch.ids[order]
    )
    same(whole, run(attack, model, part, threat, mode=mode, batch_size=10), order, counts=counts)


@every_attack
def test_random_numbers_go_by_seed_and_id(attack: Attack, model: nn.Module, batch: Any) -> None:
    def images(**more: Any) -> Tensor:
        return run(attack, model, batch, one_for(attack), mode="max-loss", **more).images

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


# Passes


class _CountBackward(torch.autograd.Function):
    count = 0

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        del ctx
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        del ctx
        _CountBackward.count += len(gradient)
        return gradient


class Counting(nn.Module):
    """Counts the images that pass a model forwards and backwards."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.forwards = model, 0
        self.sizes: list[int] = []
        _CountBackward.count = 0

    def forward(self, x: Tensor) -> Tensor:
        self.forwards += len(x)
        self.sizes.append(len(x))
        logits: Tensor = self.model(_CountBackward.apply(x))
        return logits

    @property
    def backwards(self) -> int:
        return _CountBackward.count


@both_modes
@every_pair
def test_the_counted_passes_are_those_the_model_sees(
    attack: Attack, threat: ThreatModel, mode: Mode, model: nn.Module, batch: Any
) -> None:
    counting = Counting(model).eval()
    result = run(attack, counting, batch, threat, mode=mode, batch_size=16)
    assert int(result.forwards.sum()) == counting.forwards
    assert int(result.backwards.sum()) == counting.backwards


@pytest.mark.parametrize(
    ("attack", "forwards", "backwards"),
    [
        (FGSM(), 3, 1),
        (FGSMLiteralClamp(eps=0.25), 3, 1),
        (GaussianNoise(std=0.01), 2, 0),
        (PGD(steps=7), 9, 7),
        (PGD(steps=7, restarts=4), 33, 28),
        (Square(queries=60, restarts=2), 121, 0),
    ],
    ids=repr,
)
def test_the_price_of_an_image(
    attack: Attack, forwards: int, backwards: int, batch: Any, model: nn.Module
) -> None:
    # In max-loss mode: the search, and one look at the returned image.
    full = run(attack, model, batch, Linf(eps=0.2), mode="max-loss")
    assert (full.forwards == forwards).all()
    assert (full.backwards == backwards).all()
    # A verdict on an image that withstands costs a look at the clean image on top.
    verdict = run(attack, model, batch, Linf(eps=1e-4))
    withstood = (verdict.predictions == batch.labels) & (verdict.restarts >= 0)
    assert withstood.sum() > 20
    assert (verdict.forwards[withstood] == forwards + 1).all()
    assert (verdict.backwards[withstood] == backwards).all()


# Bad input


def refused(message: str, model: nn.Module, batch: Any, **changes: Any) -> None:
    changed = {"images": batch.images, "labels": batch.labels, "ids": batch.ids, **changes}
    with pytest.raises(RobustlabError, match=message):
        FGSM().run(model, changed["images"], changed["labels"], Linf(eps=0.1), ids=changed["ids"])


def test_bad_images_are_refused(model: nn.Module, batch: Any) -> None:
    def put(value: float) -> Tensor:
        images: Tensor = batch.images.clone()
        images[3, 0, 1, 2] = value
        return images

    refused(r"must lie in \[0, 1\].* found .* to 1\.01; do not normalise", model, batch, images=put(1.01))
    refused(r"must lie in \[0, 1\].* found -0\.01 to", model, batch, images=put(-0.01))
    refused(r"must lie in \[0, 1\] and be free of NaN", model, batch, images=put(float("nan")))
    refused(r"must lie in \[0, 1\]", model, batch, images=put(float("inf")))
    refused(
        r"must be float32 of shape \(N, C, H, W\), found torch.float64",
        model,
        batch,
        images=batch.images.double(),
    )
    refused(r"found torch.uint8", model, batch, images=(batch.images * 255).to(torch.uint8))
    refused(r"found torch.float32 of shape \(40, 16\)", model, batch, images=batch.images.flatten(1))


def test_bad_labels_and_ids_are_refused(model: nn.Module, batch: Any) -> None:
    refused(r"labels must be int64 of shape \(40,\), found .*\(39,\)", model, batch, labels=batch.labels[1:])
    refused(r"labels must be int64 .* found torch.float32", model, batch, labels=batch.labels.float())
    refused(r"labels must be int64 .* found torch.int32", model, batch, labels=batch.labels.int())
    refused(r"labels must be .*\(40, 3\)", model, batch, labels=F.one_hot(batch.labels, 3))
    refused("labels must not be negative, found -1", model, batch, labels=batch.labels - 1)
    refused("tells 3 classes apart, but a label is 3", model, batch, labels=batch.labels + 1)
    refused(r"ids must be int64 of shape \(40,\), found .*\(41,\)", model, batch, ids=torch.arange(41))
    refused(r"ids must be int64 .* found torch.float32", model, batch, ids=batch.ids.float())


def test_a_model_in_train_mode_is_refused(batch: Any) -> None:
    refused("train mode; call model.eval", mlp().train(), batch)
    partly = mlp()
    partly.get_submodule("3").train()  # its dropout alone
    refused("train mode", partly, batch)


def test_logits_that_are_none_are_refused(model: nn.Module, batch: Any) -> None:
    class Wrapped(nn.Module):
        def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
            super().__init__()
            self.change = change

        def forward(self, x: Tensor) -> Tensor:
            return self.change(model(x))

    refused(r"logits of shape \(N, K\), found \(40,\)", Wrapped(lambda x: x[:, 0]).eval(), batch)
    refused(r"logits of shape \(N, K\), found \(39, 3\)", Wrapped(lambda x: x[1:]).eval(), batch)


class Blind(nn.Module):
    """Has no answer to images without a bright pixel."""

    def __init__(self, inner: nn.Module, value: float) -> None:
        super().__init__()
        self.inner, self.value = inner, value

    def forward(self, x: Tensor) -> Tensor:
        dark = x.flatten(1).amax(dim=1) < 0.4
        return self.inner(x).masked_fill(dark[:, None], self.value)  # type: ignore[no-any-return]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@every_attack
def test_an_image_without_an_answer_is_reported_and_the_rest_go_on(
    attack: Attack, value: float, model: nn.Module, batch: Any
) -> None:
    threat = next(t for t in (Linf(eps=0.2), L2(eps=0.3), L1(eps=0.3), L0(eps=1)) if made_for(attack, t))
    images = batch.images.clone()
    images[:, 0, 0, 0] = 1.0  # bright enough, whatever the attack does within such an eps
    images[7] *= 0.05
    blind, dark = Blind(model, value).eval(), torch.arange(40) == 7
    result = attack.run(blind, images, batch.labels, threat, ids=batch.ids)
    assert result.predictions[7] == -1
    assert result.confidences[7] == 0
    assert result.successes[7]
    others = attack.run(model, images[~dark], batch.labels[~dark], threat, ids=batch.ids[~dark])
    spatial = isinstance(attack, RotationTranslation | Corruption | FGSMLiteralClamp | GaussianNoise)
    if not spatial:
        assert torch.equal(result.successes[~dark], others.successes)
        assert torch.allclose(result.images[~dark], others.images, atol=1e-5)


@every_attack
def test_no_images_give_an_empty_result(attack: Attack, model: nn.Module, batch: Any) -> None:
    result = attack.run(model, batch.images[:0], batch.labels[:0], one_for(attack))
    assert result.images.shape == (0, 1, 4, 4)
    for name in ("predictions", "confidences", "successes", "distances", "forwards", "backwards", "restarts"):
        assert getattr(result, name).shape == (0,)


@pytest.mark.parametrize("attack", [APGD(steps=20), APGD(steps=20, targets=3)], ids=repr)
def test_an_attacker_who_wants_one_class_moves_towards_it(
    attack: Attack, make_linear: Callable[..., nn.Module], make_batch: Callable[..., Any]
) -> None:
    model, batch = make_linear(classes=6, seed=5), make_batch(20, classes=6)
    order = model(batch.images).argsort(dim=1, descending=True)
    labels, unlikely = order[:, 0], order[:, 4]
    result = attack.run(model, batch.images, labels, Linf(eps=0.5), targets=unlikely)
    assert result.successes.all()
    assert torch.equal(result.predictions, unlikely)
