"""A network of the zoo, by its name."""

from robustlab.core.spec import BareText, register
from robustlab.models.sources.base import Loaded, Note, Source
from robustlab.models.zoo import load_from_zoo


@register("zoo")
class FromZoo(Source):
    """A trained network by the name that ``robustlab ls zoo`` prints; the name means the same."""

    network: BareText
    """Its name."""

    def load(self, note: Note) -> Loaded:
        del note
        return Loaded(
            network=load_from_zoo(self.network),
            name=self.network,
            origin=f"the zoo's {self.network}",
            network_kind="classifier",
        )
