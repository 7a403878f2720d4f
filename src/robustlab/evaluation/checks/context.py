"""What the checks may look at: the images, and what the attacks found."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustlab.attacks import Attack, IfMasked
from robustlab.core import seeding
from robustlab.data import Split
from robustlab.evaluation.checks.applicable import NotApplicable
from robustlab.evaluation.checks.attack_runner import AttackRunner
from robustlab.runs.ledger import Outcome, digest


@dataclass(frozen=True, kw_only=True)
class AttackedRow:
    """An attack of the evaluation, and what it did to the images that it met.

    Attributes:
        attack: its spec.
        attacked: images that it met.
        broken: images that it was the first to break.
        blind: whether it asks for no gradient, or runs only where gradients are masked.
        by_gradient: whether it asked for a gradient.
        minimum_norm: whether it looks for the nearest success.
        white_box: whether it follows the classifier itself, and not surrogates.
        searched: images that it searched around; it may leave alone what is misclassified already.
        still: of these, images that are exactly the clean ones after it.
        misclassified: of these, images that are misclassified as they are.
        gained: images that are misclassified as they are, and classified correctly after it.
        lost: images that are classified correctly as they are, and misclassified after it.
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

    @classmethod
    def of(
        cls, attack: Attack, outcomes: Collection[Outcome], correct: Collection[int], *, met: int, broken: int
    ) -> "AttackedRow":
        """Return what an attack did.

        Args:
            attack: that ran.
            outcomes: of the images that it ran on, which in the mode ``"test-set"`` are all.
            correct: ids of the images that are classified correctly as they are.
            met: images that were left to it, of those that are right.
            broken: images that it was the first to break.
        """
        by_gradient = any(row.backwards for row in outcomes)
        # Restart -1 is of an image that was left alone.
        searched = [row for row in outcomes if row.restart >= 0]
        after = {row.image_id for row in outcomes if row.prediction == row.label}
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
            still=sum(row.distance == 0 for row in searched),
            misclassified=sum(row.image_id not in correct for row in searched),
            gained=len(after.difference(correct)),
            lost=len(ran.intersection(correct) - after),
        )


@dataclass(frozen=True, kw_only=True)
class EvaluationSummary:
    """What the evaluation found.

    Attributes:
        correct: ids of the images that are classified correctly as they are.
        certified: ids of those for which no attack can exist; None without a certifier.
        broken: the distance of the adversarial image, as it was confirmed, by id.
        no_answer: ids of images at which the classifier gives no answer.
        no_answer_near: ids of images of which an adversarial image has no answer.
        rows: the attacks in order.
        adversarial: the stored adversarial images (N, C, H, W) of ids that are broken.
        in_train_mode: names of the classifier's parts that came in train mode, though it did not itself.
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
        """Ids of the images that withstood all attacks, and are not proven to withstand any."""
        return self.correct - self.broken.keys() - (self.certified or frozenset())


@dataclass(frozen=True, kw_only=True)
class Sample:
    """All that an experiment knows of the evaluation, so that its outcome is kept until this changes.

    Attributes:
        images: on the device; in memory when the check looks at them.
        drawn_from: how many images of this kind there are.
        total: all images of the evaluation.
        survivors: ids of those of the images that withstood the evaluation, where this matters.
        attacks: those of the evaluation, where they matter; see `Context`.
        surrogates: hashes of the lab's surrogates, where they matter.
    """

    images: Split
    drawn_from: int
    total: int
    survivors: frozenset[int] = frozenset()
    attacks: Mapping[str, Attack] = field(default_factory=dict)
    surrogates: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """Its hash. The context of the evaluation, not this hash, says which image an id means."""
        counts, others = [self.drawn_from, self.total], [*self.attacks, *self.surrogates]
        return digest(self.images.ids.tolist(), counts, sorted(self.survivors), others)


@dataclass(frozen=True, kw_only=True)
class Context:
    """One evaluation, as a check sees it.

    Attributes:
        images: all of them, on the CPU.
        attacks: those of the evaluation, in order, by spec and, where the code is not robustlab's, its hash.
        surrogates: hashes of the lab's surrogates.
        split: the whole split, of which they are the first; None if there are no others.
    """

    lab: AttackRunner
    images: Split
    attacks: Mapping[str, Attack]
    found: EvaluationSummary
    surrogates: tuple[str, ...] = ()
    split: Split | None = None

    def check_unsettled(self) -> None:
        """Raise `NotApplicable` if no attack can find more: all images are wrong, broken or proven."""
        if not self.found.correct:
            raise NotApplicable("no image is classified correctly")
        if not self.found.survivors:
            raise NotApplicable("no image is left: all are broken, or proven")

    # Samples: the same images in all batches and orders

    def any_images(self, most: int) -> Sample:
        """Return at most so many images."""
        return self._sample(self.images.ids.tolist(), most, "there are no images")

    def of_whole_split(self, most: int) -> Sample:
        """Return at most so many images of the whole split, attacked or not."""
        split = self.split or self.images
        return self._sample(split.ids.tolist(), most, "there are no images", split)

    def correct_images(self, most: int) -> Sample:
        """Return at most so many of the images that are classified correctly."""
        return self._sample(self.found.correct, most, "no image is classified correctly")

    def survivors(self, most: int) -> Sample:
        """Return at most so many of the images that withstood all attacks and are not proven to."""
        return self._sample(self.found.survivors, most, "no image is left: all are broken, or proven")

    def certified_images(self, most: int) -> Sample:
        """Return at most so many of the images that are proven to withstand all attacks."""
        if self.found.certified is None:
            raise NotApplicable("no proofs were looked for, or the certifier does not know this classifier")
        return self._sample(self.found.certified, most, "no image is proven")

    def _sample(self, ids: Iterable[int], most: int, otherwise: str, split: Split | None = None) -> Sample:
        wanted = torch.tensor(sorted(ids), dtype=torch.int64)
        if len(wanted) == 0:
            raise NotApplicable(otherwise)
        rank = seeding.uniform(seeding.derive(self.lab.seed, "checks", "images"), wanted, (1,)).squeeze(1)
        chosen = wanted[rank.argsort(stable=True)[:most]]
        images = split or self.images
        images = images.take(torch.isin(images.ids, chosen)).to(self.lab.device)
        return Sample(images=images, drawn_from=len(wanted), total=len(self.images))
