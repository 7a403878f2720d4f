"""Does more freedom break more, none break none, and all break all?"""

from robustlab.attacks import PGD
from robustlab.core.evaluation import Grade
from robustlab.core.threat import ThreatModel
from robustlab.data import Split
from robustlab.evaluation.checks.base import FEW, Finding, Probe, percent
from robustlab.evaluation.checks.context import Context

MOST = 100
ATTACK = PGD(steps=20, loss="margin")
FREE = PGD(steps=50, loss="margin")
FRACTIONS = (1 / 3, 2 / 3, 1.0, 4 / 3, 5 / 3)
"""Of the threat model's eps."""
RISE = 0.02
"""Our choice: on a hundred images, PGD's luck may cost one or two."""
ANYTHING = 0.01
"""What may withstand an attacker who may do anything; ours, after Carlini et al. 2019 (arXiv:1902.06705)."""


class Monotone(Probe):
    """Attacks at a few eps, with the same attack."""

    id = "accuracy-grows-with-eps"
    title = "More freedom breaks more"
    expected = f"accuracy that never rises by more than {percent(RISE)} from one eps to a larger one"
    meaning = (
        "What an attacker may do at a small eps he may do at a larger one. An attack that does worse "
        "there has not found what exists: it is led astray, or broken."
    )

    def look(self, context: Context) -> Finding:
        block = context.any_images(MOST)
        radii = sorted({min(context.threat.eps * part, context.widest) for part in FRACTIONS})
        threats = list(dict.fromkeys(context.at(eps) for eps in radii))
        left = [_left(context, block, threat, ATTACK) for threat in threats]
        rise = max([0, *(after - min(left[: i + 1]) for i, after in enumerate(left[1:]))])
        steps = ", ".join(f"{count} at {threat.eps:.3g}" for threat, count in zip(threats, left, strict=True))
        grade: Grade = "pass" if rise <= RISE * len(block) else "fail" if rise >= FEW else "warn"
        return Finding(grade=grade, found=f"of {len(block)} images {steps}", n=len(block))


class Extremes(Probe):
    """Attacks with no freedom at all, with half of the pixel range, and with all of it."""

    id = "extreme-eps"
    title = "No freedom breaks nothing, and all of it everything"
    expected = (
        "at eps 0 the clean accuracy; where every image can become the same grey one, at most the share "
        f"of the largest class; where every image can become any other, at most {percent(ANYTHING)}"
    )
    meaning = (
        "With such an eps success is certain to exist: an attack that misses it can't be believed at a "
        "small eps either."
    )

    def look(self, context: Context) -> Finding:
        block = context.any_images(MOST)
        n, right = len(block), sum(number in context.found.right for number in block.ids.tolist())
        largest = int(block.labels.bincount().max())
        at_zero = _left(context, block, context.at(0.0), ATTACK)
        free = _left(context, block, context.at(context.widest), FREE)
        found = (
            f"{percent(at_zero / n)} at eps 0 ({percent(right / n)} clean), "
            f"{percent(free / n)} at eps {context.widest:.3g}"
        )
        wrong = at_zero != right or free > ANYTHING * n
        if context.threat.name != "l0":  # where half of the pixels may change, not all can become grey
            grey = _left(context, block, context.at(context.widest / 2), FREE)
            found += f", {percent(grey / n)} at half of that (largest class {percent(largest / n)})"
            wrong |= grey > largest
        return Finding(grade="fail" if wrong else "pass", found=found, n=n)


def _left(context: Context, block: Split, threat: ThreatModel, attack: PGD) -> int:
    result = context.attack(attack, block, threat=threat)
    return int((result.predictions == block.labels).sum())
