"""What every attack shares: the wrapper that checks, counts, projects and re-measures for it."""

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
from robustlab.core.batches import BatchSize
from robustlab.core.errors import RobustlabError
from robustlab.core.inputs import Numbers
from robustlab.core.isolation import own_settings
from robustlab.core.spec import Unit
from robustlab.threats import ThreatModel


class Attack(Unit, ABC):
    """A search for misclassified images: hyper-parameters only, everything else comes with the call.

    A concrete attack implements `search`: it proposes points to the `Session`, which measures them.
    """

    kind = "attack"
    example = "pgd(steps=40)"
    norms: ClassVar[tuple[str, ...]] = ()
    """The names of the threat models that the attack supports; empty: all that bound a distance."""
    minimum_norm: ClassVar[bool] = False
    """Whether the attack looks for the nearest success. Its points may then lie outside the ball, and the
    nearest one inside is kept, without early stop after the full budget."""
    exact: ClassVar[bool] = False
    """Whether the search relies on differences between losses so small that bf16 would lose them; one that
    looks for the nearest success always does."""
    targetable: ClassVar[bool] = True
    """Whether the attack can move towards given classes."""

    drawn_as: ClassVar[str] = ""
    """The name by which random numbers are drawn, of an attack that had another name once."""

    @property
    def inner(self) -> "Attack":
        """The attack that searches: a wrapper supports the same threat models and has the same draws."""
        return self

    @final
    def supports(self, threat: ThreatModel) -> bool:
        """Return whether the attack supports a threat model."""
        norms = self.inner.norms
        return threat.is_one_of(norms) if norms else threat.bounded

    @property
    def supported_norms(self) -> str:
        """The threat models that the attack supports, in words."""
        return ", ".join(self.inner.norms) or "threat models that bound a distance"

    @property
    def selection_loss(self) -> Loss:
        """The loss by which points compare; without early stop the best one is returned. The attack's own."""
        own: Loss = getattr(self, "loss", "cross_entropy")
        return own if own in get_args(Loss) else "cross_entropy"

    @property
    def estimator(self) -> Gradient:
        """How the attack gets its gradients, if it asks for any."""
        return ExactGradient()

    @property
    def needs_gradient(self) -> bool:
        """Whether the attack can find nothing where the classifier gives it no gradient."""
        return True

    @property
    def transfers(self) -> bool:
        """Whether the attack follows other classifiers, the surrogates, in the place of the attacked one."""
        return not self.estimator.asks_classifier

    @property
    def restart_count(self) -> int:
        """How often `search` is run on an image that withstands it."""
        return 1

    @property
    def passes(self) -> int | None:
        """How many forward passes of an image one `search` takes at most; None where that isn't known.

        That is with exact gradients: `run` multiplies it by the passes that the `estimator` takes for one. It
        is used to estimate the time left, so it need not be exact.
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
            model: images (N, C, H, W) in [0, 1] to logits (N, K), in eval mode; one with weights of another
                type than float32 is given its images in that type.
            images: (N, C, H, W), floating on the pixel scale or uint8 in 0..255; the search is in float32.
            labels: (N,) integers, the true classes.
            threat: what the attacker may do; a threat model or its spec.
            criterion: when the goal is reached: a criterion, its spec, or for short the class to move
                towards, as `as_criterion` reads them (``3``, ``"next"``, ``"least-likely"``); default: any
                class but the label.
            targets: (N,) integers or one, the classes to move towards; in the place of a criterion.
            eps: (N,) one radius per image, or one for all, in the place of the threat model's.
            ids: (N,) dataset ids, by which random numbers are drawn; default 0..N-1.
            seed: of the random numbers.
            early_stop: leave misclassified images alone and stop at an image's first success; otherwise the
                full budget is spent on every image.
            batch_size: images per pass; it changes speed and memory, not the draws. Halved where memory
                runs out.
            eot_samples: how often a random classifier is asked about each point: losses and gradients are
                means (expectation over transformation, Athalye et al. 2018, arXiv:1707.07397), and so are
                the probabilities that decide the class.
            surrogates: other classifiers of the same kind, for attacks that transfer.
            bf16: search in bf16, if the attack's search allows it; every success is confirmed in fp32.
            quantize: turns points (n, C, H, W), given the clean images and eps (n,), into images that can
                exist, inside the threat model; only a success that is one there counts.
            on_batch: called with the number of images finished.
            on_pass: called a few times a second with the share of the batch's search that is done and the
                number of the batch's images that are broken.

        Raises:
            RobustlabError: an image out of [0, 1]; labels, targets, eps or ids do not fit; the model is in
                train mode; both targets and a criterion are given; the attack does not support the threat
                model or a target class.
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
