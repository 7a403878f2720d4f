"""Adversarial images, read back from the ledger."""

from torch import Tensor

from robustlab.evaluation.jobs.context import EvaluationContext
from robustlab.evaluation.jobs.stages import AttackStage, decoded, key_of
from robustlab.runs.store import RunStore


def stored_images(store: RunStore, context: EvaluationContext, stage: AttackStage, ids: list[int]) -> Tensor:
    """Return the adversarial images (N, C, H, W) that a stage kept for the given ids."""
    stored = store.examples(key_of(context, stage), ids)
    return decoded(context, [stored[number] for number in ids])
