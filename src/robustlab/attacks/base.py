"""What every attack shares: the wrapper that checks, counts, projects and re-measures for it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from robustlab.attacks.session import Mode, Session
from robustlab.core import seeding
from robustlab.core.errors import RobustlabError
from robustlab.core.spec import Unit
from robustlab.core.threat import ThreatModel

__all__ = ["Attack", "AttackResult", "Mode", "frozen"]


@dataclass(frozen=True, kw_only=True)
class AttackResult:
    """What an attack found, image by image; all (N,) but the images, all on the images' device.

    Attributes:
        images: (N, C, H, W) float32, allowed by the threat model.
        predictions: the classifier's class for each returned image, in fp32.
        confidences: the softmax probability of that class.
        distances: from the clean image, in the threat model's norm, pixel scale.
        forwards: forward passes spent on the image.
        backwards: backward passes spent on the image.
        restarts: the restart that found the returned image; -1 where the clean image is returned.
    """

    images: Tensor
    predictions: Tensor
    confidences: Tensor
    distances: Tensor
    forwards: Tensor
    backwards: Tensor
    restarts: Tensor


class Attack(Unit, ABC):
    """A search for misclassified images: hyper-parameters only, everything else comes with the call.

    A concrete attack implements `search`: it proposes points to the `Session`, which measures them.
    """

    kind = "attack"

    @property
    def restart_count(self) -> int:
        """How often `search` is run on an image that withstands it."""
        return 1

    @abstractmethod
    def search(self, session: Session) -> None:
        """Propose points for the images of the session; called once per restart."""

    @final
    def run(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        threat: ThreatModel,
        *,
        ids: Tensor | None = None,
        seed: int = 0,
        mode: Mode = "verdict",
        batch_size: int = 250,
        on_batch: Callable[[int], None] | None = None,
    ) -> AttackResult:
        """Attack a classifier.

        Args:
            model: images (N, C, H, W) in [0, 1] to logits (N, K), in eval mode.
            images: (N, C, H, W) float32 on the pixel scale.
            labels: (N,) int64, the true classes.
            threat: what the attacker may do.
            ids: (N,) int64 dataset ids, by which random numbers are drawn; default 0..N-1.
            seed: of the random numbers.
            mode: ``"verdict"`` leaves misclassified images alone and stops at an image's first success;
                ``"max-loss"`` spends the full budget on every image.
            batch_size: images per pass; it changes speed and memory, not the draws.
            on_batch: called with the number of images finished.

        Raises:
            RobustlabError: no images, or one out of [0, 1]; labels or ids that do not fit them; a model in
                train mode; logits that are not finite.
        """
        numbers = torch.arange(len(images), device=images.device) if ids is None else ids.to(images.device)
        _check(model, images, labels, numbers)
        # By the name alone: more steps or restarts go on with the same search instead of starting another.
        key = seeding.derive(seed, self.name)
        results = []
        with frozen(model):
            for rows in torch.split(torch.arange(len(images), device=images.device), batch_size):
                session = Session(
                    model, images[rows], labels[rows], numbers[rows], threat, key=key, mode=mode
                )
                results.append(self._attack_batch(session))
                if on_batch is not None:
                    on_batch(len(rows))
        parts = {
            name: torch.cat([getattr(r, name) for r in results]) for name in AttackResult.__annotations__
        }
        return AttackResult(**parts)

    def _attack_batch(self, session: Session) -> AttackResult:
        session.start()
        for restart in range(self.restart_count):
            session.begin(restart)
            if session.finished:
                break
            self.search(session)
        predictions, confidences = session.verify()
        return AttackResult(
            images=session.best,
            predictions=predictions,
            confidences=confidences,
            distances=session.threat.distance(session.best, session.all_clean),
            forwards=session.forwards,
            backwards=session.backwards,
            restarts=session.found_by,
        )


def _check(model: nn.Module, images: Tensor, labels: Tensor, ids: Tensor) -> None:
    if any(module.training for module in model.modules()):
        raise RobustlabError("the model is in train mode; call model.eval() before attacking it")
    if images.ndim != 4 or images.dtype != torch.float32:
        found = f"{images.dtype} of shape {tuple(images.shape)}"
        raise RobustlabError(f"images must be float32 of shape (N, C, H, W), found {found}")
    if len(images) == 0:
        raise RobustlabError("there are no images to attack")
    for name, numbers in (("labels", labels), ("ids", ids)):
        if numbers.shape != images.shape[:1] or numbers.dtype != torch.int64:
            found = f"{numbers.dtype} of shape {tuple(numbers.shape)}"
            raise RobustlabError(f"{name} must be int64 of shape ({len(images)},), found {found}")
    if labels.min() < 0:
        raise RobustlabError(f"labels must not be negative, found {int(labels.min())}")
    if not (images.min() >= 0 and images.max() <= 1):
        found = f"{float(images.min()):.3g} to {float(images.max()):.3g}"
        raise RobustlabError(
            f"images must lie in [0, 1] and be free of NaN, found {found}; do not normalise them"
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
