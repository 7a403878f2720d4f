"""The statistics of batch normalisation: those of one pass, and those of the whole training set."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from robustlab.core.arguments import as_typed
from robustlab.core.device import Compute
from robustlab.core.errors import RobustlabError
from robustlab.data import Split

_BATCH = 250


def batch_norms(network: nn.Module) -> dict[str, _BatchNorm]:
    """Return by name the layers of batch normalisation that have running statistics."""
    layers = {name: part for name, part in network.named_modules() if isinstance(part, _BatchNorm)}
    return {name: part for name, part in layers.items() if part.running_mean is not None}


def require_batch_norm(network: nn.Module) -> None:
    """Refuse a network without statistics to estimate."""
    if not batch_norms(network):
        raise RobustlabError(
            f"{as_typed('reestimate_batch_norm')} needs a network with batch normalisation and its running "
            "statistics; this one has none"
        )


@torch.no_grad()
def reestimate(network: nn.Module, data: Split, compute: Compute) -> None:
    """Set the running statistics to the mean of those of batches that cover a split, at the present weights.

    Running statistics lag behind the weights, and those of averaged weights were never computed. All other
    layers are in eval mode, and the images are not augmented. Each layer's mode is as before in the end.
    """
    layers = list(batch_norms(network).values())
    momenta = [layer.momentum for layer in layers]
    with in_eval_mode(network):
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # a plain mean over all batches
            layer.training = True
        try:
            # Parts of nearly the same size: each counts as much.
            for rows in torch.arange(len(data)).tensor_split(-(-len(data) // _BATCH)):
                with compute.autocast():
                    network(data.pixels(rows.to(data.labels.device)))
        finally:
            for layer, momentum in zip(layers, momenta, strict=True):
                layer.momentum = momentum


@contextmanager
def in_eval_mode(network: nn.Module) -> Iterator[None]:
    """Put a network into eval mode inside the block, and each of its parts into its own mode after it."""
    modes = [(part, part.training) for part in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


@contextmanager
def batch_statistics(network: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Yield a dictionary that fills with the statistics that batch normalisation takes in a pass, in float32.

    With these tensors instead of its own, by their names, a network in eval mode computes what the pass did.
    torch refuses a gradient through ``running_mean`` and ``running_var``. So each layer's scale and bias, if
    it has them, carry the gradient of the statistics. Layers in eval mode are left out.
    """
    statistics: dict[str, Tensor] = {}

    def note(name: str, layer: _BatchNorm, values: Tensor) -> None:
        variance, mean = torch.var_mean(values.float(), [0, *range(2, values.ndim)], correction=0)
        constant, fixed = mean.detach(), variance.detach()
        statistics[f"{name}.running_mean"], statistics[f"{name}.running_var"] = constant, fixed
        if layer.affine:
            scale = layer.weight * (variance + layer.eps).rsqrt()
            statistics[f"{name}.weight"] = scale * (fixed + layer.eps).sqrt()
            statistics[f"{name}.bias"] = layer.bias + scale * (constant - mean)

    handles = [
        layer.register_forward_pre_hook(lambda _, given, name=name, layer=layer: note(name, layer, given[0]))
        for name, layer in batch_norms(network).items()
        if layer.training
    ]
    try:
        yield statistics
    finally:
        for handle in handles:
            handle.remove()
