"""A dataset of the Hugging Face hub, or a folder that ``save_to_disk`` wrote."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from robustlab.core.errors import DataError, SetupError, did_you_mean, offer
from robustlab.core.inputs import as_numbers
from robustlab.core.spec import BareText, register
from robustlab.core.text import a_kind, shown
from robustlab.data.parts import PartDataset, ReadPart, mixed, no_training_part, placed
from robustlab.data.pictures import Pictures
from robustlab.data.resizing import Pixels, Resize, Resizing

if TYPE_CHECKING:
    from PIL.Image import Image

_TEST = ("test", "validation", "val", "valid")


@register("hf")
class HuggingFace(PartDataset):
    """A dataset of the Hugging Face hub, such as ``hf(ylecun/mnist)``, or a folder that save_to_disk wrote.

    The columns of the images and the labels are found by their types, if only one of each fits. Pictures are
    decoded as they are needed.
    """

    path: BareText
    """OWNER/NAME on the hub, or a folder."""
    split: str | None = None
    """The name of the split to test on; by default test, validation, val or valid."""
    config: str | None = None
    """The name of the configuration, if the dataset has several."""
    image: str | None = None
    """The column of the images."""
    label: str | None = None
    """The column of the labels."""
    resize: Resize = None
    """The new length of the shorter side, or (height, width)."""
    crop: Pixels | None = None
    """The height and width of the centre that is cut out, after resizing."""
    channels: Literal[1, 3] = 3
    """3 for colours, 1 for grey."""

    def part(self, *, train: bool, data_root: Path | None, download: bool) -> ReadPart:
        rows, split = self._rows(data_root, train=train, download=download)
        image, label = self._columns(rows.features)
        try:
            labels = as_numbers("labels", rows.with_format("numpy")[label][:], torch.empty(len(rows), 0))
        except DataError as error:
            raise DataError(f"{self.shown_as}: the column {label}: {error}") from None
        order, remarks = mixed(labels)
        resizing = Resizing(resize=self.resize, crop=self.crop, channels=self.channels)
        return ReadPart(
            images=TablePictures(rows, image, f"{self.path}, {split}", order, resizing),
            labels=labels,
            source=f"{self.path} of Hugging Face, split {split}, columns {image} and {label}",
            class_names=tuple(getattr(rows.features[label], "names", None) or ()),
            remarks=remarks,
            order=order,
        )

    def _rows(self, data_root: Path | None, *, train: bool, download: bool) -> tuple[Any, str]:
        """Return the rows of a split, and its name."""
        try:
            import datasets
        except ImportError:
            raise SetupError("hf needs the package datasets: pip install 'robustlab[hf]'") from None
        try:
            folder: Path | None = placed(self.path, data_root)
        except DataError:
            folder = None
        try:
            if folder is not None:
                saved = datasets.load_from_disk(str(folder))
                known = list(saved) if isinstance(saved, datasets.DatasetDict) else []
                name = self._split(known, train=train) if known else ""
                return (saved[name], name) if known else (saved, "all")
            options: dict[str, Any] = (
                {} if download else {"download_config": datasets.DownloadConfig(local_files_only=True)}
            )
            name = self._split(datasets.get_dataset_split_names(self.path, self.config), train=train)
            return datasets.load_dataset(self.path, self.config, split=name, **options), name
        except DataError:
            raise
        except Exception as error:  # of the hub, the network, the files or the table
            what = f"{self.path} can't be loaded from {folder or 'the Hugging Face hub'}"
            raise DataError(f"{what}: {type(error).__name__}: {error}") from None

    def _split(self, known: list[str], *, train: bool) -> str:
        wanted = ("train",) if train else _TEST if self.split is None else (self.split,)
        found = next((name for name in wanted if name in known), None)
        if found is None and train:
            raise no_training_part(self)
        if found is None:
            hint = "" if self.split is None else did_you_mean(self.split, known)
            raise DataError(f"{self.path} has no split {' or '.join(wanted)}{hint}; {offer(known)}")
        return found

    def _columns(self, features: Any) -> tuple[str, str]:
        """Return the columns of the images and the labels."""
        from datasets import ClassLabel
        from datasets import Image as Pictured

        known = dict(features)
        pictured = [name for name, kind in known.items() if isinstance(kind, Pictured)]
        labelled = [name for name, kind in known.items() if isinstance(kind, ClassLabel)]
        columns = []
        for argument, given, fitting in (("image", self.image, pictured), ("label", self.label, labelled)):
            if given is None and len(fitting) != 1:
                found = ", ".join(fitting) or "none"
                raise DataError(
                    f"which column holds the {argument}s? Give {argument}=COLUMN; of a fitting type: "
                    f"{found}; all: {', '.join(known)}"
                )
            column = fitting[0] if given is None else given
            if column not in known:
                raise DataError(
                    f"{self.path} has no column {shown(column)}{did_you_mean(column, known)}; {offer(known)}"
                )
            columns.append(column)
        if columns[0] not in pictured:
            raise DataError(f"the column {columns[0]} holds {a_kind(known[columns[0]])}, not pictures")
        return columns[0], columns[1]


class TablePictures(Pictures):
    """The encoded pictures in a column of a table of Hugging Face."""

    def __init__(self, rows: Any, column: str, name: str, order: Tensor, resizing: Resizing) -> None:
        from datasets import Image as Pictured

        self._rows, self._name, self._column = rows.select_columns([column]), name, column
        self._encoded = self._rows.cast_column(column, Pictured(decode=False))
        if not len(rows):
            raise DataError(f"{name} has no rows")
        try:
            size = resizing.size(*self.picture(0).size)
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{self.title(0)} can't be decoded: {error}") from None
        except DataError as error:
            raise DataError(f"{self.title(0)}: {error}") from None
        super().__init__(order, size, resizing)

    def title(self, place: int) -> str:
        return f"row {place} of {self._name}"

    def picture(self, place: int) -> "Image":
        picture: Image = self._rows[place][self._column]
        return picture

    def contents(self) -> Iterator[bytes]:
        for row in self._encoded:
            encoded = row[self._column]
            yield encoded["bytes"] or Path(encoded["path"]).read_bytes()
