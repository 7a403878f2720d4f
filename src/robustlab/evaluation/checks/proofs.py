"""Do proofs hold, and do the figures stand in the order in which they must?"""

import torch

from robustlab.attacks import PGD, RandomPoints
from robustlab.evaluation.checks.base import Finding, Probe
from robustlab.evaluation.checks.context import Context

MOST = 64
ATTACKS = (
    PGD(steps=20),
    PGD(steps=20, loss="margin"),
    RandomPoints(count=50),
    RandomPoints(count=50, draw="corners"),
)


class Proofs(Probe):
    """Attacks images that are proven to withstand every attack."""

    id = "proofs-under-attack"
    title = "No attack breaks a proven image"
    expected = "none of the proven images broken"
    meaning = "The certifier is unsound: no certified figure of it can be believed."

    def look(self, context: Context) -> Finding:
        block = context.proven_images(MOST)
        broken = torch.zeros_like(block.labels, dtype=torch.bool)
        for attack in ATTACKS:
            broken |= context.attack(attack, block).successes
        count = int(broken.sum())
        found = f"{len(ATTACKS)} attacks broke {count} of {len(block)} proven images"
        return Finding(grade="fail" if count else "pass", found=found, n=len(block))


class Order(Probe):
    """Compares the counts."""

    id = "order-of-figures"
    title = "Clean, attacked and proven stand in this order"
    expected = (
        "clean accuracy at least the attacked, and that at least the proven; no image proven and broken"
    )
    meaning = "The books are wrong: the same image was counted in two ways."

    def look(self, context: Context) -> Finding:
        found, proven = context.found, context.found.proven or frozenset()
        clean, robust = len(found.right), len(found.right - found.broken.keys())
        both = len(proven & found.broken.keys()) + len(proven - found.right)
        orderly = clean >= robust >= len(proven) and not both and found.broken.keys() <= found.right
        told = f"{clean} right, {robust} after all attacks, " + (
            "no proofs" if found.proven is None else f"{len(proven)} proven"
        )
        return Finding(grade="pass" if orderly else "fail", found=told, n=len(context.images))
