"""A network behind a threshold: what it sees, its gradient, its training by interval bounds."""

from typing import Any

import pytest
import torch
from torch import nn

from robustlab.certify import IBP, AutoCertifier, Certifier, StepSplitting
from robustlab.core import seeding
from robustlab.core.errors import SpecError
from robustlab.core.spec import parse
from robustlab.models import Model, Shape, StridedCNN, Threshold, ThresholdedModel
from robustlab.threats import Linf
from robustlab.training import IBPTraining
from robustlab.training.step import TrainingStep

SHAPE = Shape(1, 8, 8, 3)


def network() -> Any:
    with seeding.isolated(3):
        return ThresholdedModel(classifier=StridedCNN(hidden=9), at=0.45).build(SHAPE).eval()


def test_it_is_the_architecture_on_black_and_white_images() -> None:
    model, images = network(), seeding.uniform(1, torch.arange(5), SHAPE.image)
    white = (images >= 0.45).float()
    assert torch.equal(model(images), model.classifier(white))
    assert torch.equal(model(white), model(images))


def test_its_gradient_is_that_of_the_black_and_white_image() -> None:
    model, images = network(), seeding.uniform(1, torch.arange(5), SHAPE.image)
    white = (images >= 0.45).float().requires_grad_()
    (wanted,) = torch.autograd.grad(model.classifier(white).sum(), white)
    points = images.clone().requires_grad_()
    (found,) = torch.autograd.grad(model(points).sum(), points)
    assert torch.equal(found, wanted)
    with torch.no_grad():
        assert torch.equal(Threshold(0.45)(points), white)


def test_several_thresholds_are_channels_one_after_another() -> None:
    images = seeding.uniform(1, torch.arange(5), (2, 4, 4))
    found = Threshold((0.3, 0.6))(images)
    assert torch.equal(found, torch.cat([images >= 0.3, images >= 0.6], dim=1).float())
    points = images.clone().requires_grad_()
    seen = Threshold((0.3, 0.6))(points)
    assert torch.equal(seen.detach(), found)
    weight = seeding.uniform(2, torch.arange(5), (4, 4, 4))
    (slope,) = torch.autograd.grad((weight * seen).sum(), points)
    assert torch.equal(slope, weight[:, :2] + weight[:, 2:])


def test_the_architecture_gets_a_channel_for_each_threshold() -> None:
    unit = ThresholdedModel(classifier=StridedCNN(hidden=9), at=(0.301, 0.5, 0.699))
    assert parse(Model, repr(unit)) == unit
    with seeding.isolated(3):
        model: Any = unit.build(Shape(3, 8, 8, 4)).eval()
    images = seeding.uniform(1, torch.arange(5), (3, 8, 8))
    assert model(images).shape == (5, 4)
    assert model.transform(images).shape == (5, 9, 8, 8)


@pytest.mark.parametrize("certifier", [IBP(), StepSplitting(), AutoCertifier()], ids=lambda unit: unit.name)
def test_proofs_hold_for_every_code_that_can_be_reached(certifier: Certifier) -> None:
    # A grey pixel that crosses one threshold may be safe from another one.
    with seeding.isolated(4):
        linear = nn.Linear(27, 3)
    model = nn.Sequential(Threshold((0.3, 0.5, 0.7)), nn.Flatten(), linear).eval()
    images = seeding.uniform(5, torch.arange(60), (1, 3, 3))
    labels, eps = model(images).argmax(dim=1), 0.12
    proven = certifier.certify(model, images, labels, Linf(eps=eps))
    # What each pixel alone can take from each margin, by all codes that it can have; pixels add up.
    moved = images.flatten(1)[..., None] + torch.linspace(-eps, eps, 97)
    codes = torch.stack([moved >= level for level in (0.3, 0.5, 0.7)]).float()
    weight = linear.weight.view(3, 3, 9)
    scores = torch.einsum("ktp,tnpm->nkpm", weight, codes)
    here = scores[torch.arange(60), labels][:, None]
    bias = linear.bias
    margins = (here - scores).amin(dim=3).sum(dim=2) + bias[labels][:, None] - bias
    margins[torch.arange(60), labels] = torch.inf
    worst = margins.amin(dim=1)
    assert not proven[worst < 0].any()
    assert 5 < proven.sum() <= (worst > -1e-5).sum()
    if certifier != IBP():
        assert proven.sum() >= IBP().certify(model, images, labels, Linf(eps=eps)).sum()


@pytest.mark.parametrize("at", ["()", "(0.5, 0.4)", "(0.5, 0.5)", "(0.5, 1.5)", "0", "high"])
def test_thresholds_that_make_no_sense(at: str) -> None:
    with pytest.raises(SpecError, match=r"at (must|should) be"):
        parse(Model, f"thresholded(classifier=strided_cnn, at={at})")


@pytest.mark.parametrize("text", ["vae(hidden=9, latent=2)", "code(reference='my.py:make')"])
def test_only_classifiers_of_robustlab_go_behind_it(text: str) -> None:
    with pytest.raises(SpecError, match="classifier must be a classifier of"):
        parse(Model, f"thresholded(classifier={text})")


def test_training_by_interval_bounds_proves_more() -> None:
    # Two bright bars, one of them a class; the rest is dark, with grey pixels near the threshold.
    model = network()
    labels = torch.arange(60) % 2
    images = 0.3 * seeding.uniform(2, torch.arange(60), SHAPE.image)
    images[labels == 0, :, 1:3] += 0.7
    images[labels == 1, :, 5:7] += 0.7
    threat = Linf(eps=0.3)
    before = IBP().margins(model, images, labels, threat)[torch.arange(60), 1 - labels]
    objective = IBPTraining(threat=threat, warmup=0.0, ramp=0.5)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for number in range(60):
        step = TrainingStep(
            network=model,
            player="loss",
            images=images,
            labels=labels,
            ids=torch.arange(60),
            key=number,
            progress=number / 60,
        )
        optimizer.zero_grad()
        objective.loss(step).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    after = IBP().margins(model, images, labels, threat)[torch.arange(60), 1 - labels]
    assert (before > 0).float().mean() < 0.6
    assert (after > 0).float().mean() > 0.9
