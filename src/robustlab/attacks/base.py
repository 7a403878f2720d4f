"""What every attack shares: the wrapper that checks, counts, projects and re-measures for it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, final, get_args

import numpy as np
import torch
from torch import Tensor, nn

from robustlab.attacks.batch import AttackBatch, Realise
from robustlab.attacks.losses import Loss
from robustlab.attacks.session import Session
from robustlab.attacks.watch import OnPass, Watch
from robustlab.core import seeding
from robustlab.core.arguments import MOST_SAMPLES, check_choice, check_kind, check_whole
from robustlab.core.batches import BatchSize, check_batch_size, in_batches
from robustlab.core.calling import calling
from robustlab.core.errors import RobustlabError
from robustlab.core.inputs import (
    Numbers,
    as_images,
    as_numbers,
    as_radii,
    check_eval_mode,
)
from robustlab.core.isolation import own_settings
from robustlab.core.options import Mode
from robustlab.core.own_dtype import in_own_dtype
from robustlab.core.spec import Unit
from robustlab.threats import ThreatModel, as_threat

__all__ = ["Attack", "AttackResult", "Mode", "frozen"]


@dataclass(frozen=True, kw_only=True)
class AttackResult:
    """What an attack found, image by image; all (N,) but the images, all on the images' device.

    Attributes:
        images: (N, C, H, W) float32, allowed by the threat model.
        predictions: the classifier's class for each returned image, in fp32; -1 where it gives no answer.
        confidences: the softmax probability of that class; 0 where there is none.
        successes: whether the attacker's goal is reached: the class is not the label or, with targets, is the
            target.
        distances: from the clean image, in the threat model's norm, pixel scale.
        forwards: forward passes spent on the image.
        backwards: backward passes spent on the image.
        restarts: the restart that found the returned image; -1 where the clean image is returned.
    """

    images: Tensor
    predictions: Tensor
    confidences: Tensor
    successes: Tensor
    distances: Tensor
    forwards: Tensor
    backwards: Tensor
    restarts: Tensor


class Attack(Unit, ABC):
    """A search for misclassified images: hyper-parameters only, everything else comes with the call.

    A concrete attack implements `search`: it proposes points to the `Session`, which measures them.
    """

    kind = "attack"
    example = "pgd(steps=40)"
    norms: ClassVar[tuple[str, ...]] = ()
    """The names of the threat models that the attack is made for; empty: all that bound a distance."""
    minimal_norm: ClassVar[bool] = False
    """Whether the attack looks for the nearest success. Its points may then lie outside the ball, and the
    nearest one inside is kept, in ``max-loss`` mode after the full budget."""
    exact: ClassVar[bool] = False
    """Whether the search goes by differences between losses so small that bf16 would round them off; one that
    looks for the nearest success always does."""
    targetable: ClassVar[bool] = True
    """Whether the attack can move towards given classes."""

    @property
    def core(self) -> "Attack":
        """The attack that searches: a wrapper is made for the same threat models and draws the same."""
        return self

    @final
    def suits(self, threat: ThreatModel) -> bool:
        """Tell whether the attack is made for a threat model."""
        norms = self.core.norms
        return threat.is_one_of(norms) if norms else threat.bounded

    @property
    def made_for(self) -> str:
        """The threat models that the attack is made for, in words."""
        return ", ".join(self.core.norms) or "threat models that bound a distance"

    @property
    def yardstick(self) -> Loss:
        """The loss by which points compare, of which ``max-loss`` mode returns the best: the attack's own."""
        own: Loss = getattr(self, "loss", "cross_entropy")
        return own if own in get_args(Loss) else "cross_entropy"

    @property
    def needs_gradient(self) -> bool:
        """Whether the attack can find nothing where the classifier gives it no gradient."""
        return True

    @property
    def transfers(self) -> bool:
        """Whether the attack follows other classifiers, the surrogates, in the place of the attacked one."""
        return False

    @property
    def restart_count(self) -> int:
        """How often `search` is run on an image that withstands it."""
        return 1

    @property
    def passes(self) -> int | None:
        """How many forward passes of an image one `search` takes at most; None where that isn't known.

        For the time left alone: a few more do no harm.
        """
        return None

    @abstractmethod
    def search(self, session: Session) -> None:
        """Propose points for the images of the session; called once per restart."""

    @final
    @own_settings()
    def run(
        self,
        model: nn.Module,
        images: Tensor | np.ndarray[Any, Any],
        labels: Numbers,
        threat: ThreatModel | str,
        *,
        targets: Numbers | int | None = None,
        eps: Numbers | float | None = None,
        ids: Numbers | None = None,
        seed: int = 0,
        mode: Mode = "verdict",
        batch_size: int | BatchSize = 250,
        samples: int = 1,
        surrogates: Sequence[nn.Module] = (),
        half: bool = False,
        realise: Realise | None = None,
        on_batch: Callable[[int], None] | None = None,
        on_pass: OnPass | None = None,
    ) -> AttackResult:
        """Attack a classifier.

        Args:
            model: images (N, C, H, W) in [0, 1] to logits (N, K), in eval mode; one with weights of another
                type than float32 is given its images in that type.
            images: (N, C, H, W), floating on the pixel scale or uint8 in 0..255; the search is in float32.
            labels: (N,) integers, the true classes.
            threat: what the attacker may do; a threat model or its spec.
            targets: (N,) integers or one, the classes that the attacker wants; default: any but the label.
            eps: (N,) one radius per image, or one for all, in the place of the threat model's.
            ids: (N,) dataset ids, by which random numbers are drawn; default 0..N-1.
            seed: of the random numbers.
            mode: ``"verdict"`` leaves misclassified images alone and stops at an image's first success;
                ``"max-loss"`` spends the full budget on every image.
            batch_size: images per pass; it changes speed and memory, not the draws. Halved where memory
                runs out.
            samples: how often a random classifier is asked about each point: losses and gradients are means
                (expectation over transformation, Athalye et al. 2018, arXiv:1707.07397), and so are the
                probabilities that decide the class.
            surrogates: other classifiers of the same kind, for attacks that transfer.
            half: search in bf16, where the attack's search bears it; whatever succeeds is confirmed in fp32.
            realise: turns points (n, C, H, W), given the clean images and eps (n,), into images that can
                exist, inside the threat model; only a success that is one there counts.
            on_batch: called with the number of images finished.
            on_pass: called a few times a second with the share of the batch's search that is done and the
                number of the batch's images that are broken.

        Raises:
            RobustlabError: an image out of [0, 1]; labels, targets, eps or ids that do not fit; an unknown
                mode; a model in train mode; a threat model, or targets, that the attack is not made for.
        """
        threat, images = as_threat(threat), as_images(images)
        device = images.device
        labels = as_numbers("labels", labels, images)
        targets = None if targets is None else as_numbers("targets", targets, images)
        numbers = as_numbers("ids", range(len(images)) if ids is None else ids, images, negative=True)
        # A larger radius allows the same images, with steps and draws that leave float32.
        largest = threat.largest_distance(tuple(images.shape[1:]))
        radii = as_radii(threat.eps if eps is None else eps, images).clamp(max=largest)
        check_choice("mode", mode, get_args(Mode))
        check_whole("seed", seed, 0)
        check_batch_size(batch_size)
        check_whole("samples", samples, 1, MOST_SAMPLES)
        check_kind("surrogates", surrogates, list | tuple, "a list of models")
        with calling("the model", " when its parts were looked at"):
            for network in (model, *surrogates):
                check_eval_mode(network, "attacking")
        self._check_goal(threat, targets)
        # By the name alone: more steps or restarts go on with the same search instead of starting another.
        key = seeding.derive(seed, self.core.name)
        with ExitStack() as stack:
            if images.is_inference():  # made inside the mode that is left here
                images = images.clone()
            for network in (model, *surrogates):
                stack.enter_context(frozen(network))
            if len(images):
                model, *others = (in_own_dtype(network, images) for network in (model, *surrogates))
                surrogates = tuple(others)

            def attack_rows(rows: Tensor) -> AttackResult:
                task = AttackBatch(
                    model=model,
                    images=images[rows],
                    labels=labels[rows],
                    ids=numbers[rows],
                    targets=None if targets is None else targets[rows],
                    threat=threat,
                    eps=radii[rows].to(images.dtype),
                    key=key,
                    mode=mode,
                    minimal_norm=self.core.minimal_norm,
                    yardstick=self.core.yardstick,
                    samples=samples,
                    surrogates=surrogates,
                    half=half and not (self.core.exact or self.core.minimal_norm),
                    realise=realise,
                    watch=on_pass and self._watch(on_pass, samples),
                )
                # A random classifier draws from the global generator: it gets the same numbers in every run.
                with seeding.isolated(seeding.derive(key, "model", int(numbers[rows[0]]))):
                    result = self._attack_batch(task)
                if on_batch is not None:
                    on_batch(len(rows))
                return result

            everyone = torch.arange(len(images), device=device)
            results = [_nothing(images), *in_batches(everyone, batch_size, attack_rows)]
        parts = {
            name: torch.cat([getattr(r, name) for r in results]) for name in AttackResult.__annotations__
        }
        return AttackResult(**parts)

    def _watch(self, tell: OnPass, samples: int) -> Watch:
        passes = None if self.passes is None else self.passes * samples
        return Watch(tell, passes=passes, restarts=self.restart_count)

    def _attack_batch(self, task: AttackBatch) -> AttackResult:
        session = Session(task)
        session.start()
        for restart in range(self.restart_count):
            session.begin(restart)
            if task.watch:
                task.watch.begin(restart, session.oracle.forwards)
            if session.finished:
                break
            self.search(session)
        predictions, confidences = session.verify()
        record, oracle = session.record, session.oracle
        distances = task.threat.distance(record.best, task.images)
        if not (distances <= task.eps * (1 + 1e-5) + 1e-5).all():
            raise RobustlabError(f"{self.name} proposed a point outside {task.threat!r}: a bug in the attack")
        wished = task.labels if task.targets is None else task.targets
        return AttackResult(
            images=record.best,
            predictions=predictions,
            confidences=confidences,
            successes=(predictions == wished) == (task.targets is not None),
            distances=distances,
            forwards=oracle.forwards,
            backwards=oracle.backwards,
            restarts=record.found_by,
        )

    def _check_goal(self, threat: ThreatModel, targets: Tensor | None) -> None:
        core = self.core
        if not self.suits(threat):
            raise RobustlabError(f"{core.name} supports {core.made_for}, not {threat!r}")
        if targets is not None and not core.targetable:
            raise RobustlabError(f"{core.name} can't move towards a target class")


def _nothing(images: Tensor) -> AttackResult:
    """Return the result of attacking no image."""
    none = torch.zeros(0, device=images.device)
    whole, truth = none.to(torch.int64), none.to(torch.bool)
    return AttackResult(
        images=images[:0],
        predictions=whole,
        confidences=none,
        successes=truth,
        distances=none,
        forwards=whole,
        backwards=whole,
        restarts=whole,
    )


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Switch the parameters' gradients off inside the block: attacks need only the input's."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
