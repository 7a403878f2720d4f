"""Statistical certificates are of the smoothed classifier, and are never taken for proofs."""

import csv
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist
from typing import Any

import pytest
import torch
from torch import nn

import robustlab
from robustlab.certify import Smoothing
from robustlab.certify.smoothing import lower_bound
from robustlab.core import seeding
from robustlab.core.errors import RobustlabError
from robustlab.evaluation.finished import read_finished
from robustlab.models.randomized import MeanOfCopies, NoisyCopies
from robustlab.threats import L2, Linf

IMAGES = seeding.uniform(4, torch.arange(24), (1, 4, 4))
SIGMA, DRAWS = 0.25, 400


@pytest.fixture
def base(make_linear: Callable[..., nn.Module]) -> nn.Module:
    return make_linear(classes=2, shape=(1, 4, 4), seed=1)


@pytest.fixture
def smoothed(base: nn.Module) -> nn.Module:
    return MeanOfCopies(NoisyCopies(SIGMA, 20, None), base).eval()


def distances(base: nn.Module) -> torch.Tensor:
    """Return the exact L2 distance of each image from the boundary, which smoothing does not move."""
    with torch.no_grad():
        logits = base(IMAGES)
    weight = next(layer.weight for layer in base.modules() if isinstance(layer, nn.Linear))
    apart: torch.Tensor = (logits[:, 0] - logits[:, 1]).abs() / (weight[0] - weight[1]).norm()
    return apart


def test_a_certificate_lies_within_the_exact_radius_of_a_linear_classifier(
    base: nn.Module, smoothed: nn.Module
) -> None:
    with torch.no_grad():
        labels = base(IMAGES).argmax(dim=1)
    exact, eps = distances(base), 0.1
    certified = Smoothing(n=DRAWS).certify(smoothed, IMAGES, labels, L2(eps=eps))
    assert not certified[exact < eps].any()
    largest = SIGMA * NormalDist().inv_cdf(lower_bound(DRAWS, DRAWS, 0.001))
    assert certified[exact > 2.5 * eps].all(), "far from the boundary it certifies"
    assert not Smoothing(n=DRAWS).certify(smoothed, IMAGES, labels, L2(eps=largest)).any()


def test_abstaining_counts_as_not_certified_even_at_eps_0(base: nn.Module, smoothed: nn.Module) -> None:
    with torch.no_grad():
        labels = base(IMAGES).argmax(dim=1)
    few = Smoothing(n=5).certify(smoothed, IMAGES, labels, L2(eps=0))
    assert not few.any(), "0.001 ** (1 / 5) is below 1/2"
    assert Smoothing(n=DRAWS).certify(smoothed, IMAGES, labels, L2(eps=0)).any()
    assert not Smoothing(n=DRAWS).certify(smoothed, IMAGES, 1 - labels, L2(eps=0)).any()


def test_it_refuses_what_would_be_a_false_claim(base: nn.Module, smoothed: nn.Module) -> None:
    fixed = MeanOfCopies(NoisyCopies(SIGMA, 20, 3), base).eval()
    behind = nn.Sequential(nn.Identity(), smoothed).eval()
    random = MeanOfCopies(NoisyCopies(SIGMA, 20, None), nn.Sequential(nn.Dropout(), base)).eval()
    random.classifier[0].train()  # type: ignore[index]
    assert Smoothing().explain(smoothed, IMAGES) is None
    for model, reason in ((base, "smoothed"), (fixed, "fixed"), (behind, "smoothed"), (random, "random")):
        assert reason in str(Smoothing().explain(model, IMAGES))
    with pytest.raises(RobustlabError, match="smoothing proves within l2"):
        Smoothing().certify(smoothed, IMAGES, torch.zeros(24).long(), Linf(eps=0.1))


def run(kind: Any, model: nn.Module, base: nn.Module, folder: Path, **given: Any) -> Any:
    with torch.no_grad():
        labels = base(IMAGES).argmax(dim=1)
    certifier = Smoothing(n=DRAWS)
    return kind(model, images=IMAGES, labels=labels, certifier=certifier, out=folder, **given)


def column(run: Any, name: str) -> list[str]:
    with (run.folder / "images.csv").open() as file:
        return [row[name] for row in csv.DictReader(file)]


def test_the_results_keep_it_apart_from_proofs(base: nn.Module, smoothed: nn.Module, tmp_path: Path) -> None:
    found = run(robustlab.certify_model, smoothed, base, tmp_path / "run", threat="l2(eps=0.1)")
    results = found.results
    assert results.certified is None
    assert "certified" not in column(found, "state")
    marked = [float(value) for value in column(found, "certificate")]
    assert set(marked) == {0.0, 0.999}
    assert results.certificates.count == sum(value > 0 for value in marked)
    assert (results.certificates.confidence, results.certificates.sigma) == (0.999, SIGMA)
    assert results.certificates.certifier == f"smoothing(n={DRAWS}, n0=100, alpha=0.001, seed=0)"
    assert results.verdict.startswith("Nothing is proven; ")
    page = (found.folder / "report.html").read_text()
    assert "confidence 99.9" in page
    assert "(proven)" not in page


class Unsure(nn.Module):
    """Hardly sure of class 0 below a threshold of the brightness, and very sure of class 1 above it."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        above = (images.flatten(1).sum(dim=1) / 4 > 2.513).float()
        return torch.stack([0.1 - 10 * above, torch.zeros_like(above)], dim=1)


def test_it_stops_no_attack_and_is_no_contradiction(tmp_path: Path) -> None:
    # The mean of the probabilities is class 1 long before the most frequent class is.
    model = MeanOfCopies(NoisyCopies(SIGMA, 1000, None), Unsure()).eval()
    found = robustlab.evaluate(
        model,
        images=torch.full((6, 1, 4, 4), 0.5),
        labels=torch.zeros(6).long(),
        certifier=Smoothing(n=DRAWS),
        threat="l2(eps=0.3)",
        attacks="random_points(count=50)",
        checks=False,
        out=tmp_path / "run",
    )
    results = found.results
    assert results.rows[0].attacked == round(results.clean.value * 6), "every correct image is attacked"
    states, marks = column(found, "state"), column(found, "certificate")
    both = [state for state, mark in zip(states, marks, strict=True) if float(mark) and state == "broken"]
    assert both, "otherwise the test is empty"
    assert any(f"{len(both)} of the images that are certified with confidence" in r for r in results.remarks)
    assert read_finished(found).results == results
    with pytest.raises(RobustlabError, match="nothing can be proven"):
        robustlab.certify_model(
            Unsure().eval(),
            images=IMAGES,
            labels=torch.zeros(24).long(),
            certifier=Smoothing(),
            threat="l2(eps=1)",
        )
