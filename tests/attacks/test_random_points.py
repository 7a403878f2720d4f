"""Random points lie where they should, another one each time."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import RandomPoints
from robustlab.core import seeding
from robustlab.threats import L1, L2, Linf, ThreatModel


class Seen(nn.Module):
    """Keeps what it is asked about; always right, ever surer of class 1."""

    def __init__(self) -> None:
        super().__init__()
        self.points: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.points.append(x.detach())
        return torch.stack([torch.ones(len(x)), torch.full((len(x),), -1.0 / len(self.points))], dim=1)


def asked(attack: RandomPoints, threat: ThreatModel) -> tuple[Tensor, Tensor]:
    clean = torch.full((6, 1, 4, 5), 0.5)
    model = Seen().eval()
    attack.run(model, clean, torch.zeros(6, dtype=torch.int64), threat, early_stop=False)
    points = torch.stack(model.points[:-1])
    return points, torch.stack([threat.distance(p, clean) for p in points])


@pytest.mark.parametrize("threat", [Linf(eps=0.2), L2(eps=0.3), L1(eps=0.4)], ids=repr)
@pytest.mark.parametrize("draw", ["uniform", "corners"])
def test_points_fill_the_ball_or_its_corners(draw: str, threat: ThreatModel) -> None:
    points, distances = asked(RandomPoints(count=9, draw=draw), threat)  # type: ignore[arg-type]
    assert len(points) == 9
    different = len({tuple(p.tolist()) for p in points.flatten(2).flatten(0, 1)})
    assert different == 9 * 6 if threat.name != "l1" else different > 20  # L1 moves a pixel or two
    assert (distances <= threat.eps * (1 + 1e-5)).all()
    if draw == "corners":
        assert torch.allclose(distances, torch.tensor(float(threat.eps)), rtol=1e-4)
        if threat.name == "linf":
            assert torch.allclose((points - 0.5).abs(), torch.tensor(0.2), atol=1e-6)
    elif threat.name == "linf":
        assert ((points - 0.5).abs() < 0.1).float().mean() == pytest.approx(0.5, abs=0.1)


def test_more_points_find_no_less(make_linear: Callable[..., nn.Module]) -> None:
    model = make_linear()
    images = seeding.uniform(2, torch.arange(60), (1, 4, 4))
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    before = torch.zeros(60, dtype=torch.bool)
    for count in (1, 5, 60):
        result = RandomPoints(count=count, draw="corners").run(model, images, labels, Linf(eps=0.15))
        assert not (before & ~result.successes).any()
        assert result.forwards.max() == 2 + count
        before = result.successes
    assert 5 < before.sum() < 60
