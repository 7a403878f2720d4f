"""From the same random numbers APGD and FAB ask about the same points as their authors' code.

But for rounding, which now and then decides where the next step goes, and for what `AutoAttack` says.
"""

from typing import Any

import pytest
import torch
from comparison import Subject, trained
from official import CHECKOUT, needs_checkout
from torch import Tensor, nn

import peer_adapters as peers
from robustlab.attacks import APGD, APGDL1, FAB
from robustlab.attacks.losses import margin
from robustlab.core import seeding
from robustlab.data import Splits
from robustlab.threats import L1, L2, Linf, ThreatModel

pytestmark = needs_checkout

INF, TWO = Linf(eps=0.15), L2(eps=1.5)


class Recorded(nn.Module):
    """Keeps the points that it is asked about, but for the clean images."""

    def __init__(self, model: nn.Module, clean: Tensor) -> None:
        super().__init__()
        self.model, self.clean = model, clean
        self.points: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        if not torch.equal(x, self.clean):
            self.points.append(x.detach().clone())
        logits: Tensor = self.model(x)
        return logits


@pytest.fixture(scope="module")
def subject(digits: Splits) -> Subject:
    """Images without a black or a white pixel, of whose classes the network is sure."""
    found = trained(digits, 100)
    images = 0.35 + 0.3 * found.images
    with torch.no_grad():
        rows = margin(found.model(images), found.labels) < -1
    return Subject(model=found.model, images=images[rows], labels=found.labels[rows])


def ways(
    attack: Any, threat: ThreatModel, subject: Subject, original: type, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the points that our attack asks about, and those of the original with the same settings."""
    model = Recorded(subject.model, subject.images).eval()
    attack.run(
        model, subject.images, subject.labels, threat, early_stop=False, batch_size=len(subject.images)
    )
    ours, model.points = model.points, []
    # The original draws once: APGD in its only search, FAB in its second.
    key = seeding.derive(seeding.derive(0, attack.name), "start", attack.restarts - 1)
    draw = seeding.uniform if threat.name == "linf" else seeding.normal
    draws = draw(key, torch.arange(len(subject.images)), tuple(subject.images.shape[1:]))
    for name in ("rand", "randn", "randn_like"):
        monkeypatch.setattr(torch, name, lambda *_, **__: draws.clone())
    settings = {"norm": peers.NORMS[threat.name], "eps": threat.eps, "device": subject.images.device}
    theirs = original(model, n_iter=attack.steps, n_restarts=attack.restarts, **settings)
    theirs.n_target_classes, theirs.targeted = attack.targets, attack.targets > 0
    if attack.name != "fab" and not attack.targets:
        theirs.loss = {"cross_entropy": "ce", "dlr": "dlr"}[attack.loss]
    with peers.guest(model):
        theirs.perturb(subject.images, subject.labels)
    return ours, model.points


def agreement(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """Return the share of the images whose points are the same throughout."""
    same = [
        (one - other).flatten(1).abs().amax(dim=1) < 2e-3 for one, other in zip(ours, theirs, strict=True)
    ]
    return float(torch.stack(same).all(dim=0).double().mean())


@pytest.mark.parametrize(
    ("attack", "threat", "points"),
    [
        (APGD(), INF, 60),
        (APGD(loss="dlr"), INF, 60),
        (APGD(loss="dlr", targets=1), INF, 60),
        (APGD(), TWO, 60),
        (APGD(loss="dlr", targets=1), TWO, 60),
        # The original rounds its projection more, and soon takes pixels of like gradients for each other.
        (APGDL1(large_radii=False), L1(eps=0.3), 20),
        (APGDL1(loss="dlr", targets=1, large_radii=False), L1(eps=0.3), 20),
    ],
    ids=repr,
)
def test_apgd(
    attack: Any, threat: ThreatModel, points: int, subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = peers.official(CHECKOUT, "autoattack.autopgd_base")
    original = module.APGDAttack_targeted if attack.targets else module.APGDAttack
    ours, theirs = ways(attack, threat, subject, original, monkeypatch)
    assert agreement(ours[:points], theirs[:points]) >= 0.9


@pytest.mark.parametrize("threat", [Linf(eps=0.002), L2(eps=0.02), L1(eps=0.1)], ids=repr)
@pytest.mark.parametrize("attack", [FAB(steps=20, targets=1), FAB(steps=10, targets=0, restarts=2)], ids=repr)
def test_fab(attack: FAB, threat: ThreatModel, subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within so small a ball nothing is found, so that the original runs its second search on all images."""
    original = peers.official(CHECKOUT, "autoattack.fab_pt").FABAttack_PT
    ours, theirs = ways(attack, threat, subject, original, monkeypatch)
    first = 2 * attack.steps - 1  # where it steps, and where it asks for the next gradient
    assert agreement(ours[:first], theirs[:first]) >= 0.9
    if attack.restarts > 1:
        second = slice(first + 1, 2 * (first + 1))  # behind a look at what the first found
        assert agreement(ours[first : 2 * first + 1], theirs[second]) >= 0.9
