"""The images of a study or a training: those of a named dataset, or a user's own."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from robustlab.core.errors import DataError
from robustlab.core.text import one_line
from robustlab.core.user_code import is_user_code
from robustlab.data import Split, Splits, load_dataset
from robustlab.data.splitting import train_and_validation
from robustlab.evaluation.images import load_images
from robustlab.study.recipe import DataPart

NEEDS_TEST = "your own data need images to test on, which the network never sees in training"


def load_splits(
    part: DataPart,
    *,
    dataset: str | Split | None = None,
    test: Split | None = None,
    data_root: str | Path | None = None,
    seed: int = 0,
    note: Callable[[str], None] = lambda _: None,
) -> Splits:
    """Load the images that a recipe names.

    Args:
        part: of the recipe.
        dataset: instead of the recipe's, a name or a split.
        test: with a split, the one that is tested on.
        data_root: the first folder in which data is looked for.
        seed: of the choice of validation images.
        note: where to say that a user's file takes long to import.

    Raises:
        DataError, SetupError: there are no such images.
    """
    wanted = part.dataset if dataset is None else dataset
    if isinstance(wanted, Split) or is_user_code(wanted):
        data = _own(wanted, part.test if test is None else test, part.validation_fraction, seed, note)
    else:
        data = load_dataset(
            wanted, data_root=data_root, validation_fraction=part.validation_fraction, seed=seed
        )
    return replace(
        data,
        train=data.train.take(slice(part.train)),
        validation=data.validation.take(slice(part.validation)),
    )


def _own(
    images: str | Split,
    test: str | Split | None,
    validation_fraction: float,
    seed: int,
    note: Callable[[str], None],
) -> Splits:
    if test is None:
        raise DataError(NEEDS_TEST)
    whole, tested = (load_images(part, note=note) for part in (images, test))
    one, other = (tuple(part.split.images.shape[1:]) for part in (whole, tested))
    if one != other:
        raise DataError(f"images of training and test must have the same shape, found {one} and {other}")
    first, second = train_and_validation(len(whole.split), validation_fraction, seed)
    return Splits(
        name=one_line(whole.name, 200),
        train=whole.split.take(first).named("train"),
        validation=whole.split.take(second).named("validation"),
        test=tested.split.named("test"),
        source="the user's own",
    )
