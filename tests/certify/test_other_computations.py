"""A network that computes something else where it gets bounds is not certified."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from robustlab.certify import Certifier, Interval
from robustlab.certify.region import region
from robustlab.core.spec import units
from robustlab.models import Threshold
from robustlab.threats import Linf

BOUNDING = ["alpha_crown", "auto", "branch_and_bound", "crown", "crown_ibp", "ibp", "step_splitting"]
IMAGES = torch.tensor([0.1, 0.3, 0.7, 0.9]).view(4, 1, 1, 1).expand(4, 1, 2, 2).contiguous()
EPS = 0.04


class Branching(nn.Module):
    """Changes numbers, but not bounds; `step_splitting` needs the threshold, which has no effect."""

    def __init__(self, is_numbers: Callable[[Tensor], bool], change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.is_numbers, self.change = is_numbers, change
        self.threshold, self.fc = Threshold(at=0.5), nn.Linear(4, 2)
        with torch.no_grad():
            self.fc.weight.copy_(torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]))
            self.fc.bias.copy_(torch.tensor([0.0, 2.0]))
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        seen = self.change(x) if self.is_numbers(x) else x
        logits: Tensor = self.fc(seen + 0 * self.threshold(x))
        return logits


WAYS: dict[str, Callable[[Tensor], bool]] = {
    "type": lambda x: type(x) is Tensor,
    "name of the type": lambda x: type(x).__name__ == "Tensor",
    "isinstance": lambda x: not isinstance(x, Interval),
    "attribute": lambda x: not hasattr(x, "upper"),
    "torch_function": lambda x: not torch.overrides.has_torch_function((x,)),
    "dtype after a cast": lambda x: x.double().dtype == torch.float64,
}
CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "another class": lambda x: 1 - x,
    "the same class": lambda x: 0.5 + 0.03 * (x - 0.5).sign(),
    "only bright images": lambda x: torch.where(x > 0.8, 0.51, x),
    "only dark images": lambda x: torch.where(x < 0.2, 0.49, x),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("certifier", BOUNDING)
def test_it_is_not_certified(certifier: str, way: str, change: str) -> None:
    model, unit = Branching(WAYS[way], CHANGES[change]), units(Certifier)[certifier]()
    with torch.no_grad():
        numbers, bounded = model(IMAGES), model(region(IMAGES, Linf(eps=0), torch.float64))
    differ = ((numbers < bounded.lower) | (numbers > bounded.upper)).any(dim=1)
    assert differ.any()
    certified = unit.certify(model, IMAGES, numbers.argmax(dim=1), Linf(eps=EPS))
    assert not certified[differ].any()
    if differ[0]:
        assert "computes something else on bounds" in str(unit.explain(model, IMAGES))


@pytest.mark.parametrize("certifier", BOUNDING)
def test_the_same_computation_is_certified(certifier: str) -> None:
    model, unit = Branching(WAYS["type"], lambda x: x * 1), units(Certifier)[certifier]()
    certified = unit.certify(model, IMAGES, torch.tensor([1, 1, 0, 0]), Linf(eps=EPS))
    assert certified.all()
    assert unit.explain(model, IMAGES) is None
