"""How a network is trained: the keys of a recipe's network and the options of ``robustlab train``, once.

Like `robustlab.options` this module loads neither torch nor pydantic, so that the help is shown at once.
pydantic reads the ranges where a recipe is checked (`robustlab.study.recipe`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt, Le, Lt

from robustlab.core.arguments import LARGEST_FLOAT
from robustlab.core.options import (
    Count,
    DeviceChoice,
    Flag,
    PositiveInt,
    PrecisionChoice,
    Strict,
    option_info,
)
from robustlab.options import DATA_ROOT, FOLDER, OVERWRITE, PROGRESS, SEED, Options

if TYPE_CHECKING:
    from robustlab.core.progress import Progress
    from robustlab.data import Split

Positive = Annotated[float, Strict(), Gt(0.0), Le(LARGEST_FLOAT)]
Decay = Annotated[float, Strict(), Ge(0.0), Lt(1.0)]
Drop = Annotated[float, Strict(), Gt(0.0), Lt(1.0)]


@dataclass(frozen=True, kw_only=True)
class TrainingFields:
    """A training without the network, the objective and the data.

    ``lr`` and ``betas`` are short for ``optimizer = "adam(lr=..., betas=...)"``. With a validation attack the
    epoch is kept at which it leaves the highest accuracy.
    """

    epochs: Count = field(default=10, metadata=option_info("passes over the training images"))
    batch_size: Count = field(default=64, metadata=option_info("images per step"))
    optimizer: str | None = field(
        default=None, metadata=option_info("such as sgd(lr=0.1, momentum=0.9); default adam")
    )
    lr: Positive | None = field(
        default=None,
        metadata=option_info("the learning rate of adam, if no optimizer is given; default 0.001"),
    )
    betas: tuple[Decay, Decay] | None = field(
        default=None,
        metadata=option_info("of adam, if no optimizer is given; default 0.9 and 0.999", command_line=None),
    )
    schedule: str | None = field(
        default=None,
        metadata=option_info("of the learning rate, such as triangle(peak=0.4) or cosine; default constant"),
    )
    augmentation: Sequence[str] = field(
        default=(),
        metadata=option_info(
            "of the training images, such as shift(pixels=2); may be repeated",
            command_line="texts",
            accepted="texts",
        ),
    )
    averaging: str | None = field(
        default=None, metadata=option_info("of the weights, such as ema(decay=0.999); default none")
    )
    reestimate_batch_norm: Flag = field(
        default=False,
        metadata=option_info(
            "estimate the statistics of batch normalisation on the training images after each epoch, for "
            "certified training or averaged weights"
        ),
    )
    clip: Positive | None = field(
        default=None, metadata=option_info("the L2 norm to which a longer gradient is cut; default none")
    )
    validation_attack: str | None = field(
        default=None,
        metadata=option_info(
            "an attack on validation images after each epoch, such as pgd(steps=10): the epoch with the "
            "highest accuracy under it is kept; default: the one with the lowest validation loss"
        ),
    )
    validation_threat: str | None = field(
        default=None, metadata=option_info("what that attack may do, such as linf(eps=0.3)")
    )
    validation_images: Count | None = field(
        default=None, metadata=option_info("how many images it attacks; default 1000")
    )
    validation_stop: Drop | None = field(
        default=None,
        metadata=option_info(
            "end the training when the accuracy under that attack is so far below its best, such as 0.2: "
            "a sign of catastrophic overfitting"
        ),
    )


@dataclass(frozen=True, kw_only=True)
class TrainOptions(TrainingFields, Options):
    """What a training is asked to do."""

    objective: str = field(
        kw_only=False,
        metadata=option_info(
            "what the network is trained for: cross_entropy, trades(eps=0.3, beta=6), ibp_training(eps=0.3) "
            "and so on; `ls objectives` lists them",
            command_line="text",
            by_place=True,
            flag="--objective",
        ),
    )
    architecture: str | None = field(
        default=None, metadata=option_info("one of `ls models`, such as cnn(dropout=0.2) or strided_cnn")
    )
    model: str | Path | None = field(
        default=None,
        metadata=option_info(
            "in the place of an architecture a network of your own: FILE.py:NAME or package.module:NAME, a "
            "function that returns an untrained torch.nn.Module, or its class",
            command_line="text",
        ),
    )
    dataset: "str | Path | Split" = field(
        default="mnist",
        metadata=option_info(
            "one of `ls datasets`, or FILE.py:FUNCTION that returns (images, labels). In Python also a split",
            command_line="text",
            accepted="a name, FILE.py:NAME or a Split",
        ),
    )
    test_dataset: "str | Path | Split | None" = field(
        default=None,
        metadata=option_info(
            "with your own images: FILE.py:FUNCTION that returns those that the network is tested on. In "
            "Python also a split",
            command_line="text",
            accepted="FILE.py:NAME or a Split",
        ),
    )
    validation_fraction: float = field(
        default=0.2, metadata=option_info("the share of the training images that is set apart for validation")
    )
    train: PositiveInt | None = field(
        default=None, metadata=option_info("train on so many images at most; default all")
    )
    validation: PositiveInt | None = field(
        default=None, metadata=option_info("validate on so many images at most; default all")
    )
    data_root: str | Path | None = field(default=None, metadata=DATA_ROOT)
    device: DeviceChoice = field(
        default="auto", metadata=option_info("where to compute; auto takes a GPU if there is one")
    )
    precision: PrecisionChoice = field(
        default="auto",
        metadata=option_info("of the matrix products in training; auto takes bf16 where it is faster"),
    )
    seed: int = field(default=0, metadata=option_info(SEED))
    out: str | Path | None = field(
        default=None,
        metadata=option_info("the run's folder; default runs/train-OBJECTIVE-MODEL-DATASET", **FOLDER),
    )
    overwrite: bool = field(default=False, metadata=OVERWRITE)
    progress: "Progress | None" = field(default=None, metadata=PROGRESS, compare=False)
