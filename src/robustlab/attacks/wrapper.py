"""The base class of attacks that wrap another attack."""

from abc import ABC

from robustlab.attacks.base import Attack


class Wrapper(Attack, ABC):
    """Runs another attack in a special way, with the same threat models and the same draws."""

    attack: Attack

    @property
    def inner(self) -> Attack:
        return self.attack.inner

    @property
    def needs_gradient(self) -> bool:
        return self.attack.needs_gradient

    @property
    def restart_count(self) -> int:
        return self.attack.restart_count
