"""The laws of attacks over families of networks, images and radii, in every norm an attack is made for."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from attack_cases import MINIMAL, every_pair, run
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from robustlab.attacks import Attack, HopSkipJump
from robustlab.core import seeding
from robustlab.core.tolerance import with_tolerance
from robustlab.threats import L0, L1, L2, Linf, ThreatModel

few = settings(max_examples=3)
NORMS: dict[str, Callable[..., ThreatModel]] = {"linf": Linf, "l2": L2, "l1": L1, "l0": L0}


class InDouble(nn.Module):
    """Answers do not depend on how many images are asked about at once, nor on the processor."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.double()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images.double()).float()
        return logits


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A classifier, images that it gets right or not, and a share of the largest useful radius."""

    model: nn.Module
    images: Tensor
    labels: Tensor
    ids: Tensor
    share: float

    def threat(self, norm: str) -> ThreatModel:
        values = self.images[0].numel()
        if norm == "l0":
            return L0(eps=max(1, round(self.share * values)))
        return NORMS[norm](eps=self.share * values ** {"linf": 0, "l2": 1 / 2, "l1": 1}[norm])


@st.composite
def cases(draw: st.DrawFn, images: int = 3) -> Case:
    channels, height, width = draw(st.integers(1, 4)), draw(st.integers(1, 5)), draw(st.integers(1, 7))
    classes, seed = draw(st.integers(2, 100)), draw(st.integers(0, 1000))
    kind = draw(st.sampled_from([nn.ReLU, nn.Tanh, nn.Identity]))
    steep, share = draw(st.floats(0.3, 6.0)), draw(st.floats(0.005, 0.4))
    with seeding.isolated(seed):
        network = nn.Sequential(
            nn.Conv2d(channels, 4, 3, padding=1), kind(), nn.Flatten(), nn.Linear(4 * height * width, classes)
        )
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(steep)
        # Beyond the box and clipped: some values are 0 or 1.
        pixels = (1.4 * torch.rand(images, channels, height, width) - 0.2).clamp(0, 1)
    model = InDouble(network).eval()
    with torch.no_grad():
        right = model(pixels).argmax(dim=1)
    wrong = torch.tensor(draw(st.lists(st.booleans(), min_size=images, max_size=images)))
    ids = torch.tensor(draw(st.permutations(range(images)))) + 10 * seed
    labels = torch.where(wrong, (right + 1) % classes, right)
    return Case(model=model, images=pixels, labels=labels, ids=ids, share=share)


def predictions(case: Case, images: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = case.model(images).argmax(dim=1)
    return found


@every_pair
@few
@given(case=cases())
def test_what_is_found_is_allowed_and_true_and_depends_on_no_other_image(
    attack: Attack, threat: ThreatModel, case: Case
) -> None:
    threat = case.threat(threat.name) if threat.eps != 1 else threat
    found = run(attack, case.model, case, threat)
    assert 0 <= found.images.min() <= found.images.max() <= 1
    assert torch.equal(found.distances, threat.distance(found.images, case.images))
    assert (found.distances <= with_tolerance(threat.eps)).all()
    assert torch.equal(found.predictions, predictions(case, found.images))
    assert torch.equal(found.successes, found.predictions != case.labels)

    # One by one, last to first.
    back = dataclasses.replace(
        case, images=case.images.flip(0), labels=case.labels.flip(0), ids=case.ids.flip(0)
    )
    alone = run(attack, case.model, back, threat, batch_size=1)
    torch.testing.assert_close(alone.images.flip(0), found.images, atol=1e-5, rtol=0)
    assert torch.equal(alone.successes.flip(0), found.successes)
    assert torch.equal(alone.restarts.flip(0), found.restarts)

    # A misclassified image is looked at before and after, and otherwise left alone.
    wrong = predictions(case, case.images) != case.labels
    assert torch.equal(found.images[wrong], case.images[wrong])
    assert (alone.forwards.flip(0)[wrong] == 2).all()
    assert not alone.backwards.flip(0)[wrong].any()
    assert (alone.forwards.flip(0)[~wrong] > 2).all()


NEAREST = [
    (attack, norm)
    for attack in [*MINIMAL, HopSkipJump(steps=2, samples=10)]
    for norm in attack.norms
    # The path of `nearest` depends on eps, and so do the starts of FAB's further restarts.
    if attack.name != "steepest_min_norm" and getattr(attack, "restarts", 1) == 1
]


@pytest.mark.parametrize(("attack", "norm"), NEAREST, ids=[f"{a}-{n}" for a, n in NEAREST])
@few
@given(case=cases(), shares=st.lists(st.floats(0.2, 1.0), min_size=2, max_size=2))
def test_a_nearest_success_is_found_within_every_radius_that_reaches_it(
    attack: Attack, norm: str, case: Case, shares: list[float]
) -> None:
    everywhere = NORMS[norm](eps=1 if norm == "linf" else case.images[0].numel())
    free = run(attack, case.model, case, everywhere, early_stop=False)
    before: Any = torch.zeros_like(free.successes)
    for share in sorted(shares):
        threat = everywhere.at(share * float(free.distances.max()))
        found = run(attack, case.model, case, threat, early_stop=False)
        within = free.successes & (free.distances <= with_tolerance(threat.eps))
        assert torch.equal(found.successes, within)
        torch.testing.assert_close(found.distances[within], free.distances[within], atol=1e-5, rtol=1e-5)
        assert not (before & ~found.successes).any(), "a larger radius broke fewer images"
        before = found.successes
