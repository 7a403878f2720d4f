"""The base class of every certifier: it checks the input and computes only the proofs that matter."""

import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, NamedTuple, final

import torch
from torch import Tensor, nn

from robustlab.certify.interval import NoRuleError
from robustlab.core import seeding
from robustlab.core.batches import BatchSize, check_batch_size, in_batches
from robustlab.core.calling import UserCodeError, ask, calling
from robustlab.core.errors import RobustlabError, SpecError
from robustlab.core.inputs import as_images, as_numbers, check_classes, check_eval_mode, check_unchanged
from robustlab.core.isolation import own_settings
from robustlab.core.logits import answered
from robustlab.core.spec import Unit, units
from robustlab.core.text import a_kind
from robustlab.core.threads import begin_work
from robustlab.core.user_units import parse_trusted
from robustlab.threats import Linf, ThreatModel, as_threat


class ProofResult(NamedTuple):
    """What a certifier found, and what it took.

    Bounds count as two passes, of centre and radius. A pass that only chooses the way, on the first image
    of a batch, does not count.

    Attributes:
        certified: (N,) bool, true where proven.
        forwards: (N,) int64, forward passes of each image.
        backwards: (N,) int64, backward passes.
    """

    certified: Tensor
    forwards: Tensor
    backwards: Tensor

    def put(self, rows: Tensor, proofs: "ProofResult") -> None:
        """Replace what is known about the images of a mask or places."""
        for whole, part in zip(self, proofs, strict=True):
            whole[rows] = part

    def follow(self, rows: Tensor, proofs: "ProofResult") -> None:
        """Take over what another certifier found about the images of a mask (N,); the passes add up."""
        self.certified[rows] = proofs.certified
        self.forwards[rows] += proofs.forwards
        self.backwards[rows] += proofs.backwards


class Certifier(Unit, ABC):
    """A proof, image by image, that no point of the threat model changes the class.

    Another package adds one through the entry-point group ``robustlab.certifier``. A concrete certifier
    implements `prove` for one batch. A proof holds for the network as it is computed in float32 (no TF32, no
    autocast). An image without a proof may still be robust.
    """

    kind = "certifier"
    example = "ibp"
    norms: ClassVar[tuple[str, ...]]
    """The names of the threat models that the certifier supports."""
    at_once: ClassVar[int] = 250
    """How many images an evaluation gives it at most, until it writes their results and shows progress."""

    @property
    def confidence(self) -> float:
        """1 for proofs; below 1 for statistical certificates, of one image; they never count as proofs."""
        return 1.0

    def bounded_part(self, model: nn.Module) -> nn.Module:
        """Return the part of a model that the certifier bounds; it must draw no random numbers.

        Raises:
            NoRuleError: the model has no such part.
        """
        return model

    @abstractmethod
    def prove(
        self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel
    ) -> Tensor | ProofResult:
        """Return (N,) bool, true only where proven, for images that are classified correctly.

        `ProofResult` says also how many passes it took, without the one for the class; else `passes` does.

        Raises:
            NoRuleError: the certifier does not support the model; the message names the layer and the reason.
        """

    def passes(self, certified: Tensor) -> Tensor:
        """Return (N,) how many forward passes each image took, given (N,) whether it was proven.

        The one for the class is among them.
        """
        return torch.full_like(certified, 2, dtype=torch.int64)

    @final
    @own_settings()
    def certify(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        threat: ThreatModel,
        *,
        batch_size: int | BatchSize = 250,
        on_batch: Callable[[int], None] | None = None,
    ) -> Tensor:
        """Return (N,) bool: whether the image is classified correctly, and so is every allowed point.

        The arguments and errors are those of `proofs`.
        """
        return self.proofs(model, images, labels, threat, batch_size=batch_size, on_batch=on_batch).certified

    @final
    @own_settings()
    def proofs(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        threat: ThreatModel,
        *,
        batch_size: int | BatchSize = 250,
        on_batch: Callable[[int], None] | None = None,
    ) -> ProofResult:
        """Return which images are proven to be classified correctly at every allowed point, and the cost.

        Args:
            model: images (N, C, H, W) in [0, 1] to logits (N, K), in eval mode.
            images: (N, C, H, W), floating on the pixel scale or uint8 in 0..255.
            labels: (N,) integers, the true classes.
            threat: what an attacker may do; a threat model or its spec.
            batch_size: images per pass; it changes only speed and memory. It is halved when memory runs out.
            on_batch: called with the number of finished images.

        Raises:
            RobustlabError: an image lies outside [0, 1], labels do not match, the model is in train mode or
                changes its images in place, or the certifier does not support the threat model. An
                unsupported model is not an error: then nothing is proven, and `explain` returns why.
        """
        with calling("the model", " when its parts were looked at"):
            check_eval_mode(model, "certifying")
        threat, images = as_threat(threat), as_images(images)
        begin_work(images, "input")
        labels = as_numbers("labels", labels, images)
        check_batch_size(batch_size)
        if not threat.is_one_of(self.norms):
            known = ", ".join(self.norms)
            raise RobustlabError(f"{self.name} proves within {known}; the threat model is {threat!r}")
        nothing = torch.zeros_like(labels, dtype=torch.int64)
        result = ProofResult(nothing.bool(), nothing + 1, nothing)
        understood = len(images) > 0 and self.explain(model, images) is None

        def certify_rows(rows: Tensor) -> None:
            if understood:
                result.put(rows, self._certify_batch(model, images[rows], labels[rows], threat))
            if on_batch is not None:
                on_batch(len(rows))

        in_batches(torch.arange(len(images), device=images.device), batch_size, certify_rows)
        return result

    @final
    @own_settings()
    def explain(self, model: nn.Module, images: Tensor) -> str | None:
        """Return why the certifier can prove nothing about a model, for any image; None if it can.

        Args:
            model: in eval mode.
            images: (N, C, H, W) float32 in [0, 1]; the first one is passed through the model.
        """
        obstacle = self.obstacle(model, images)
        return obstacle if obstacle is None or isinstance(obstacle, str) else _blame(model, obstacle)

    @final
    @own_settings()
    def obstacle(self, model: nn.Module, images: Tensor) -> str | Exception | None:
        """Return what `explain` does, but raise errors unchanged; any but `NoRuleError` may be a bug."""
        image = images[:1].clone()
        known: Any = units(ThreatModel).get(self.norms[0], Linf)
        nowhere = known(eps=0)
        with torch.no_grad(), seeding.isolated(0):
            try:
                # With a confidence below 1 it gets its own noisy copies.
                answer = clean_logits if self.confidence < 1 else _logits_of_unchanged
                part = partial(answer, self.bounded_part(model))
                before = seeding.global_state(image.device)
                # The negative of an image is unusual, and a model may refuse it.
                first, again = (
                    # Memory may suffice for only one image.
                    in_batches(torch.cat([image, other]), 2, part)[0][:1]
                    for other in (1 - image, image)
                )
                if not torch.equal(before, seeding.global_state(image.device)):
                    return "the model draws random numbers"
                alike = 1e-4 * (1 + float(first.nan_to_num(0.0, 0.0, 0.0).abs().max()))
                if not torch.allclose(first, again, rtol=0, atol=alike, equal_nan=True):
                    return "the model's answer changes from call to call, or with the other images of a batch"
                if self.confidence == 1:
                    self._proved(model, image, first.argmax(dim=1), nowhere)
            except UserCodeError as error:
                if error.quits:
                    raise
                return error.__cause__ if isinstance(error.__cause__, Exception) else error
            except Exception as error:
                if isinstance(error, RobustlabError) and not isinstance(error, NoRuleError):
                    raise  # it is not a classifier, or changes its images
                return error
        return None

    def _proved(self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> ProofResult:
        """Return what `prove` does, with the passes beside the one for the class."""
        result = self.prove(model, images, labels, threat)
        proven = result.certified if isinstance(result, ProofResult) else result
        # A margin is not a verdict: as a bool, each that is not 0 would be a proof.
        if not isinstance(proven, Tensor) or proven.dtype != torch.bool or proven.shape != labels.shape:
            what = f"{proven.dtype} {tuple(proven.shape)}" if isinstance(proven, Tensor) else a_kind(proven)
            raise RobustlabError(f"{self.name}: prove must return bool ({len(labels)},), found {what}")
        if isinstance(result, ProofResult):
            return result
        forwards = self.passes(proven) - (1 if self.confidence == 1 else 0)
        return ProofResult(proven, forwards, torch.zeros_like(forwards))

    def _certify_batch(
        self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel
    ) -> ProofResult:
        if self.confidence < 1:  # its own draws decide the class, too
            return self._proved(model, images, labels, threat)
        with torch.no_grad():
            logits = _logits_of_unchanged(model, images)
            check_classes(logits.shape[1], int(labels.max()))
            correct = (logits.argmax(dim=1) == labels) & answered(logits)
            nothing = torch.zeros_like(labels, dtype=torch.int64)
            result = ProofResult(correct, nothing + 1, nothing)
            if threat.eps > 0 and correct.any():
                # At eps 0 the clean image is the only point, and it was looked at.
                rows = correct.clone()
                try:
                    result.follow(rows, self._proved(model, images[rows], labels[rows], threat))
                except NoRuleError:
                    result.certified.zero_()
        return result


def as_certifier(certifier: str | Certifier) -> Certifier:
    """Return a certifier from itself, its spec, or a class in a user's file: ``my.py:MyCertifier(steps=2)``.

    Raises:
        SpecError, SetupError: it is none of these, or the spec has a mistake.
    """
    if isinstance(certifier, Certifier):
        return certifier
    if not isinstance(certifier, str):
        raise SpecError(
            f"certifier must be a certifier or its spec, such as crown; found {a_kind(certifier)}"
        )
    return parse_trusted(Certifier, certifier)


def clean_logits(model: nn.Module, images: Tensor) -> Tensor:
    """Return the logits (N, K) of images (N, C, H, W).

    Raises:
        RobustlabError: the model returns something else.
    """
    logits: Tensor = ask(model, images)
    if logits.ndim != 2 or len(logits) != len(images):
        raise RobustlabError(f"the model must return logits of shape (N, K), found {tuple(logits.shape)}")
    return logits


def _logits_of_unchanged(model: nn.Module, images: Tensor) -> Tensor:
    before = images.clone()
    logits = clean_logits(model, images)
    # Otherwise the proofs would be about other images than those given.
    check_unchanged(images, before)
    return logits


def _blame(model: nn.Module, error: BaseException) -> str:
    """Return the reason, with the layer of the model where it occurred."""
    names = {id(module): name for name, module in model.named_modules()}
    layer: Any = model
    for frame, _ in traceback.walk_tb(error.__traceback__):
        owner = frame.f_locals.get("self")
        layer = owner if id(owner) in names else layer
    path = f" at {names[id(layer)]}" if names[id(layer)] else ""
    text = (str(error).splitlines() or [""])[0]
    reason = text if isinstance(error, NoRuleError) else f"{type(error).__name__}: {text}"
    return f"layer {type(layer).__name__}{path}: {reason}"
