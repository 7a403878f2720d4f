"""The dataset kind: a unit that loads a dataset's splits, and describes its images and classes."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from robustlab.core.spec import Unit
from robustlab.data.source import ImageSource
from robustlab.data.split import LoadedSplit, Split, Splits
from robustlab.data.splitting import train_and_validation


class Dataset(Unit, ABC):
    """A dataset. Another package adds one through the entry-point group ``robustlab.dataset``."""

    kind = "dataset"
    example = "mnist"
    by_place = True

    class_names: ClassVar[tuple[str, ...]] = ()
    mean: ClassVar[tuple[float, ...]] = ()
    """The usual mean of each channel over the training images, for normalisation; empty: not usual."""
    std: ClassVar[tuple[float, ...]] = ()
    widely_used: ClassVar[bool] = False
    """Whether networks for other images are often normalised by its mean and std, too."""

    @property
    def shown_as(self) -> str:
        """The name for users: the spec without default values."""
        return self.brief().removesuffix("()")

    @property
    def wished(self) -> "Dataset":
        """The dataset that it loads if that is available: itself, if no other one may replace it."""
        return self

    @property
    def stand_in(self) -> "Dataset | None":
        """The dataset that it loads if `wished` is not available."""
        return None

    @abstractmethod
    def load(
        self, *, data_root: Path | None, validation_fraction: float, seed: int, download: bool
    ) -> Splits:
        """Return the train, validation and test split.

        Args:
            data_root: the first folder to look in; see `search_path` for the others.
            validation_fraction: the share of the training part that is used for validation.
            seed: of the choice of validation images.
            download: whether missing files may be downloaded.

        Raises:
            DataError: the files are missing and can't be downloaded, or are truncated or altered.
        """

    def load_test(self, *, data_root: Path | None, download: bool) -> LoadedSplit:
        """Return the test split; a dataset that can read it alone overrides this.

        Args:
            data_root, download: as for `load`.

        Raises:
            DataError: as for `load`.
        """
        whole = self.load(data_root=data_root, validation_fraction=0.2, seed=0, download=download)
        return LoadedSplit(
            split=whole.test,
            name=whole.name,
            source=whole.source,
            class_names=whole.class_names,
            fallback=whole.fallback,
        )

    def state(self, data_root: Path | None) -> str:
        """Return where its files are, for ``robustlab doctor``; empty if it needs none.

        Raises:
            DataError: they are truncated or altered.
        """
        del data_root
        return ""

    def divided(
        self,
        train: tuple[Tensor | ImageSource, Tensor],
        test: tuple[Tensor | ImageSource, Tensor],
        *,
        validation_fraction: float,
        seed: int,
        source: str,
        class_names: tuple[str, ...] | None = None,
    ) -> Splits:
        """Return the splits of a training and a test part, each of images (N, C, H, W) and labels (N,).

        Args:
            train, test: the two parts.
            validation_fraction, seed: as for `load`.
            source: where they came from, for the report.
            class_names: if they are not those of the class.
        """
        first, second = train_and_validation(len(train[1]), validation_fraction, seed)
        whole = Split.of(*train, name="train")
        return Splits(
            name=self.shown_as,
            train=whole.take(first),
            validation=whole.take(second).named("validation"),
            test=Split.of(*test, name="test"),
            source=source,
            class_names=self.class_names if class_names is None else class_names,
        )
