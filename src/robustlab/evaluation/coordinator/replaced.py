"""Lists what a finished evaluation loses when another command continues in its folder."""

from pathlib import Path

from robustlab.core.errors import RobustlabError
from robustlab.runs.evaluation import Evaluation
from robustlab.runs.run import load_results


def earlier_results(folder: Path) -> Evaluation | None:
    """Return the results of the finished evaluation in a folder; None if none can be read."""
    try:
        results = load_results(folder)
    except RobustlabError:
        return None
    return results if isinstance(results, Evaluation) else None


def loss(earlier: Evaluation, now: Evaluation) -> str:
    """Return what the earlier results had and the new ones lack, as text; empty: nothing."""
    parts = []
    if earlier.images.n > now.images.n:
        parts.append(f"{earlier.images.n} images, now {now.images.n}")
    if earlier.attacks != now.attacks:
        parts.append("other attacks")
    lacking = [
        name
        for name, had, has in (
            ("checks", earlier.checks, now.checks),
            ("a curve", earlier.curve, now.curve),
            ("proofs", earlier.certified, now.certified),
        )
        if had and not has
    ]
    if lacking:
        parts.append(f"{', '.join(lacking)}, now without")
    if not parts:
        return ""
    return (
        f"this replaces the figures of an earlier command in the same folder ({'; '.join(parts)}); its work "
        "is kept, and that command brings its figures back. For both, give --out"
    )
