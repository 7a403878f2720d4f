"""Writes and reads the state of an optimizer of any kind in a checkpoint."""

from typing import Any

import torch
from torch import Tensor, nn

_PLAIN = (bool, int, float, str, type(None))


def tensors_of(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the tensors of an optimizer's state as ``<number of the parameter>/<name>``."""
    return {
        f"{number}/{name}": value
        for number, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
        if isinstance(value, Tensor)
    }


def plain_of(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the rest of an optimizer's state, and of its groups, as JSON can hold it."""
    content = optimizer.state_dict()
    return {
        "state": {str(number): _plain(state) for number, state in content["state"].items()},
        "groups": [_plain(group) for group in content["param_groups"]],
    }


def restore(
    optimizer: torch.optim.Optimizer,
    parameters: list[nn.Parameter],
    tensors: dict[str, Tensor],
    plain: dict[str, Any],
) -> None:
    """Give a new optimizer of the same parameters a saved state."""
    state: dict[int, dict[str, Any]] = {int(number): dict(rest) for number, rest in plain["state"].items()}
    for name, tensor in tensors.items():
        number, part = name.split("/", maxsplit=1)
        parameter = parameters[int(number)]
        same = tensor.shape == parameter.shape
        state.setdefault(int(number), {})[part] = like(parameter, tensor) if same else tensor
    groups = optimizer.state_dict()["param_groups"]
    groups = [group | kept for group, kept in zip(groups, plain["groups"], strict=True)]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def like(tensor: Tensor, content: Tensor) -> Tensor:
    """Return the content in the memory layout of a tensor, as a tensor of its shape.

    Fused steps and averages go through memory in order, so a parameter and its state must have the same
    layout.
    """
    return torch.empty_like(tensor, dtype=content.dtype).copy_(content)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if isinstance(value, _PLAIN)}
