"""Does a finer grid of rotations and translations break what the evaluation's own missed?"""

from dataclasses import replace

from robustlab.attacks import RotationTranslation
from robustlab.evaluation.checks.base import Experiment, Finding, graded
from robustlab.evaluation.checks.context import Context, Sample, Skip
from robustlab.evaluation.checks.lab import Lab
from robustlab.evaluation.metrics import percent

MOST = 20
LIMIT = 0.01
"""Our choice. A grid is the strong attack here (Engstrom et al. 2019, arXiv:1712.02779), if it is fine."""


class FinerGrid(Experiment):
    """Halves the spacing of the widest grid, and attacks survivors with the points in between as well."""

    id = "finer-grid"
    title = "A finer grid finds no more"
    expected = f"a grid with half the spacing lowers robust accuracy by at most {percent(LIMIT)}"
    meaning = (
        "The classifier fails between the grid's points: robust accuracy goes on falling with the number of "
        "angles and shifts."
    )

    def sample(self, context: Context) -> Sample:
        named = context.attacks.items()
        grids = {spec: attack for spec, attack in named if isinstance(attack, RotationTranslation)}
        if not grids:
            raise Skip("no grid of rotations and translations ran")
        return replace(context.survivors(MOST), attacks=grids)

    def look(self, lab: Lab, sample: Sample) -> Finding:
        grids = [attack for attack in sample.attacks.values() if isinstance(attack, RotationTranslation)]
        widest = max(grids, key=lambda grid: (grid.rotation, grid.shift))
        finer = replace(widest, angles=2 * widest.angles - 1, shifts=2 * widest.shifts - 1)
        broken = int(lab.attack(finer, sample.images).successes.sum())
        n, left = len(sample.images), sample.drawn_from
        found = f"{finer.brief()} broke {broken} of {n} images that withstood all attacks"
        return Finding(
            grade=graded(broken, n, LIMIT, sampled=n < left, weight=left / sample.total), found=found, n=n
        )
