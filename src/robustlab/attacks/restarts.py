"""Any attack several times."""

from typing import Annotated

from pydantic import Field

from robustlab.attacks.base import Attack
from robustlab.attacks.session import Session
from robustlab.attacks.wrapper import Wrapper
from robustlab.core.spec import register


@register("restarts")
class Restarts(Wrapper):
    """Runs an attack again on the images that withstood it, with other random numbers each time.

    Its first run is the attack's own: the same draws, the same result. An attack that draws nothing, as `FMN`
    or `DDN`, does the same again each time.
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
