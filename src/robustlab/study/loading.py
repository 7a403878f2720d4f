"""Reads a recipe, and looks up all that it names, so that a mistake is found before anything is trained."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydantic

from robustlab.attacks import Attack
from robustlab.core.errors import RecipeError, SpecError, did_you_mean, offer
from robustlab.core.fields import refusal
from robustlab.core.files import reason
from robustlab.core.spec import Unit, parse, scaled
from robustlab.core.text import shown, with_article
from robustlab.defenses import ComposedDefense, Defense, TrainedDefense
from robustlab.detectors import Detector
from robustlab.models import Model
from robustlab.runs.results import Figure
from robustlab.study.claims import DETECTION_FIGURES, judge
from robustlab.study.recipe import Perturbation, Recipe, UnitPart
from robustlab.threats import ThreatModel, Unbounded
from robustlab.training import Objective

RECIPE_SCHEMA = 1

_LARGEST_FILE = 10_000_000
"""Bytes; a recipe has a few thousand."""


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        RecipeError: the file is missing or no TOML, or has an unknown key, a wrong type, a value out of
            range or a reference to something it does not define; the message names the place.
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
    if isinstance(version, int) and version > RECIPE_SCHEMA:
        raise RecipeError(
            f"{path}: schema {shown(version)} is newer than this robustlab's {RECIPE_SCHEMA}; upgrade it"
        )
    try:
        recipe = Recipe.model_validate(content)
    except pydantic.ValidationError as error:
        raise RecipeError(f"{path}: {refusal(error)}") from None
    _check_references(recipe, path)
    return recipe


def _check_references(recipe: Recipe, path: Path) -> None:
    """Parse every spec and look up every name, so that a mistake is found before anything is trained."""
    subjects = [*recipe.networks, *recipe.classifiers]
    unit_ids = [unit.id for unit in recipe.units]
    classifiers = list(recipe.classifiers)  # and the networks that are trained to classify

    for what, ids in (
        ("units", unit_ids),
        ("networks and classifiers", subjects),
        ("rows", [r.id for r in recipe.rows]),
        ("detections", [d.id for d in recipe.detections]),
        ("curves", [c.id for c in recipe.curves]),
        ("claims", [c.id for c in recipe.claims]),
        ("samples", recipe.samples),
        ("gallery.rows", recipe.gallery.rows if recipe.gallery else []),
        *((f"curves.{c.id}.x", list(map(repr, c.x))) for c in recipe.curves),
        *((f"curves.{c.id}.series", [series.label for series in c.series]) for c in recipe.curves),
    ):
        doubled = next((i for i in ids if ids.count(i) > 1), None)
        if doubled:
            raise RecipeError(f"{path}: {what}: {shown(doubled)} is used twice")

    def known(place: str, word: str | None, accepted: list[str]) -> None:
        if word is not None and word not in accepted:
            hint = did_you_mean(word, accepted)
            raise RecipeError(f"{path}: {place}: unknown name {shown(word)}{hint}; {offer(accepted)}")

    def spec(place: str, kind: type[Unit], text: str, units: Sequence[UnitPart] = ()) -> Any:
        where = ""
        try:
            part = parse(kind, text)
            for unit in units:
                where = f" in {unit.title}"
                scaled(part, unit.pixels)
        except SpecError as error:
            raise RecipeError(f"{path}: {place}{where}: {error}") from None
        return part

    def perturbation(place: str, part: Perturbation, units: Sequence[UnitPart]) -> None:
        attack, threat = None, Unbounded()
        if part.attack is None and (part.threat is not None or part.crafted_on is not None):
            raise RecipeError(f"{path}: {place}: threat and crafted_on need an attack; {place} has none")
        if part.attack is not None:
            attack = spec(f"{place}.attack", Attack, part.attack, units)
        if part.threat is not None:
            threat = spec(f"{place}.threat", ThreatModel, part.threat, units)
        if attack and not attack.suits(threat):
            found = (
                repr(threat) if part.threat is not None else f"{threat!r}, which is meant where none is given"
            )
            raise RecipeError(
                f"{path}: {place}: {attack.core.name} supports {attack.core.made_for}, not {found}"
            )
        known(f"{place}.crafted_on", part.crafted_on, classifiers)

    def fits(place: str, part: Unit, as_what: str, needed: str, found: str) -> None:
        if needed != found:
            needs = f"{part.name} needs {with_article(needed)} {as_what}"
            raise RecipeError(f"{path}: {place}: {needs}, found {with_article(found)}")

    def networks_fit(place: str, part: Defense | Detector) -> None:
        for argument, needed in part.network_kinds.items():
            name = getattr(part, argument)
            fits(place, part, f"as its {argument} {name}", needed, kinds[name])

    earlier: list[str] = []
    kinds: dict[str, str] = {}
    for name, network in recipe.networks.items():
        model = spec(f"networks.{name}.model", Model, network.model)
        objective = spec(f"networks.{name}.objective", Objective, network.objective, recipe.units)
        kinds[name] = model.network_kind
        fits(f"networks.{name}.objective", objective, "to train", objective.network_kind, kinds[name])
        try:
            for pixels in (stated.pixels for stated in recipe.units):
                network.config(pixels=pixels)
        except SpecError as error:
            raise RecipeError(f"{path}: networks.{name}.{error}") from None
        if kinds[name] == "classifier":
            classifiers.append(name)
        if network.defense is not None:
            defense = spec(f"networks.{name}.defense", Defense, network.defense, recipe.units)
            if not isinstance(defense, TrainedDefense):
                raise RecipeError(
                    f"{path}: networks.{name}.defense: {defense.name} composes networks, it trains none"
                )
            for source in defense.networks:
                known(f"networks.{name}.defense", source, earlier)
            networks_fit(f"networks.{name}.defense", defense)
        earlier.append(name)
    for name, classifier in recipe.classifiers.items():
        defense = spec(f"classifiers.{name}.defense", Defense, classifier.defense, recipe.units)
        if not isinstance(defense, ComposedDefense):
            raise RecipeError(
                f"{path}: classifiers.{name}.defense: {defense.name} trains a network, it composes none"
            )
        for part in defense.networks:
            known(f"classifiers.{name}.defense", part, list(recipe.networks))
        networks_fit(f"classifiers.{name}.defense", defense)
    figures = [row.id for row in recipe.rows]
    for name, stated in recipe.detectors.items():
        detector = spec(f"detectors.{name}.detector", Detector, stated.detector, recipe.units)
        for part in detector.networks:
            known(f"detectors.{name}.detector", part, list(recipe.networks))
        networks_fit(f"detectors.{name}.detector", detector)
        measured = [
            figure
            for figure in DETECTION_FIGURES
            if detector.natural_threshold is not None or not figure.startswith("natural_")
        ]
        figures += [
            f"{d.id}.{figure}" for d in recipe.detections if d.detector == name for figure in measured
        ]
    for row in recipe.rows:
        perturbation(f"rows.{row.id}", row, recipe.units)
        known(f"rows.{row.id}.on", row.on, classifiers)
    for detection in recipe.detections:
        perturbation(f"detections.{detection.id}", detection, recipe.units)
        known(f"detections.{detection.id}.detector", detection.detector, list(recipe.detectors))
        if detection.attack is None or detection.crafted_on is None:
            raise RecipeError(f"{path}: detections.{detection.id}: attack and crafted_on are needed")
    for curve in recipe.curves:
        for series in curve.series:
            if "{x}" not in f"{series.attack}{series.threat}":
                raise RecipeError(
                    f"{path}: curves.{curve.id}: the series {shown(series.label)} has no {{x}} in its attack "
                    "or threat, so it would be the same at every point"
                )
            for x in curve.x:
                perturbation(f"curves.{curve.id}.series", series.at(x), ())
            known(f"curves.{curve.id}.series.on", series.on, classifiers)
            known(f"curves.{curve.id}.series.unit", series.unit, unit_ids)
    for claim in recipe.claims:
        for reading in claim.readings:
            for unit in reading.units:
                known(f"claims.{claim.id}.units", unit, unit_ids)
            for comparison in reading.holds:
                try:
                    judge(comparison, dict.fromkeys(figures, Figure(value=0.0, low=0.0, high=0.0, n=1)))
                except RecipeError as error:
                    raise RecipeError(f"{path}: claims.{claim.id}: {error}") from None
    for row_id in recipe.gallery.rows if recipe.gallery else []:
        known("gallery.rows", row_id, [row.id for row in recipe.rows])
    for name in recipe.samples:
        known("samples", name, [n for n, kind in kinds.items() if kind != "classifier"])
