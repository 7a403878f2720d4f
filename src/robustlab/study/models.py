"""The classifiers of a study: its own networks, compositions of them, and networks from elsewhere."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import nn

from robustlab.core.spec import parse
from robustlab.core.text import one_line
from robustlab.defenses import ComposedDefense
from robustlab.defenses.loading import load, source
from robustlab.evaluation.identity import code_of, identity_of
from robustlab.evaluation.subject import LoadedClassifier, classifier_of
from robustlab.models import Model, OwnCode, load_network
from robustlab.models.files import network_kind
from robustlab.models.sources import FromRun, Loaded, Note
from robustlab.runs.ledger import digest
from robustlab.study.recipe import Recipe
from robustlab.study.sweep import Choice, Sweep


@dataclass(kw_only=True)
class StudyModels:
    """Loads each network of a recipe once.

    Attributes:
        recipe: defines the recipe's own names.
        folder: the folder with the weights of the run's networks.
        device: the device of the networks.
        note: called with a message if the import of a user's file takes long.
        keys: the key of the stage that trains a network, by the instance's name; the planner fills it in.
    """

    recipe: Recipe
    folder: Path
    device: str = "cpu"
    note: Note = lambda _: None
    keys: dict[str, str] = field(default_factory=dict)
    _networks: dict[str, nn.Module] = field(default_factory=dict)
    _classifiers: dict[tuple[str, str | None], LoadedClassifier] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._sweep = Sweep(self.recipe)

    def network(self, instance: str) -> nn.Module:
        """Return a trained network, in eval mode on the device."""
        if instance not in self._networks:
            self._networks[instance] = load_network(self._path(instance), self.device, own_code=True)
        return self._networks[instance]

    def classifier(self, text: str, choice: Choice) -> LoadedClassifier:
        """Return the classifier of a source under a choice of values."""
        own = choice.of(self._sweep.factors_of(text))
        known = (text, own.id)
        if known not in self._classifiers:
            loaded = load(own.bound(text), self.note, self._known(choice))
            ours = text in self.recipe.networks or text in self.recipe.models
            name = self._sweep.instance(text, choice) if ours else one_line(loaded.name, 100)
            self._classifiers[known] = classifier_of(loaded, name=name)
        return self._classifiers[known]

    def key(self, text: str, choice: Choice) -> str:
        """Return the hash of all that a source's answers depend on; untrained networks are allowed."""
        if text in self.recipe.networks:
            return self.keys[self._sweep.instance(text, choice)]
        if text in self.recipe.models:
            return self.key(self.recipe.models[text].source, choice)
        named = source(choice.bound(text))
        if isinstance(named, ComposedDefense):
            return digest(identity_of(named), [self.key(part, choice) for part in named.networks])
        classifier = self.classifier(text, choice)
        return digest(classifier.code, classifier.sha256())

    def own_code(self, text: str, choice: Choice) -> tuple[str, str] | None:
        """Return the reference and the file of weights of a network of a user's code; else None."""
        if text in self.recipe.models:
            return self.own_code(self.recipe.models[text].source, choice)
        if text not in self.recipe.networks:
            return None
        model = parse(Model, choice.bound(self.recipe.networks[text].model))
        path = self._path(self._sweep.instance(text, choice))
        return (model.reference, _shown(path)) if isinstance(model, OwnCode) else None

    def address(self, text: str, choice: Choice) -> str | None:
        """Return the text that names the same classifier outside the study; None if no text does.

        The weights of a user's network do not name its code, see `own_code`.
        """
        if self.own_code(text, choice):
            return None
        if text in self.recipe.networks:
            return repr(FromRun(folder=_shown(self.folder), network=self._sweep.instance(text, choice)))
        if text in self.recipe.models:
            return self.address(self.recipe.models[text].source, choice)
        named = source(choice.bound(text))
        if not isinstance(named, ComposedDefense):
            return choice.bound(text)
        parts = {
            name: self.address(part, choice) for name, part in vars(named).items() if part in named.networks
        }
        return None if None in parts.values() else repr(replace(named, **parts))  # type: ignore[type-var]

    def from_elsewhere(self, text: str, choice: Choice) -> bool:
        """Return whether a source, or a part of it, is neither a network of the recipe nor robustlab's."""
        if text in self.recipe.networks:
            return False
        if text in self.recipe.models:
            return self.from_elsewhere(self.recipe.models[text].source, choice)
        named = source(choice.bound(text))
        if isinstance(named, ComposedDefense):
            return bool(code_of(named)) or any(self.from_elsewhere(part, choice) for part in named.networks)
        return True

    def _known(self, choice: Choice) -> Mapping[str, Callable[[], Loaded]]:
        """Return the function that loads each name of the recipe."""

        def trained(name: str) -> Callable[[], Loaded]:
            instance = self._sweep.instance(name, choice)
            return lambda: Loaded(
                network=self.network(instance),
                name=instance,
                origin=f"the network {instance} of the study {self.recipe.name}",
                network_kind=network_kind(self._path(instance)),
            )

        def composed(name: str) -> Callable[[], Loaded]:
            return lambda: load(choice.bound(self.recipe.models[name].source), self.note, self._known(choice))

        return {name: composed(name) for name in self.recipe.models} | {
            name: trained(name) for name in self.recipe.networks
        }

    def _path(self, instance: str) -> Path:
        return self.folder / "models" / f"{instance}.safetensors"


def _shown(path: Path) -> str:
    """Return a path as a user would give it: relative to the working directory, if it is inside."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
