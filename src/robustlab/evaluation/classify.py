"""Predictions of a classifier, in fp32 and in batches."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustlab.core import seeding
from robustlab.core.batches import BatchSize, in_batches
from robustlab.core.errors import RobustlabError
from robustlab.core.logits import finite
from robustlab.core.threads import begin_work, measured_threads


@torch.no_grad()
def classify(model: nn.Module, images: Tensor, batch_size: int | BatchSize = 250) -> tuple[Tensor, Tensor]:
    """Return predicted classes (N,) and the softmax probabilities of them (N,).

    Raises:
        RobustlabError: an image has no valid answer, as `core.logits` explains.
    """
    answers = responses(model, images, batch_size=batch_size)
    if not answers.valid.all():
        raise RobustlabError("the classifier returned NaN or infinity instead of logits")
    return answers.classes, answers.confidences


@dataclass(frozen=True, kw_only=True)
class Responses:
    """A classifier's answers to images.

    Attributes:
        logits: (N, K); for a random classifier the logarithms of mean probabilities; zeros if invalid.
        valid: (N,) whether the answer is valid, as `core.logits` explains.
        classes: (N,) of the highest logit; -1 if invalid.
        confidences: (N,) the mean probability of that class, in [0, 1]; 0 if invalid.
    """

    logits: Tensor
    valid: Tensor
    classes: Tensor
    confidences: Tensor


@torch.no_grad()
def responses(
    model: nn.Module,
    images: Tensor,
    *,
    batch_size: int | BatchSize = 250,
    eot_samples: int = 1,
    key: int = 0,
) -> Responses:
    """Return a classifier's answers to images.

    Args:
        model: images (N, C, H, W) in [0, 1] to logits (N, K), in eval mode.
        images: (N, C, H, W) float32.
        batch_size: images per pass; halved when memory runs out.
        eot_samples: how often a random classifier is evaluated; its class has the highest mean probability.
        key: the seed of the global generator, which only a random classifier uses.
    """

    def answers(batch: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        begin_work(batch)
        logits, valid = finite(torch.stack([model(batch) for _ in range(eot_samples)]))
        mean = logits.softmax(dim=2).mean(dim=0)
        alone = logits[0] if eot_samples == 1 else mean.clamp(min=torch.finfo(mean.dtype).tiny).log()
        classes = alone.argmax(dim=1)
        return alone, valid.all(dim=0), classes, mean.gather(1, classes[:, None]).squeeze(1)

    with seeding.isolated(key), measured_threads():
        parts = in_batches(images, batch_size, answers)
    logits, valid, classes, confidences = (torch.cat(column) for column in zip(*parts, strict=True))
    return Responses(
        logits=logits,
        valid=valid,
        classes=torch.where(valid, classes, -1),
        confidences=torch.where(valid, confidences, 0.0),
    )
