"""An evaluation's results arranged as the report shows them."""

from typing import Literal, NamedTuple

from robustlab.report.evaluation.corruptions import Corruptions, corruptions
from robustlab.report.text import NO_ANSWER, class_name, first_word
from robustlab.runs.evaluation import GRADES, AttackRow, CheckRecord, Evaluation, Flip, Grade, Reached

Kind = Literal["certified", "robust", "broken", "misclassified"]

_SEVERITY: tuple[Grade, ...] = ("fail", "warn", "skip", "pass")


class Part(NamedTuple):
    """A part of the images, from ``start`` to ``end`` on the scale of shares."""

    kind: Kind
    title: str
    start: float
    end: float
    images: int


class Step(NamedTuple):
    """The accuracy after an attack, and the passes until then.

    Attributes:
        passes: forward and backward passes so far, per image of the evaluation.
        row: the attack; None before the first.
    """

    passes: float
    row: AttackRow | None


class Spending(NamedTuple):
    """The cost of a part of the evaluation; seconds are None if they were not measured separately."""

    title: str
    forwards: int
    backwards: int
    seconds: float | None


class EvaluationView:
    """Results with derived values for the page and the Markdown."""

    def __init__(self, results: Evaluation) -> None:
        self.results = results

    def class_name(self, number: int) -> str:
        """Return the name of a class, or its number; both if the name is not unique."""
        return class_name(number, self.results.images.class_names)

    @property
    def queries(self) -> bool:
        """Whether the cost is the number of queries of a black box."""
        return bool(self.results.subject.black_box)

    @property
    def checks(self) -> list[CheckRecord]:
        """The checks, the worst first."""
        return [check for grade in _SEVERITY for check in self.results.graded(grade)]

    @property
    def passed(self) -> list[CheckRecord]:
        """The checks that passed, which the page shows collapsed."""
        return self.results.graded("pass")

    @property
    def unpassed(self) -> list[CheckRecord]:
        """The other checks, the worst first."""
        return [check for check in self.checks if check.grade != "pass"]

    @property
    def grades(self) -> list[tuple[Grade, str]]:
        """How many checks have each grade that occurs, in words, the worst first."""
        counts = {grade: len(self.results.graded(grade)) for grade in _SEVERITY}
        return [(grade, f"{count} {GRADES[grade]}") for grade, count in counts.items() if count]

    @property
    def correct(self) -> int:
        """The number of clean images that are classified correctly."""
        return self.results.clean.count

    @property
    def robust(self) -> int:
        """The number of images that are still classified correctly after all attacks."""
        return self.results.robust.count

    @property
    def certified(self) -> int | None:
        """The number of images that are proven to withstand every attack; None if no certifier ran."""
        return None if self.results.certified is None else self.results.certified.count

    @property
    def open(self) -> bool:
        """Whether only bounds of the true figure are known, not its value."""
        return not self.results.doubtful and self.robust > (self.certified or 0)

    @property
    def parts(self) -> list[Part]:
        """All images in four parts: proven, not broken, broken, and misclassified without an attack."""
        robust = "Not broken by these attacks" if self.certified is None else "Neither proven nor broken"
        robust = "Undecided" if self.results.proofs_only else robust
        named: list[tuple[Kind, str, int]] = [
            ("certified", "Proven for every change allowed", self.certified or 0),
            ("robust", robust, self.robust),
            ("broken", "Broken by an attack", self.correct),
            ("misclassified", "Wrong without any attack", self.results.clean.n),
        ]
        parts, start, n = [], 0, self.results.clean.n
        for kind, title, end in named:
            end = max(start, end)
            parts.append(Part(kind, title, start / n, end / n, end - start))
            start = end
        empty = "" if self.results.proofs_only else "broken"
        return [part for part in parts if part.images or part.kind == empty]

    @property
    def steps(self) -> list[Step]:
        """The passes spent by the time each attack has ended; the passes of the clean images come first."""
        spent = float(self.results.samples)
        steps = [Step(spent, None)]
        for row in self.results.rows:
            spent += (row.forwards + row.backwards) / self.results.images.n
            steps.append(Step(spent, row))
        return steps

    def name(self, attack: str) -> str:
        """Return an attack's number in the table and the first word of its spec."""
        numbers = {row.attack: number for number, row in enumerate(self.results.rows, start=1)}
        name = first_word(attack)
        return f"attack {numbers[attack]}, {name}" if attack in numbers else name

    @property
    def cliff(self) -> bool:
        """Whether the curve falls at the threat model's eps, and not near it.

        All attacks searched at that eps; at other eps only the curve's searches did, and these are weaker
        then.
        """
        curve, here = self.results.curve, self.results.robust
        if curve is None or self.results.eps == 0:
            return False
        # The curve's own eps may differ from the threat model's in the last bit.
        points = [(eps / self.results.eps, f) for eps, f in zip(curve.eps, curve.robust, strict=True)]
        before = [figure for share, figure in points if share < 1 - 1e-6]
        after = [figure for share, figure in points if share > 1 + 1e-6]
        if not before or before[-1].low <= here.high:
            return False
        fall = before[-1].value - here.value
        return not after or here.value - after[0].value < fall / 2

    @property
    def corruptions(self) -> Corruptions | None:
        """The corruptions by severity; None if none ran."""
        return corruptions(self.results)

    @property
    def flips(self) -> list[Flip]:
        """Pairs of label and adversarial class with their counts, the most frequent first."""
        return sorted(self.results.flips, key=lambda flip: (-flip.n, flip.label, flip.prediction))

    @property
    def targets(self) -> list[Reached]:
        """How often each class was reached, the most frequent first; empty unless all were targets."""
        return sorted(self.results.targets, key=lambda part: (-part.reached, part.label, part.target))

    @property
    def broken(self) -> int:
        """The number of correctly classified images that an attack broke."""
        return max(0, self.correct - self.robust)

    @property
    def confusion(self) -> list[list[int]]:
        """``confusion[label][adversarial class]`` of the broken images with a valid answer."""
        size = self.results.images.classes
        counts = [[0] * size for _ in range(size)]
        for flip in self.results.flips:
            if flip.prediction != NO_ANSWER:
                counts[flip.label][flip.prediction] += flip.n
        return counts

    @property
    def spendings(self) -> list[Spending]:
        """The cost of attacks, curve and checks, and the rest of the total."""
        results, rows, curve = self.results, self.results.rows, self.results.curve
        # The curve's searches are among the rows, within a wider threat model, with the same cost.
        attacks = [row for row in rows if not (curve and " within " in row.attack)]
        seconds = sum(row.seconds for row in attacks)
        parts = [Spending("Attacks", _sum(attacks, "forwards"), _sum(attacks, "backwards"), seconds)]
        parts = [] if results.proofs_only else parts
        if proofs := results.certificates:
            parts.append(Spending("Proofs", proofs.forwards, proofs.backwards, proofs.seconds))
        if curve:
            title = "Search for the nearest successes, for the curve"
            parts.append(Spending(title, curve.forwards, curve.backwards, curve.seconds))
        if results.checks:
            checks = results.checks
            parts.append(Spending("Checks", _sum(checks, "forwards"), _sum(checks, "backwards"), None))
        forwards = results.forwards - sum(part.forwards for part in parts)
        backwards = results.backwards - sum(part.backwards for part in parts)
        if forwards > 0 or backwards > 0:
            title = "Clean images, and confirming the successes"
            if curve or not results.certificates:
                title = "Clean images, proofs, and confirming the successes"
            elif results.proofs_only:
                title = "Clean images"
            parts.append(Spending(title, max(0, forwards), max(0, backwards), None))
        return parts


def _sum(items: list[AttackRow] | list[CheckRecord], name: Literal["forwards", "backwards"]) -> int:
    return sum(getattr(item, name) for item in items)
