"""A network of RobustBench's model zoo."""

from typing import Any

import platformdirs

from robustlab.core.calling import in_one_line
from robustlab.core.errors import SetupError
from robustlab.core.spec import BareText, register
from robustlab.models.sources.base import Loaded, Note, Source
from robustlab.models.sources.library import known, loading

_INSTALL = "type: pip install robustbench 'setuptools<81'"
"""Its release 1.1.1 uses pkg_resources, which later releases of setuptools do not contain."""


@register("robustbench")
class FromRobustBench(Source):
    """A network of RobustBench, which normalises its images itself."""

    network: BareText
    """Its name there, such as ``Carmon2019Unlabeled``."""
    dataset: BareText = "cifar10"
    """``cifar10``, ``cifar100`` or ``imagenet``."""
    threat: BareText = "Linf"
    """``Linf``, ``L2`` or ``corruptions``."""

    def load(self, note: Note) -> Loaded:
        robustbench, zoo = _packages()
        known("dataset of robustbench", self.dataset, [item.value for item in zoo.enums.BenchmarkDataset])
        known("threat model of robustbench", self.threat, [item.value for item in zoo.enums.ThreatModel])
        networks = zoo.model_dicts[zoo.enums.BenchmarkDataset(self.dataset)]
        known("network of robustbench", self.network, networks[zoo.enums.ThreatModel(self.threat)])
        note("robustbench downloads the weights of a network once")
        folder = platformdirs.user_cache_path("robustlab") / "robustbench"
        with loading(self.brief(), "robustbench downloads its weights from drive.google.com"):
            network = robustbench.load_model(
                self.network, model_dir=folder, dataset=self.dataset, threat_model=self.threat
            ).eval()
        return Loaded(network=network, name=self.network, origin=self.brief())


def _packages() -> tuple[Any, Any]:
    try:
        import robustbench
        from robustbench import model_zoo
    except Exception as error:  # it is not installed, or its installation does not work
        raise SetupError(f"robustbench can't be imported: {in_one_line(error)}; {_INSTALL}") from error
    return robustbench, model_zoo
