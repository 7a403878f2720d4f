"""results.json of an evaluation: the measurements of one classifier under one threat model.

The report, the terminal, `compare` and `gate` read these classes. ``seconds``, ``created`` and
``peak_memory_mb`` depend on the clock and the machine. Passes depend slightly on batch size and precision.
Borderline images depend on the last bits of the machine's sums. All other values depend only on the command.
"""

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from robustlab.core.fields import Answer, Count, Integer, Length, Positive, Share, Some, Text
from robustlab.runs.records import ComputeRecord, Figure, Record, require
from robustlab.runs.subject import Images, Subject

EVALUATION_SCHEMA_VERSION = 2

Grade = Literal["pass", "warn", "fail", "skip"]

Doubt = Literal["attacks", "evaluation"]
"""What a failed check puts in doubt. ``attacks``: only the strength of the attacks; the true figure can only
be lower. ``evaluation``: anything else (the images, the classifier, the stored files); the true figure may
have any value."""


class AttackRow(Record):
    """One attack of the cascade; it ran only on the images that were left.

    With a curve, the searches for the nearest success are the last rows; they run on all correctly classified
    images, except those that are certified up to the curve's largest eps.

    Attributes:
        attacked: the number of images on which it ran.
        broken: the number of images that it was the first to break.
        robust: the accuracy after it, over all images.
        accuracy: on all images as it perturbed them, in the mode ``"test-set"``; otherwise None.
    """

    attack: Text
    attacked: Count
    broken: Count
    robust: Figure
    accuracy: Figure | None = None
    forwards: Count
    backwards: Count
    seconds: Length


class Certificates(Record):
    """How certificates were looked for.

    Attributes:
        certifier: its spec.
        confidence: 1 for proofs. Below 1 each certificate is statistical: it holds with this confidence, for
            each image by itself, and is about the most frequent class over all noise. It is not a proof,
            stops no attack, and does not count in `Evaluation.certified`.
        sigma: the standard deviation of that noise, on the pixel scale; 0 for proofs.
        images: the number of images on which it ran: those that are classified correctly.
        certified: the share of all images that have a certificate.
    """

    certifier: Text
    images: Count
    confidence: Share = 1.0
    sigma: Length = 0.0
    certified: Figure
    forwards: Count
    backwards: Count
    seconds: Length

    @model_validator(mode="after")
    def _fits(self) -> Self:
        require(self.count <= self.images, "certified images are among those it ran on")
        return self

    @property
    def count(self) -> int:
        """The number of certified images."""
        return self.certified.count

    @property
    def terms(self) -> str:
        """What a certificate is worth, as text; empty: a proof."""
        return (
            "" if self.confidence == 1 else f"with confidence {100 * self.confidence:.10g} % for each image"
        )


class BrokenImage(Record):
    """A broken image for the page; ``index`` is its row in the arrays ``clean`` and ``adversarial``.

    ``prediction`` is -1 if the classifier gives no valid answer.
    """

    index: Count
    image_id: Integer
    label: Count
    clean_confidence: Share
    prediction: Answer
    confidence: Share
    attack: Text
    restart: Answer
    distance: Length


class Flip(Record):
    """How many images of one class became another class by an attack; -1: no valid answer."""

    label: Count
    prediction: Answer
    n: Positive


class Reached(Record):
    """How many images of a class were attacked towards another class, and how many reached it."""

    label: Count
    target: Count
    tried: Positive
    reached: Count

    @model_validator(mode="after")
    def _fits(self) -> Self:
        require(self.reached <= self.tried, "reached <= tried")
        require(self.label != self.target, "a target is another class")
        return self


class Histogram(Record):
    """``counts[i]`` values lie between ``edges[i]`` and ``edges[i + 1]``."""

    edges: Some[Length]
    counts: Some[Count]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        require(len(self.edges) == len(self.counts) + 1, "a histogram has one edge more than counts")
        require(self.edges == sorted(self.edges), "a histogram's edges rise")
        return self


class RobustCurve(Record):
    """Robust accuracy against eps, from searches for the nearest success of each image.

    Successes of the other attacks count too, so at the threat model's eps the curve equals the headline.
    ``certified`` is the proven lower bound at the same eps, if a certifier ran. The searches are also the
    last of `Evaluation.rows`, with the same passes and seconds.
    """

    attack: Text
    eps: Some[Length]
    robust: Some[Figure]
    certified: Some[Figure] | None
    forwards: Count
    backwards: Count
    seconds: Length

    @model_validator(mode="after")
    def _fits(self) -> Self:
        lengths = {
            len(self.eps),
            len(self.robust),
            len(self.robust if self.certified is None else self.certified),
        }
        require(len(lengths) == 1, "a curve has one figure for each eps")
        require(self.eps == sorted(self.eps), "a curve's eps rise")
        return self


class CheckRecord(Record):
    """One computed reason to trust or doubt the figure; ``id`` is its heading in docs/flags.md.

    Attributes:
        found: the result, as text with figures.
        expected: the values that pass.
        meaning: what a failure means, in one sentence.
        n: the number of images in the computation.
        doubts: what a failure puts in doubt.
    """

    id: Text
    title: Text
    doubts: Doubt = "attacks"
    grade: Grade
    found: Text
    expected: Text
    meaning: Text
    n: Count
    forwards: Count
    backwards: Count


class Evaluation(Record):
    """The whole of an evaluation's results.json.

    Attributes:
        mode: ``"verdict"``, ``"max-loss"`` or ``"test-set"``.
        samples: how often the classifier was evaluated at each point.
        command: the command that repeats the evaluation; empty if the command line can't express it.
        attacks: as requested; ``rows`` shows what ran. Empty: only proofs were asked for.
        bounded: whether eps bounds a distance; ``attacker``: what the attacker may do, to follow "may".
        remarks: notes on the weights, the images, a too large eps and a missing gradient.
        robust: the worst case over all attacks, for each image; the headline. Without an attack it is
            the clean accuracy.
        certified: the proven accuracy, if a certifier ran.
        certificates: which certifier ran, and what it took.
        not_finite: ids of images at which, or near which, the classifier returned NaN or infinity; they count
            as not robust.
        unconfirmed: ids of images with a success that did not hold in the second measurement, in fp32, from
            the disk. It does not count, and later attacks attacked the image again.
        broken: the broken images on the page, at most a few hundred.
        pictures: the array file of these, (M, C, H, W): uint8, or float32 on the pixel scale.
        flips: all correctly classified images that were broken, by label and adversarial class.
        goal: the attacker's target class or criterion, as text; empty: any class except the label.
        targets: for each pair of classes how often the target was reached, if each class was a target.
        distances: of all broken images, in the threat model's norm; None if no image is broken, or the threat
            model bounds no distance.
    """

    schema_version: Positive = EVALUATION_SCHEMA_VERSION
    kind: Literal["evaluation"] = "evaluation"
    title: Text
    created: Text
    seed: int
    command: Text = ""
    mode: Text
    samples: Positive = 1
    subject: Subject
    images: Images
    threat: Text
    norm: Text
    bounded: bool = True
    attacker: Text = ""
    eps: Length
    attacks: Text
    remarks: list[Text] = Field(default=[])
    eight_bit: bool
    clean: Figure
    robust: Figure
    certified: Figure | None
    certificates: Certificates | None = None
    rows: Some[AttackRow]
    not_finite: list[Integer]
    unconfirmed: list[Integer] = Field(default=[])
    curve: RobustCurve | None
    checks: Some[CheckRecord]
    broken: Some[BrokenImage]
    pictures: Text | None
    flips: list[Flip] = Field(default=[])
    goal: Text = ""
    targets: list[Reached] = Field(default=[])
    distances: Histogram | None = None
    compute: ComputeRecord
    forwards: Count
    backwards: Count
    seconds: Length
    peak_memory_mb: Length

    @model_validator(mode="after")
    def _fits(self) -> Self:
        n, classes, certified = self.images.n, self.images.classes, self.certified
        bounds = [0.0 if certified is None else certified.value, self.robust.value, self.clean.value]
        require(bounds == sorted(bounds), "certified <= robust <= clean accuracy")
        figures = [self.clean, self.robust, *([] if certified is None else [certified])]
        figures += [
            figure for row in self.rows for figure in (row.robust, row.accuracy) if figure is not None
        ]
        require(
            all(figure.n == n and figure.is_share for figure in figures),
            "every accuracy is a share of n images",
        )
        require(all(row.broken <= row.attacked <= n for row in self.rows), "broken <= attacked <= n images")
        require(max(len(self.not_finite), len(self.unconfirmed)) <= n, "at most n ids")
        broken = round((self.clean.value - self.robust.value) * n)
        require(sum(flip.n for flip in self.flips) in {0, broken}, "flips add up to the broken images")
        require(
            self.distances is None or sum(self.distances.counts) <= broken, "a distance for each broken image"
        )
        turned = [(flip.label, flip.prediction) for flip in self.flips]
        turned += [(image.label, image.prediction) for image in self.broken]
        require(all(max(pair) < classes for pair in turned), "classes lie below the number of classes")
        require(len(self.images.class_names) <= classes, "at most one name for each class")
        if self.images.rows is not None:
            sizes = {len(self.images.rows.low), len(self.images.rows.high)}
            require(sizes == {math.prod(self.images.shape)}, "a range for each value of an image")
        require(
            bool(self.goal) or all(label != prediction for label, prediction in turned),
            "a broken image has another class, if the attacker has no other goal",
        )
        return self

    @property
    def red_flags(self) -> list[CheckRecord]:
        """The checks that failed."""
        return self.graded("fail")

    @property
    def proofs_only(self) -> bool:
        """Whether the run looked for proofs, and no attack ran."""
        return not self.rows and self.certificates is not None

    @property
    def searches(self) -> list[str]:
        """The names of the rows of the curve's searches, which say within which eps they searched."""
        if self.curve is None:
            return []
        names = [row.attack.partition(" within ") for row in self.rows]
        return ["".join(name) for name in names if name[1] and name[0] in self.curve.attack]

    def graded(self, grade: Grade) -> list[CheckRecord]:
        """Return the checks of one grade."""
        return [check for check in self.checks if check.grade == grade]

    @property
    def exact(self) -> bool:
        """Whether no attack can lower the figure: every image is misclassified, broken or certified."""
        return self.robust.value <= (self.certified.value if self.certified else 0.0)

    @property
    def doubtful(self) -> bool:
        """Whether a failed check puts the figure in doubt; an exact figure needs no stronger attack."""
        return any(check.doubts == "evaluation" or not self.exact for check in self.red_flags)

    @property
    def verdict(self) -> str:
        """One sentence: how far to trust the figure, and how the checks went; failed ones come first."""
        if self.proofs_only:
            return f"{_proven(self)}."
        return f"{_worth(self)}: {_checked(self)}."


GRADES: dict[Grade, str] = {"fail": "failed", "pass": "passed", "skip": "skipped", "warn": "warned"}
"""The result of a check of each grade, as text."""
_NAMED: dict[Grade, str] = {"fail": "not so:", "warn": "in doubt:"}
"""The introduction of the titles of checks, which are claims."""


def _proven(results: Evaluation) -> str:
    ran = results.certificates
    if ran and ran.terms:
        share = f"{_percent(ran.certified)} of {results.images.n} images"
        return f"Nothing is proven; {share} are certified {ran.terms}"
    if results.certified is None or not results.certified.value:
        return "No image is proven, which does not mean that an attack exists"
    figure = f"{'' if results.exact else 'at least '}{_percent(results.certified)}"
    return f"The robust accuracy on these {results.images.n} images is proven to be {figure}"


def _worth(results: Evaluation) -> str:
    figure, n = _percent(results.robust), results.robust.n
    if results.doubtful and results.exact:
        return f"The robust accuracy is exactly {figure}, but the images or labels may not be the right ones"
    if results.doubtful:
        lower = all(check.doubts == "attacks" for check in results.red_flags)
        truth = ", the truth may be far lower" if lower else ""
        return f"Do not believe the robust accuracy of {figure}{truth}"
    if not results.rows and not results.exact:
        return f"No attack ran, so {figure} is the clean accuracy"
    images = "this image" if n == 1 else f"these {n} images"
    images += f", against an attacker who wants {results.goal}" if results.goal else ""
    proven = results.certified if results.certified and not results.exact else None
    least = f", at least {_percent(proven)}" if proven and proven.value else ""
    return f"Robust accuracy is {'exactly' if results.exact else 'at most'} {figure}{least} on {images}"


def _checked(results: Evaluation) -> str:
    parts = []
    for grade, word in GRADES.items():
        if checks := results.graded(grade):
            titles = "; ".join(f'"{check.title}"' for check in checks)
            parts.append(f"{len(checks)} {word}" + (f": {_NAMED[grade]} {titles}" if grade in _NAMED else ""))
    return ", ".join(parts) or "no check was computed"


def _percent(figure: Figure) -> str:
    # For at least this many images, the second decimal is significant.
    return f"{100 * figure.value:.{2 if figure.n >= 5000 else 1}f} %"
