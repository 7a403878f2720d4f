"""A purifier and a classifier that are trained together: the network, its loss, its errors."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from robustlab.core import seeding
from robustlab.core.errors import SetupError, SpecError
from robustlab.core.spec import parse
from robustlab.models import Model, PurifiedClassifier, Shape
from robustlab.training import Objective, TrainingStep

SHAPE = Shape(1, 8, 8, 3)
ARCHITECTURE = "purifier(network=denoising_autoencoder(channels=4), classifier=strided_cnn(hidden=9))"
ATTACKED = "fgsm_training(threat=linf(eps=0.1))"


def network_of(text: str = ARCHITECTURE) -> Any:
    with seeding.isolated(5):
        return parse(Model, text).build(SHAPE)


def step_on(network: nn.Module, *, key: int = 1) -> TrainingStep:
    ids = torch.arange(30)
    labels = ids % 3
    images = 0.2 * seeding.uniform(2, ids, SHAPE.image)
    images[ids, :, 2 * labels] += 0.8  # a class is the place of a bar
    return TrainingStep(
        network=network.train(),
        player="loss",
        images=images,
        labels=labels,
        ids=ids,
        progress=0.5,
        key=key,
    )


def test_it_classifies_the_reconstruction() -> None:
    network = network_of().eval()
    images = step_on(network).images
    assert isinstance(network, PurifiedClassifier)
    assert torch.equal(network(images), network.classifier(network.purifier(images)))
    assert network.purifier(images).shape == images.shape


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("network=cnn, classifier=cnn", "network must be an autoencoder of `ls models`, found cnn"),
        ("network=vae, classifier=vae", "classifier must be a classifier of `ls models`, found vae"),
        ("network=gan, classifier=cnn", "network must be an autoencoder"),
        ("network=vae, classifier=code(reference='my.py:make')", "classifier must be a classifier"),
    ],
)
def test_a_part_of_another_kind_is_refused(part: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse(Model, f"purifier({part})")


def test_the_loss_is_the_other_objectives_and_the_distance_to_the_clean_images() -> None:
    network = network_of()
    step, inner = step_on(network), parse(Objective, ATTACKED)
    objective: Any = parse(Objective, f"purifying(objective={ATTACKED}, weight=3.0)")
    points = objective.perturbed(step)
    distance = (network.purifier(points) - step.images).pow(2).sum() / step.images.numel()
    torch.testing.assert_close(objective.loss(step), inner.loss(step) + 3.0 * distance)


def test_eps_rises_inside_of_it_and_around_it() -> None:
    step = replace(step_on(network_of()), progress=0.4)
    half = parse(Objective, f"purifying(objective={ATTACKED.replace('0.1', '0.05')})").loss(step)
    for text in (
        f"purifying(objective=eps_ramp(objective={ATTACKED}, share=0.8))",
        f"eps_ramp(objective=purifying(objective={ATTACKED}), share=0.8)",
    ):
        assert torch.equal(parse(Objective, text).loss(step), half)


def trained(weight: float) -> tuple[float, float]:
    """The reconstruction's distance and the accuracy, on clean images after a short training."""
    network = network_of()
    objective = parse(Objective, f"purifying(objective={ATTACKED}, weight={weight})")
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for number in range(120):
        optimizer.zero_grad()
        objective.loss(step_on(network, key=number)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    step = step_on(network)
    network.eval()
    with torch.no_grad():
        distance = (network.purifier(step.images) - step.images).square().mean()
        accuracy = (network(step.images).argmax(1) == step.labels).float().mean()
    return distance.item(), accuracy.item()


def test_a_training_brings_the_reconstruction_near_only_if_asked() -> None:
    asked, plain = trained(5.0), trained(0.0)
    assert asked[0] < 0.04
    assert plain[0] > 2 * asked[0]
    assert min(asked[1], plain[1]) > 0.9


def test_another_network_and_another_objective_are_refused() -> None:
    plain = network_of("strided_cnn(hidden=9)")
    with pytest.raises(SetupError, match=r"trains the architecture purifier.*found Sequential"):
        parse(Objective, f"purifying(objective={ATTACKED})").loss(step_on(plain))
    with pytest.raises(SpecError, match="one that attacks the network"):
        parse(Objective, "purifying(objective=cross_entropy)")
