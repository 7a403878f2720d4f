"""A network behind a threshold: what it sees, its gradient, its training by interval bounds."""

from typing import Any

import pytest
import torch

from robustlab.certify import IBP
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
