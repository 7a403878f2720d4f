"""Does an attack without gradients break images that gradient attacks missed?"""

from robustlab.attacks import Attack, RandomPoints, Square
from robustlab.core.spec import register
from robustlab.evaluation.checks.attack_runner import AttackRunner, NotApplicable
from robustlab.evaluation.checks.base import CheckResult, PassiveCheck, graded
from robustlab.evaluation.checks.context import Context
from robustlab.evaluation.checks.survivors import SurvivorCheck
from robustlab.evaluation.metrics import percent

LIMIT = 0.002
"""As in AutoAttack's check (Croce & Hein 2020, arXiv:2003.01690)."""
RANDOM_LIMIT = 0.0
"""Random points must not break images that a search missed (Athalye et al. 2018, arXiv:1802.00420)."""
POINTS = 50
SQUARE = Square(queries=600, rescale=True)


@register("gradient_free_attack")
class GradientFree(SurvivorCheck):
    """Square, with its own random numbers, on the images that withstood all attacks."""

    skips_black_box = True
    passes = 610
    title = "An attack without gradients finds no more"
    expected = f"Square lowers robust accuracy by at most {percent(LIMIT)}"
    meaning = (
        "Blind search finds what gradients do not: gradients are masked, and robust accuracy measures "
        "how well the classifier hides, not how robust it is. Attack the cause: BPDA, another loss or "
        "--eot-samples."
    )
    most, limit = 50, LIMIT

    def attack(self, runner: AttackRunner) -> Attack:
        if not SQUARE.supports(runner.threat):
            raise NotApplicable(
                f"square does not support {runner.threat.inner.name}; random-points and random-corners draw "
                "without any search"
            )
        return SQUARE


@register("blind_gain")
class BlindGain(PassiveCheck):
    """Counts images that the evaluation's attacks without gradients broke after those with gradients."""

    by_distance = True
    doubts = "attacks"
    title = "The evaluation's gradients found nearly everything"
    expected = f"attacks without gradients broke at most {percent(LIMIT)} after those with gradients"
    meaning = (
        "Gradients alone do not find this classifier's weaknesses. The figure holds only as far as the "
        "blind search reached: give it more queries, or adapt an attack to the classifier."
    )

    def look(self, context: Context) -> CheckResult:
        n, seen, blind, names = len(context.images), False, 0, []
        for row in context.found.rows:
            if not row.blind:
                seen = True
            elif seen and row.attacked:
                blind += row.broken
                names.append(row.attack.partition("(")[0])
        if not names:
            raise NotApplicable("no attack without gradients came after one with gradients")
        grade = graded(blind, n, LIMIT, sampled=False)
        found = (
            f"{', '.join(names)} broke {blind} images that gradients had missed, {percent(blind / n)} of all"
        )
        # These images count as broken, so the figure is not wrong, but it may be too high.
        return CheckResult(grade="warn" if grade == "fail" else grade, found=found, n=n)


@register("random_points")
class Interior(SurvivorCheck):
    """Random points of the threat model."""

    passes = 55
    title = "Random points find no more"
    expected = f"none of {POINTS} random points breaks an image"
    meaning = "An attack that loses to chance is broken, or its gradients are masked."
    most, limit = 100, RANDOM_LIMIT

    def attack(self, runner: AttackRunner) -> Attack:
        del runner
        return RandomPoints(count=POINTS)


@register("random_corners")
class Corners(SurvivorCheck):
    """Random points as far out as the threat model allows."""

    passes = 55
    title = "Random corners find no more"
    expected = f"none of {POINTS} random points on the edge breaks an image"
    meaning = Interior.meaning
    most, limit = 100, RANDOM_LIMIT

    def attack(self, runner: AttackRunner) -> Attack:
        del runner
        return RandomPoints(count=POINTS, draw="corners")
