"""Reads a recipe, and looks up all names in it, so that mistakes are found before the first training."""

import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydantic

from robustlab.attacks import Criterion, as_criterion
from robustlab.certify import AutoCertifier, as_certifier
from robustlab.core.errors import RecipeError, RobustlabError, SetupError, SpecError, did_you_mean, offer
from robustlab.core.factors import names_in
from robustlab.core.fields import refusal
from robustlab.core.files import reason
from robustlab.core.spec import Unit, UnitT, parse, units
from robustlab.core.text import shown, with_article
from robustlab.core.user_units import parse_trusted
from robustlab.defenses import ComposedDefense, Defense, TrainedDefense
from robustlab.defenses.loading import source
from robustlab.detectors import Detector
from robustlab.evaluation.coordinator.arguments import UNITS
from robustlab.evaluation.coordinator.curve import check_curve
from robustlab.evaluation.coordinator.goals import ALL
from robustlab.evaluation.ensembles import attack_list, resolved
from robustlab.models import Model
from robustlab.models.sources import Source
from robustlab.runs.records import Figure
from robustlab.shipped import zoo_names
from robustlab.study.claims import DETECTION_FIGURES, judge
from robustlab.study.plan import at, chosen, factors_of
from robustlab.study.recipe import Attacked, CurvePart, EvaluationPart, Recipe, SeriesPart
from robustlab.study.sweep import Choice, Sweep
from robustlab.study.workspace import threat_of
from robustlab.training import Objective

RECIPE_SCHEMA = 2

_NEW_FORM = (
    "Schema 2: [[rows]] on, attack, crafted_on -> [[evaluations]] model, attacks, surrogates; "
    "[[units]] -> [factors.scale] values = [{id, title, value}], eps=0.25 -> eps=0.25*scale; "
    "[classifiers.X] defense -> [models.X] source; see recipes/mnist.toml"
)

_CLASSES = 10
"""The number of classes for the check of a recipe; the real number is known only with the data."""

_NEED_ATTACKS = ("threat", "surrogates", "target", "curve")

_LARGEST_FILE = 10_000_000
"""In bytes; a recipe has a few thousand."""


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        RecipeError: the file is missing or is not TOML; a key is unknown, a type is wrong, a value is out of
            range, or a reference is not defined. The message names the place.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_FILE + 1)
        if len(text) > _LARGEST_FILE:
            raise RecipeError(f"{path} is larger than {_LARGEST_FILE:,} bytes; it can't be a recipe")
        content = tomllib.loads(text.decode())
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {path}: {reason(error)}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not valid TOML: {error}") from None
    except RecursionError:
        raise RecipeError(f"{path} is not a recipe: a value is nested too deeply") from None
    except ValueError:
        raise RecipeError(f"{path} is not a recipe: a number has too many digits") from None
    version = content.get("schema")
    version = None if isinstance(version, bool) else version
    if isinstance(version, int) and version > RECIPE_SCHEMA:
        raise RecipeError(
            f"{path}: schema {shown(version)} is newer than this robustlab's {RECIPE_SCHEMA}; upgrade it"
        )
    if isinstance(version, int) and version < RECIPE_SCHEMA:
        raise RecipeError(f"{path}: schema {shown(version)} is an older one. {_NEW_FORM}")
    try:
        recipe = Recipe.model_validate(content)
    except pydantic.ValidationError as error:
        raise RecipeError(f"{path}: {refusal(error)}") from None
    with _placed(str(path), RecipeError):
        _References(recipe).check()
    return recipe


@contextmanager
def _placed(place: str, *kinds: type[RobustlabError]) -> Iterator[None]:
    """Turn errors of some kinds into a `RecipeError` whose message begins with the place."""
    try:
        yield
    except kinds as error:
        raise RecipeError(f"{place}: {error}") from None


def _has_target_class(target: int | str | Criterion | None) -> bool:
    return target is not None and (target == ALL or as_criterion(target).targeted)


class _References:
    """Checks the parts of a recipe, each for every choice of its factors' values."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.sweep = recipe, Sweep(recipe)
        self.kinds: dict[str, str] = {}
        self.generative: list[str] = []

    def check(self) -> None:
        """Check everything; the message of a `RecipeError` begins with the place of the mistake."""
        self._names_are_unique()
        self._networks()
        self._models()
        self._evaluations()
        self._curves()
        figures = [part.id for part in self.recipe.evaluations] + self._detections()
        self._findings()
        self._claims(figures)
        self._pictures()

    def _names_are_unique(self) -> None:
        recipe = self.recipe
        for what, ids in (
            (
                "factors, networks and models",
                [*recipe.factors, *recipe.networks, *recipe.models, *(["x"] if recipe.curves else [])],
            ),
            ("evaluations", [part.id for part in recipe.evaluations]),
            ("detections", [part.id for part in recipe.detections]),
            ("curves", [part.id for part in recipe.curves]),
            ("claims", [part.id for part in recipe.claims]),
            ("samples", recipe.samples),
            ("gallery.evaluations", recipe.gallery.evaluations if recipe.gallery else []),
            # Results and folders identify a choice only by the ids of its values.
            ("values of factors", [v.id for part in recipe.factors.values() for v in part.values]),
            *((f"curves.{c.id}.x", list(map(repr, c.x))) for c in recipe.curves),
            *((f"curves.{c.id}.series", [series.label for series in c.series]) for c in recipe.curves),
        ):
            self._unique(what, ids)

    def _unique(self, what: str, names: Sequence[str]) -> None:
        doubled = next((name for name in names if names.count(name) > 1), None)
        if doubled is not None:
            raise RecipeError(f"{what}: {shown(doubled)} is used twice")

    def _known(self, place: str, word: str | None, accepted: Collection[str]) -> None:
        if word is not None and word not in accepted:
            hint = did_you_mean(word, accepted)
            raise RecipeError(f"{place}: unknown name {shown(word)}{hint}; {offer(accepted)}")

    def _spec(self, place: str, kind: type[UnitT], text: str) -> UnitT:
        """Parse a spec under every choice of values and return the last."""
        # A model file names its model, and is read without running a file: a user's network is code(...).
        reader = parse if kind is Model else parse_trusted
        for choice in self.sweep.choices(self.sweep.factors_in(text)):
            with _placed(choice.titled(place), SpecError, SetupError):
                part = reader(kind, choice.bound(text))
        return part

    def _fits(self, place: str, part: Unit, as_what: str, needed: str, found: str) -> None:
        if needed != found:
            needs = f"{part.name} needs {with_article(needed)} {as_what}"
            raise RecipeError(f"{place}: {needs}, found {with_article(found)}")

    def _uses_networks(self, place: str, part: Defense | Detector, accepted: Collection[str]) -> None:
        for name in part.networks:
            self._known(place, name, accepted)
        for argument, needed in part.network_kinds.items():
            name = getattr(part, argument)
            self._fits(place, part, f"as its {argument} {name}", needed, self.kinds[name])

    def _networks(self) -> None:
        for name, network in self.recipe.networks.items():
            place = f"networks.{name}"
            model = self._spec(f"{place}.model", Model, network.model)
            objective = self._spec(f"{place}.objective", Objective, network.objective)
            self._fits(
                f"{place}.objective", objective, "to train", objective.network_kind, model.network_kind
            )
            for choice in self.sweep.choices(self.sweep.factors_in(*network.specs())):
                try:
                    network.config(bound=choice.bound)
                except SpecError as error:
                    raise RecipeError(f"{choice.titled(place)}.{error}") from None
            if network.defense is not None:
                defense = self._spec(f"{place}.defense", Defense, network.defense)
                if not isinstance(defense, TrainedDefense):
                    raise RecipeError(f"{place}.defense: {defense.name} composes networks, it trains none")
                self._uses_networks(f"{place}.defense", defense, self.kinds)
            self.kinds[name] = model.network_kind
            self.generative += [name] if model.generative else []

    def _models(self) -> None:
        for name, part in self.recipe.models.items():
            self._source(f"models.{name}.source", part.source, "classifier", before=name)

    def _source(self, place: str, text: str, needed: str, before: str | None = None) -> None:
        """Check a source: a name of the recipe, or what `defenses.loading.source` takes.

        ``before``: the model that is being defined; it may use only names above it.
        """
        models = list(self.recipe.models)
        models = models[: models.index(before)] if before else models
        fitting = [name for name, kind in self.kinds.items() if kind == needed]
        own = fitting + (models if needed == "classifier" else [])
        if text in own:
            return
        if text in self.kinds:
            raise RecipeError(
                f"{place}: {text} is {with_article(self.kinds[text])}; expected {with_article(needed)}"
            )
        if text.isidentifier() and text not in {*zoo_names(), *units(Source)}:
            self._known(place, text, own)
        for choice in self.sweep.choices(self.sweep.factors_in(text)):
            with _placed(choice.titled(place), RobustlabError):
                named = source(choice.bound(text))
        if isinstance(named, ComposedDefense):
            for argument in [n for n, value in vars(named).items() if value in named.networks]:
                kind = named.network_kinds.get(argument, needed)
                self._source(f"{place}.{argument}", getattr(named, argument), kind, before)

    def _attacked(self, place: str, part: Attacked, choices: list[Choice]) -> None:
        self._source(f"{place}.model", part.model, "classifier")
        for text in part.surrogates:
            self._source(f"{place}.surrogates", text, "classifier")
        self._unique(f"{place}.surrogates", part.surrogates)
        for choice in choices:
            self._units(choice.titled(place), part.settings(choice.bound))
        if part.attacks is None:
            given = [name for name in _NEED_ATTACKS if getattr(part, name, None) not in {None, (), False}]
            if given or part.mode != "verdict":
                raise RecipeError(f"{place}: {(given or ['mode'])[0]} needs attacks; {place} has none")
            return
        for choice in choices:
            here, settings = choice.titled(place), part.settings(choice.bound)
            with _placed(f"{here}.threat", RobustlabError):
                threat = threat_of(None if part.threat is None else choice.bound(part.threat))
            meant = ""
            try:
                asked = attack_list(choice.bound(part.attacks))
                meant = "" if part.threat else " (which is meant where no threat is given)"
                attacks = resolved(asked, threat, _CLASSES)
                meant = ""
                resolved(asked, threat, _CLASSES, targeted=_has_target_class(settings["target"]))
            except RobustlabError as error:
                raise RecipeError(f"{here}.attacks: {error}{meant}") from None
            if isinstance(part, EvaluationPart) and part.certify:
                certifier = as_certifier(settings["certifier"])
                if not isinstance(certifier, AutoCertifier) and not threat.is_one_of(certifier.norms):
                    known = ", ".join(certifier.norms)
                    raise RecipeError(
                        f"{here}.certifier: {certifier.name} proves within {known}; found {threat!r}"
                    )
            if part.mode == "test-set" and len(attacks) != 1:
                raise RecipeError(f"{here}: a test-set is perturbed by one attack; found {len(attacks)}")
            if isinstance(part, EvaluationPart) and part.curve:
                with _placed(f"{here}.curve", SpecError):
                    check_curve(threat)
            if part.mode == "test-set" and settings["target"] == ALL:
                raise RecipeError(f"{here}: a test-set is perturbed towards one class; found target {ALL}")

    def _units(self, place: str, settings: Mapping[str, Any]) -> None:
        """Check the options that take a unit; they are parsed where the option is used."""
        for name in UNITS.keys() & settings.keys():
            with _placed(f"{place}.{name}", SpecError, SetupError):
                UNITS[name](settings[name])

    def _evaluations(self) -> None:
        for part in self.recipe.evaluations:
            choices = self.sweep.choices(self.sweep.factors_in(*part.specs().values()))
            self._attacked(f"evaluations.{part.id}", part, choices)

    def _one_set(self, place: str, name: str, *, clean: bool) -> None:
        """Check that an evaluation leaves each image as one attack made it or, if allowed, unchanged."""
        evaluations = {part.id: part for part in self.recipe.evaluations}
        self._known(place, name, evaluations)
        part = evaluations[name]
        if part.mode != "test-set" and not (clean and part.attacks is None):
            raise RecipeError(
                f'{place}: {name} must have mode = "test-set", so that there is one image of each'
            )

    def _detections(self) -> list[str]:
        """Check the detectors and their detections; return the figures that claims may name."""
        figures = []
        for name, stated in self.recipe.detectors.items():
            detector = self._spec(f"detectors.{name}.detector", Detector, stated.detector)
            self._uses_networks(f"detectors.{name}.detector", detector, self.kinds)
            figures += [
                f"{part.id}.{figure}"
                for part in self.recipe.detections
                if part.detector == name
                for figure in DETECTION_FIGURES
                if detector.natural_threshold is not None or not figure.startswith("natural_")
            ]
        for part in self.recipe.detections:
            self._known(f"detections.{part.id}.detector", part.detector, self.recipe.detectors)
            self._one_set(f"detections.{part.id}.evaluation", part.evaluation, clean=False)
        return figures

    def _curves(self) -> None:
        for curve in self.recipe.curves:
            self._known(f"curves.{curve.id}.factor", curve.factor, self.recipe.factors)
            for series in curve.series:
                self._series(f"curves.{curve.id}.series", curve, series)

    def _series(self, place: str, curve: CurvePart, series: SeriesPart) -> None:
        label = shown(series.label)
        if "x" not in names_in(series.attacks or "") | names_in(series.threat or ""):
            raise RecipeError(
                f"{place}: the series {label} has no x in its attacks or threat, so it would be the same at "
                "every point"
            )
        for name, value in series.values.items():
            self._known(f"{place}.values", name, self.recipe.factors)
            self._known(f"{place}.values.{name}", value, [v.id for v in self.recipe.factors[name].values])
        choice = chosen(self.recipe, series)
        for name in factors_of(self.sweep, series) - choice.values.keys():
            accepted = [value.id for value in self.recipe.factors[name].values]
            raise RecipeError(
                f"{place}: the series {label} depends on {name}; choose one with values = "
                f"{{ {name} = {accepted[0]!r} }}; {offer(accepted)}"
            )
        for x in curve.x:
            with _placed(place, SpecError):
                self._attacked(place, at(series, x), [choice])

    def _findings(self) -> None:
        parts = {part.id: part for part in self.recipe.evaluations}
        for number, finding in enumerate(self.recipe.findings):
            for field in ("published", "left"):
                self._known(f"findings.{number}.{field}", getattr(finding, field), parts)
            if parts[finding.published].model != parts[finding.left].model:
                raise RecipeError(
                    f"findings.{number}: {finding.published} and {finding.left} are of two models; expected "
                    "two evaluations of one"
                )

    def _claims(self, figures: list[str]) -> None:
        nothing = Figure(value=0.0, low=0.0, high=0.0, n=1)
        for claim in self.recipe.claims:
            for reading in claim.readings:
                for comparison in reading.holds:
                    with _placed(f"claims.{claim.id}", RecipeError):
                        judge(comparison, dict.fromkeys(figures, nothing), {})

    def _pictures(self) -> None:
        for name in self.recipe.gallery.evaluations if self.recipe.gallery else []:
            self._one_set("gallery.evaluations", name, clean=True)
        for name in self.recipe.samples:
            self._known("samples", name, self.generative)
            if self.sweep.factors_of(name):
                raise RecipeError(f"samples: {name!r} depends on a factor, so there are several of it")
