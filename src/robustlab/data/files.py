"""Datasets in files that torchvision downloads: found on the disk, verified byte for byte, or refused."""

import hashlib
import http.client
import tarfile
import zipfile
import zlib
from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from torch import Tensor

from robustlab.core.errors import DataError, OutputError, SetupError
from robustlab.core.files import write_bytes
from robustlab.data.base import Dataset
from robustlab.data.places import ENVIRONMENT, search_path
from robustlab.data.split import LoadedSplit, Split, Splits

_BROKEN_ARCHIVE = (tarfile.TarError, zipfile.BadZipFile)


class DataFilesError(DataError):
    """A dataset's files are missing, or not the official ones: the message names all files and folders."""

    limit = 1500


class FileDataset(Dataset):
    """A dataset in files below one folder, as torchvision lays them out."""

    title: ClassVar[str]
    folder: ClassVar[str]
    """The folder of the files, relative to a folder of `search_path`."""
    files: ClassVar[dict[str, tuple[str, int]]]
    """The official files, with MD5 and size in bytes; empty or 0 if one is not known."""
    test_files: ClassVar[tuple[str, ...]]
    """Those of the files that the test part needs; the others belong to the training part."""
    archives: ClassVar[dict[str, str]] = {}
    """The archives to download, with their MD5; empty: the files themselves are downloaded."""

    def names(self, *, train: bool) -> tuple[str, ...]:
        """Return the names of the files that a part needs."""
        return tuple(name for name in self.files if (name not in self.test_files) == train)

    def classes(self) -> tuple[str, ...]:
        """Return the names of the classes."""
        return self.class_names

    def torchvision(self, root: Path, *, train: bool, download: bool = False) -> Any:
        """Return torchvision's dataset, of the name of the class or of the one that it extends.

        With ``download`` it shows a progress bar.
        """
        from torchvision import datasets

        known = (getattr(datasets, kind.__name__, None) for kind in type(self).__mro__)
        dataset = next((each for each in known if each is not None), None)
        if dataset is None:
            raise SetupError(f"torchvision has no dataset {type(self).__name__}; override `torchvision`")
        return dataset(str(root), train=train, download=download)

    def unpacked(self, archive: Path, name: str) -> bytes:
        """Return the content of a file from its archive, without writing it.

        A subclass with archives defines it.

        Raises:
            OSError, EOFError, KeyError, ValueError, zlib.error, tarfile.TarError, zipfile.BadZipFile: the
                archive is damaged, or is not the official one.
        """
        raise NotImplementedError

    @abstractmethod
    def read(self, root: Path, *, train: bool) -> tuple[Tensor, Tensor]:
        """Return images (N, C, H, W), uint8, and labels (N,) of verified files."""

    def find(self, data_root: Path | None = None) -> Path | None:
        """Return the first folder of `search_path` that holds some of its files, or None."""
        names = [*self.files, *self.archives]
        return next(
            (
                root
                for root in search_path(data_root)
                if any((root / self.folder / name).is_file() for name in names)
            ),
            None,
        )

    def load(
        self, *, data_root: Path | None, validation_fraction: float, seed: int, download: bool
    ) -> Splits:
        root = self._ready(data_root, download=download, parts=(True, False))
        return self.divided(
            self.read(root, train=True),
            self.read(root, train=False),
            validation_fraction=validation_fraction,
            seed=seed,
            source=self._source(),
            class_names=self.classes(),
        )

    def load_test(self, *, data_root: Path | None, download: bool) -> LoadedSplit:
        root = self._ready(data_root, download=download, parts=(False,))
        return LoadedSplit(
            split=Split.of(*self.read(root, train=False), name="test"),
            name=self.shown_as,
            source=self._source(),
            class_names=self.classes(),
        )

    def _ready(self, data_root: Path | None, *, download: bool, parts: tuple[bool, ...]) -> Path:
        """Return the folder of the files of some parts (True: training), once they are verified."""
        root = self.find(data_root)
        if root is None and not download:
            self._give_up(data_root, "downloading was not allowed")
        root = root or self._download(data_root, parts)
        names = [name for train in parts for name in self.names(train=train)]
        self._unpack(root, names)
        self._verify(root, names)
        return root

    def _source(self) -> str:
        return f"{self.title}, files verified by {'MD5' if self._all_known() else 'MD5 or size'}"

    def state(self, data_root: Path | None) -> str:
        root = self.find(data_root)
        if root is None:
            return "not found, downloaded when needed"
        self.verify(root)
        unknown = [name for name in self._names() if not self.files[name][0]]
        by_size = f"; of {', '.join(unknown)} only the size: no MD5 is published" if unknown else ""
        return f"{root / self.folder}, verified{by_size}"

    def verify(self, root: Path) -> None:
        """Check the files under ``root`` byte for byte; if only its archive is there, what that holds.

        Raises:
            DataError: naming each file that is missing, truncated or altered.
        """
        self._verify(root, self._names())

    def _names(self) -> tuple[str, ...]:
        return self.names(train=True) + self.names(train=False)

    def _verify(self, root: Path, names: Iterable[str]) -> None:
        folder = root / self.folder
        problems = [problem for name in names if (problem := self._problem(folder, name))]
        if problems:
            raise DataFilesError(
                f"the {self._short()} files in {folder} can't be used: {'; '.join(problems)}. Replace them "
                "with the official ones, or remove that folder to have them downloaded again"
            )

    def _problem(self, folder: Path, name: str) -> str:
        (md5, size), path = self.files[name], folder / name
        if not path.is_file():
            return self._problem_when_packed(folder, name)
        actual = path.stat().st_size
        if size not in {0, actual}:
            return f"{name} is {'truncated' if actual < size else 'too long'} ({actual:,} of {size:,} bytes)"
        digest = md5_of(path)
        return "" if digest == (md5 or digest) else f"{name} was altered (MD5 {digest}, official {md5})"

    def _problem_when_packed(self, folder: Path, name: str) -> str:
        if not self._archive_of(folder, name).is_file():
            return f"{name} is missing"
        try:
            self._unpacked(folder, name)
        except DataFilesError as error:
            return str(error)
        return ""

    def _archive_of(self, folder: Path, name: str) -> Path:
        """Return the path of a file's archive; of a file without one, its own."""
        return folder / (f"{name}.gz" if f"{name}.gz" in self.archives else next(iter(self.archives), name))

    def _unpack(self, root: Path, names: Iterable[str]) -> None:
        """Unpack each missing file whose archive is there; a damaged one is a `DataFilesError`."""
        # An interrupted download or a manual copy may leave such files.
        folder = root / self.folder
        for name in names:
            if not (folder / name).is_file() and self._archive_of(folder, name).is_file():
                content = self._unpacked(folder, name)
                try:
                    (folder / name).parent.mkdir(exist_ok=True)
                    write_bytes(folder / name, content)
                except (OSError, OutputError) as error:
                    raise DataFilesError(f"{folder / name} can't be written: {error}") from None

    def _unpacked(self, folder: Path, name: str) -> bytes:
        archive = self._archive_of(folder, name)
        try:
            return self.unpacked(archive, name)
        except (OSError, EOFError, KeyError, ValueError, zlib.error, *_BROKEN_ARCHIVE) as error:
            raise DataFilesError(
                f"{archive} can't be unpacked: {error}. Remove it to have it downloaded again"
            ) from None

    def _all_known(self) -> bool:
        return all(self.files[name][0] for name in self._names())

    def _short(self) -> str:
        return self.title.partition(" (")[0]

    def _download(self, data_root: Path | None, parts: tuple[bool, ...]) -> Path:
        root = data_root or search_path()[-1]
        try:
            root.mkdir(parents=True, exist_ok=True)
            for train in parts:
                if not all((root / self.folder / name).is_file() for name in self.names(train=train)):
                    self.torchvision(root, train=train, download=True)
        except (RuntimeError, OSError, EOFError, zlib.error, http.client.HTTPException) as error:
            reason = " ".join(str(error).split())
            self._give_up(data_root, f"downloading to {root} failed ({reason})")
        return root

    def _give_up(self, data_root: Path | None, reason: str) -> NoReturn:
        archives = f", or {', '.join(self.archives)}," if self.archives else ""
        tried = ", ".join(str(place / self.folder) for place in search_path(data_root))
        raise DataFilesError(
            f"{self._short()} was not found and {reason}. Looked in: {tried}. To place it by hand, put the "
            f"files {', '.join(self._names())}{archives} into the folder "
            f"{Path('DIR', self.folder).as_posix()}, then pass --data-root DIR or set {ENVIRONMENT}=DIR"
        )


def md5_of(path: Path) -> str:
    """Return the MD5 of a file, as its publishers list it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def from_tar(archive: Path, md5: str, name: str) -> bytes:
    """Return a file of an archive, if that is the official one; see `FileDataset.unpacked` for the errors."""
    if md5_of(archive) != md5:
        raise ValueError("its MD5 is not that of the official file")
    with tarfile.open(archive) as opened:
        file = opened.extractfile(name)
        return b"" if file is None else file.read()
