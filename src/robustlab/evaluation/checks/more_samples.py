"""Do more samples of a random classifier break images that the evaluation missed?"""

from dataclasses import replace

from robustlab.attacks import PGD
from robustlab.core.spec import register
from robustlab.evaluation.checks.attack_runner import AttackRunner, NotApplicable
from robustlab.evaluation.checks.base import ActiveCheck, CheckResult
from robustlab.evaluation.checks.context import Context, Sample
from robustlab.evaluation.checks.survivors import missed
from robustlab.evaluation.metrics import percent

MAX_IMAGES = 20
ATTACK = PGD(steps=20, loss="margin")
LIMIT = 0.01
"""Our choice."""


@register("more_samples")
class MoreSamples(ActiveCheck):
    """Attacks survivors with means over twice as many samples of the classifier."""

    skips_black_box = True
    doubts = "attacks"
    passes = 90
    title = "Asking a random classifier more often finds no more"
    expected = f"means over twice as many passes lower robust accuracy by at most {percent(LIMIT)}"
    meaning = (
        "The attacks followed chance: a mean over so few passes is not the gradient of the classifier's "
        "expected answer (Athalye et al. 2018, arXiv:1802.00420)."
    )
    by_distance = True

    def sample(self, context: Context) -> Sample:
        if context.runner.eot_samples == 1:
            raise NotApplicable("every point was asked about once: no means were taken")
        return context.survivors(MAX_IMAGES)

    def look(self, runner: AttackRunner, sample: Sample) -> CheckResult:
        twice = replace(runner, eot_samples=2 * runner.eot_samples)
        broken = int(twice.attack(ATTACK, sample.images).successes.sum())
        what = f"{ATTACK.brief()} with means over {twice.eot_samples} passes instead of {runner.eot_samples}"
        return missed(what, broken, sample, LIMIT)
