"""results.json: everything that a run measured, as a documented, versioned schema.

The report, the tables on the terminal and the Python API all read these classes; docs/results.md explains
them. Only ``cost`` and ``created`` depend on the clock: everything else is the same for the same command.
"""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from robustlab.core.fields import Count, Factor, Integer, Length, Number, Positive, Share, Some, Text

SCHEMA_VERSION = 2


class Record(BaseModel):
    """A part of a results file: every field is known, and none changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def require(holds: bool, rule: str) -> None:
    """Refuse a part whose fields do not fit together.

    Raises:
        ValueError: saying what should hold.
    """
    if not holds:
        raise ValueError(f"it must hold that {rule}")


class Figure(Record):
    """A measured share or score in [0, 1] with its 95 % interval, from ``n`` images."""

    value: Share
    low: Share
    high: Share
    n: Positive

    @model_validator(mode="after")
    def _fits(self) -> Self:
        require(self.low <= self.value <= self.high, "low <= value <= high")
        return self

    @property
    def is_share(self) -> bool:
        """Whether the value is a whole number of the ``n`` images."""
        return abs(self.value * self.n - round(self.value * self.n)) < 1e-6

    def __str__(self) -> str:
        return f"{100 * self.value:.2f} % ({100 * self.low:.2f} – {100 * self.high:.2f})"


class DatasetInfo(Record):
    """What was learnt from and measured on. ``fallback`` says why it is not the dataset wished for."""

    name: Text
    source: Text
    fallback: Text
    train: Count
    validation: Count
    test: Count
    sha256: dict[Text, Text]


class PassTime(Record):
    """What a forward and backward pass took, in seconds: the best of several, in turns."""

    images: Positive
    fp32: Length
    bf16: Length


class ComputeRecord(Record):
    """Where the figures were computed, and how.

    Attributes:
        training_precision: of the training; of an evaluation, of the search.
        instruction_set: what the processor's kernels were chosen for, such as ``"AVX512"``, and what its bf16
            products use; empty if it was not recorded.
        caps: environment variables that were set and change which kernels run.
        batch_size: an evaluation's images per pass; None of a study.
        pass_time: in both precisions, where it decided between them.
    """

    device: Text
    device_name: Text
    threads: Positive
    training_precision: Text
    instruction_set: Text = ""
    caps: dict[Text, Text] = Field(default={})
    batch_size: Positive | None = None
    pass_time: PassTime | None = None
    versions: dict[Text, Text]


class LengthUnit(Record):
    """A reading of the lengths in the recipe: one such unit is ``pixels`` of the pixel scale."""

    id: Text
    title: Text
    pixels: Factor
    why: Text


class Network(Record):
    """A trained network and its training curves."""

    id: Text
    title: Text
    model: Text
    objective: Text
    defense: Text | None
    unit: Text | None
    parameters: Count
    epochs: Some[dict[Text, Number]]
    best_epoch: Count
    file: Text

    @model_validator(mode="after")
    def _fits(self) -> Self:
        require(self.best_epoch <= len(self.epochs), "the best epoch is one of the epochs")
        return self


class RowFlag(Record):
    """A sign that the attack of a row did nothing, so that its accuracy must not be believed."""

    id: Literal["zero-gradient", "zero-distance", "above-clean"]
    found: Text


class Row(Record):
    """One figure of the study: a classifier's accuracy on images that were perturbed in one way.

    ``unit`` is None for rows that state no length. ``reference`` is the study's figure, which it gives
    without saying its unit. ``attack`` and ``threat`` are specs in pixel units; ``crafted_on`` is the
    classifier that the attacker saw (``on`` itself: white box). ``confusion[true][predicted]`` counts
    images. ``distance`` is the mean over the images, in the threat model's norm and pixel units.
    """

    id: Text
    title: Text
    unit: Text | None
    group: Literal["summary", "more", "footnote"]
    note: Text
    reference: Share | None
    on: Text
    attack: Text | None
    threat: Text | None
    crafted_on: Text | None
    accuracy: Figure
    confidence: Share
    confusion: Some[Some[Count]]
    distance: Length
    max_distance: Length
    forwards: Count
    backwards: Count
    flags: list[RowFlag] = Field(default=[])

    @model_validator(mode="after")
    def _fits(self) -> Self:
        square = all(len(counts) == len(self.confusion) for counts in self.confusion)
        require(square, "a confusion matrix has a row and a column for each class")
        return self


class Operating(Record):
    """A detector at one threshold."""

    threshold: Number
    detection_rate: Figure
    false_positive_rate: Figure


class Detection(Record):
    """How well a detector tells perturbed test images from the clean ones.

    ``natural`` is at the detector's own threshold (for the discriminator, D(x) < 0.5), ``calibrated`` at
    the one that gives 5 % false positives on clean validation images. The histograms share ``edges``.
    """

    id: Text
    title: Text
    unit: Text | None
    detector: Text
    detector_spec: Text
    attack: Text
    threat: Text
    crafted_on: Text
    auroc: Figure
    natural: Operating | None
    calibrated: Operating
    roc: Some[tuple[Share, Share]]
    edges: Some[Number]
    clean_histogram: Some[Count]
    perturbed_histogram: Some[Count]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for counts in (self.clean_histogram, self.perturbed_histogram):
            require(len(self.edges) == len(counts) + 1, "a histogram has one edge more than counts")
        require(self.edges == sorted(self.edges), "a histogram's edges rise")
        return self


class Series(Record):
    """One line of a curve."""

    label: Text
    on: Text
    attack: Text
    threat: Text
    accuracy: Some[Figure]


class Curve(Record):
    """Accuracy against a length ``x`` in pixel units."""

    id: Text
    title: Text
    x_label: Text
    x: Some[Number]
    series: Some[Series]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        require(
            all(len(line.accuracy) == len(self.x) for line in self.series), "a line has one figure for each x"
        )
        return self


class ClaimVerdict(Record):
    """A claim's computed verdict in one reading; ``figures`` spells out the comparison."""

    reading: Text
    unit: Text
    holds: bool
    figures: Text


class Claim(Record):
    """A claim of the study, with one verdict per reading; the first is the study's own."""

    id: Text
    text: Text
    verdicts: Some[ClaimVerdict]


class Picture(Record):
    """One image with what the classifier says of it; ``index`` is its place in the pictures' array."""

    index: Count
    prediction: Count
    confidence: Share


class GalleryColumn(Record):
    """One column of the gallery: the same test images, perturbed or restored in one way."""

    title: Text
    unit: Text | None
    pictures: Some[Picture]


class Gallery(Record):
    """Test images side by side. ``file`` holds the array ``pictures``, uint8 (M, C, H, W)."""

    ids: Some[Integer]
    labels: Some[Count]
    columns: Some[GalleryColumn]
    file: Text

    @model_validator(mode="after")
    def _fits(self) -> Self:
        lengths = {len(self.ids), len(self.labels), *(len(column.pictures) for column in self.columns)}
        require(len(lengths) == 1, "a gallery's columns have one picture for each id and label")
        return self


class Samples(Record):
    """What a generative network draws. ``file`` holds uint8 (M, C, H, W) arrays of the given names."""

    network: Text
    title: Text
    arrays: Some[Text]
    file: Text


class Cost(Record):
    """What a stage cost; seconds are of the run that finished it."""

    stage: Text
    seconds: Length
    forwards: Count
    backwards: Count


class Results(Record):
    """The whole of results.json."""

    schema_version: Positive = SCHEMA_VERSION
    study: Text
    title: Text
    quick: bool
    seed: int
    created: Text
    dataset: DatasetInfo
    compute: ComputeRecord
    units: Some[LengthUnit]
    networks: Some[Network]
    rows: Some[Row]
    claims: Some[Claim]
    detections: Some[Detection]
    curves: Some[Curve]
    gallery: Gallery | None
    samples: Some[Samples]
    cost: Some[Cost]
    peak_memory_mb: Length

    @property
    def red_flags(self) -> list[tuple[str, RowFlag]]:
        """The red flags of all rows, each with what its row is called."""
        units = {unit.id: f" ({unit.title})" for unit in self.units}
        return [(row.title + units.get(row.unit or "", ""), flag) for row in self.rows for flag in row.flags]
