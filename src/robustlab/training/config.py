"""The recipe of a training: how long, how fast, on what, and what is kept."""

from dataclasses import dataclass, field
from typing import Any

from robustlab.training.augmentations import Augmentation
from robustlab.training.averaging import Averaging
from robustlab.training.optimizers import Adam, Optimizer
from robustlab.training.robust_validation import RobustValidation
from robustlab.training.schedules import Constant, Schedule


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """All of a training but the network, the objective and the data.

    Attributes:
        epochs: passes over the training split.
        batch_size: images per step; the last, smaller batch of an epoch is trained on too.
        optimizer: of each player.
        schedule: the learning rate over the training, as a factor of the optimizer's.
        augmentation: applied to each training batch, in this order.
        averaging: of the weights; the average is validated and kept.
        clip: the L2 norm to which a longer gradient of a player is cut; None: it is not.
        validation: an attack whose accuracy chooses the kept epoch; None: the validation loss does.
    """

    epochs: int
    batch_size: int = 64
    optimizer: Optimizer = field(default_factory=Adam)
    schedule: Schedule = field(default_factory=Constant)
    augmentation: tuple[Augmentation, ...] = ()
    averaging: Averaging | None = None
    clip: float | None = None
    validation: RobustValidation | None = None

    def described(self) -> dict[str, Any]:
        """Return all that a training depends on, as JSON can hold it.

        Plain Adam is its ``lr`` and ``betas``, and a part that has its default is left out: so a training
        has the same key, and the same draws, as before there were such parts.
        """
        described: dict[str, Any] = {"epochs": self.epochs, "batch_size": self.batch_size}
        optimizer = self.optimizer
        if isinstance(optimizer, Adam) and optimizer.weight_decay == 0:
            described |= {"lr": optimizer.lr, "betas": list(optimizer.betas)}
        else:
            described["optimizer"] = repr(optimizer)
        if self.schedule != Constant():
            described["schedule"] = repr(self.schedule)
        if self.augmentation:
            described["augmentation"] = [repr(part) for part in self.augmentation]
        if self.averaging is not None:
            described["averaging"] = repr(self.averaging)
        if self.clip is not None:
            described["clip"] = self.clip
        if self.validation is not None:
            validation = self.validation
            described["validation"] = {
                "attack": repr(validation.attack),
                "threat": repr(validation.threat),
                "images": validation.images,
            }
            if validation.stop is not None:
                described["validation"]["stop"] = validation.stop
        return described
