"""Switches off parameters' gradients while an attack runs."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from robustlab.attacks.gray_convolution import faster_input_gradient


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Switch off the parameters' gradients inside the block: attacks need only the input's gradient."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        with faster_input_gradient(model):
            yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
