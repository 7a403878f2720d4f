"""A threat model with fixed values is the one of the values that may change."""

import pytest
import torch
from torch import Tensor, nn

from robustlab.certify import Certifier
from robustlab.core import seeding
from robustlab.core.errors import SpecError
from robustlab.core.spec import parse, units
from robustlab.threats import L0, L1, L2, Linf, Masked, ThreatModel

FIXED = (0, 2, 7, 23)
THREATS: list[ThreatModel] = [Linf(eps=0.2), L2(eps=0.5), L1(eps=1.5), L0(eps=3)]
every_threat = pytest.mark.parametrize("threat", THREATS, ids=map(repr, THREATS))


def some_images(purpose: str, n: int = 8) -> Tensor:
    return seeding.uniform(seeding.derive(0, purpose), torch.arange(n), (2, 3, 4))


@every_threat
def test_no_method_changes_a_fixed_value(threat: ThreatModel) -> None:
    mask, clean, other = Masked(threat=threat, fixed=FIXED), some_images("clean"), some_images("other")
    gradient, ids = some_images("gradient") - 0.5, torch.arange(8)
    free, start = mask.free_values, mask.random_start(clean, 1, ids)
    pairs = [
        (mask.project(other, clean), threat.project(free(other), free(clean))),
        (start, threat.random_start(free(clean), 1, ids)),
        (mask.ascend(clean, gradient, 0.5), threat.ascend(free(clean), free(gradient), 0.5)),
        (clean + mask.steepest(gradient), free(clean) + threat.steepest(free(gradient))),
        (
            mask.between(clean, start, torch.full((8,), 0.5)),
            threat.between(free(clean), free(start), torch.full((8,), 0.5)),
        ),
        (
            clean + mask.move_inside(clean, gradient, torch.full((8,), 0.3)),
            free(clean) + threat.move_inside(free(clean), free(gradient), torch.full((8,), 0.3)),
        ),
    ]
    for whole, part in pairs:
        assert torch.equal(free(whole), part)
        assert torch.equal(mask.with_values(clean, free(whole)), whole)
    assert torch.equal(mask.distance(start, clean), threat.distance(free(start), free(clean)))
    assert torch.equal(mask.dual_norm(gradient), threat.dual_norm(free(gradient)))
    assert mask.largest_distance((2, 3, 4)) == threat.largest_distance((1, 1, 20))


@every_threat
def test_an_image_with_another_fixed_value_is_infinitely_far(threat: ThreatModel) -> None:
    mask, clean = Masked(threat=threat, fixed=FIXED), some_images("clean")
    moved = clean.clone()
    moved[3, 0, 0, 2] += 1e-6
    distances = mask.distance(moved, clean)
    assert distances[3] == torch.inf
    assert not distances[[0, 1, 2, 4, 5, 6, 7]].any()


@pytest.mark.parametrize("certifier", ["ibp", "crown", "crown_ibp"])
@pytest.mark.parametrize("threat", [threat for threat in THREATS if threat.order], ids=repr)
def test_proofs_on_a_linear_network_use_the_mask(certifier: str, threat: ThreatModel) -> None:
    unit = units(Certifier)[certifier]()
    if not threat.is_one_of(unit.norms):
        pytest.skip(f"{certifier} does not prove within {threat.name}")
    clean = 0.3 + 0.4 * some_images("clean")
    weights = (some_images("weights", 1) - 0.5).flatten()
    line = nn.Linear(24, 2)
    model = nn.Sequential(nn.Flatten(), line).eval()
    with torch.no_grad():
        line.weight.copy_(torch.stack([weights, torch.zeros(24)]))
        line.bias.copy_(torch.tensor([0.0, 0.0]))
        labels = model(clean).argmax(dim=1)
        margin = model(clean)[:, 0].abs()
    mask = Masked(threat=threat.at(0.05), fixed=FIXED)
    free = torch.ones(24, dtype=torch.bool)
    free[list(FIXED)] = False
    fall = 0.05 * mask.inner.dual_norm(weights[free].view(1, 1, 1, -1))
    proven = unit.certify(model, clean, labels, mask)
    assert torch.equal(proven, margin > fall + 1e-4)
    assert (proven >= unit.certify(model, clean, labels, mask.inner)).all()


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("masked(threat=linf(eps=0.1), fixed=())", "fixed must be places"),
        ("masked(threat=linf(eps=0.1), fixed=(3, 0))", "from low to high"),
        ("masked(threat=linf(eps=0.1), fixed=(3, 3))", "each once"),
        ("masked(threat=linf(eps=0.1), fixed=(-1,))", "fixed"),
        ("masked(threat=unbounded, fixed=(1,))", "must bound a distance"),
        ("masked(threat=masked(threat=linf(eps=0.1), fixed=(0,)), fixed=(1,))", "masked itself"),
        ("masked(threat=linf(eps=0.1))", "fixed"),
    ],
)
def test_wrong_masks_are_refused(spec: str, reason: str) -> None:
    with pytest.raises(SpecError, match=reason):
        parse(ThreatModel, spec)
