"""A study as data: the networks to train, the perturbations, the rows, curves and claims, read from TOML.

Lengths (every eps and std) are written in the units of the study's own text. The recipe's ``units`` say
how many pixel units one of them is, and each row that states a length is measured once per unit.
"""

from typing import Annotated, Any, Literal, TypeVar

import pydantic
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from robustlab.attacks import Attack, Mode
from robustlab.core.construction import LARGEST_COUNT, LARGEST_FLOAT
from robustlab.core.errors import DataError, SpecError, did_you_mean, offer
from robustlab.core.fields import Factor
from robustlab.core.spec import Unit, has_lengths, parse, scaled
from robustlab.core.text import printable, shown
from robustlab.data import check_dataset
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

# Strict: to pydantic, True is 1 and "2" is 2.
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=100)]
Count = Annotated[int, Field(strict=True, ge=1, le=LARGEST_COUNT)]
Share = Annotated[float, Field(strict=True, ge=0.0, le=1.0)]
ProperShare = Annotated[float, Field(strict=True, gt=0.0, lt=1.0)]
Decay = Annotated[float, Field(strict=True, ge=0.0, lt=1.0)]
Positive = Annotated[float, Field(strict=True, gt=0.0, le=LARGEST_FLOAT)]


UnitT = TypeVar("UnitT", bound=Unit)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _keys_are_known(cls, content: Any) -> Any:
        accepted = [field.alias or name for name, field in cls.model_fields.items()]
        for key, value in content.items() if isinstance(content, dict) else ():
            if key not in accepted:
                hint = did_you_mean(str(key), accepted)
                raise ValueError(f"unknown key {shown(key)}{hint}; {offer(accepted)}")
            if isinstance(value, str) and printable(value) != value:
                raise ValueError(f"{key} must not hold control characters, found {shown(value)}")
        return content


def _known_dataset(name: str) -> str:
    try:
        check_dataset(name)
    except DataError as error:
        raise ValueError(str(error)) from None
    return name


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _unit(field: str, kind: type[UnitT], text: str, pixels: float = 1.0) -> UnitT:
    """Return the unit that a field's spec means; a refusal names the field."""
    try:
        return scaled(parse(kind, text), pixels)
    except SpecError as error:
        raise SpecError(f"{field}: {error}") from None


class DataPart(_Part):
    """Which images, and how many of them are set apart for validation."""

    dataset: Annotated[str, AfterValidator(_known_dataset)] = "auto"
    validation_fraction: ProperShare = 0.2


class QuickPart(_Part):
    """What ``--quick`` cuts down: the largest number of epochs and of images per split."""

    epochs: Count = 2
    train: Count = 6000
    validation: Count = 1000
    test: Count = 1000
    curve: Count = 200


class UnitPart(_Part):
    """One reading of the recipe's lengths."""

    id: Name
    title: str
    pixels: Annotated[Factor, Field(strict=True)]
    why: str = ""


class NetworkPart(_Part):
    """A network to train.

    ``lr`` and ``betas`` are short for ``optimizer = "adam(lr=..., betas=...)"``. With a validation attack the
    epoch is kept at which it leaves the highest accuracy; ``validation_images`` says on how many images.
    """

    title: str
    model: str
    objective: str
    defense: str | None = None
    epochs: Count = 10
    batch_size: Count = 64
    optimizer: str | None = None
    lr: Positive | None = None
    betas: tuple[Decay, Decay] | None = None
    schedule: str | None = None
    augmentation: Annotated[tuple[str, ...], BeforeValidator(_one_or_more)] = ()
    averaging: str | None = None
    clip: Positive | None = None
    validation_attack: str | None = None
    validation_threat: str | None = None
    validation_images: Count | None = None

    def config(self, most_epochs: int | None = None, pixels: float = 1.0) -> TrainConfig:
        """Return the recipe of the training.

        Args:
            most_epochs: the most epochs, for a quick run.
            pixels: how many pixel units one unit of the recipe's lengths is.

        Raises:
            SpecError: a field is wrong, or does not go with another one; the message begins with its name.
        """
        averaging = self.averaging
        return TrainConfig(
            epochs=self.epochs if most_epochs is None else min(self.epochs, most_epochs),
            batch_size=self.batch_size,
            optimizer=self._optimizer(),
            schedule=Constant() if self.schedule is None else _unit("schedule", Schedule, self.schedule),
            augmentation=tuple(_unit("augmentation", Augmentation, text) for text in self.augmentation),
            averaging=None if averaging is None else _unit("averaging", Averaging, averaging),
            clip=self.clip,
            validation=self._validation(pixels),
        )

    def has_lengths(self) -> bool:
        """Tell whether the objective, or robust validation, states a length."""
        validation = self._validation(1.0)
        parts = [] if validation is None else [validation.attack, validation.threat]
        return any(map(has_lengths, [parse(Objective, self.objective), *parts]))

    def _optimizer(self) -> Optimizer:
        given = {name: value for name in ("lr", "betas") if (value := getattr(self, name)) is not None}
        if self.optimizer is None:
            return Adam(**given)
        if given:
            raise SpecError(f"{next(iter(given))}: give it to the optimizer {shown(self.optimizer)} instead")
        return _unit("optimizer", Optimizer, self.optimizer)

    def _validation(self, pixels: float) -> RobustValidation | None:
        if self.validation_attack is None:
            for name in ("validation_threat", "validation_images"):
                if getattr(self, name) is not None:
                    raise SpecError(f"{name}: it needs a validation_attack")
            return None
        if parse(Objective, self.objective).network_kind != "classifier":
            raise SpecError("validation_attack: it needs a classifier")
        attack = _unit("validation_attack", Attack, self.validation_attack, pixels)
        threat: ThreatModel = Unbounded()
        if self.validation_threat is not None:
            threat = _unit("validation_threat", ThreatModel, self.validation_threat, pixels)
        try:
            images = {} if self.validation_images is None else {"images": self.validation_images}
            return RobustValidation(attack=attack, threat=threat, **images)
        except SpecError as error:
            raise SpecError(f"validation_attack: {error}") from None


class ClassifierPart(_Part):
    """A classifier composed of trained networks."""

    title: str
    defense: str


class DetectorPart(_Part):
    """A detector."""

    title: str
    detector: str


class Perturbation(_Part):
    """How images are perturbed: by an attack within a threat model, on the classifier it sees."""

    attack: str | None = None
    threat: str | None = None
    crafted_on: str | None = None
    mode: Mode = "verdict"

    def units_of(self) -> tuple[Attack | None, ThreatModel]:
        """Return the parsed attack and threat model; without a threat any image in [0, 1] is allowed."""
        return (
            None if self.attack is None else parse(Attack, self.attack),
            Unbounded() if self.threat is None else parse(ThreatModel, self.threat),
        )


class RowPart(Perturbation):
    """One row of the table: the accuracy of a classifier on perturbed test images."""

    id: Name
    title: str
    on: str
    group: Literal["summary", "more", "footnote"] = "more"
    note: str = ""
    reference: Share | None = None


class DetectionPart(Perturbation):
    """A detector against one perturbation."""

    id: Name
    title: str
    detector: str


class SeriesPart(Perturbation):
    """One line of a curve; ``{x}`` in its attack and threat stands for the point on the axis."""

    label: str
    on: str
    unit: str | None = None

    def at(self, x: float) -> Perturbation:
        """Return the perturbation at one point of the axis."""

        def fill(text: str | None) -> str | None:
            return None if text is None else text.replace("{x}", repr(x))

        changed = {"attack": fill(self.attack), "threat": fill(self.threat)}
        return Perturbation(crafted_on=self.crafted_on, mode=self.mode, **changed)


class CurvePart(_Part):
    """Accuracy against a length in pixel units, on the first ``images`` test images."""

    id: Name
    title: str
    x_label: str
    x: Annotated[list[Share], Field(min_length=1)]
    images: Count = 2000
    series: list[SeriesPart]


class ReadingPart(_Part):
    """One way to read a claim: comparisons that must all hold, in each of the units."""

    title: str
    units: Annotated[list[str], Field(min_length=1)]
    holds: Annotated[list[str], Field(min_length=1)]


class ClaimPart(_Part):
    """A claim to be judged by the figures."""

    id: Name
    text: str
    readings: list[ReadingPart]


class GalleryPart(_Part):
    """The rows whose images are shown side by side."""

    rows: list[str]


class Recipe(_Part):
    """A whole study. `study.loading.load_recipe` reads and checks one."""

    schema_version: Annotated[Count, Field(alias="schema")]
    name: Name
    title: str
    data: DataPart = DataPart()
    quick: QuickPart = QuickPart()
    units: Annotated[list[UnitPart], Field(min_length=1)]
    networks: Annotated[dict[Name, NetworkPart], Field(min_length=1)]
    classifiers: dict[Name, ClassifierPart] = {}
    detectors: dict[Name, DetectorPart] = {}
    rows: list[RowPart] = []
    detections: list[DetectionPart] = []
    curves: list[CurvePart] = []
    claims: list[ClaimPart] = []
    gallery: GalleryPart | None = None
    samples: list[str] = []
