"""Sweeps: a part that depends on a recipe's factors exists once for each of their values."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product

from robustlab.core.factors import bound, names_in
from robustlab.study.recipe import Recipe, ValuePart


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One value of each of some factors, in the recipe's order."""

    values: Mapping[str, ValuePart]

    @property
    def id(self) -> str | None:
        """Unique within the recipe among choices of the same factors; None without a factor."""
        return "-".join(value.id for value in self.values.values()) or None

    @property
    def title(self) -> str:
        """The text for users; empty without a factor."""
        return ", ".join(value.title for value in self.values.values())

    @property
    def numbers(self) -> dict[str, float]:
        """The values only."""
        return {name: value.value for name, value in self.values.items()}

    def of(self, factors: Iterable[str]) -> "Choice":
        """Return the part of the choice for some of the factors."""
        wanted = set(factors)
        return Choice(values={name: value for name, value in self.values.items() if name in wanted})

    def bound(self, text: str) -> str:
        """Return a spec with the values instead of the factors."""
        return bound(text, self.numbers)

    def titled(self, title: str) -> str:
        """Return a title with the choice in brackets, if it is not empty."""
        return f"{title} ({self.title})" if self.values else title


class Sweep:
    """A recipe's factors, and the parts that depend on them."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def choices(self, factors: Iterable[str]) -> list[Choice]:
        """Return every choice of values of the given factors; without factors the empty one."""
        wanted = set(factors)
        named = {name: part.values for name, part in self.recipe.factors.items() if name in wanted}
        return [Choice(values=dict(zip(named, values, strict=True))) for values in product(*named.values())]

    def factors_in(self, *texts: str | None) -> set[str]:
        """Return the factors that specs use directly."""
        names = {name for text in texts if text for name in names_in(text)}
        return names & self.recipe.factors.keys()

    def factors_of(self, source: str) -> set[str]:
        """Return the factors that a source depends on, also through the networks that it names."""
        return self.factors_in(source).union(*map(self._of, names_in(source)))

    def _of(self, name: str) -> set[str]:
        """Return the factors that a name of the recipe depends on; none of any other name."""
        networks, models = list(self.recipe.networks), list(self.recipe.models)
        if name in networks:
            part = self.recipe.networks[name]
            # It may use the names above it; other names in its specs are units.
            above = names_in(part.defense or "").intersection(networks[: networks.index(name)])
            return self.factors_in(*part.specs()).union(*map(self._of, above))
        if name in models:
            source = self.recipe.models[name].source
            above = names_in(source).intersection([*networks, *models[: models.index(name)]])
            return self.factors_in(source).union(*map(self._of, above))
        return set()

    def instance(self, name: str, choice: Choice) -> str:
        """Return the name of a network or model under a choice of values; any other source as it is."""
        own = choice.of(self._of(name)).id
        return f"{name}-{own}" if own else name
