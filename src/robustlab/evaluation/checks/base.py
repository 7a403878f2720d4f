"""The base class of every check; it counts the passes."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, final

from robustlab.core import seeding
from robustlab.core.calling import UserCodeError, in_one_line
from robustlab.core.isolation import own_settings
from robustlab.core.spec import Unit
from robustlab.evaluation.checks.attack_runner import AttackRunner, NotApplicable, Passes
from robustlab.evaluation.checks.context import Context, Sample
from robustlab.evaluation.metrics import proportion
from robustlab.models.black_box import counts_queries, is_black_box, queries
from robustlab.runs.evaluation import CheckRecord, Doubt, Grade

CRASHED = "could not be computed"
"""The start of the text of a check that raised an error; such a check is repeated the next time."""

FEW = 2
"""The number of images that a failure needs, our choice: a single image may be chance, and gives a
warning."""


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The result of a check on ``n`` images, as text with figures."""

    grade: Grade
    found: str
    n: int


class _HyphenatedName:
    """The name of a check with hyphens, on the class and on its instances."""

    def __get__(self, instance: object, owner: "type[Check]") -> str:
        return owner.name.replace("_", "-")


class Check(Unit, ABC):
    """One reason to trust or to doubt a robust accuracy.

    A `PassiveCheck` or an `ActiveCheck`; both may raise `NotApplicable` if the check makes no sense. Another
    package adds one through the entry-point group ``robustlab.check``.
    """

    kind = "check"
    example = "zero_gradients"
    id = _HyphenatedName()
    """The check's id in results: ``zero-gradients`` for the unit ``zero_gradients``."""
    title: ClassVar[str]
    """The check's claim, as a sentence."""
    expected: ClassVar[str]
    """The values that pass."""
    meaning: ClassVar[str]
    """The meaning of a failure, in one or two sentences."""
    cheap: ClassVar[bool] = False
    """Whether it costs little for any number of images: at most 1,500 forward and backward passes of single
    images."""
    doubts: ClassVar[Doubt] = "evaluation"
    """What a failure puts in doubt. A check with ``attacks`` is skipped if no attack can find more."""
    by_distance: ClassVar[bool] = False
    """Whether it makes sense only if the threat model bounds a distance."""

    skips_black_box: ClassVar[bool] = False
    """Whether it judges gradients, attacks with them or takes long; then it is skipped for a black box."""

    @abstractmethod
    def state(self, context: Context) -> str | None:
        """Return the hash of the parts of the evaluation that it reads; None if it costs no pass."""

    @abstractmethod
    def find(self, context: Context) -> CheckResult:
        """Compute the result."""

    @final
    def _check_applies(self, context: Context) -> None:
        if self.skips_black_box and is_black_box(context.runner.model):
            raise NotApplicable("the classifier is a black box, without gradients")
        if self.doubts == "attacks":
            context.check_unsettled()
        if self.by_distance and not context.runner.threat.bounded:
            raise NotApplicable(f"{context.runner.threat!r} bounds no distance")

    @classmethod
    def summary(cls) -> str:
        """Return the claim, and the meaning of a failure."""
        return f"{cls.title}. If not: {cls.meaning}"

    @final
    @own_settings()
    def run(self, context: Context) -> CheckRecord:
        """Return the result; an error in the check itself becomes a warning.

        Raises:
            UserCodeError: the model's code ends the program.
        """
        before = queries(context.runner.model)
        context = replace(context, runner=replace(context.runner, spent=Passes()))
        try:
            with seeding.isolated(seeding.derive(context.runner.seed, "checks", self.id)):
                return self._record(self.find(context), context, before)
        except NotApplicable as reason:
            outcome = CheckResult(grade="skip", found=str(reason), n=0)
        except Exception as error:
            if isinstance(error, UserCodeError) and error.quits:
                raise
            outcome = CheckResult(grade="warn", found=f"{CRASHED}: {in_one_line(error)}", n=0)
        return self._record(outcome, context, before)

    def _record(self, outcome: CheckResult, context: Context, before: int) -> CheckRecord:
        spent = context.runner.spent
        if counts_queries(context.runner.model):  # passes of other networks are not its queries
            spent = Passes(forwards=queries(context.runner.model) - before)
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
    """Reads the results of the evaluation. It costs no pass, so it is computed each time."""

    cheap = True

    @abstractmethod
    def look(self, context: Context) -> CheckResult:
        """Compute the result without a pass."""

    @final
    def state(self, context: Context) -> None:
        del context

    @final
    def find(self, context: Context) -> CheckResult:
        self._check_applies(context)
        return self.look(context)


class ActiveCheck(Check):
    """Evaluates or attacks the classifier. Its result depends only on its sample."""

    passes: ClassVar[int] = 0
    """The most passes, forward and backward, for one image of its sample, with one pass at each point and at
    most one surrogate. If images are large, it gets fewer of them (`allowance`); 0: it always gets all."""
    fewest: ClassVar[int] = 4
    """The fewest images on which it runs, if it could have more."""

    @abstractmethod
    def sample(self, context: Context) -> Sample:
        """Return all that it needs of the evaluation, without a pass."""

    @abstractmethod
    def look(self, runner: AttackRunner, sample: Sample) -> CheckResult:
        """Compute the result."""

    @final
    def state(self, context: Context) -> str | None:
        try:
            return self.applicable(context).state
        except Exception:  # that it is skipped, or crashes, is found again at no cost
            return None

    @final
    def find(self, context: Context) -> CheckResult:
        sample = self.applicable(context)
        images = replace(sample.images, images=sample.images.tensor())  # which is read often
        return self.look(context.runner, replace(sample, images=images))

    @final
    def applicable(self, context: Context) -> Sample:
        """Return its sample.

        Raises:
            NotApplicable: it is skipped.
        """
        self._check_applies(context)
        if context.not_run:
            raise NotApplicable(context.not_run)
        return self.sample(context)


def graded(count: int, n: int, limit: float, *, sampled: bool, weight: float = 1.0) -> Grade:
    """Grade a count of images that should be 0.

    Args:
        count: the number of such images among ``n``.
        n: the number of images in the check.
        limit: the largest accepted share, in [0, 1].
        sampled: whether the images are a sample. Then a failure must be significant: the lower end of the 95
            % interval lies above the limit.
        weight: the part of all images that the sample represents, in [0, 1].
    """
    share = proportion(count, n)
    if weight * share.value <= limit:
        return "pass"
    certain = weight * (share.low if sampled else share.value) > limit
    return "fail" if certain and count >= FEW else "warn"
