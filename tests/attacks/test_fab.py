"""FAB's restarts begin where those of its authors' code do."""

import pytest
import torch
from small_networks import Recorded

from conftest import linear_classifier
from robustlab.attacks import FAB
from robustlab.threats import L1, L2, Linf, ThreatModel

SHAPE = (1, 6, 7)


@pytest.mark.parametrize("targets", [0, 2])
@pytest.mark.parametrize("threat", [Linf(eps=0.2), L2(eps=0.6), L1(eps=1.5)], ids=repr)
def test_restarts_begin_on_the_sphere_of_half_of_eps(threat: ThreatModel, targets: int) -> None:
    model = Recorded(linear_classifier(shape=SHAPE)).eval()
    clean = torch.full((20, *SHAPE), 0.5)
    with torch.no_grad():
        labels = model(clean).argmax(dim=1)
    model.points.clear()
    FAB(steps=1, targets=targets, restarts=3).run(model, clean, labels, threat, early_stop=False)
    # The clean images; in each restart, or for each target in it, a start and a step; the best points.
    searches = 3 * max(1, targets)
    assert len(model.points) == 1 + 2 * searches + 1
    starts = model.points[1:-1:2]
    for search, start in enumerate(starts):
        distances = threat.distance(start, clean)
        if search < max(1, targets):
            assert not distances.any()
        else:
            assert torch.allclose(distances, torch.full((20,), threat.eps / 2), rtol=1e-4)
            assert (start != clean).float().mean() > 0.99
    assert (threat.distance(starts[-1], starts[-1 - max(1, targets)]) > 0).all()
