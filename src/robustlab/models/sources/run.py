"""A network that a study or `robustlab train` trained."""

from pathlib import Path

from robustlab.core.errors import SetupError, did_you_mean
from robustlab.core.spec import BareText, register
from robustlab.core.text import shown
from robustlab.models.files import load_network, network_kind
from robustlab.models.sources.base import Loaded, Note, Source


@register("run")
class FromRun(Source):
    """A network of a finished study or training; the folder alone means the same where there is only one."""

    folder: BareText
    """The folder of the run."""
    network: BareText | None = None
    """Its name in the recipe."""

    def load(self, note: Note) -> Loaded:
        del note
        path, folder = self._file(), Path(self.folder)
        return Loaded(
            network=load_network(path),
            name=f"{folder.name}-{path.stem}",
            origin=str(path),
            network_kind=network_kind(path),
        )

    def _file(self) -> Path:
        folder = Path(self.folder)
        if not folder.is_dir():
            raise SetupError(
                f"the folder {folder} does not exist; run(...) takes the folder of a study or a training"
            )
        if (folder / "run.json").exists() and not (folder / "manifest.json").exists():
            raise SetupError(
                f"{folder} holds a run that did not end: its networks may be of two different runs; "
                "run the same command again, or give the file of one network"
            )
        networks = {file.stem: file for file in sorted((folder / "models").glob("*.safetensors"))}
        if not networks:
            raise SetupError(
                f"{folder} holds no trained networks; expected the folder of a study or a training"
            )
        if self.network is None and len(networks) == 1:
            return next(iter(networks.values()))
        if self.network not in networks:
            hint = "" if self.network is None else did_you_mean(self.network, networks)
            wrong = "" if self.network is None else f"unknown network {shown(self.network)}{hint}; "
            raise SetupError(f"{folder}: {wrong}name a network; it has: {', '.join(networks)}")
        return networks[self.network]
