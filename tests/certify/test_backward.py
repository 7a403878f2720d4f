"""Linear bounds: no point of the threat model lies outside, and simple networks are bounded exactly."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from random_networks import Case, cases, points
from torch import Tensor, nn

from robustlab.certify import CROWN, CROWNIBP
from robustlab.threats import Linf, ThreatModel

BOXES: list[ThreatModel] = [Linf(eps=0.001), Linf(eps=0.03), Linf(eps=0.3), Linf(eps=1.0)]
CERTIFIERS = [CROWNIBP(), CROWN()]


def apart(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return how far the label's logit lies above each other one; infinite at the label."""
    with torch.no_grad():
        logits: Tensor = model(images).double()
    here = labels[:, None]
    return (logits.gather(1, here) - logits).scatter(1, here, torch.inf)


@given(case=cases(), threat=st.sampled_from(BOXES))
def test_no_point_lies_outside_the_bounds(case: Case, threat: ThreatModel) -> None:
    found = [certifier.margins(case.model, case.images, case.labels, threat) for certifier in CERTIFIERS]
    assert (found[1] >= found[0]).all()
    for point in points(case, threat, 4):
        assert (apart(case.model, point, case.labels) >= found[1]).all()
