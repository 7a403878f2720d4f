"""Classifiers with unusual answers: one logit, or a failure on a single image."""

import torch
from torch import Tensor, nn

from robustlab.core import seeding
from robustlab.core.calling import UserCodeError, ask
from robustlab.core.errors import RobustlabError
from robustlab.core.own_dtype import in_own_dtype
from robustlab.models.preprocessing import Preprocessed


class OneLogit(nn.Module):
    """A binary classifier of one logit z per image, as two logits: 0 and z."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.training = network.training

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 2) for images (N, C, H, W)."""
        logit: Tensor = self.network(images).reshape(len(images), 1)
        return torch.cat([torch.zeros_like(logit), logit], dim=1)


class NeverAlone(nn.Module):
    """A classifier that fails on a batch of one image: it gets a single image twice."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.training = network.training

    def forward(self, images: Tensor) -> Tensor:
        """Return the network's answer to images (N, C, H, W)."""
        answer: Tensor = self.network(torch.cat([images, images]) if len(images) == 1 else images)
        return answer[: len(images)]


def adapted(model: nn.Module, image: Tensor) -> tuple[nn.Module, list[str]]:
    """Return a model as a classifier with logits (N, K), and a sentence on each change; maybe none.

    Args:
        model: in eval mode.
        image: (1, C, H, W).
    """
    changes, network = [], model.network if isinstance(model, Preprocessed) else model
    asked = in_own_dtype(model, image)
    shapes = {n: _shape(asked, image.repeat(n, 1, 1, 1)) for n in (1, 2)}
    if shapes[2] in {(2, 1), (2,)}:
        network = OneLogit(network)
        changes.append(
            "one output per image: the model is taken as a binary classifier with the logits 0 and this "
            "output, which must be the logit of class 1, not a probability"
        )
    if shapes[1] is None or (shapes[2] and shapes[1] not in {(1, *shapes[2][1:]), ()}):
        network = NeverAlone(network)
        changes.append("the model can't classify a single image by itself: it gets such an image twice")
    if isinstance(model, Preprocessed):
        network = Preprocessed(network, model.preprocessing).to(image.device)
    return (network, changes) if changes and shapes[2] else (model, [])


def _shape(model: nn.Module, images: Tensor) -> tuple[int, ...] | None:
    """Return the shape of a model's answer; None if it fails, or returns no tensor."""
    try:
        with torch.no_grad(), seeding.isolated(0):
            answer = ask(model, images)
    except RobustlabError as error:
        if isinstance(error, UserCodeError) and error.quits:
            raise
        return None
    return tuple(answer.shape) if isinstance(answer, Tensor) else None
