"""Prototypes that are trained for large radii: the start, the loss, and what can be certified then."""

from typing import Any

import pytest
import torch

from robustlab.certify import NearestPrototype
from robustlab.core import seeding
from robustlab.core.device import Compute
from robustlab.core.errors import SetupError
from robustlab.core.spec import parse
from robustlab.data import Split, Splits
from robustlab.models import Model, PrototypeClassifier, Shape
from robustlab.threats import L2
from robustlab.training import Adam, Objective, TrainConfig, TrainingStep, train
from robustlab.training.objectives.radius_training import radii

SHAPE = Shape(1, 3, 3, 3)


def network_of(per_class: int = 4, shape: Shape = SHAPE) -> Any:
    with seeding.isolated(2):
        return parse(Model, f"prototypes(per_class={per_class})").build(shape)


def split_of(n: int = 30) -> Split:
    ids = torch.arange(n)
    return Split(images=seeding.uniform(3, ids, SHAPE.image), labels=ids % 3, ids=ids, name="train")


def step_on(network: Any) -> TrainingStep:
    split = split_of()
    return TrainingStep(
        network=network,
        player="loss",
        images=split.pixels(slice(None)),
        labels=split.labels,
        ids=split.ids,
        progress=0.5,
        key=1,
    )


def test_it_starts_from_the_first_images_of_each_class() -> None:
    network, split = network_of(), split_of()
    parse(Objective, "radius_training").initialize(network, split)
    for label in range(3):
        assert torch.equal(
            network.points[label], split.pixels(slice(None)).flatten(1)[split.labels == label][:4]
        )
    many = network_of(per_class=25)
    parse(Objective, "radius_training").initialize(many, split)
    assert torch.equal(many.points[:, :10], many.points[:, 10:20])


def test_the_loss_is_what_the_radii_lack() -> None:
    network = network_of()
    step = step_on(network)
    points = network.points.detach()
    expected = []
    for image, label in zip(step.images.flatten(1), step.labels, strict=True):
        distances = (points - image).norm(dim=2)
        own = points[label, distances[label].argmin()]
        rivals = [rival for number in range(3) if number != label for rival in points[number]]
        planes = [
            ((rival - image).square().sum() - (own - image).square().sum()) / (2 * (rival - own).norm())
            for rival in rivals
        ]
        expected.append(min(planes))
    radius = torch.stack(expected)
    torch.testing.assert_close(radii(network, step.images, step.labels), radius, rtol=1e-4, atol=1e-5)
    lacking = (0.3 - radius).clamp(min=0, max=0.3 * 1.5).mean()
    found = parse(Objective, "radius_training(target=0.3, most=1.5)").loss(step)
    torch.testing.assert_close(found, lacking, rtol=1e-4, atol=1e-5)


def test_no_radius_of_the_loss_is_larger_than_the_certified_one() -> None:
    network = network_of().eval()
    step = step_on(network)
    found = radii(network, step.images, step.labels)
    for eps in (0.01, 0.05, 0.1):
        certified = NearestPrototype().certify(network, step.images, step.labels, L2(eps=eps))
        assert (certified | (found <= eps + 1e-4)).all()


def test_a_training_certifies_more(digits: Splits) -> None:
    shape = Shape(1, 28, 28, 10)
    network, objective = network_of(10, shape), parse(Objective, "radius_training(target=1.5)")
    objective.initialize(network, digits.train)
    test = digits.test.take(slice(200))

    def certified(model: PrototypeClassifier) -> float:
        found = NearestPrototype().certify(model.eval(), test.pixels(slice(None)), test.labels, L2(eps=1.0))
        return float(found.double().mean())

    before = certified(network)
    config = TrainConfig(epochs=4, batch_size=50, optimizer=Adam(lr=5e-3))
    compute = Compute(device="cpu", precision="bf16")
    train(network, objective, digits.train, digits.validation, config=config, compute=compute, key=1)
    assert certified(network) > before + 0.1


def test_wrong_networks_and_missing_classes_are_refused() -> None:
    objective = parse(Objective, "radius_training")
    with seeding.isolated(1):
        other = parse(Model, "strided_cnn(hidden=5)").build(Shape(1, 8, 8, 3))
    with pytest.raises(SetupError, match="trains the architecture prototypes, found Sequential"):
        objective.initialize(other, split_of())
    split = split_of()
    few = Split(images=split.images, labels=split.labels.clamp(max=1), ids=split.ids, name="train")
    with pytest.raises(SetupError, match="training images of every class, found none of 2"):
        objective.initialize(network_of(), few)
