"""What an objective is given at each step."""

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingStep:
    """One batch, and where the training stands.

    Attributes:
        network: what is trained; in train mode, in eval mode when validating.
        player: the part whose loss is asked for, as `Objective.players` names it.
        images: (N, C, H, W) float32 on the pixel scale [0, 1], augmented if the recipe says so.
        labels: (N,) int64.
        ids: (N,) int64, the images' dataset ids.
        progress: the share of the whole training that is done, in [0, 1]: at a step its middle, after an
            epoch its end.
        key: of the objective's own draws, as `seeding.uniform(key, ids, shape)` takes it; another one at
            each step and for each player.
        validating: whether the loss is of the validation split, which chooses the kept epoch. No gradient
            is computed then.
    """

    network: nn.Module
    player: str
    images: Tensor
    labels: Tensor
    ids: Tensor
    progress: float
    key: int
    validating: bool = False
