"""A check that doubts the attacks' strength keeps silent where no attack could lower the figure."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from all_checks import run_checks
from test_checks_in_engine import run
from torch import Tensor, nn
from toy_defenses import WEAK, Detached, Purified, Rounded, Wrapped, evaluated, look, trained

import robustlab
from robustlab.data import Split, Splits
from robustlab.evaluation.checks import Check, Context, all_checks
from robustlab.threats import L0, L1, L2, Linf, ThreatModel

OTHERWISE = {
    "clean-accuracy",
    "preprocessing",
    "sample-size",
    "stored-images",
    "train-mode",
    "finite-outputs",
    "randomness",
    "batch-dependence",
    "state-changes",
    "proofs-under-attack",
}
"""Checks that doubt something else than the attacks."""


@pytest.fixture(scope="module")
def network(digits: Splits) -> nn.Module:
    return trained(digits.train)


@pytest.fixture(scope="module")
def images(digits: Splits) -> Split:
    return digits.test.take(slice(24))


def settled(context: Context, *, certified: int = 0) -> Context:
    """The same, but every image that is right is proven, so many of them, or broken."""
    correct = sorted(context.found.correct)
    broken = dict.fromkeys(correct[certified:], 0.01)
    return replace(
        context, found=replace(context.found, broken=broken, certified=frozenset(correct[:certified]) or None)
    )


def test_every_check_says_what_it_doubts() -> None:
    assert {unit.id for unit in all_checks() if unit.doubts == "evaluation"} == OTHERWISE
    assert {unit.id for unit in all_checks() if unit.doubts == "attacks"} == {
        p.id for p in all_checks()
    } - OTHERWISE


@pytest.mark.parametrize("certified", [0, 5])
@pytest.mark.parametrize("unit", [p for p in all_checks() if p.doubts == "attacks"], ids=lambda unit: unit.id)
def test_it_is_silent_where_no_attack_can_find_more(
    unit: Check, certified: int, network: nn.Module, images: Split
) -> None:
    context = settled(evaluated(Detached(network).eval(), images, attacks=()), certified=certified)
    check = unit.run(context)
    assert (check.grade, check.found) == ("skip", "no image is left: all are broken, or proven")
    assert (check.n, check.forwards, unit.state(context)) == (0, 0, None)


class Counting(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        self.get_buffer("calls").add_(1)
        logits: Tensor = self.inner(x)
        return logits


def test_other_doubts_are_spoken_of_all_the_same(network: nn.Module, images: Split) -> None:
    context = settled(evaluated(Counting(network).eval(), images, attacks=()))
    assert look("state-changes", context).grade == "fail"
    assert look("sample-size", context).grade == "warn"
    wrong = replace(context.found, adversarial=lambda ids: torch.full((len(ids), 1, 28, 28), 2.0))
    assert look("stored-images", replace(context, found=wrong)).grade == "fail"
    shifted = Split(images=images.images, labels=(images.labels + 1) % 10, ids=images.ids, name="test")
    assert look("clean-accuracy", settled(evaluated(network, shifted, attacks=()))).grade == "fail"


@pytest.mark.parametrize("defense", [Detached, Rounded, Purified])
def test_no_flag_where_everything_is_broken(
    defense: type[Wrapped], network: nn.Module, images: Split
) -> None:
    context = settled(evaluated(defense(network).eval(), images, WEAK, attacks=()))
    assert not [check for check in run_checks(context) if check.grade == "fail"]


# Models of which the figure is known in closed form

Model = Callable[[], nn.Module]


def linear(scale: float, *bias: float, inputs: int = 20) -> nn.Sequential:
    layer = nn.Linear(inputs, 2)
    with torch.no_grad():
        layer.weight.copy_(scale * torch.linspace(-1, 1, 2 * inputs).view(2, inputs))
        layer.bias.copy_(torch.tensor(bias))
    return nn.Sequential(nn.Flatten(), layer).eval()


def saturated() -> nn.Sequential:
    """No ReLU of it is ever alive."""
    return nn.Sequential(*linear(5.0, -300.0, -300.0), nn.ReLU(), *linear(1.0, 2.0, 0.0, inputs=2)[1:]).eval()


CLOSED: dict[str, Model] = {
    "constant": lambda: linear(0.0, 1.0, 0.0),
    "linear, with a large bias": lambda: linear(0.1, 6.0, 0.0),
    "saturated": saturated,
}
BALLS: list[ThreatModel] = [Linf(eps=0.1), L2(eps=0.5), L1(eps=2.0), L0(eps=2)]


@pytest.mark.parametrize("threat", BALLS, ids=repr)
@pytest.mark.parametrize("model", CLOSED.values(), ids=CLOSED)
def test_no_check_fails_where_the_figure_is_proven(model: Model, threat: ThreatModel, tmp_path: Path) -> None:
    results = run(tmp_path, model(), threat=repr(threat), certify=True).results
    assert results.certified is not None
    assert results.exact
    assert results.robust.value == results.certified.value == 1.0
    assert not results.red_flags, results.red_flags
    assert results.verdict.startswith("Robust accuracy is exactly 100.0 % on these 30 images: ")


SHADES = torch.linspace(0.2, 0.8, 30)[:, None, None, None].expand(30, 1, 4, 5).contiguous()


def test_an_exact_figure_of_doubtful_labels_is_not_said_to_be_lower(tmp_path: Path) -> None:
    given: dict[str, Any] = {"images": SHADES, "labels": torch.ones(30).long(), "threat": "linf(eps=0.1)"}
    results = robustlab.evaluate(linear(0.0, 1.0, 0.0), attacks="fgsm", out=tmp_path, **given).results
    assert results.exact
    assert results.clean.value == results.robust.value == 0
    assert [check.id for check in results.red_flags] == ["clean-accuracy"]
    assert "Do not believe" not in results.verdict
    assert results.verdict.startswith("The robust accuracy is exactly 0.0 %, but the images or labels may")


def shades(model: nn.Module) -> Split:
    labels = model(SHADES).argmax(dim=1)
    return Split(images=SHADES, labels=labels, ids=torch.arange(30), name="test")


@pytest.mark.parametrize("threat", BALLS, ids=repr)
@pytest.mark.parametrize("model", CLOSED.values(), ids=CLOSED)
def test_success_is_not_certain_where_no_other_answer_is_known(model: Model, threat: ThreatModel) -> None:
    context = evaluated(model(), shades(model()), threat, attacks=(), classes=2)
    check = look("extreme-eps", context)
    assert check.grade == "pass"
    assert "no image with another answer is known" in check.found
    for name in ("undefended-network", "accuracy-grows-with-eps"):
        assert look(name, context).grade != "fail"


def test_success_is_certain_once_another_answer_is_known() -> None:
    class Bright(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            far = x.detach().flatten(1).mean(dim=1) - 0.5 + 0 * x.flatten(1).sum(dim=1)
            return torch.stack([-far, far], dim=1)

    context = evaluated(Bright().eval(), shades(Bright()), attacks=(), classes=2)
    assert look("extreme-eps", context).grade == "fail"


def test_images_that_can_not_reach_the_target_doubt_nothing(
    network: nn.Module, digits: Splits, tmp_path: Path
) -> None:
    labels = digits.test.labels
    rows = torch.cat([(labels == 3).nonzero()[:14, 0], (labels != 3).nonzero()[:10, 0]])
    images = digits.test.take(rows)
    given: dict[str, Any] = {"images": images.pixels(slice(None)), "labels": images.labels, "out": tmp_path}
    results = robustlab.evaluate(
        network, threat="linf(eps=0.05)", attacks="pgd(steps=5)", target=3, **given
    ).results
    grades = {check.id: check.grade for check in results.checks}
    assert grades["extreme-eps"] == grades["accuracy-grows-with-eps"] == "pass"
