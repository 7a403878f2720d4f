"""Runs any attack several times."""

from typing import Annotated

from pydantic import Field

from robustlab.attacks.base import Attack
from robustlab.attacks.session import Session
from robustlab.attacks.wrapper import Wrapper
from robustlab.core.spec import register


@register("restarts")
class Restarts(Wrapper):
    """Runs an attack again on the images that are not broken, with new random numbers each time.

    The first run has the same random numbers, and the same result, as the attack alone. A deterministic
    attack, such as `FMN` or `DDN`, gives the same result in each run.
    """

    attack: Attack
    times: Annotated[int, Field(ge=1)] = 10

    @property
    def restart_count(self) -> int:
        return self.times * self.attack.restart_count

    @property
    def passes(self) -> int | None:
        return self.attack.passes

    def search(self, session: Session) -> None:
        self.attack.search(session)
