"""Chooses the certifier that looks for proofs."""

from collections.abc import Callable
from contextlib import nullcontext

import torch

from robustlab.certify import AutoCertifier, Certifier, NoRuleError, as_certifier
from robustlab.core.calling import UserCodeError, calling, in_one_line
from robustlab.core.errors import RobustlabError
from robustlab.core.installed import is_robustlabs
from robustlab.core.own_dtype import dtype_of, short_name
from robustlab.core.spec import units
from robustlab.evaluation.jobs.context import EvaluationContext
from robustlab.evaluation.jobs.stages import Certify
from robustlab.options import EvaluationOptions


def certification(
    context: EvaluationContext, options: EvaluationOptions, note: Callable[[str], None]
) -> Certify | None:
    """Return the stage that looks for proofs; None if no certifier can bound the classifier.

    Where the default, `auto`, can't bound it, certifiers of other packages are asked by name. The first
    that can is taken. One that fails is left out, which is noted.

    Raises:
        RobustlabError: another certifier than `auto` was asked for, and does not know the threat model; or no
            attack follows, and the classifier can't be bounded.
    """
    asked = as_certifier(options.certifier)
    reason = _unprovable(asked, context)
    if not reason:
        chosen = (
            _first_able(asked, context, note) if isinstance(asked, AutoCertifier) else _able(asked, context)
        )
        if chosen is not None:
            return Certify(certifier=chosen, threat=context.threat)
    if options.proofs_only:
        reason = reason or _why_not(asked, context)
        raise RobustlabError(f"nothing can be proven about {context.subject.name}: {reason}")
    if not reason and not isinstance(asked, AutoCertifier):
        note(f"the certifier {asked.name} can prove nothing: {_why_not(asked, context)}")
    return None


def certifiers_of_packages() -> list[type[Certifier]]:
    """Return the certifiers of other packages, by name."""
    return [kind for kind in units(Certifier).values() if not is_robustlabs(kind)]


def _unprovable(certifier: Certifier, context: EvaluationContext) -> str:
    """Return why no certifier is asked; empty if one is."""
    if other := [criterion for criterion in context.criteria if not criterion.changes_class]:
        return f"a proof that the class stays does not exclude the goal {other[0]!r}"
    if context.black_box:
        return "it is a black box, without layers to bound"
    if context.eot_samples > 1 and certifier.confidence == 1:
        return "a random classifier has no proofs"
    if dtype_of(context.model) != torch.float32:
        # Rounding errors are bounded only for float32.
        return f"it computes in {short_name(dtype_of(context.model))}, and proofs are for fp32"
    return ""


def _why_not(certifier: Certifier, context: EvaluationContext) -> str:
    """Return the layer that a certifier can't bound, with the reason; or which threat models it supports."""
    if not context.threat.is_one_of(certifier.norms):
        known = ", ".join(certifier.norms)
        return f"{certifier.name} proves within {known}; the threat model is {context.threat!r}"
    first = context.images.take(slice(1)).to(context.device).pixels(slice(None))
    return certifier.explain(context.model, first) or "the certifier failed"


def _able(certifier: Certifier, context: EvaluationContext) -> Certifier | None:
    """Return the certifier that was asked for, or None if it does not support the classifier.

    Raises:
        RobustlabError: it does not know the threat model.
    """
    if not context.threat.is_one_of(certifier.norms):
        raise RobustlabError(f"certifier {_why_not(certifier, context)}")
    first = context.images.take(slice(1)).to(context.device).pixels(slice(None))
    with calling(certifier.name):
        return certifier if certifier.obstacle(context.model, first) is None else None


def _first_able(
    chosen: AutoCertifier, context: EvaluationContext, note: Callable[[str], None]
) -> Certifier | None:
    """Return `auto`, or else the first certifier of another package that supports the classifier."""
    kinds: list[type[Certifier]] = [AutoCertifier, *certifiers_of_packages()]
    for kind in kinds:
        try:
            with nullcontext() if kind is AutoCertifier else calling(kind.name):
                certifier = chosen if kind is AutoCertifier else kind()
                failure = _failure(certifier, context)
        except RobustlabError as error:
            if isinstance(error, UserCodeError) and error.quits:
                raise
            failure = str(error)
        if failure is None:
            return certifier
        if failure and kind is not AutoCertifier:
            note(f"the certifier {kind.name} is left out: {failure}")
    return None


def _failure(certifier: Certifier, context: EvaluationContext) -> str | None:
    """Return why a certifier failed on the first image; empty if the model is unsupported, else None.

    Raises:
        RobustlabError: the certifier or the model failed in another way.
    """
    if not context.threat.is_one_of(certifier.norms):
        return ""
    first = context.images.take(slice(1)).to(context.device)
    pixels = first.pixels(slice(None))
    obstacle = certifier.obstacle(context.model, pixels)
    if obstacle is None:
        certifier.certify(context.model, pixels, first.labels, context.threat)
        return None
    return (
        in_one_line(obstacle)
        if isinstance(obstacle, Exception) and not isinstance(obstacle, NoRuleError)
        else ""
    )
