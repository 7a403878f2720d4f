"""Turns a recipe into the list of stages to run, in order, each with a key of all that it depends on."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from robustlab.core.device import Compute
from robustlab.core.errors import RecipeError, SpecError
from robustlab.core.factors import bound
from robustlab.core.spec import parse
from robustlab.core.user_units import parse_trusted
from robustlab.data import Splits
from robustlab.defenses import Defense, TrainedDefense
from robustlab.detectors import Detector
from robustlab.evaluation import preprocessing
from robustlab.evaluation.coordinator.goals import criteria_of
from robustlab.models import Model
from robustlab.models.own_code import with_hash
from robustlab.models.zoo import trained_like
from robustlab.study.models import StudyModels
from robustlab.study.recipe import (
    Attacked,
    CurvePart,
    EvaluationPart,
    NetworkPart,
    Recipe,
    SeriesPart,
    ValuePart,
)
from robustlab.study.stages import (
    DetectStage,
    EvaluateStage,
    GalleryStage,
    NetworkStage,
    SamplesStage,
    SeriesStage,
    StudyStage,
    TrainStage,
    shipped,
)
from robustlab.study.sweep import Choice, Sweep
from robustlab.study.workspace import Question, shape_of, threat_of
from robustlab.training import Objective

UserT = TypeVar("UserT", Defense, Detector)

Key = tuple[str, str | None]
"""The id of a part of the recipe, and a choice of values."""


@dataclass(kw_only=True)
class Plan:
    """A study's stages, and the part of the recipe that each serves.

    Attributes:
        stages: in the order in which they run.
        networks: per network its recipe name, choice of values and stage.
        evaluations: per evaluation and choice the stage that makes it.
        detections: per detection and choice the stage that measures it.
        curves: per curve its series' stages.
        gallery: the gallery's stage and the (evaluation, choice) of each column.
        samples: per network the stage that draws its samples.
    """

    stages: list[StudyStage] = field(default_factory=list)
    networks: list[tuple[str, Choice, NetworkStage]] = field(default_factory=list)
    evaluations: dict[Key, EvaluateStage] = field(default_factory=dict)
    detections: dict[Key, DetectStage] = field(default_factory=dict)
    curves: dict[str, list[SeriesStage]] = field(default_factory=dict)
    gallery: tuple[GalleryStage, list[Key]] | None = None
    samples: dict[str, SamplesStage] = field(default_factory=dict)

    @property
    def trainings(self) -> list[TrainStage]:
        """The stages that train a network."""
        return [stage for _, _, stage in self.networks if isinstance(stage, TrainStage)]


def make_plan(
    recipe: Recipe,
    dataset: Splits,
    compute: Compute,
    seed: int,
    *,
    quick: bool,
    models: StudyModels | None = None,
) -> Plan:
    """Expand a recipe over the values of its factors; the recipe was checked by `load_recipe`.

    Args:
        dataset: the splits, already limited in a quick run.
        compute: device and precision of the training.
        quick: whether networks of the zoo take the place of the same trainings, and epochs are capped.
        models: loads models that come from elsewhere; the keys of the recipe's networks are filled in.
    """
    models = models or StudyModels(recipe=recipe, folder=Path())
    return _Planner(recipe, dataset, compute, seed, quick, models).plan()


@dataclass
class _Planner:
    recipe: Recipe
    dataset: Splits
    compute: Compute
    seed: int
    quick: bool
    models: StudyModels
    result: Plan = field(default_factory=Plan)

    def __post_init__(self) -> None:
        self.data = {part: self.dataset.split(part).sha256() for part in ("train", "validation", "test")}
        self.sweep = Sweep(self.recipe)

    def plan(self) -> Plan:
        self._networks()
        self._evaluations()
        self._detections()
        self._curves()
        self._gallery()
        self._samples()
        return self.result

    def _named(self, part: UserT, choice: Choice) -> UserT:
        """Return a defense or detector with the networks of a choice of values."""
        names = {
            name: self.sweep.instance(value, choice)
            for name, value in vars(part).items()
            if isinstance(value, str) and value in part.networks
        }
        return replace(part, **names)  # type: ignore[type-var]

    def _networks(self) -> None:
        for name, part in self.recipe.networks.items():
            for choice in self.sweep.choices(self.sweep.factors_of(name)):
                whole = self._training(name, part, choice)
                stage = self._quick(whole) if self.quick else whole
                self.models.keys[stage.network] = stage.key
                self.result.stages.append(stage)
                self.result.networks.append((name, choice, stage))

    def _training(self, name: str, part: NetworkPart, choice: Choice) -> TrainStage:
        spec, instance = part.defense, self.sweep.instance(name, choice)
        defense = None if spec is None else self._named(parse_trusted(Defense, choice.bound(spec)), choice)
        assert defense is None or isinstance(defense, TrainedDefense)
        sources = [self.models.keys[source] for source in defense.networks] if defense else []
        return TrainStage(
            name=f"train {instance}",
            inputs=(self.data["train"], self.data["validation"], *sources),
            network=instance,
            title=choice.titled(part.title),
            model=with_hash(parse(Model, choice.bound(part.model)), self.models.note),
            objective=parse_trusted(Objective, choice.bound(part.objective)),
            defense=defense,
            config=part.config(choice.bound),
            device=self.compute.device,
            precision=self.compute.precision,
            seed=self.seed,
        )

    def _quick(self, stage: TrainStage) -> NetworkStage:
        """Return what a quick run does instead of a whole training."""
        sources = () if stage.defense is None else stage.defense.networks
        # A defense of the zoo was trained with images of another network of the zoo.
        data = self.recipe.data
        whole = data.train is None and data.validation is None
        if whole and not {training.network for training in self.result.trainings}.intersection(sources):
            recipe = {**stage.recipe(), "validation_fraction": data.validation_fraction}
            zoo = trained_like(self.dataset.name, shape_of(self.dataset), recipe)
            if zoo is not None:
                return shipped(stage, zoo)
        epochs = min(stage.config.epochs, self.recipe.quick.epochs)
        return replace(stage, config=replace(stage.config, epochs=epochs))

    def _question(self, place: str, part: Attacked, choice: Choice) -> Question:
        settings = part.settings(choice.bound)
        try:
            preprocessing.check_channels(preprocessing.wished(part), shape_of(self.dataset).channels)
            if part.model in self.recipe.networks:  # other models are loaded later, and then checked
                criteria_of(settings["target"], self.dataset.classes)
        except SpecError as error:
            raise RecipeError(f"{place}: {error}") from None
        specs = {name: choice.bound(text) for name, text in part.specs().items()}
        threat = threat_of(specs.get("threat"))
        return Question(
            model=part.model,
            choice=choice,
            attacks=specs.get("attacks"),
            threat=threat,
            threat_text=specs.get("threat", repr(threat)),
            surrogates=part.surrogates,
            settings=settings,
            images=part.images if isinstance(part, EvaluationPart) else None,
        )

    def _inputs(self, *questions: Question) -> tuple[str, ...]:
        models = {
            (text, question.choice.id): self.models.key(text, question.choice)
            for question in questions
            for text in (question.model, *question.surrogates)
        }
        return (self.data["test"], *models.values())

    def _evaluations(self) -> None:
        for part in self.recipe.evaluations:
            for choice in self.sweep.choices(factors_of(self.sweep, part)):
                question = self._question(f"evaluations.{part.id}", part, choice)
                stage = EvaluateStage(
                    name=choice.titled(f"evaluate {part.id}"),
                    inputs=self._inputs(question),
                    question=question,
                    folder=f"{part.id}-{choice.id}" if choice.id else part.id,
                    checks=part.checks,
                    seed=self.seed,
                )
                self.result.stages.append(stage)
                self.result.evaluations[part.id, choice.id] = stage

    def _detections(self) -> None:
        evaluations = {part.id: part for part in self.recipe.evaluations}
        for part in self.recipe.detections:
            spec, measured = self.recipe.detectors[part.detector].detector, evaluations[part.evaluation]
            for choice in self.sweep.choices(self.sweep.factors_of(spec) | factors_of(self.sweep, measured)):
                detector = self._named(parse_trusted(Detector, choice.bound(spec)), choice)
                factors = choice.of(factors_of(self.sweep, measured))
                question = self._question(f"evaluations.{measured.id}", measured, factors)
                networks = tuple(self.models.keys[name] for name in detector.networks)
                stage = DetectStage(
                    name=choice.titled(f"detect {part.id}"),
                    inputs=(self.data["validation"], *self._inputs(question), *networks),
                    detector=detector,
                    choice=choice,
                    question=question,
                    seed=self.seed,
                )
                self.result.stages.append(stage)
                self.result.detections[part.id, choice.id] = stage

    def _curves(self) -> None:
        for curve in self.recipe.curves:
            images = min(curve.images, self.recipe.quick.curve) if self.quick else curve.images
            stages = []
            for series in curve.series:
                points = self._points(curve, series)
                stages.append(
                    SeriesStage(
                        name=f"curve {curve.id}: {series.label}",
                        inputs=self._inputs(*points),
                        points=points,
                        images=images,
                        seed=self.seed,
                    )
                )
            self.result.stages.extend(stages)
            self.result.curves[curve.id] = stages

    def _points(self, curve: CurvePart, series: SeriesPart) -> tuple[Question, ...]:
        choice = chosen(self.recipe, series)
        place = f"curves.{curve.id}.series"
        return tuple(self._question(place, at(series, x), choice) for x in curve.x)

    def _gallery(self) -> None:
        if self.recipe.gallery is None:
            return
        columns = [
            key
            for name in self.recipe.gallery.evaluations
            for key in self.result.evaluations
            if key[0] == name
        ]
        questions = tuple(self.result.evaluations[key].question for key in columns)
        stage = GalleryStage(
            name="gallery", inputs=self._inputs(*questions), columns=questions, seed=self.seed
        )
        self.result.stages.append(stage)
        self.result.gallery = (stage, columns)

    def _samples(self) -> None:
        for name in self.recipe.samples:
            stage = SamplesStage(
                name=f"samples of {name}",
                inputs=(self.data["test"], self.models.keys[name]),
                network=name,
                seed=self.seed,
            )
            self.result.stages.append(stage)
            self.result.samples[name] = stage


def factors_of(sweep: Sweep, part: Attacked) -> set[str]:
    """Return the factors that an evaluation depends on."""
    models = map(sweep.factors_of, (part.model, *part.surrogates))
    return sweep.factors_in(*part.specs().values()).union(*models)


def at(series: SeriesPart, x: float) -> Attacked:
    """Return the question at one point of a curve, where ``x`` has this value."""
    values = {name: bound(text, {"x": x}) for name, text in series.specs().items()}
    return replace(series, **values)  # type: ignore[arg-type]


def chosen(recipe: Recipe, series: SeriesPart) -> Choice:
    """Return the values that a line of a curve chooses; of a factor with one value, that value."""
    values: dict[str, ValuePart] = {}
    for name, part in recipe.factors.items():
        only = part.values[0].id if len(part.values) == 1 else None
        wanted = series.values.get(name, only)
        values.update({name: value for value in part.values if value.id == wanted})  # noqa: B035
    return Choice(values=values)
