"""What checks share that ask whether something else breaks an image that withstood the evaluation."""

from abc import abstractmethod
from typing import ClassVar, final

from robustlab.attacks import Attack, AttackResult
from robustlab.evaluation.checks.base import Finding, Probe, graded, percent
from robustlab.evaluation.checks.context import Context, Skip
from robustlab.evaluation.ensembles import suited


class Challenge(Probe):
    """Attacks some survivors of the evaluation. What it breaks, the evaluation has missed."""

    most: ClassVar[int]
    """Survivors that are attacked."""
    limit: ClassVar[float]
    """How far robust accuracy may fall by it."""

    @abstractmethod
    def attack(self, context: Context) -> Attack:
        """Return the attack."""

    def remark(self, context: Context, result: AttackResult) -> str:
        """Return what else is to be said of the result."""
        del context, result
        return ""

    @final
    def look(self, context: Context) -> Finding:
        attack, block = self.attack(context), context.survivors(self.most)
        if not suited(attack, context.threat):
            raise Skip(f"{attack.core.name} is not made for {context.threat.name}")
        result = context.attack(attack, block)
        broken, n, total = int(result.successes.sum()), len(block), len(context.images)
        left = len(context.found.survivors)
        found = f"{attack!r} broke {broken} of {n} images that withstood all attacks"
        if broken:
            found += f": robust accuracy may be lower by {percent(broken / n * left / total)}"
        return Finding(
            grade=graded(broken, n, self.limit, sampled=n < left, weight=left / total),
            found=found + self.remark(context, result),
            n=n,
        )
