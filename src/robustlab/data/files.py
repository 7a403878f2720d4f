"""Datasets in files that torchvision downloads: found on the disk, verified byte for byte, or refused."""

import hashlib
import http.client
import tarfile
import zlib
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from torch import Tensor

from robustlab.core.errors import DataError, OutputError, SetupError
from robustlab.core.files import write_bytes
from robustlab.data.base import Dataset
from robustlab.data.places import ENVIRONMENT, search_path
from robustlab.data.split import Splits


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
    archives: ClassVar[dict[str, str]]
    """The archives to download, with their MD5."""

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

    @abstractmethod
    def unpacked(self, archive: Path, name: str) -> bytes:
        """Return the content of a file from its archive, without writing it.

        Raises:
            OSError, EOFError, KeyError, ValueError, zlib.error, tarfile.TarError: the archive is damaged, or
                is not the official one.
        """

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
        root = self.find(data_root)
        if root is None and not download:
            self._give_up(data_root, "downloading was not allowed")
        root = root or self._download(data_root)
        self._unpack(root)
        self.verify(root)
        return self.divided(
            self.read(root, train=True),
            self.read(root, train=False),
            validation_fraction=validation_fraction,
            seed=seed,
            source=f"{self.title}, files verified by {'MD5' if self._all_known() else 'MD5 or size'}",
        )

    def state(self, data_root: Path | None) -> str:
        root = self.find(data_root)
        if root is None:
            return "not found, downloaded when needed"
        self.verify(root)
        unknown = [name for name, (md5, _) in self.files.items() if not md5]
        by_size = f"; of {', '.join(unknown)} only the size: no MD5 is published" if unknown else ""
        return f"{root / self.folder}, verified{by_size}"

    def verify(self, root: Path) -> None:
        """Check the files under ``root`` byte for byte; if only its archive is there, what that holds.

        Raises:
            DataError: naming each file that is missing, truncated or altered.
        """
        folder = root / self.folder
        problems = [problem for name in self.files if (problem := self._problem(folder, name))]
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
        if not (folder / self._archive_of(name)).is_file():
            return f"{name} is missing"
        try:
            self._unpacked(folder, name)
        except DataFilesError as error:
            return str(error)
        return ""

    def _archive_of(self, name: str) -> str:
        return f"{name}.gz" if f"{name}.gz" in self.archives else next(iter(self.archives))

    def _unpack(self, root: Path) -> None:
        """Unpack each missing file whose archive is there; a damaged one is a `DataFilesError`."""
        # An interrupted download or a manual copy may leave such files.
        folder = root / self.folder
        for name in self.files:
            if not (folder / name).is_file() and (folder / self._archive_of(name)).is_file():
                content = self._unpacked(folder, name)
                try:
                    (folder / name).parent.mkdir(exist_ok=True)
                    write_bytes(folder / name, content)
                except (OSError, OutputError) as error:
                    raise DataFilesError(f"{folder / name} can't be written: {error}") from None

    def _unpacked(self, folder: Path, name: str) -> bytes:
        archive = folder / self._archive_of(name)
        try:
            return self.unpacked(archive, name)
        except (OSError, EOFError, KeyError, ValueError, zlib.error, tarfile.TarError) as error:
            raise DataFilesError(
                f"{archive} can't be unpacked: {error}. Remove it to have it downloaded again"
            ) from None

    def _all_known(self) -> bool:
        return all(md5 for md5, _ in self.files.values())

    def _short(self) -> str:
        return self.title.partition(" (")[0]

    def _download(self, data_root: Path | None) -> Path:
        root = data_root or search_path()[-1]
        try:
            root.mkdir(parents=True, exist_ok=True)
            self.torchvision(root, train=True, download=True)
        except (RuntimeError, OSError, EOFError, zlib.error, http.client.HTTPException) as error:
            reason = " ".join(str(error).split())
            self._give_up(data_root, f"downloading to {root} failed ({reason})")
        return root

    def _give_up(self, data_root: Path | None, reason: str) -> NoReturn:
        tried = ", ".join(str(place / self.folder) for place in search_path(data_root))
        raise DataFilesError(
            f"{self._short()} was not found and {reason}. Looked in: {tried}. To place it by hand, put the "
            f"files {', '.join(self.files)}, or {', '.join(self.archives)}, into the folder "
            f"{Path('DIR', self.folder).as_posix()}, then pass --data-root DIR or set {ENVIRONMENT}=DIR"
        )


def md5_of(path: Path) -> str:
    """Return the MD5 of a file, as its publishers list it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
