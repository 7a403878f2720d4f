"""A network with other tensors instead of some of its own."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class WithTensors(nn.Module):
    """A network with other tensors instead of some parameters and buffers; the rest is its own.

    Args:
        network: images (N, C, H, W), or bounds of them, to logits (N, K).
        tensors: by the name of the parameter or buffer.
    """

    def __init__(self, network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        # In a list, so that the network's parameters are not this module's, too.
        self._network, self._tensors = [network], dict(tensors)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = torch.func.functional_call(self._network[0], self._tensors, (images,))
        return logits
