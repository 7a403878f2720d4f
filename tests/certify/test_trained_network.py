"""On a network that is trained for its bounds a good share is proven, and no proof is ever contradicted."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustlab.attacks import PGD
from robustlab.certify import IBP
from robustlab.certify.interval import Interval
from robustlab.core import seeding
from robustlab.data import Splits
from robustlab.threats import L1, L2, Linf, ThreatModel

EPS = 0.1


def train(images: Tensor, labels: Tensor) -> nn.Module:
    """Train two layers on their worst logits within the box (Gowal et al. 2018, arXiv:1810.12715)."""
    first, second = nn.Linear(784, 100), nn.Linear(100, 10)
    optimizer = torch.optim.Adam([*first.parameters(), *second.parameters()], lr=3e-3)
    for step in range(250):
        rows = torch.randint(len(images), (128,))
        eps = EPS * 1.1 * min(1.0, step / 150)
        x, y = images[rows].flatten(1), labels[rows]
        lower, upper = (x - eps).clamp(min=0), (x + eps).clamp(max=1)
        middle = first((upper + lower) / 2)
        radius = F.linear((upper - lower) / 2, first.weight.abs())
        low, high = F.relu(middle - radius), F.relu(middle + radius)
        middle, radius = second((high + low) / 2), F.linear((high - low) / 2, second.weight.abs())
        worst = torch.where(F.one_hot(y, 10).bool(), middle - radius, middle + radius)
        clean = F.cross_entropy(second(F.relu(first(x))), y)
        loss = 0.5 * clean + 0.5 * F.cross_entropy(worst, y)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), second).eval()


@pytest.fixture(scope="module")
def trained(digits: Splits) -> tuple[nn.Module, Tensor, Tensor]:
    with seeding.isolated(1):
        model = train(digits.train.pixels(slice(None)), digits.train.labels)
    return model, digits.test.pixels(slice(None)), digits.test.labels


THREATS: list[ThreatModel] = [Linf(eps=EPS), Linf(eps=EPS / 2), L2(eps=0.5), L1(eps=2.0)]


def test_a_good_share_is_proven(trained: Any) -> None:
    model, images, labels = trained
    box, half, l2, l1 = (IBP().certify(model, images, labels, threat).double().mean() for threat in THREATS)
    assert box > 0.6
    assert half > 0.8
    assert l2 > 0.7
    assert l1 > 0.7
    # An L2 or L1 ball is a small part of the box around it.
    around = IBP().certify(model, images, labels, Linf(eps=0.5))
    assert around.double().mean() < 0.1


def test_float64_is_spent_only_where_there_is_hope(trained: Any) -> None:
    model, images, labels = trained
    passes = {torch.float32: 0, torch.float64: 0, None: 0}

    def count(_module: nn.Module, inputs: tuple[Tensor]) -> None:
        bounds = inputs[0].lower if isinstance(inputs[0], Interval) else None
        passes[None if bounds is None else bounds.dtype] += len(inputs[0])

    handle = model.register_forward_pre_hook(count)
    certified = IBP().certify(model, images, labels, Linf(eps=EPS))
    handle.remove()
    with torch.no_grad():
        right = model(images).argmax(dim=1) == labels
    # A few more are looked at to learn whether the model is understood. Float64 bounds need the logits, too.
    assert passes[None] == len(images) + 4 + passes[torch.float64]
    assert passes[torch.float32] == right.sum() + 1
    assert certified.sum() <= passes[torch.float64] - 1 <= certified.sum() + 2


@pytest.mark.parametrize("threat", [Linf(eps=EPS), L2(eps=0.5), L1(eps=2.0)], ids=repr)
def test_no_attack_contradicts_a_proof(threat: ThreatModel, trained: Any) -> None:
    model, images, labels = trained
    certified = IBP().certify(model, images, labels, threat)
    result = PGD(steps=15, rel_step_size=0.2, restarts=4).run(model, images, labels, threat, early_stop=False)
    assert (result.predictions == labels)[certified].all()
    assert not (result.predictions == labels).all()  # the attack does break others
    margins = IBP().margins(model, images, labels, threat)
    assert (apart(model, result.images, labels) >= margins).all()


@pytest.mark.parametrize("threat", [Linf(eps=EPS), L2(eps=0.5)], ids=repr)
def test_no_point_of_10000_contradicts_a_proof(threat: ThreatModel, trained: Any) -> None:
    model, images, labels = trained
    certified = IBP().certify(model, images, labels, threat)
    margins = IBP().margins(model, images, labels, threat)
    # The images with the narrowest proofs, where an error would show first.
    least = margins.amin(dim=1).where(certified, torch.inf)
    for image in least.argsort()[:2].tolist():
        clean = images[image].expand(5000, -1, -1, -1)
        ids, key = torch.arange(5000), seeding.derive(9, image)
        inside = threat.random_start(clean, key, ids)
        corners = threat.project(threat.ascend(clean, seeding.normal(key, ids, (1, 28, 28)), 1.0), clean)
        found = apart(model, torch.cat([inside, corners]), labels[image].expand(10000))
        assert (found > 0).all()
        assert (found >= margins[image]).all()


@torch.no_grad()
def apart(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return how far the label's logit lies above each other one; infinite at the label."""
    logits: Tensor = model(images).double()
    here = labels[:, None]
    return (logits.gather(1, here) - logits).scatter(1, here, torch.inf)
