"""Turns a recipe into the list of stages to run, in order, each keyed by what it depends on."""

from dataclasses import dataclass, field, replace
from typing import TypeVar

from robustlab.core.device import Compute
from robustlab.core.errors import RecipeError
from robustlab.core.spec import has_lengths, parse, scaled
from robustlab.data import Splits
from robustlab.defenses import ComposedDefense, Defense, TrainedDefense
from robustlab.detectors import Detector
from robustlab.models import Model
from robustlab.study.recipe import Perturbation, Recipe, UnitPart
from robustlab.study.stages import (
    CurveStage,
    DetectStage,
    GalleryStage,
    Measurement,
    MeasureStage,
    SamplesStage,
    StudyStage,
    TrainStage,
)
from robustlab.training import Objective

UserT = TypeVar("UserT", Defense, Detector)


@dataclass(kw_only=True)
class Plan:
    """A study's stages, and what each of them is for.

    Attributes:
        stages: in the order in which they run.
        composed: the composed classifiers by name.
        networks: per trained network its recipe name, unit (None if no length matters to it) and stage.
        rows: per row and unit the stage that measures it.
        detections: per detection and unit the stage that measures it.
        curves: per curve its series' stages.
        gallery: the gallery's stage and the (row, unit) of each column.
        samples: per network the stage that draws its samples.
    """

    stages: list[StudyStage] = field(default_factory=list)
    composed: dict[str, ComposedDefense] = field(default_factory=dict)
    networks: list[tuple[str, str | None, TrainStage]] = field(default_factory=list)
    rows: dict[tuple[str, str | None], MeasureStage] = field(default_factory=dict)
    detections: dict[tuple[str, str | None], DetectStage] = field(default_factory=dict)
    curves: dict[str, list[CurveStage]] = field(default_factory=dict)
    gallery: tuple[GalleryStage, list[tuple[str, str | None]]] | None = None
    samples: dict[str, SamplesStage] = field(default_factory=dict)


def make_plan(recipe: Recipe, dataset: Splits, compute: Compute, seed: int, *, quick: bool) -> Plan:
    """Expand a recipe over its units; the recipe was checked by `load_recipe`."""
    return _Planner(recipe, dataset, compute, seed, quick=quick).plan()


class _Planner:
    def __init__(self, recipe: Recipe, dataset: Splits, compute: Compute, seed: int, *, quick: bool) -> None:
        self.recipe, self.dataset, self.compute, self.seed, self.quick = recipe, dataset, compute, seed, quick
        self.data = {part: dataset.split(part).sha256() for part in ("train", "validation", "test")}
        self.keys: dict[str, str] = {}
        self.result = Plan()

    def plan(self) -> Plan:
        self._networks()
        self._classifiers()
        self._rows()
        self._detections()
        self._curves()
        self._gallery()
        self._samples()
        return self.result

    # Which things exist once per unit

    def _depends_on_unit(self, name: str | None) -> bool:
        """Tell whether a network or classifier, or one that it is made from, is trained at a length."""
        if name is None:
            return False
        if name in self.recipe.networks:
            part = self.recipe.networks[name]
            spec = part.defense
            if part.has_lengths():
                return True
        else:
            spec = self.recipe.classifiers[name].defense
        if spec is None:
            return False
        defense = parse(Defense, spec)
        return has_lengths(defense) or any(self._depends_on_unit(part) for part in defense.networks)

    def _instance(self, name: str, unit: str | None) -> str:
        """Return the name of a network or classifier in a unit."""
        return f"{name}-{unit}" if self._depends_on_unit(name) else name

    def _units(self, *, needed: bool) -> list[UnitPart | None]:
        return list(self.recipe.units) if needed else [None]

    def _bind(self, part: UserT, unit: UnitPart | None) -> UserT:
        """Scale a defense or detector to a unit and point it at that unit's networks."""
        if unit is not None:
            part = scaled(part, unit.pixels)
        names = {
            name: self._instance(value, unit.id if unit else None)
            for name, value in vars(part).items()
            if isinstance(value, str) and value in part.networks
        }
        return replace(part, **names)  # type: ignore[type-var]

    def _refuse_unitless(self, place: str, *names: str | None) -> None:
        for name in names:
            if self._depends_on_unit(name):
                raise RecipeError(f"{place}: {name!r} exists once per unit, and no unit is given")

    # The parts of a study

    def _networks(self) -> None:
        for name, part in self.recipe.networks.items():
            for unit in self._units(needed=self._depends_on_unit(name)):
                defense = None if part.defense is None else self._bind(parse(Defense, part.defense), unit)
                assert defense is None or isinstance(defense, TrainedDefense)
                instance = self._instance(name, unit.id if unit else None)
                sources = [self.keys[source] for source in defense.networks] if defense else []
                pixels = unit.pixels if unit else 1.0
                stage = TrainStage(
                    name=f"train {instance}",
                    inputs=(self.data["train"], self.data["validation"], *sources),
                    network=instance,
                    title=f"{part.title} ({unit.title})" if unit else part.title,
                    model=parse(Model, part.model),
                    objective=scaled(parse(Objective, part.objective), pixels),
                    defense=defense,
                    config=part.config(self.recipe.quick.epochs if self.quick else None, pixels),
                    device=self.compute.device,
                    precision=self.compute.precision,
                    seed=self.seed,
                )
                self.keys[instance] = stage.key
                self.result.stages.append(stage)
                self.result.networks.append((name, unit.id if unit else None, stage))

    def _classifiers(self) -> None:
        for name, part in self.recipe.classifiers.items():
            for unit in self._units(needed=self._depends_on_unit(name)):
                defense = self._bind(parse(Defense, part.defense), unit)
                assert isinstance(defense, ComposedDefense)
                instance = self._instance(name, unit.id if unit else None)
                self.result.composed[instance] = defense
                self.keys[instance] = "+".join(
                    [repr(defense), *(self.keys[part] for part in defense.networks)]
                )

    def _measurement(self, part: Perturbation, on: str, unit: str | None, scale: float) -> Measurement:
        attack, threat = part.units_of()
        return Measurement(
            on=self._instance(on, unit),
            attack=attack and scaled(attack, scale),
            threat=scaled(threat, scale),
            crafted_on=self._instance(part.crafted_on or on, unit),
            mode=part.mode,
        )

    def _inputs(self, *measurements: Measurement) -> tuple[str, ...]:
        names = {name for m in measurements for name in (m.on, m.crafted_on)}
        return (self.data["test"], *(self.keys[name] for name in sorted(names)))

    def _states_length(self, part: Perturbation) -> bool:
        attack, threat = part.units_of()
        return has_lengths(attack) or has_lengths(threat)

    def _rows(self) -> None:
        for part in self.recipe.rows:
            needed = self._states_length(part) or any(map(self._depends_on_unit, (part.on, part.crafted_on)))
            for unit in self._units(needed=needed):
                unit_id = unit.id if unit else None
                measurement = self._measurement(part, part.on, unit_id, unit.pixels if unit else 1.0)
                stage = MeasureStage(
                    name=f"measure {part.id}" + (f" ({unit.title})" if unit else ""),
                    inputs=self._inputs(measurement),
                    measurement=measurement,
                    seed=self.seed,
                )
                self.result.stages.append(stage)
                self.result.rows[part.id, unit_id] = stage

    def _detections(self) -> None:
        for part in self.recipe.detections:
            stated = parse(Detector, self.recipe.detectors[part.detector].detector)
            on = part.crafted_on
            assert on is not None
            needed = self._states_length(part) or any(map(self._depends_on_unit, (on, *stated.networks)))
            for unit in self._units(needed=needed):
                unit_id = unit.id if unit else None
                detector = self._bind(stated, unit)
                m = self._measurement(part, on, unit_id, unit.pixels if unit else 1.0)
                assert m.attack is not None
                stage = DetectStage(
                    name=f"detect {part.id}" + (f" ({unit.title})" if unit else ""),
                    inputs=(
                        *self._inputs(m),
                        self.data["validation"],
                        *(self.keys[n] for n in detector.networks),
                    ),
                    detector=detector,
                    attack=m.attack,
                    threat=m.threat,
                    crafted_on=m.crafted_on,
                    mode=m.mode,
                    seed=self.seed,
                )
                self.result.stages.append(stage)
                self.result.detections[part.id, unit_id] = stage

    def _curves(self) -> None:
        for curve in self.recipe.curves:
            images = min(curve.images, self.recipe.quick.curve) if self.quick else curve.images
            stages = []
            for series in curve.series:
                if series.unit is None:
                    place = f"curves.{curve.id}: series {series.label!r}"
                    self._refuse_unitless(place, series.on, series.crafted_on)
                # The axis is in pixel units already.
                points = tuple(self._measurement(series.at(x), series.on, series.unit, 1.0) for x in curve.x)
                stages.append(
                    CurveStage(
                        name=f"curve {curve.id}: {series.label}",
                        inputs=self._inputs(*points),
                        points=points,
                        images=images,
                        seed=self.seed,
                    )
                )
            self.result.stages.extend(stages)
            self.result.curves[curve.id] = stages

    def _gallery(self) -> None:
        if self.recipe.gallery is None:
            return
        columns = [key for row in self.recipe.gallery.rows for key in self.result.rows if key[0] == row]
        measurements = tuple(self.result.rows[key].measurement for key in columns)
        stage = GalleryStage(
            name="gallery", inputs=self._inputs(*measurements), columns=measurements, seed=self.seed
        )
        self.result.stages.append(stage)
        self.result.gallery = (stage, columns)

    def _samples(self) -> None:
        for name in self.recipe.samples:
            self._refuse_unitless("samples", name)
            stage = SamplesStage(
                name=f"samples of {name}",
                inputs=(self.data["test"], self.keys[name]),
                network=name,
                seed=self.seed,
            )
            self.result.stages.append(stage)
            self.result.samples[name] = stage
