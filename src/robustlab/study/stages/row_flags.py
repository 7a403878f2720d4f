"""Signs that the attack of a row did nothing; the row's figure is then no measure of robustness."""

from collections.abc import Iterator, Mapping

from scipy.stats import binomtest
from torch import Tensor

from robustlab.attacks import Attack
from robustlab.core import seeding
from robustlab.data import Split
from robustlab.evaluation.checks import AttackRunner
from robustlab.runs.results import RowFlag
from robustlab.runs.store import Outcome
from robustlab.threats import ThreatModel

LOOKED_AT = 250
"""Images of which the gradient is computed: a sample, so that it costs next to nothing."""
_LIMIT = 0.01
"""The share of the images that may lack a gradient, or stay where they are; our choice."""
_CHANCE = 0.01
"""How rarely chance may make the images of a search without gradients easier; our choice."""


def row_flags(
    attack: Attack,
    threat: ThreatModel,
    lab: AttackRunner,
    some: Split,
    outcomes: list[Outcome],
    clean: Mapping[int, bool],
    *,
    white_box: bool,
) -> Iterator[RowFlag]:
    """Yield the red flags of a row.

    Args:
        attack: of the row; so is ``threat``.
        lab: asks the classifier that the attacker sees.
        some: `LOOKED_AT` of the images, on the device; their gradients are computed.
        outcomes: of all images.
        clean: by image id, whether the measured classifier is right on the clean image.
        white_box: whether that is the classifier that the attacker sees.
    """
    by_gradient = any(outcome.backwards for outcome in outcomes)
    if by_gradient:
        yield from _no_gradient(attack, threat, lab, some)
    if threat.bounded and threat.eps > 0:
        if by_gradient and not attack.core.minimal_norm:
            yield from _no_distance(outcomes)
        # Images that were made on another network may well be easier than clean ones: for a network that was
        # trained on such images, say.
        if white_box:
            yield from _above_clean(outcomes, clean, certain=by_gradient)


def _no_gradient(attack: Attack, threat: ThreatModel, lab: AttackRunner, block: Split) -> Iterator[RowFlag]:
    points, loss = block.pixels(slice(None)), attack.yardstick
    if threat.bounded:
        points = threat.random_start(points, seeding.derive(lab.seed, "row flags"), block.ids)
    gradients: Tensor = lab.gradients(points, block.labels, loss).flatten(1)
    zero, n = int((gradients == 0).all(dim=1).sum()), len(block)
    if zero > _LIMIT * n:
        yield RowFlag(
            id="zero-gradient",
            found=f"the gradient of {loss} is zero at {zero} of {n} images: attacks by gradients stand still",
        )


def _no_distance(outcomes: list[Outcome]) -> Iterator[RowFlag]:
    # Restart -1 is of an image that was left alone.
    tried = [outcome for outcome in outcomes if outcome.restart >= 0]
    still = sum(outcome.distance == 0 for outcome in tried)
    if still > _LIMIT * len(tried):
        yield RowFlag(
            id="zero-distance",
            found=f"{still} of {len(tried)} attacked images are the clean ones: the attack did not move them",
        )


def _above_clean(outcomes: list[Outcome], clean: Mapping[int, bool], *, certain: bool) -> Iterator[RowFlag]:
    right = {outcome.image_id: outcome.label == outcome.prediction for outcome in outcomes}
    gained = sum(now and not clean[number] for number, now in right.items())
    lost = sum(clean[number] and not now for number, now in right.items())
    if gained <= lost:
        return
    # Who follows gradients could have left the images as they are; others may be unlucky.
    if certain or binomtest(gained, gained + lost, alternative="greater").pvalue < _CHANCE:
        yield RowFlag(
            id="above-clean",
            found=f"{sum(right.values())} of {len(right)} attacked images are classified correctly, and only "
            f"{sum(map(clean.__getitem__, right))} clean ones: without any attack there are more errors",
        )
