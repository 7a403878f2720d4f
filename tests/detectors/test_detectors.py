"""Detectors: higher is more suspicious."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustlab.core import seeding
from robustlab.detectors import Discriminator, GreyPixels
from robustlab.models import GAN, Shape


def test_the_discriminator_suspects_what_it_calls_fake() -> None:
    with seeding.isolated(1):
        gan = GAN(hidden=16, latent=4).build(Shape(1, 6, 6, 10)).eval()
    images = seeding.uniform(1, torch.arange(50), (1, 6, 6))
    detector = Discriminator(network="gan")
    with torch.no_grad():
        scores, realness = detector.score({"gan": gan}, images), gan.realness(images)
    assert scores.shape == (50,)
    assert torch.equal(scores.argsort(), realness.argsort(descending=True))
    assert detector.natural_threshold == 0.0
    assert torch.equal(scores > detector.natural_threshold, realness < 0.5)
    assert torch.allclose(realness, 1 / (1 + scores.exp()))
    assert detector.networks == ("gan",)


@given(levels=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30), margin=st.floats(0.01, 0.49))
def test_grey_pixels_are_counted(levels: list[float], margin: float) -> None:
    images = torch.tensor([levels, levels[::-1]]).view(2, 1, 1, -1)
    edges = torch.tensor([margin, 1 - margin])
    expected = sum(float(edges[0]) < level < float(edges[1]) for level in levels) / len(levels)
    scores = GreyPixels(margin=margin).score({}, images)
    assert scores.tolist() == pytest.approx([expected, expected])


def test_black_and_white_are_not_suspicious() -> None:
    images = torch.tensor([0.0, 1.0, 0.04, 0.96, 0.5, 0.06]).view(6, 1, 1, 1)
    assert GreyPixels().score({}, images).tolist() == [0.0, 0.0, 0.0, 0.0, 1.0, 1.0]
    assert GreyPixels().networks == ()
    assert GreyPixels().natural_threshold is None
