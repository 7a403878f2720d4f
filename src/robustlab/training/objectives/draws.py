"""The random numbers of objectives that train on noise."""

from robustlab.core import seeding
from robustlab.training.step import TrainingStep


def draw_key(step: TrainingStep, *purpose: object) -> int:
    """Return a key for `seeding`: another one at each step, but the same one in every validation.

    With other noise after each epoch, chance would take part in the choice of the best epoch.
    """
    return seeding.derive(0 if step.validating else step.key, *purpose)
