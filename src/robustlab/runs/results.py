"""results.json: everything that a run measured, as a documented, versioned schema.

The report, the tables on the terminal and the Python API all read these classes; docs/results.md explains
them. Only ``cost`` and ``created`` depend on the clock: all other values are the same for the same command.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from robustlab.core.fields import Answer, Count, Factor, Integer, Length, Number, Positive, Share, Some, Text
from robustlab.runs.evaluation import CheckRecord
from robustlab.runs.records import ComputeRecord, Figure, Record, require

SCHEMA_VERSION = 4


class DatasetInfo(Record):
    """The dataset of the study.

    ``fallback`` is the reason if it is not the requested one. ``class_names`` are empty if it has none.
    """

    name: Text
    source: Text
    fallback: Text
    class_names: Some[Text] = Field(default=[])
    train: Count
    validation: Count
    test: Count
    sha256: dict[Text, Text]


class Variant(Record):
    """One choice of a value for each of the recipe's factors, trainings and rows may depend on it."""

    id: Text
    title: Text
    why: Text
    factors: dict[Text, Number]


class Network(Record):
    """A trained network and its training curves.

    Attributes:
        zoo: the name under which it came from the zoo, of one that this run did not train.
        epochs: the losses of each epoch, and the validation accuracy; none without a training.
        best_epoch: the epoch whose weights were kept, from 1 on; 0 without a training.
    """

    id: Text
    title: Text
    model: Text
    objective: Text
    defense: Text | None
    variant: Text | None
    parameters: Count
    zoo: Text | None = None
    epochs: list[dict[Text, Number]] = Field(default_factory=list)
    best_epoch: Count = 0
    file: Text

    @model_validator(mode="after")
    def _fits(self) -> Self:
        require(self.best_epoch <= len(self.epochs), "the best epoch is one of the epochs")
        return self


class Row(Record):
    """One figure of the study: an evaluation of a classifier.

    Attributes:
        variant: the values of the factors on which its specs or its networks depend; None without such
            factors.
        reference: the study's figure; the study does not state its unit.
        model: the classifier's source, as in the recipe.
        attacks, threat: specs, with lengths on the pixel scale; None for clean images.
        surrogates: sources of the other classifiers that the attacker used.
        mode: as `Evaluation.mode`.
        folder: the folder of the evaluation, with results.json, images.csv and pictures.
        accuracy: in the mode ``"test-set"``, on all images after the attack, also those that were
            misclassified before; otherwise the robust accuracy.
        certified: the share of images that are proven to be robust; None where no certifier knows the model.
        confidence: the mean probability of the predicted class.
        confusion: ``confusion[true][predicted]`` counts images; those without a valid answer are not counted.
        distance: the mean over the images, in the threat model's norm; ``max_distance`` is the largest.
        checks: the reasons to trust or doubt the figure.
    """

    id: Text
    title: Text
    variant: Text | None
    group: Literal["summary", "more", "footnote"]
    note: Text
    reference: Share | None
    model: Text
    attacks: Text | None
    threat: Text | None
    surrogates: list[Text] = Field(default=[])
    mode: Text
    folder: Text
    accuracy: Figure
    certified: Figure | None = None
    confidence: Share
    confusion: Some[Some[Count]]
    distance: Length
    max_distance: Length
    forwards: Count
    backwards: Count
    checks: list[CheckRecord] = Field(default=[])

    @model_validator(mode="after")
    def _fits(self) -> Self:
        square = all(len(counts) == len(self.confusion) for counts in self.confusion)
        require(square, "a confusion matrix has a row and a column for each class")
        return self

    @property
    def failed(self) -> list[CheckRecord]:
        """The checks that failed."""
        return [check for check in self.checks if check.grade == "fail"]


class Operating(Record):
    """A detector at one threshold."""

    threshold: Number
    detection_rate: Figure
    false_positive_rate: Figure


class Detection(Record):
    """How well a detector separates the perturbed test images of an evaluation from the clean ones.

    ``natural`` is at the detector's own threshold (for the discriminator, D(x) < 0.5). ``calibrated`` is at
    the threshold with 5 % false positives on clean validation images. The histograms share ``edges``.
    """

    id: Text
    title: Text
    variant: Text | None
    detector: Text
    detector_spec: Text
    evaluation: Text
    attacks: Text
    threat: Text
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
    model: Text
    attacks: Text
    threat: Text
    accuracy: Some[Figure]


class Axis(Record):
    """Another scale of a curve's axis: its numbers are ``x / value``."""

    title: Text
    value: Factor


class Curve(Record):
    """Accuracy against ``x``; ``axes`` are other scales of it."""

    id: Text
    title: Text
    x_label: Text
    x: Some[Number]
    axes: list[Axis] = Field(default=[])
    series: Some[Series]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        require(
            all(len(line.accuracy) == len(self.x) for line in self.series), "a line has one figure for each x"
        )
        return self


State = Literal["holds", "refuted", "open"]
"""The state of a comparison. ``holds``: also at the unfavourable ends of the 95 % intervals. ``refuted``: it
fails even at their favourable ends. ``open``: neither; more images are needed."""


class JudgedComparison(Record):
    """One comparison of a claim: as text with titles and figures, and its state."""

    text: Text
    state: State


class ClaimVerdict(Record):
    """A claim's computed verdict in one reading: all comparisons must hold."""

    reading: Text
    variant: Text | None
    comparisons: Some[JudgedComparison]

    @property
    def state(self) -> State:
        """Refuted if one comparison is, else open if one is, else it holds."""
        states = {comparison.state for comparison in self.comparisons}
        return "refuted" if "refuted" in states else "open" if "open" in states else "holds"


class Claim(Record):
    """A claim of the study, with one verdict per reading; the first is the study's own."""

    id: Text
    text: Text
    verdicts: Some[ClaimVerdict]


class Finding(Record):
    """The accuracy of a defense in the published test and in a harder one.

    Attributes:
        published: the id of the row that repeats the published test.
        left: the id of the row of the harder test.
        why: why the two differ, in a sentence or two.
        role: ``"reference"`` for the classifier without a defense.
    """

    title: Text
    published: Text
    left: Text
    why: Text
    role: Literal["defense", "reference"]


class Picture(Record):
    """One image with the classifier's answer; ``index`` is its place in the pictures' array."""

    index: Count
    prediction: Answer
    confidence: Share


class GalleryColumn(Record):
    """One column of the gallery: the same test images, perturbed or restored in one way."""

    title: Text
    variant: Text | None
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
    """Images that a generative network draws. ``file`` holds uint8 (M, C, H, W) arrays of the given names."""

    network: Text
    title: Text
    arrays: Some[Text]
    file: Text


class Cost(Record):
    """The cost of a stage; the seconds are those of the run that finished it."""

    stage: Text
    seconds: Length
    forwards: Count
    backwards: Count


class Results(Record):
    """The contents of results.json."""

    schema_version: Positive = SCHEMA_VERSION
    study: Text
    title: Text
    quick: bool
    seed: int
    created: Text
    dataset: DatasetInfo
    compute: ComputeRecord
    variants: list[Variant]
    networks: Some[Network]
    rows: Some[Row]
    findings: list[Finding] = Field(default=[])
    claims: Some[Claim]
    detections: Some[Detection]
    curves: Some[Curve]
    gallery: Gallery | None
    samples: Some[Samples]
    cost: Some[Cost]
    peak_memory_mb: Length

    @property
    def columns(self) -> list[Variant]:
        """The choices of values, side by side in tables; for a recipe without factors a single one."""
        return self.variants or [Variant(id="all", title="accuracy", why="", factors={})]

    @property
    def red_flags(self) -> list[tuple[str, CheckRecord]]:
        """The failed checks of all rows, each with the title of its row."""
        titles = {variant.id: f" ({variant.title})" for variant in self.variants}
        return [
            (row.title + titles.get(row.variant or "", ""), check)
            for row in self.rows
            for check in row.failed
        ]
