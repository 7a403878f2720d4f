"""Additive Gaussian noise: not an attack, but a baseline that attacks are compared with."""

from robustlab.attacks.base import Attack
from robustlab.attacks.session import Session
from robustlab.core.spec import PixelLength, register


@register("gaussian_noise")
class GaussianNoise(Attack):
    """Independent noise of mean 0 and the given standard deviation on every pixel, clipped to [0, 1]."""

    norms = ("unbounded",)
    needs_gradient = False
    passes = 1

    std: PixelLength

    def search(self, session: Session) -> None:
        session.propose(session.clean + self.std * session.noise())
