"""The base class of every attack: it checks the input, counts passes, projects and measures again."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, final, get_args

import numpy as np
from torch import Tensor, nn

from robustlab.attacks.attack_input import AttackInput
from robustlab.attacks.batch import Quantize
from robustlab.attacks.criteria import Criterion
from robustlab.attacks.gradients import ExactGradient, Gradient
from robustlab.attacks.losses import Loss
from robustlab.attacks.progress_reporter import OnPass
from robustlab.attacks.result import AttackResult
from robustlab.attacks.running import RunSettings, run_in_batches
from robustlab.attacks.session import Session
from robustlab.core.arguments import checked_names
from robustlab.core.batches import BatchSize
from robustlab.core.errors import RobustlabError
from robustlab.core.inputs import Numbers
from robustlab.core.isolation import own_settings
from robustlab.core.spec import Unit
from robustlab.threats import ThreatModel


class Attack(Unit, ABC):
    """A search for misclassified images; it holds only hyper-parameters.

    All other values are arguments of `run`. A concrete attack implements `search`: it proposes points to the
    `Session`, which measures them.
    """

    kind = "attack"
    example = "pgd(steps=40)"
    norms: ClassVar[tuple[str, ...]] = ()
    """The names of the threat models that the attack supports; empty: all that bound a distance."""
    minimum_norm: ClassVar[bool] = False
    """Whether the attack looks for the nearest success. Its points may then lie outside the ball; the nearest
    one inside is kept. It always spends its full budget."""
    exact: ClassVar[bool] = False
    """Whether the search relies on differences of the loss that bf16 would round off. This is always so for
    an attack that looks for the nearest success."""
    targetable: ClassVar[bool] = True
    """Whether the attack can aim at given classes."""

    drawn_as: ClassVar[str] = ""
    """The name that determines the random numbers, if the attack once had another name."""

    @property
    def inner(self) -> "Attack":
        """The attack that searches; of a wrapper, the one that it wraps (same threat models and draws)."""
        return self

    @final
    def supports(self, threat: ThreatModel) -> bool:
        """Return whether the attack supports a threat model."""
        norms = self.inner.norms
        return threat.is_one_of(norms) if norms else threat.bounded

    @property
    def supported_norms(self) -> str:
        """The threat models that the attack supports, as text for messages."""
        return ", ".join(self.inner.norms) or "threat models that bound a distance"

    @property
    def selection_loss(self) -> Loss:
        """The loss that compares points; without early stop the point of the highest loss is returned."""
        own: Loss = getattr(self, "loss", "cross_entropy")
        return own if own in get_args(Loss) else "cross_entropy"

    @property
    def estimator(self) -> Gradient:
        """The attack's gradient estimator, if it uses gradients."""
        return ExactGradient()

    @property
    def needs_gradient(self) -> bool:
        """Whether the attack finds nothing if the classifier returns no gradient."""
        return True

    @property
    def transfers(self) -> bool:
        """Whether the attack uses the gradients of surrogates instead of the attacked classifier's."""
        return not self.estimator.asks_classifier

    @property
    def restart_count(self) -> int:
        """How often `search` runs on an image that is not broken."""
        return 1

    @property
    def passes(self) -> int | None:
        """How many forward passes of an image one `search` takes at most; None if unknown.

        The number is for exact gradients: `run` multiplies it by the passes of the `estimator` for one
        gradient. It is used to estimate the remaining time, so it need not be exact.
        """
        return None

    @abstractmethod
    def search(self, session: Session) -> None:
        """Propose points for the images of the session; called once per restart."""

    @final
    @own_settings()
    @checked_names
    def run(
        self,
        model: nn.Module,
        images: Tensor | np.ndarray[Any, Any],
        labels: Numbers,
        threat: ThreatModel | str,
        *,
        criterion: Criterion | str | int = "misclassified",
        targets: Numbers | int | None = None,
        eps: Numbers | float | None = None,
        ids: Numbers | None = None,
        seed: int = 0,
        early_stop: bool = True,
        batch_size: int | BatchSize = 250,
        eot_samples: int = 1,
        surrogates: Sequence[nn.Module] = (),
        bf16: bool = False,
        quantize: Quantize | None = None,
        on_batch: Callable[[int], None] | None = None,
        on_pass: OnPass | None = None,
    ) -> AttackResult:
        """Attack a classifier.

        Args:
            model: images (N, C, H, W) in [0, 1] to logits (N, K), in eval mode; a model with weights of
                another type than float32 gets its images in that type.
            images: (N, C, H, W), floating on the pixel scale [0, 1] or uint8 in 0..255; the search is in
                float32.
            labels: (N,) integers, the true classes.
            threat: what the attacker may do; a threat model or its spec.
            criterion: the attacker's goal: a criterion, its spec, or for short the target class, as
                `as_criterion` reads it (``3``, ``"next"``, ``"least-likely"``). Default: any class except the
                label.
            targets: (N,) target classes, or one for all; instead of a criterion.
            eps: (N,) one radius per image, or one for all; instead of the threat model's.
            ids: (N,) dataset ids, which determine the random numbers; default 0..N-1.
            seed: of the random numbers.
            early_stop: skip misclassified images and stop at an image's first success. Otherwise every image
                gets the full budget.
            batch_size: images per pass; it changes speed and memory, not the draws. It is halved when memory
                runs out.
            eot_samples: how often a random classifier is evaluated at each point. Losses, gradients and the
                probabilities that decide the class are means (expectation over transformation, Athalye et al.
                2018, arXiv:1707.07397).
            surrogates: other classifiers of the same kind, for attacks that transfer.
            bf16: search in bf16, if the attack allows it; every success is confirmed in fp32.
            quantize: turns points (n, C, H, W), given the clean images and eps (n,), into images that can be
                stored, inside the threat model. Only a success of the stored image counts.
            on_batch: called with the number of finished images.
            on_pass: called a few times a second with the finished share of the batch's search, in [0, 1], and
                the number of broken images in the batch.

        Raises:
            RobustlabError: an image lies outside [0, 1]; labels, targets, eps or ids do not match the images;
                the model is in train mode. Also if both targets and a criterion are given, or the attack does
                not support the threat model or a target class.
        """
        given = AttackInput.checked(
            model,
            images,
            labels,
            threat,
            criterion=criterion,
            targets=targets,
            eps=eps,
            ids=ids,
            surrogates=surrogates,
        )
        settings = RunSettings(
            seed=seed,
            early_stop=early_stop,
            batch_size=batch_size,
            eot_samples=eot_samples,
            bf16=bf16,
            quantize=quantize,
            on_batch=on_batch,
            on_pass=on_pass,
        )
        self._check_support(given)
        return run_in_batches(self, given, settings)

    def _check_support(self, given: AttackInput) -> None:
        inner = self.inner
        if not self.supports(given.threat):
            raise RobustlabError(f"{inner.name} supports {inner.supported_norms}, not {given.threat!r}")
        if given.is_targeted and not inner.targetable:
            raise RobustlabError(f"{inner.name} can't move towards a target class")
