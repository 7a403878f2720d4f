"""results.json of an evaluation: what was measured of one classifier under one threat model.

The report, the terminal, `compare` and `gate` read these classes. ``seconds``, ``created`` and
``peak_memory_mb`` depend on the clock and the machine. Passes depend a little on batch size and precision,
and whatever is just at the edge on the last bits of the machine's sums; the rest is the command's alone.
"""

from typing import Literal

from pydantic import Field

from robustlab.core.results import Compute, Figure, Record

EVALUATION_SCHEMA_VERSION = 1

Grade = Literal["pass", "warn", "fail", "skip"]


class Subject(Record):
    """The classifier: where it came from, and the hash of its weights.

    ``dtype`` is the number format in which it is given its images: fp32, fp64, fp16 or bf16.
    """

    name: str
    source: str
    parameters: int
    sha256: str
    dtype: str = "fp32"


class Images(Record):
    """The images that were attacked: the first ``n`` of a split, or the caller's own.

    ``sha256`` is of these, ``split_sha256`` of the whole split: evaluations of different ``n`` share it.
    """

    name: str
    split: str
    n: int
    classes: int
    shape: tuple[int, int, int]
    sha256: str
    split_sha256: str = ""


class AttackRow(Record):
    """One attack of the cascade, which met only the images that were left to it.

    With a curve, the searches for the nearest success are the last rows; they run on all images that were
    right, but for those that are proven as far as the curve reaches.

    Attributes:
        attacked: images it ran on.
        broken: images that it was the first to break.
        robust: the accuracy that is left after it, over all images.
    """

    attack: str
    attacked: int
    broken: int
    robust: Figure
    forwards: int
    backwards: int
    seconds: float


class BrokenImage(Record):
    """A broken image for the page; ``index`` is its row in the arrays ``clean`` and ``adversarial``.

    ``prediction`` is -1 where the classifier's answer is not finite.
    """

    index: int
    image_id: int
    label: int
    clean_confidence: float
    prediction: int
    confidence: float
    attack: str
    restart: int
    distance: float


class Flip(Record):
    """How many images of one class an attack turned into one other; -1: into no finite answer."""

    label: int
    prediction: int
    n: int


class Histogram(Record):
    """``counts[i]`` values lie between ``edges[i]`` and ``edges[i + 1]``."""

    edges: list[float]
    counts: list[int]


class RobustCurve(Record):
    """Robust accuracy against eps, from searches for the nearest success of each image.

    Successes of the other attacks count too, so at the threat model's eps it passes through the headline.
    ``certified`` is the proven lower bound at the same eps, where there is one. The searches are also the
    last of `Evaluation.rows`, with the same passes and seconds.
    """

    attack: str
    eps: list[float]
    robust: list[Figure]
    certified: list[Figure] | None
    forwards: int
    backwards: int
    seconds: float


class Check(Record):
    """One computed reason to believe or doubt the figure; ``id`` is its heading in docs/flags.md.

    Attributes:
        found: what was computed, in words with figures.
        expected: what would pass.
        meaning: what a failure would tell, in one sentence.
        n: images it was computed on.
    """

    id: str
    title: str
    grade: Grade
    found: str
    expected: str
    meaning: str
    n: int
    forwards: int
    backwards: int


class Evaluation(Record):
    """The whole of an evaluation's results.json.

    Attributes:
        mode: ``"verdict"`` or ``"max-loss"``.
        samples: how often the classifier was asked about each point.
        command: what to type to have the same evaluation again; empty if it was started from Python.
        attacks: what was asked for; ``rows`` says what ran.
        robust: worst case over all attacks, image by image; the headline.
        certified: proven, where a certifier ran.
        not_finite: ids of images at which, or near which, the classifier returned NaN or infinity; they
            count as not robust.
        unconfirmed: ids of images of which an attack's success did not hold when it was measured again, in
            fp32, from the disk. That success does not count, and the later attacks went on with the image.
        broken: the broken images that the page shows, at most a few hundred.
        pictures: array file of those, (M, C, H, W): uint8, or float32 on the pixel scale.
        flips: all images that were right and are broken, by label and adversarial class.
        distances: of all these, in the threat model's norm; None if there are none, or it bounds no distance.
    """

    schema_version: int = EVALUATION_SCHEMA_VERSION
    kind: Literal["evaluation"] = "evaluation"
    title: str
    created: str
    seed: int
    command: str = ""
    mode: str
    samples: int = 1
    subject: Subject
    images: Images
    threat: str
    norm: str
    eps: float
    attacks: str
    eight_bit: bool
    clean: Figure
    robust: Figure
    certified: Figure | None
    rows: list[AttackRow]
    not_finite: list[int]
    unconfirmed: list[int] = Field(default=[])
    curve: RobustCurve | None
    checks: list[Check]
    broken: list[BrokenImage]
    pictures: str | None
    flips: list[Flip] = Field(default=[])
    distances: Histogram | None = None
    compute: Compute
    forwards: int
    backwards: int
    seconds: float
    peak_memory_mb: float

    @property
    def red_flags(self) -> list[Check]:
        """The checks that failed."""
        return [check for check in self.checks if check.grade == "fail"]
