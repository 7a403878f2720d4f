"""The base class of attacks that follow gradients."""

from abc import ABC

from robustlab.attacks.base import Attack
from robustlab.attacks.gradients import ExactGradient, Gradient


class GradientAttack(Attack, ABC):
    """An attack that follows gradients: its argument ``gradient`` names the estimator.

    A subclass repeats the line ``gradient: Gradient = ExactGradient()`` as its last argument. Its search
    calls the session (`Session.gradient`, ``query(gradient=True)``, `Session.jacobian`), which calls the
    estimator.
    """

    gradient: Gradient = ExactGradient()
    """How gradients are computed: exactly, or with another estimator (`robustlab ls gradients`)."""

    @property
    def estimator(self) -> Gradient:
        return self.gradient

    @property
    def needs_gradient(self) -> bool:
        return self.gradient.needs_gradient
