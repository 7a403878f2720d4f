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
    NaturalInt,
    PositiveInt,
    PrecisionChoice,
    Strict,
    option,
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

    epochs: Count = option(10, "passes over the training images")
    batch_size: Count = option(64, "images per step")
    optimizer: str | None = option(None, "such as sgd(lr=0.1, momentum=0.9); default adam")
    lr: Positive | None = option(None, "the learning rate of adam, if no optimizer is given; default 0.001")
    betas: tuple[Decay, Decay] | None = option(
        None, "of adam, if no optimizer is given; default 0.9 and 0.999", command_line=None
    )
    schedule: str | None = option(
        None, "of the learning rate, such as triangle(peak=0.4) or cosine; default constant"
    )
    augmentation: Sequence[str] = option(
        (),
        "of the training images, such as shift(pixels=2); may be repeated",
        command_line="texts",
        accepted="texts",
    )
    averaging: str | None = option(None, "of the weights, such as ema(decay=0.999); default none")
    reestimate_batch_norm: Flag = option(
        False,
        "estimate the statistics of batch normalisation on the training images after each epoch, for "
        "certified training or averaged weights",
    )
    clip: Positive | None = option(None, "the L2 norm to which a longer gradient is cut; default none")
    validation_attack: str | None = option(
        None,
        "an attack on validation images after each epoch, such as pgd(steps=10): the epoch with the "
        "highest accuracy under it is kept; default: the one with the lowest validation loss",
    )
    validation_threat: str | None = option(None, "what that attack may do, such as linf(eps=0.3)")
    validation_images: Count | None = option(None, "how many images it attacks; default 1000")
    validation_stop: Drop | None = option(
        None,
        "end the training when the accuracy under that attack is so far below its best, such as 0.2: "
        "a sign of catastrophic overfitting",
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
    architecture: str | None = option(None, "one of `ls models`, such as cnn(dropout=0.2) or strided_cnn")
    model: str | Path | None = option(
        None,
        "in the place of an architecture a network of your own: FILE.py:NAME or package.module:NAME, a "
        "function that returns an untrained torch.nn.Module, or its class",
        command_line="text",
    )
    dataset: "str | Path | Split" = option(
        "mnist",
        "one of `ls datasets`, or FILE.py:FUNCTION that returns (images, labels). In Python also a split",
        command_line="text",
        accepted="a name, FILE.py:NAME or a Split",
    )
    test_dataset: "str | Path | Split | None" = option(
        None,
        "with your own images: FILE.py:FUNCTION that returns those that the network is tested on. In "
        "Python also a split",
        command_line="text",
        accepted="FILE.py:NAME or a Split",
    )
    validation_fraction: float = option(
        0.2, "the share of the training images that is set apart for validation"
    )
    train: PositiveInt | None = option(None, "train on so many images at most; default all")
    validation: PositiveInt | None = option(None, "validate on so many images at most; default all")
    attack_images: NaturalInt = option(
        1000,
        "attack the trained network on so many test images, with `standard`, for its card; 0 for none. The "
        "threat model is that of the validation attack, or else the objective's",
    )
    data_root: str | Path | None = field(default=None, metadata=DATA_ROOT)
    device: DeviceChoice = option("auto", "where to compute; auto takes a GPU if there is one")
    precision: PrecisionChoice = option(
        "auto", "of the matrix products in training; auto takes bf16 where it is faster"
    )
    seed: int = option(0, SEED)
    out: str | Path | None = option(
        None, "the run's folder; default runs/train-OBJECTIVE-MODEL-DATASET", **FOLDER
    )
    overwrite: bool = field(default=False, metadata=OVERWRITE)
    progress: "Progress | None" = field(default=None, metadata=PROGRESS, compare=False)
