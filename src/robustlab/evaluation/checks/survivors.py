"""The base class of checks that attack images that withstood the evaluation."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, final

import torch
from torch import Tensor

from robustlab.attacks import Attack, AttackResult
from robustlab.data import Split
from robustlab.evaluation.checks.attack_runner import AttackRunner, NotApplicable
from robustlab.evaluation.checks.base import ActiveCheck, CheckResult, graded
from robustlab.evaluation.checks.context import Context, Sample
from robustlab.evaluation.metrics import percent


class SurvivorCheck(ActiveCheck):
    """Attacks some survivors of the evaluation; the evaluation missed the images that it breaks."""

    doubts = "attacks"
    by_distance = True
    transfers: ClassVar[bool] = False
    """Whether the attack uses the surrogates."""
    most: ClassVar[int]
    """The number of survivors that are attacked."""
    limit: ClassVar[float]
    """How much robust accuracy may fall."""

    @abstractmethod
    def attack(self, runner: AttackRunner) -> Attack:
        """Return the attack."""

    def goals(self, runner: AttackRunner, images: Split) -> Sequence[Tensor | None]:
        """Return the goal of each run: target classes (N,), or None for an untargeted run."""
        del runner, images
        return [None]

    def remark(self, result: AttackResult) -> str:
        """Return a remark on the last run."""
        del result
        return ""

    @final
    def sample(self, context: Context) -> Sample:
        sample = context.survivors(self.most)
        return replace(sample, surrogates=context.surrogates) if self.transfers else sample

    @final
    def look(self, runner: AttackRunner, sample: Sample) -> CheckResult:
        attack, images = self.attack(runner), sample.images
        if not attack.supports(runner.threat):
            raise NotApplicable(f"{attack.inner.name} does not support {runner.threat.inner.name}")
        goals, fallen = self.goals(runner, images), torch.zeros_like(images.labels, dtype=torch.bool)
        any_rival = runner.criterion.any_rival
        if goals[0] is not None and not (any_rival or runner.criterion.targeted):
            raise NotApplicable(f"a wrong class is not yet the goal {runner.criterion!r}")
        for goal in goals:
            result = runner.attack(attack, images, targets=goal)
            # If it tries each target, another wrong class is a success too.
            fallen |= result.predictions != images.labels if any_rival else result.successes
        aim = "" if goals[0] is None else f" towards {len(goals)} classes"
        found = missed(f"{attack!r}{aim}", int(fallen.sum()), sample, self.limit)
        return replace(found, found=found.found + self.remark(result))


def missed(what: str, broken: int, sample: Sample, limit: float) -> CheckResult:
    """Grade the broken images of a sample of survivors, extrapolated to all images."""
    n, left = len(sample.images), sample.drawn_from
    weight = left / sample.total
    found = f"{what} broke {broken} of {n} images that withstood all attacks"
    if broken:
        found += f": robust accuracy may be lower by {percent(broken / n * weight)}"
    return CheckResult(grade=graded(broken, n, limit, sampled=n < left, weight=weight), found=found, n=n)
