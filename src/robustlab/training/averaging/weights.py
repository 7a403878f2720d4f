"""An average of a network's weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class AveragedWeights:
    """The average of the weights of a network in training.

    Attributes:
        tensors: the averaged ``state_dict``.
    """

    def __init__(self, network: nn.Module) -> None:
        self.tensors = state_of(network)

    @torch.no_grad()
    def update(self, network: nn.Module, kept: float) -> None:
        """Update the average with the network's weights; ``kept``: the old average's share, in [0, 1]."""
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                self.tensors[name].lerp_(tensor, 1 - kept)
            else:
                self.tensors[name].copy_(tensor)

    @contextmanager
    def inside(self, network: nn.Module) -> Iterator[None]:
        """Give the network the average inside the block, and its own weights again after it."""
        own = state_of(network)
        network.load_state_dict(self.tensors)
        try:
            yield
        finally:
            network.load_state_dict(own)


def state_of(network: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a network's ``state_dict``."""
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
