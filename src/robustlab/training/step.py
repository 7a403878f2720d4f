"""The data that an objective gets at each step."""

from dataclasses import dataclass

from torch import Tensor, nn

from robustlab.core import seeding


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingStep:
    """One batch, and the state of the training.

    Attributes:
        network: in train mode; in eval mode when validating.
        player: the part whose loss is needed, one of `Objective.players`.
        images: (N, C, H, W) float32 on the pixel scale [0, 1], augmented if the recipe has an augmentation.
        labels: (N,) int64.
        ids: (N,) int64, the images' dataset ids.
        progress: the finished share of the whole training, in [0, 1]: at a step its middle, in validation the
            end of the epoch.
        key: of the objective's own draws, as `seeding.uniform(key, ids, shape)` takes it; different at each
            step and for each player.
        validating: whether the batch is of the validation split; then no gradient is computed.
    """

    network: nn.Module
    player: str
    images: Tensor
    labels: Tensor
    ids: Tensor
    progress: float
    key: int
    validating: bool = False

    def draw_key(self, *purpose: object) -> int:
        """Return a key for `seeding`: another one at each step, but the same one in every validation.

        With other noise after each epoch, chance would take part in the choice of the best epoch.
        """
        return seeding.derive(0 if self.validating else self.key, *purpose)
