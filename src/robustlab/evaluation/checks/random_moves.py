"""Do random rotations and translations break images that the evaluation's missed?"""

from dataclasses import replace

from robustlab.attacks import RotationTranslation
from robustlab.core.spec import register
from robustlab.evaluation.checks.attack_runner import AttackRunner, NotApplicable
from robustlab.evaluation.checks.base import ActiveCheck, CheckResult
from robustlab.evaluation.checks.context import Context, Sample
from robustlab.evaluation.checks.survivors import missed
from robustlab.evaluation.metrics import percent

MAX_IMAGES, MOVES = 20, 200
LIMIT = 0.01
"""Our choice. A grid is the strong attack (Engstrom et al. 2019, arXiv:1712.02779), if it is fine enough."""


@register("random_moves")
class RandomMoves(ActiveCheck):
    """Random rotations and translations within the limits of the widest grid that ran."""

    doubts = "attacks"
    passes = 205
    title = "Random rotations and translations find no more"
    expected = f"{MOVES} random ones within the same limits lower robust accuracy by at most {percent(LIMIT)}"
    meaning = (
        "The classifier fails between the points that were searched: robust accuracy goes on falling with "
        "the number of angles and shifts."
    )

    def sample(self, context: Context) -> Sample:
        named = context.attacks.items()
        grids = {spec: attack for spec, attack in named if isinstance(attack.inner, RotationTranslation)}
        if not grids:
            raise NotApplicable("no rotations and translations were searched")
        return replace(context.survivors(MAX_IMAGES), attacks=grids)

    def look(self, runner: AttackRunner, sample: Sample) -> CheckResult:
        cores = [attack.inner for attack in sample.attacks.values()]
        grids = [inner for inner in cores if isinstance(inner, RotationTranslation)]
        widest = max(grids, key=lambda grid: (grid.rotation, grid.shift))
        # Random numbers that differ from the evaluation's, if it drew some too.
        broken = int(runner.attack(replace(widest, draws=MOVES), sample.images).successes.sum())
        what = f"{MOVES} random ones up to {widest.rotation:g} degrees and {widest.shift:g} pixels"
        return missed(what, broken, sample, LIMIT)
