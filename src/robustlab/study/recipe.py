"""A study as data: the networks to train, the perturbations, the rows, curves and claims, read from TOML.

Lengths (every eps and std) are written in the units of the study's own text. The recipe's ``units`` say
how many pixel units one of them is, and each row that states a length is measured once per unit.
"""

from typing import Annotated, Any, Literal

import pydantic
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from robustlab.attacks import Attack, Mode
from robustlab.core.construction import LARGEST_COUNT, LARGEST_FLOAT
from robustlab.core.errors import DataError, did_you_mean, offer
from robustlab.core.fields import Factor
from robustlab.core.spec import parse
from robustlab.core.text import printable, shown
from robustlab.data import check_dataset
from robustlab.threats import ThreatModel, Unbounded
from robustlab.training import TrainConfig

# Strict: to pydantic, True is 1 and "2" is 2.
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=100)]
Count = Annotated[int, Field(strict=True, ge=1, le=LARGEST_COUNT)]
Share = Annotated[float, Field(strict=True, ge=0.0, le=1.0)]
ProperShare = Annotated[float, Field(strict=True, gt=0.0, lt=1.0)]
Decay = Annotated[float, Field(strict=True, ge=0.0, lt=1.0)]
Positive = Annotated[float, Field(strict=True, gt=0.0, le=LARGEST_FLOAT)]


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
    """A network to train."""

    title: str
    model: str
    objective: str
    defense: str | None = None
    epochs: Count = 10
    batch_size: Count = 64
    lr: Positive = 1e-3
    betas: tuple[Decay, Decay] = (0.9, 0.999)

    def schedule(self, most_epochs: int | None) -> TrainConfig:
        """Return the training schedule, with the epochs capped for a quick run."""
        epochs = self.epochs if most_epochs is None else min(self.epochs, most_epochs)
        return TrainConfig(epochs=epochs, batch_size=self.batch_size, lr=self.lr, betas=self.betas)


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
