"""What every check shares: it looks at one thing, and its passes are counted."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, final

from robustlab.core import seeding
from robustlab.core.calling import UserCodeError, in_one_line
from robustlab.core.isolation import own_settings
from robustlab.core.spec import Unit
from robustlab.evaluation.checks.applicable import NotApplicable
from robustlab.evaluation.checks.attack_runner import AttackRunner, Passes
from robustlab.evaluation.checks.context import Context, Sample
from robustlab.evaluation.metrics import proportion
from robustlab.runs.evaluation import CheckRecord, Doubt, Grade

CRASHED = "could not be computed"
"""How the finding of a check begins that raised an error; it is computed again the next time."""

FEW = 2
"""Images that a failure needs, our choice: one alone may be chance, and is a warning."""


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What a check found on ``n`` images, in words with figures."""

    grade: Grade
    found: str
    n: int


class _HyphenatedName:
    """The name of a check with hyphens, on the class and on its instances."""

    def __get__(self, instance: object, owner: "type[Check]") -> str:
        return owner.name.replace("_", "-")


class Check(Unit, ABC):
    """One reason to trust or to doubt a robust accuracy.

    A `PassiveCheck` or an `ActiveCheck`; both may raise `NotApplicable` where the question makes no sense.
    Another package adds one through the entry-point group ``robustlab.check``.
    """

    kind = "check"
    example = "zero_gradients"
    id = _HyphenatedName()
    """What results call it: ``zero-gradients`` of the unit ``zero_gradients``."""
    title: ClassVar[str]
    """What should be so, as a sentence."""
    expected: ClassVar[str]
    """What passes."""
    meaning: ClassVar[str]
    """What a failure means, in one or two sentences."""
    cheap: ClassVar[bool] = False
    """Whether it costs little, however large the evaluation is: at most 1,500 passes of single images, both
    ways."""
    doubts: ClassVar[Doubt] = "evaluation"
    """What a failure puts in doubt. One that doubts the attacks alone is skipped where none can find more."""
    by_distance: ClassVar[bool] = False
    """Whether it makes sense only where the threat model bounds a distance."""

    @abstractmethod
    def state(self, context: Context) -> str | None:
        """Return the hash of all that it reads of the evaluation; None if it costs no pass."""

    @abstractmethod
    def find(self, context: Context) -> CheckResult:
        """Compute it."""

    @final
    def _check_applies(self, context: Context) -> None:
        if self.doubts == "attacks":
            context.check_unsettled()
        if self.by_distance and not context.lab.threat.bounded:
            raise NotApplicable(f"{context.lab.threat!r} bounds no distance")

    @classmethod
    def summary(cls) -> str:
        """Return what should be so, and what a failure means."""
        return f"{cls.title}. If not: {cls.meaning}"

    @final
    @own_settings()
    def run(self, context: Context) -> CheckRecord:
        """Return the outcome; a failure of the check itself is a warning.

        Raises:
            UserCodeError: the model quits.
        """
        spent = Passes()
        context = replace(context, lab=replace(context.lab, spent=spent))
        try:
            with seeding.isolated(seeding.derive(context.lab.seed, "checks", self.id)):
                return self._record(self.find(context), spent)
        except NotApplicable as reason:
            outcome = CheckResult(grade="skip", found=str(reason), n=0)
        except Exception as error:
            if isinstance(error, UserCodeError) and error.quits:
                raise
            outcome = CheckResult(grade="warn", found=f"{CRASHED}: {in_one_line(error)}", n=0)
        return self._record(outcome, spent)

    def _record(self, outcome: CheckResult, spent: Passes) -> CheckRecord:
        return CheckRecord(
            id=self.id,
            title=self.title,
            doubts=self.doubts,
            grade=outcome.grade,
            found=outcome.found,
            expected=self.expected,
            meaning=self.meaning,
            n=outcome.n,
            forwards=spent.forwards,
            backwards=spent.backwards,
        )


class PassiveCheck(Check):
    """Reads what the evaluation found. It costs no pass, so it is computed each time."""

    cheap = True

    @abstractmethod
    def look(self, context: Context) -> CheckResult:
        """Compute it without a pass."""

    @final
    def state(self, context: Context) -> None:
        del context

    @final
    def find(self, context: Context) -> CheckResult:
        self._check_applies(context)
        return self.look(context)


class ActiveCheck(Check):
    """Asks or attacks the classifier. It sees its sample alone: nothing else that was found can matter."""

    @abstractmethod
    def sample(self, context: Context) -> Sample:
        """Return all that it needs to know of the evaluation, without a pass."""

    @abstractmethod
    def look(self, lab: AttackRunner, sample: Sample) -> CheckResult:
        """Compute it."""

    @final
    def state(self, context: Context) -> str | None:
        try:
            return self._applicable(context).state
        except Exception:  # that it is skipped, or crashes, is found out again for free
            return None

    @final
    def find(self, context: Context) -> CheckResult:
        sample = self._applicable(context)
        images = replace(sample.images, images=sample.images.tensor())  # which is asked about often
        return self.look(context.lab, replace(sample, images=images))

    def _applicable(self, context: Context) -> Sample:
        self._check_applies(context)
        return self.sample(context)


def graded(count: int, n: int, limit: float, *, sampled: bool, weight: float = 1.0) -> Grade:
    """Grade a count of images that should not be there.

    Args:
        count: of ``n`` images.
        n: images looked at.
        limit: the share that may be.
        sampled: whether the images are a sample, so that a failure must be beyond chance: then the lower end
            of the 95 % interval, and not the share itself, lies above the limit.
        weight: the part of all images that these stand for.
    """
    share = proportion(count, n)
    if weight * share.value <= limit:
        return "pass"
    certain = weight * (share.low if sampled else share.value) > limit
    return "fail" if certain and count >= FEW else "warn"
