"""The configuration of a training: its length, optimizer, data changes, and the kept epoch."""

from dataclasses import dataclass, field
from typing import Any

from robustlab.training.augmentations import Augmentation
from robustlab.training.averaging import Averaging
from robustlab.training.optimizers import Adam, Optimizer
from robustlab.training.robust_validation import RobustValidation
from robustlab.training.schedules import Constant, Schedule


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The settings of a training, without the network, the objective and the data.

    Attributes:
        epochs: passes over the training split.
        batch_size: images per step; the last, smaller batch of an epoch is trained on too. If it would have
            one image, this joins the batch before.
        optimizer: of each player.
        schedule: the learning rate over the training, as a factor of the optimizer's.
        augmentation: applied to each training batch, in this order.
        averaging: of the weights; the average is validated and kept.
        reestimate_batch_norm: after each epoch the running statistics of batch normalisation are those of the
            training images at the weights that are validated.
        clip: the L2 norm to which a longer gradient of a player is clipped; None: no clipping.
        validation: the accuracy under this attack chooses the kept epoch; None: the validation loss chooses
            it.
    """

    epochs: int
    batch_size: int = 64
    optimizer: Optimizer = field(default_factory=Adam)
    schedule: Schedule = field(default_factory=Constant)
    augmentation: tuple[Augmentation, ...] = ()
    averaging: Averaging | None = None
    reestimate_batch_norm: bool = False
    clip: float | None = None
    validation: RobustValidation | None = None

    def described(self) -> dict[str, Any]:
        """Return all settings on which a training depends, as JSON values.

        Plain Adam is written as ``lr`` and ``betas``, and default values are left out. So keys and random
        numbers stay the same when a new setting is added.
        """
        described: dict[str, Any] = {"epochs": self.epochs, "batch_size": self.batch_size}
        optimizer, validation = self.optimizer, self.validation
        if isinstance(optimizer, Adam) and optimizer.weight_decay == 0:
            described |= {"lr": optimizer.lr, "betas": list(optimizer.betas)}
        else:
            described["optimizer"] = repr(optimizer)
        rest = {
            "schedule": None if self.schedule == Constant() else repr(self.schedule),
            "augmentation": [repr(part) for part in self.augmentation] or None,
            "averaging": self.averaging and repr(self.averaging),
            "reestimate_batch_norm": self.reestimate_batch_norm or None,
            "clip": self.clip,
            "validation": validation
            and {
                "attack": repr(validation.attack),
                "threat": repr(validation.threat),
                "images": validation.images,
                **({} if validation.stop is None else {"stop": validation.stop}),
            },
        }
        return described | {name: value for name, value in rest.items() if value is not None}
