"""A classifier behind an autoencoder is one network, and its bounds hold."""

import pytest
import torch
import torch.nn.functional as F

from robustlab.certify import CROWNIBP, IBP, Interval, NoRuleError
from robustlab.core import seeding
from robustlab.core.spec import parse
from robustlab.models.base import Model, Shape
from robustlab.threats import Linf

NETWORKS = ("denoising_autoencoder(channels=4)", "vae(hidden=8, latent=3)", "conv_vae(latent=3)", "reformer")


@pytest.mark.parametrize("network", NETWORKS)
def test_bounds_hold_behind_an_autoencoder(network: str) -> None:
    spec = f"purifier(network={network}, classifier=deep_cnn(channels=(4,), strides=(4,), hidden=8))"
    with seeding.isolated(3):
        model = parse(Model, spec).build(Shape(1, 12, 12, 3)).eval()
    images, threat = seeding.uniform(1, torch.arange(4), (1, 12, 12)), Linf(eps=0.01)
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
        bounds = [certifier.margins(model, images, labels, threat) for certifier in (IBP(), CROWNIBP())]
        for key in range(20):
            points = threat.random_start(images, key, torch.arange(4))
            logits = model(points).double()
            margins = logits.gather(1, labels[:, None]) - logits
            others = torch.arange(3) != labels[:, None]
            for found in bounds:
                assert found.isfinite()[others].all()
                assert (margins >= found)[others].all()


def test_only_the_nearest_pixel_has_a_rule() -> None:
    images = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    with pytest.raises(NoRuleError, match="nearest pixels, found bilinear"):
        F.interpolate(Interval(images, images), scale_factor=2.0, mode="bilinear")
