"""A study as data: the networks to train, the evaluations, curves and claims, read from TOML.

A factor is a number with several values, such as the length of the study's unit on the pixel scale. Specs may
use it: ``linf(eps=0.25*scale)``. A part that depends on it, directly or through a network, exists once for
each value.
"""

from collections.abc import Callable
from dataclasses import field, fields
from typing import Annotated, Any, Literal, Self, TypeVar, cast, dataclass_transform

import pydantic
import pydantic.dataclasses
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from robustlab.attacks import Attack
from robustlab.core.arguments import LARGEST_FLOAT, as_typed
from robustlab.core.errors import DataError, SetupError, SpecError, did_you_mean, offer
from robustlab.core.options import Count
from robustlab.core.spec import UnitT
from robustlab.core.text import printable, shown
from robustlab.core.user_code import is_user_code
from robustlab.core.user_units import parse_trusted
from robustlab.data import check_dataset
from robustlab.evaluation import preprocessing
from robustlab.evaluation.coordinator.arguments import UNIT_KINDS, UNITS
from robustlab.options import AttackFields, EvaluationFields
from robustlab.threats import ThreatModel, Unbounded
from robustlab.training import (
    Adam,
    Augmentation,
    Averaging,
    Constant,
    Objective,
    Optimizer,
    RobustValidation,
    Schedule,
    TrainConfig,
)
from robustlab.training_options import TrainingFields

# Strict: pydantic reads True as 1 and "2" as 2 otherwise.
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=100)]
Share = Annotated[float, Field(strict=True, ge=0.0, le=1.0)]
ProperShare = Annotated[float, Field(strict=True, gt=0.0, lt=1.0)]

Bound = Callable[[str], str]
PartT = TypeVar("PartT")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _keys_are_known(cls, content: Any) -> Any:
        return _with_known_keys(content, [part.alias or name for name, part in cls.model_fields.items()])


def _with_known_keys(content: Any, accepted: list[str]) -> Any:
    """Return the content of a part, refusing keys that are not accepted, and control characters."""
    for key, value in content.items() if isinstance(content, dict) else ():
        if key not in accepted:
            hint = did_you_mean(str(key), accepted)
            raise ValueError(f"unknown key {shown(key)}{hint}; {offer(accepted)}")
        if isinstance(value, str) and printable(value) != value:
            raise ValueError(f"{key} must not hold control characters, found {shown(value)}")
    return content


def _known_dataset(name: str) -> str:
    if is_user_code(name):
        return name
    try:
        check_dataset(name)
    except DataError as error:
        raise ValueError(str(error)) from None
    return name


def _unit(field: str, kind: type[UnitT], text: str) -> UnitT:
    """Return the unit of a field's spec; an error names the field."""
    try:
        return parse_trusted(kind, text)
    except SpecError as error:
        raise SpecError(f"{as_typed(field)}: {error}") from None


class DataPart(_Part):
    """Which images, how many of them are set apart for validation, and the most that are used.

    Own images are ``dataset = "FILE.py:FUNCTION"`` and ``test = "FILE.py:FUNCTION"``, as for `evaluate`.
    """

    dataset: Annotated[str, AfterValidator(_known_dataset)] = "auto"
    test: str | None = None
    validation_fraction: ProperShare = 0.2
    train: Count | None = None
    validation: Count | None = None

    @pydantic.model_validator(mode="after")
    def _own_data_are_tested(self) -> Self:
        if is_user_code(self.dataset) != (self.test is not None):
            raise ValueError("test: with dataset = FILE.py:FUNCTION, and only then, the images to test on")
        return self


class QuickPart(_Part):
    """What ``--quick`` cuts down: the largest number of epochs and of images per split.

    A network that the zoo has, from the same recipe, data and seed as in the whole study, is not trained.
    """

    epochs: Count = 2
    train: Count = 6000
    validation: Count = 1000
    test: Count = 1000
    curve: Count = 200


class ValuePart(_Part):
    """One value of a factor."""

    id: Name
    title: str
    value: Annotated[float, Field(strict=True, ge=-LARGEST_FLOAT, le=LARGEST_FLOAT)]
    why: str = ""


class FactorPart(_Part):
    """A number that specs may use by its name, with all its values."""

    values: Annotated[list[ValuePart], Field(min_length=1)]


class _WithOptions:
    """A part whose fields are also options of the command line."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _keys_are_known(cls, content: Any) -> Any:
        return _with_known_keys(content, [part.name for part in fields(cls)])  # type: ignore[arg-type]


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def _part_with_options(part: type[PartT]) -> type[PartT]:
    """Make a class a part of a recipe; where an option takes a unit, a part takes its spec."""
    config = ConfigDict(extra="forbid", allow_inf_nan=False)
    made = pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=config)(part)
    pydantic.dataclasses.rebuild_dataclass(made, force=True, _types_namespace=dict.fromkeys(UNIT_KINDS, str))
    return cast("type[PartT]", made)


@_part_with_options
class NetworkPart(_WithOptions, TrainingFields):
    """A network to train; see also `TrainingFields`."""

    title: str
    model: str
    objective: str
    defense: str | None = None

    @pydantic.field_validator("augmentation", "betas", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        value = [value] if isinstance(value, str) else value
        return tuple(value) if isinstance(value, list) else value

    def config(self, bound: Bound = str) -> TrainConfig:
        """Return the recipe of the training.

        Args:
            bound: puts the values of factors into a spec.

        Raises:
            SpecError: a field is wrong, or does not fit another one; the message begins with its name.
        """
        schedule, averaging = self.schedule, self.averaging
        return TrainConfig(
            epochs=self.epochs,
            batch_size=self.batch_size,
            optimizer=self._optimizer(bound),
            schedule=Constant() if schedule is None else _unit("schedule", Schedule, bound(schedule)),
            augmentation=tuple(
                _unit("augmentation", Augmentation, bound(text)) for text in self.augmentation
            ),
            averaging=None if averaging is None else _unit("averaging", Averaging, bound(averaging)),
            reestimate_batch_norm=self.reestimate_batch_norm,
            clip=self.clip,
            validation=self._validation(bound),
        )

    def specs(self) -> list[str]:
        """Return the texts that may use factors and name other networks."""
        texts = [value for name, value in vars(self).items() if name != "title" and isinstance(value, str)]
        return [*texts, *self.augmentation]

    def _optimizer(self, bound: Bound) -> Optimizer:
        given = {name: value for name in ("lr", "betas") if (value := getattr(self, name)) is not None}
        if self.optimizer is None:
            return Adam(**given)
        if given:
            raise SpecError(
                f"{as_typed(next(iter(given)))}: give it to the optimizer {shown(self.optimizer)} instead"
            )
        return _unit("optimizer", Optimizer, bound(self.optimizer))

    def _validation(self, bound: Bound) -> RobustValidation | None:
        if self.validation_attack is None:
            for name in ("validation_threat", "validation_images", "validation_stop"):
                if getattr(self, name) is not None:
                    raise SpecError(f"{as_typed(name)}: it needs a {as_typed('validation_attack')}")
            return None
        if parse_trusted(Objective, bound(self.objective)).network_kind != "classifier":
            raise SpecError(f"{as_typed('validation_attack')}: it needs a classifier")
        attack = _unit("validation_attack", Attack, bound(self.validation_attack))
        threat: ThreatModel = Unbounded()
        if self.validation_threat is not None:
            threat = _unit("validation_threat", ThreatModel, bound(self.validation_threat))
        try:
            images = {} if self.validation_images is None else {"images": self.validation_images}
            return RobustValidation(attack=attack, threat=threat, stop=self.validation_stop, **images)
        except SpecError as error:
            raise SpecError(f"{as_typed('validation_attack')}: {error}") from None


class ModelPart(_Part):
    """A named classifier: any source, whose parts may be networks of the recipe."""

    title: str
    source: str


class DetectorPart(_Part):
    """A detector."""

    title: str
    detector: str


@_part_with_options
class Attacked(_WithOptions, AttackFields):
    """A classifier, and the attacks on its images; without attacks the images are clean.

    The fields have the same meaning as the options of ``robustlab evaluate``.
    """

    model: str
    attacks: str | None = None
    threat: str | None = None
    surrogates: tuple[str, ...] = ()

    @pydantic.model_validator(mode="after")
    def _preprocessing_is_known(self) -> Self:
        try:
            preprocessing.wished(self)
        except (SpecError, SetupError) as error:
            raise ValueError(str(error)) from None
        return self

    def settings(self, bound: Bound = str) -> dict[str, Any]:
        """Return the fields that are options of an evaluation, by the option's name.

        Args:
            bound: puts the values of factors into a spec.
        """
        specs = self.specs()
        names = [part.name for part in fields(EvaluationFields) if hasattr(self, part.name)]
        return {name: bound(specs[name]) if name in specs else getattr(self, name) for name in names}

    def specs(self) -> dict[str, str]:
        """Return the texts that may use factors, by the field's name, without the sources of classifiers."""
        texts = {name: getattr(self, name, None) for name in ("attacks", "threat", *UNITS)}
        return {name: text for name, text in texts.items() if isinstance(text, str)}


@_part_with_options
class EvaluationPart(Attacked, EvaluationFields):
    """One row of the table: an evaluation on the test images."""

    id: Name
    title: str
    group: Literal["summary", "more", "footnote"] = "more"
    note: str = ""
    reference: Share | None = None
    checks: Literal["all", "cheap", "none"] = "cheap"
    images: Count | None = None


class DetectionPart(_Part):
    """A detector on the images of an evaluation whose mode is ``test-set``, and on clean ones."""

    id: Name
    title: str
    detector: str
    evaluation: str


@_part_with_options
class SeriesPart(Attacked):
    """One line of a curve; ``x`` in its attacks and its threat is the point on the axis.

    ``values`` chooses a value, by its id, for each other factor of the line.
    """

    label: str
    values: dict[str, str] = field(default_factory=dict)


class CurvePart(_Part):
    """Accuracy against ``x``, on the first ``images`` test images.

    ``factor``: the values of the axis are also shown as multiples of each value of this factor.
    """

    id: Name
    title: str
    x_label: str
    x: Annotated[list[Share], Field(min_length=1)]
    factor: str | None = None
    images: Count = 2000
    series: list[SeriesPart]


class FindingPart(_Part):
    """A defense on the first page: the published evaluation, and a harder one of the same model."""

    title: str
    published: str
    left: str
    why: str = ""
    role: Literal["defense", "reference"] = "defense"


class ReadingPart(_Part):
    """One way to read a claim: comparisons that must all hold; judged for each choice of values."""

    title: str
    holds: Annotated[list[str], Field(min_length=1)]


class ClaimPart(_Part):
    """A claim, judged by the figures."""

    id: Name
    text: str
    readings: list[ReadingPart]


class GalleryPart(_Part):
    """The evaluations whose images are shown side by side."""

    evaluations: list[str]


class Recipe(_Part):
    """A whole study. `study.loading.load_recipe` reads and checks one."""

    schema_version: Annotated[Count, Field(alias="schema")]
    name: Name
    title: str
    data: DataPart = DataPart()
    quick: QuickPart = QuickPart()
    factors: dict[Name, FactorPart] = {}
    networks: Annotated[dict[Name, NetworkPart], Field(min_length=1)]
    models: dict[Name, ModelPart] = {}
    detectors: dict[Name, DetectorPart] = {}
    evaluations: list[EvaluationPart] = []
    detections: list[DetectionPart] = []
    curves: list[CurvePart] = []
    findings: list[FindingPart] = []
    claims: list[ClaimPart] = []
    gallery: GalleryPart | None = None
    samples: list[str] = []
