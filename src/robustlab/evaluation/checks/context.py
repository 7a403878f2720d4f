"""The data that checks may read: the images, and the results of the attacks."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustlab.attacks import Attack, IfMasked
from robustlab.core import seeding
from robustlab.data import Split
from robustlab.evaluation.checks.attack_runner import AttackRunner, NotApplicable
from robustlab.models.black_box import is_black_box
from robustlab.runs.ledger import Outcome, digest

BLACK_BOX_IMAGES = 16
"""The most images of a check on a black box, whose answers may be slow or cost money; our choice."""


@dataclass(frozen=True, kw_only=True)
class AttackedRow:
    """An attack of the evaluation, and its effect on its images.

    All counts are numbers of images.

    Attributes:
        attack: its spec.
        attacked: images that were left to it.
        broken: images that it was the first to break.
        blind: whether it uses no gradient, or runs only where gradients are masked.
        by_gradient: whether it used a gradient.
        minimum_norm: whether it looks for the nearest success.
        white_box: whether it uses the gradients of the classifier itself, not of surrogates.
        searched: images around which it searched; it may skip misclassified images.
        still: searched images that it returned unchanged.
        misclassified: searched images that are misclassified without an attack.
        gained: images that are misclassified without the attack, and classified correctly after it.
        lost: images that are classified correctly without the attack, and misclassified after it.
        still_ids: ids of the images that `still` counts.
    """

    attack: str
    attacked: int
    broken: int
    blind: bool
    by_gradient: bool
    minimum_norm: bool
    white_box: bool
    searched: int
    still: int
    misclassified: int
    gained: int
    lost: int
    still_ids: frozenset[int] = frozenset()

    @classmethod
    def of(
        cls, attack: Attack, outcomes: Collection[Outcome], correct: Collection[int], *, met: int, broken: int
    ) -> "AttackedRow":
        """Return the row of an attack.

        Args:
            outcomes: of the images on which it ran; in the mode ``"test-set"`` of all images.
            correct: ids of the images that are classified correctly without an attack.
            met: correctly classified images that were left to it.
            broken: images that it was the first to break.
        """
        by_gradient = any(row.backwards for row in outcomes)
        # Restart -1 means that the image was skipped.
        searched = [row for row in outcomes if row.restart >= 0]
        still = frozenset(row.image_id for row in searched if row.distance == 0)
        after = {row.image_id for row in outcomes if row.correct}
        ran = {row.image_id for row in outcomes}
        return cls(
            attack=repr(attack),
            attacked=met,
            broken=broken,
            blind=isinstance(attack, IfMasked) or not by_gradient,
            by_gradient=by_gradient,
            minimum_norm=attack.inner.minimum_norm,
            white_box=not attack.inner.transfers,
            searched=len(searched),
            still=len(still),
            misclassified=sum(row.image_id not in correct for row in searched),
            gained=len(after.difference(correct)),
            lost=len(ran.intersection(correct) - after),
            still_ids=still,
        )


@dataclass(frozen=True, kw_only=True)
class EvaluationSummary:
    """The results of the evaluation.

    Attributes:
        correct: ids of the images that are classified correctly without an attack.
        certified: ids of the images with a proof that no attack exists; None without a certifier.
        broken: the confirmed distance of the adversarial image, by id.
        no_answer: ids of images without a valid answer.
        no_answer_near: ids of images with an adversarial image without a valid answer.
        rows: the attacks in order.
        adversarial: the stored adversarial images (N, C, H, W) of the given broken ids.
        in_train_mode: names of the classifier's parts in train mode, if the classifier itself was not.
    """

    correct: frozenset[int]
    certified: frozenset[int] | None
    broken: dict[int, float]
    no_answer: frozenset[int]
    no_answer_near: frozenset[int]
    rows: tuple[AttackedRow, ...]
    adversarial: Callable[[list[int]], Tensor]
    in_train_mode: tuple[str, ...] = ()

    @property
    def survivors(self) -> frozenset[int]:
        """Ids of the images that withstood all attacks, without a proof."""
        return self.correct - self.broken.keys() - (self.certified or frozenset())


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The input of an active check; its result is kept until the sample changes.

    Attributes:
        images: on the device; in memory when the check reads them.
        drawn_from: the number of images from which the sample is drawn.
        total: the number of images of the evaluation.
        survivors: ids of the sample's images that withstood the evaluation, if relevant.
        attacks: those of the evaluation, if relevant; see `Context`.
        surrogates: hashes of the surrogates, if relevant.
    """

    images: Split
    drawn_from: int
    total: int
    survivors: frozenset[int] = frozenset()
    attacks: Mapping[str, Attack] = field(default_factory=dict)
    surrogates: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """Its hash; it covers ids but not pixels, which the context of the evaluation determines."""
        counts, others = [self.drawn_from, self.total], [*self.attacks, *self.surrogates]
        return digest(self.images.ids.tolist(), counts, sorted(self.survivors), others)


@dataclass(frozen=True, kw_only=True)
class Context:
    """The data of an evaluation for its checks.

    Attributes:
        images: all of them, on the CPU.
        attacks: the specs of the evaluation's attacks, in order, with a hash of the code if it is not
            robustlab's.
        surrogates: hashes of the surrogates.
        split: the whole split, whose first images these are; None if there are no others.
        at_most: the largest number of images in a sample; None: any.
        not_run: why an active check does not run; empty: it runs.
    """

    runner: AttackRunner
    images: Split
    attacks: Mapping[str, Attack]
    found: EvaluationSummary
    surrogates: tuple[str, ...] = ()
    split: Split | None = None
    at_most: int | None = None
    not_run: str = ""

    def check_unsettled(self) -> None:
        """Raise `NotApplicable` if no attack can find more: all are misclassified, broken or certified."""
        if not self.found.correct:
            raise NotApplicable("no image is classified correctly")
        if not self.found.survivors:
            raise NotApplicable("no image is left: all are broken, or proven")

    # Samples: the same images for all batch sizes and orders

    def any_images(self, most: int) -> Sample:
        """Return at most ``most`` images."""
        return self._sample(self.images.ids.tolist(), most, "there are no images")

    def of_whole_split(self, most: int) -> Sample:
        """Return at most ``most`` images of the whole split, attacked or not."""
        split = self.split or self.images
        return self._sample(split.ids.tolist(), most, "there are no images", split)

    def correct_images(self, most: int) -> Sample:
        """Return at most ``most`` of the images that are classified correctly."""
        return self._sample(self.found.correct, most, "no image is classified correctly")

    def survivors(self, most: int) -> Sample:
        """Return at most ``most`` of the images that withstood all attacks and have no proof."""
        return self._sample(self.found.survivors, most, "no image is left: all are broken, or proven")

    def certified_images(self, most: int) -> Sample:
        """Return at most ``most`` of the certified images."""
        if self.found.certified is None:
            raise NotApplicable("no proofs were looked for, or the certifier does not know this classifier")
        return self._sample(self.found.certified, most, "no image is proven")

    def _sample(self, ids: Iterable[int], most: int, otherwise: str, split: Split | None = None) -> Sample:
        most = min(most, BLACK_BOX_IMAGES) if is_black_box(self.runner.model) else most
        wanted = torch.tensor(sorted(ids), dtype=torch.int64)
        if len(wanted) == 0:
            raise NotApplicable(otherwise)
        rank = seeding.uniform(seeding.derive(self.runner.seed, "checks", "images"), wanted, (1,)).squeeze(1)
        most = most if self.at_most is None else min(most, self.at_most)
        chosen = wanted[rank.argsort(stable=True)[:most]]
        images = split or self.images
        images = images.take(torch.isin(images.ids, chosen)).to(self.runner.device)
        return Sample(images=images, drawn_from=len(wanted), total=len(self.images))
