"""results.json: everything that a run measured, as a documented, versioned schema.

The report, the tables on the terminal and the Python API all read these classes; docs/results.md explains
them. Only ``cost`` and ``created`` depend on the clock: everything else is the same for the same command.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1


class Record(BaseModel):
    """A part of a results file: every field is known, and none changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Figure(Record):
    """A measured share or score in [0, 1] with its 95 % interval, from ``n`` images."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{100 * self.value:.2f} % ({100 * self.low:.2f} – {100 * self.high:.2f})"


class DatasetInfo(Record):
    """What was learnt from and measured on. ``fallback`` says why it is not the dataset wished for."""

    name: str
    source: str
    fallback: str
    train: int
    validation: int
    test: int
    sha256: dict[str, str]


class PassTime(Record):
    """What a forward and backward pass took, in seconds: the best of several, in turns."""

    images: int
    fp32: float
    bf16: float


class Compute(Record):
    """Where the figures were computed, and how.

    Attributes:
        training_precision: of the training; of an evaluation, of the search.
        instruction_set: what the processor's kernels were chosen for, such as ``"AVX512"``, and what its bf16
            products use; empty if it was not recorded.
        caps: environment variables that were set and change which kernels run.
        batch_size: an evaluation's images per pass; None of a study.
        pass_time: in both precisions, where it decided between them.
    """

    device: str
    device_name: str
    threads: int
    training_precision: str
    instruction_set: str = ""
    caps: dict[str, str] = Field(default={})
    batch_size: int | None = None
    pass_time: PassTime | None = None
    versions: dict[str, str]


class Unit(Record):
    """A reading of the lengths in the recipe: one such unit is ``pixels`` of the pixel scale."""

    id: str
    title: str
    pixels: float
    why: str


class Network(Record):
    """A trained network and its training curves."""

    id: str
    title: str
    model: str
    objective: str
    defense: str | None
    unit: str | None
    parameters: int
    epochs: list[dict[str, float]]
    best_epoch: int
    file: str


class Row(Record):
    """One figure of the study: a classifier's accuracy on images that were perturbed in one way.

    ``unit`` is None for rows that state no length. ``reference`` is the study's figure, which it gives
    without saying its unit. ``attack`` and ``threat`` are specs in pixel units; ``crafted_on`` is the
    classifier that the attacker saw (``on`` itself: white box). ``confusion[true][predicted]`` counts
    images. ``distance`` is the mean over the images, in the threat model's norm and pixel units.
    """

    id: str
    title: str
    unit: str | None
    group: Literal["summary", "more", "footnote"]
    note: str
    reference: float | None
    on: str
    attack: str | None
    threat: str | None
    crafted_on: str | None
    accuracy: Figure
    confidence: float
    confusion: list[list[int]]
    distance: float
    max_distance: float
    forwards: int
    backwards: int


class Operating(Record):
    """A detector at one threshold."""

    threshold: float
    detection_rate: Figure
    false_positive_rate: Figure


class Detection(Record):
    """How well a detector tells perturbed test images from the clean ones.

    ``natural`` is at the detector's own threshold (for the discriminator, D(x) < 0.5), ``calibrated`` at
    the one that gives 5 % false positives on clean validation images. The histograms share ``edges``.
    """

    id: str
    title: str
    unit: str | None
    detector: str
    detector_spec: str
    attack: str
    threat: str
    crafted_on: str
    auroc: Figure
    natural: Operating | None
    calibrated: Operating
    roc: list[tuple[float, float]]
    edges: list[float]
    clean_histogram: list[int]
    perturbed_histogram: list[int]


class Series(Record):
    """One line of a curve."""

    label: str
    on: str
    attack: str
    threat: str
    accuracy: list[Figure]


class Curve(Record):
    """Accuracy against a length ``x`` in pixel units."""

    id: str
    title: str
    x_label: str
    x: list[float]
    series: list[Series]


class Verdict(Record):
    """A claim's computed verdict in one reading; ``figures`` spells out the comparison."""

    reading: str
    unit: str
    holds: bool
    figures: str


class Claim(Record):
    """A claim of the study, with one verdict per reading; the first is the study's own."""

    id: str
    text: str
    verdicts: list[Verdict]


class Picture(Record):
    """One image with what the classifier says of it; ``index`` is its place in the pictures' array."""

    index: int
    prediction: int
    confidence: float


class GalleryColumn(Record):
    """One column of the gallery: the same test images, perturbed or restored in one way."""

    title: str
    unit: str | None
    pictures: list[Picture]


class Gallery(Record):
    """Test images side by side. ``file`` holds the array ``pictures``, uint8 (M, C, H, W)."""

    ids: list[int]
    labels: list[int]
    columns: list[GalleryColumn]
    file: str


class Samples(Record):
    """What a generative network draws. ``file`` holds uint8 (M, C, H, W) arrays of the given names."""

    network: str
    title: str
    arrays: list[str]
    file: str


class Cost(Record):
    """What a stage cost; seconds are of the run that finished it."""

    stage: str
    seconds: float
    forwards: int
    backwards: int


class Results(Record):
    """The whole of results.json."""

    schema_version: int = SCHEMA_VERSION
    study: str
    title: str
    quick: bool
    seed: int
    created: str
    dataset: DatasetInfo
    compute: Compute
    units: list[Unit]
    networks: list[Network]
    rows: list[Row]
    claims: list[Claim]
    detections: list[Detection]
    curves: list[Curve]
    gallery: Gallery | None
    samples: list[Samples]
    cost: list[Cost]
    peak_memory_mb: float
