"""Random points of the threat model: a gradient attack should find more successes than these.

Budget: count forward passes. The check is that of Carlini et al. 2019 (arXiv:1902.06705).
"""

from typing import Annotated, Literal

from pydantic import Field

from robustlab.attacks.base import Attack
from robustlab.attacks.losses import Loss
from robustlab.attacks.session import Session
from robustlab.core.spec import register


@register("random_points")
class RandomPoints(Attack):
    """Independent random points, without any search.

    ``uniform`` draws from the inside of the ball as the threat model does. ``corners`` takes the point of the
    ball that is farthest along a random direction; for Linf each pixel is moved by +eps or -eps.
    """

    needs_gradient = False
    passes = 1

    count: Annotated[int, Field(ge=1)] = 100
    draw: Literal["uniform", "corners"] = "uniform"
    """``uniform``: inside the ball; ``corners``: as far out as the threat model allows."""
    loss: Loss = "margin"

    @property
    def restart_count(self) -> int:
        return self.count

    def search(self, session: Session) -> None:
        if self.draw == "uniform":
            session.query(session.random_start(), self.loss)
        else:
            session.query(session.ascend(session.clean, session.noise(), 1.0), self.loss)
