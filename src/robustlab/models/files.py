"""Weights on disk: a safetensors file whose header carries the network's card."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from robustlab.core.arguments import as_path
from robustlab.core.errors import ModelFileError, SpecError
from robustlab.core.files import write_bytes, write_json, writing
from robustlab.core.inputs import oddity, to_eval_mode
from robustlab.core.isolation import own_settings
from robustlab.core.spec import parse
from robustlab.core.untrusted import parse_json
from robustlab.models.base import Model, Shape
from robustlab.models.origins import remember

_COUNTS = "num_batches_tracked"


def save_tensors(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Write tensors and a JSON header as one safetensors file, atomically; its folder is made if absent."""
    with writing(path):
        # Not its parents too: a run's folder that was removed meanwhile must not come back half empty.
        path.parent.mkdir(exist_ok=True)
    plain = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    write_bytes(path, save(plain, metadata={"robustlab": json.dumps(header)}))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file that `save_tensors` wrote.

    Raises:
        ModelFileError: the file is missing, truncated or not of this format.
    """
    if path.is_dir():
        inside = sorted(file.name for file in (path / "models").glob("*.safetensors"))
        files = f"; its networks are models/{', models/'.join(inside)}" if inside else ""
        raise ModelFileError(f"{path} is a folder, and a .safetensors file is needed{files}")
    try:
        with safe_open(str(path), framework="pt") as file:
            header = parse_json((file.metadata() or {}).get("robustlab", "{}"))
            if not isinstance(header, dict):
                raise ModelFileError(f"{path} does not say which network it holds")
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118
    except FileNotFoundError:
        raise ModelFileError(f"{path} does not exist") from None
    except (SafetensorError, ValueError, OSError) as error:
        raise ModelFileError(f"{path} is not a readable safetensors file ({error})") from None


def save_network(path: Path, network: nn.Module, model: Model, shape: Shape, card: dict[str, Any]) -> None:
    """Write a network's weights, and beside them its card as JSON for people to read."""
    header = {"model": repr(model), "shape": shape._asdict(), **card}
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    save_tensors(path, network.state_dict(), header)
    write_json(path.with_suffix(".json"), header)


@own_settings()
def load_network(path: str | Path, device: str = "cpu", *, own_code: bool = False) -> nn.Module:
    """Rebuild a network from a file that `save_network` wrote, in eval mode.

    Args:
        path: of the file.
        device: where the network goes.
        own_code: whether the file may name a user's code, which is then run; it may come from anywhere.

    Raises:
        ModelFileError: the file is corrupt, names no known model, or its weights are of another shape; or it
            names a user's code.
    """
    path = as_path("path", path)
    tensors, header = load_tensors(path)
    try:
        shape = Shape(**header["shape"])
        if not all(type(part) is int and part > 0 for part in shape):
            raise ValueError("its shape is not of positive integers")
        model = parse(Model, header["model"])
        if model.runs_code and not own_code:
            reference = getattr(model, "reference", "FILE.py:NAME")
            raise ModelFileError(
                f"{path} holds weights of your own network; give --model {reference} --weights {path}"
            )
        network = model.build(shape)
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError, SpecError) as error:
        raise ModelFileError(f"{path} does not say which network it holds ({error})") from None
    # In this layout convolutions run about one and a half times as fast on processors with AVX-512 (LOG.md,
    # "Speed of gradients and training").
    loaded = load_checked(network, tensors, path).to(device).to(memory_format=torch.channels_last)
    return remember(loaded, str(path))


def network_kind(path: Path) -> str:
    """Return the `Model.network_kind` of the network in a file that `save_network` wrote."""
    return parse(Model, load_tensors(path)[1]["model"]).network_kind


def load_checked(network: nn.Module, tensors: dict[str, Tensor], path: Path) -> nn.Module:
    """Load weights into a network and return it in eval mode.

    Raises:
        ModelFileError: a tensor is missing, unknown, of another shape or kind, or too large for its format.
    """
    problems = problems_of(network, tensors)
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise ModelFileError(f"{path} holds another network: {'; '.join(problems[:3])}{more}")
    network.load_state_dict(tensors, strict=False)
    to_eval_mode(network)
    return network


def problems_of(network: nn.Module, tensors: dict[str, Tensor]) -> list[str]:
    """Return, in alphabetical order, why weights do not fit a network; an empty list if they do.

    A batch normalisation's counter of batches is ignored: it may be missing, or of another type.
    """
    expected = network.state_dict()
    missing = {name for name in expected.keys() - tensors.keys() if not name.endswith(_COUNTS)}
    problems = dict.fromkeys(missing, "is missing") | dict.fromkeys(
        tensors.keys() - expected.keys(), "is unknown"
    )
    compared = {name for name in expected.keys() & tensors.keys() if not name.endswith(_COUNTS)}
    problems |= {name: _misfit(tensors[name], expected[name]) for name in compared}
    return sorted(f"{name[:80]} {problem}" for name, problem in problems.items() if problem)


def _misfit(found: Tensor, wanted: Tensor) -> str:
    """Return why a tensor can't replace another one, or an empty text."""
    kind, expected = oddity(found), oddity(wanted)
    if kind or expected:
        return f"is {kind or 'dense'}, the network's is {expected or 'dense'}; save a plain, dense tensor"
    if found.shape != wanted.shape:
        return f"has shape {tuple(found.shape)}, the network has {tuple(wanted.shape)}"
    if _numbers(found) != _numbers(wanted):
        return f"holds {_numbers(found)} numbers ({found.dtype}), the network's {_numbers(wanted)} ones"
    cast = found.to(wanted.dtype)
    if _numbers(wanted) not in {"floating", "complex"}:
        return (
            "" if torch.equal(cast.to(found.dtype), found) else f"holds values too large for {wanted.dtype}"
        )
    valid = torch.isfinite(_exact(cast))
    # A mask may contain infinities on purpose.
    as_before = torch.equal(valid, torch.isfinite(_exact(wanted))) and not torch.isnan(_exact(cast)).any()
    if as_before or valid.all():
        return ""
    if torch.isfinite(_exact(found)).all():
        return f"holds values too large for {wanted.dtype}"
    return f"holds values that are not finite ({'NaN' if torch.isnan(_exact(found)).any() else 'infinity'})"


def _numbers(tensor: Tensor) -> str:
    """Return the kind of number in a tensor; numbers of one kind differ only in their width."""
    if tensor.dtype.is_floating_point or tensor.is_complex():
        return "complex" if tensor.is_complex() else "floating"
    return "boolean" if tensor.dtype == torch.bool else "whole"


def _exact(tensor: Tensor) -> Tensor:
    """Return a tensor in a format that torch can compare; it can't compare 8-bit floats."""
    return tensor.float() if tensor.dtype.is_floating_point and tensor.dtype.itemsize < 4 else tensor
