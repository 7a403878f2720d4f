"""Reads weights that other programs saved, without running code, at any place in the file."""

import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import torch
from torch import Tensor, nn

from robustlab.core.errors import ModelFileError
from robustlab.core.files import reason
from robustlab.models.files import load_checked, load_tensors, problems_of

_DEEPEST = 5


class Weights(NamedTuple):
    """A set of tensors by name, and where it was in the file."""

    place: str
    tensors: dict[str, Tensor]


def load_weights(network: nn.Module, path: Path) -> str:
    """Load weights into a network: safetensors, a ``state_dict``, or a checkpoint that holds one.

    Names may differ from the network's by a prefix, such as ``module.`` or ``model.``, on either side.

    Returns:
        A note for the user on which set of weights was loaded, if several fit; else an empty text.

    Raises:
        ModelFileError: the file can't be read without running code, or does not contain weights of this
            network.
    """
    content = load_tensors(path)[0] if path.suffix == ".safetensors" else _read(path)
    held = list(_state_dicts(content))
    if not held:
        raise ModelFileError(f"{path} holds no state_dict: a dict of tensors by name")
    fits = [fitted for weights in held for fitted in _fitted(weights, network)]
    fitting = [weights for weights in fits if not problems_of(network, weights.tensors)]
    # If none fits, the message is about the most similar one.
    nearest = min(fits, key=lambda weights: len(problems_of(network, weights.tensors)))
    # A running average is rarely the trained network, so plain weights come first, in the file's order.
    chosen = min(fitting, key=lambda weights: _is_average(weights.place)) if fitting else nearest
    load_checked(network, chosen.tensors, path)
    others = [weights.place for weights in fitting if not _equal(weights, chosen)]
    if not others:
        return ""
    kept = f"{path.name} holds several sets of weights that fit; loaded: {_shown(chosen.place)}; not loaded: "
    average = ", a running average (EMA)" if any(map(_is_average, others)) else ""
    return f"{kept}{', '.join(map(_shown, others[:3]))}{average}. For another one, save its state_dict alone"


def _shown(place: str) -> str:
    return place[:60] or "the outermost"


def _is_average(place: str) -> bool:
    words = re.split(r"[\W_]+", place.lower())
    return any(word in {"ema", "swa", "teacher"} or word.startswith("averag") for word in words)


def _equal(one: Weights, other: Weights) -> bool:
    return all(tensor is other.tensors[name] for name, tensor in one.tensors.items()) or all(
        torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items()
    )


def _state_dicts(content: Any, place: str = "", seen: frozenset[int] = frozenset()) -> Iterator[Weights]:
    """Yield every dict of tensors in a file, itself or inside others."""
    if not isinstance(content, dict) or id(content) in seen or len(seen) > _DEEPEST:
        return
    named = [(name, value) for name, value in content.items() if isinstance(name, str)]
    tensors = {name: value for name, value in named if isinstance(value, Tensor)}
    if tensors:
        yield Weights(place, tensors)
    for name, value in named:
        yield from _state_dicts(value, f"{place}.{name}" if place else name, seen | {id(content)})


def _fitted(weights: Weights, network: nn.Module) -> Iterator[Weights]:
    """Yield the weights under the network's own names, for each prefix that makes some names match."""
    own = {_plain(name): name for name in network.state_dict()}
    tensors = {_plain(name): value for name, value in weights.tensors.items()}
    yield Weights(weights.place, {own.get(name, name): value for name, value in tensors.items()})
    # A long name occurs once in a file for each prefix; a name that may be missing does not help.
    anchor = max((name for name in own if not name.endswith("num_batches_tracked")), key=len, default="")
    for prefix in dict.fromkeys(name[: -len(anchor)] for name in tensors if name.endswith("." + anchor)):
        # Other parts of a larger module, a loss for instance, are ignored.
        inside = {name.removeprefix(prefix): tensors[name] for name in tensors if name.startswith(prefix)}
        place = f"{weights.place} {prefix}*".strip()
        yield Weights(place, {own.get(name, name): value for name, value in inside.items()})
    longest = max(tensors, key=len)
    for prefix in dict.fromkeys(name[: -len(longest)] for name in own if name.endswith("." + longest)):
        if all(name.startswith(prefix) for name in own):
            yield Weights(
                weights.place, {own.get(prefix + name, name): value for name, value in tensors.items()}
            )


def _plain(name: str) -> str:
    """Return a tensor's name without the prefixes of torch.compile, at any depth."""
    return name.replace("_orig_mod.", "")


def _read(path: Path) -> Any:
    """Read a file that ``torch.save`` wrote, and refuse one that would run code or fill the memory."""
    try:
        if path.is_dir() or not path.exists():
            fault = "is a folder, not a file" if path.is_dir() else "does not exist"
            raise ModelFileError(f"{path} {fault}")
        _check(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about formats that it will drop
            return torch.load(path, map_location="cpu", weights_only=True)
    except ModelFileError:
        raise
    except (PermissionError, IsADirectoryError) as error:
        raise ModelFileError(f"{path} cannot be read: {reason(error)}") from error
    except Exception as error:  # a damaged file may fail anywhere in the reader
        problem = "is damaged, or no file of weights that torch.save wrote"
        if isinstance(error, pickle.UnpicklingError) and zipfile.is_zipfile(path):
            problem = "holds more than tensors, and reading it would run code; save model.state_dict() alone"
        raise ModelFileError(f"{path} {problem}") from error


def kind_of(path: Path) -> str:
    """Return ``"torchscript"`` or ``"export"`` for a whole network of that kind, else an empty text."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.partition("/")[2] for name in archive.namelist()}
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return ""
    if "constants.pkl" in names:
        return "torchscript"
    return "export" if "archive_format" in names else ""


def _check(path: Path) -> None:
    """Refuse a file that would take far more memory than it has bytes, or that has another format.

    ``torch.save`` compresses nothing, so nothing in the file may be larger than the file.
    """
    size, kind = path.stat().st_size, kind_of(path)
    if kind == "torchscript":
        raise ModelFileError(
            f"{path} is a TorchScript file, network and weights in one; give it as the model"
        )
    if kind == "export":
        raise ModelFileError(
            f"{path} is a torch.export program, network and weights in one; give it as the model"
        )
    if size == 0:
        raise ModelFileError(f"{path} is empty (0 bytes)")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            packed = [entry for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
            if packed or sum(entry.file_size for entry in entries) > size:
                raise ModelFileError(
                    f"{path} is a compressed archive, which torch.save does not write; save it again"
                )
            pickles = [entry for entry in entries if entry.filename.endswith("data.pkl")]
            if not pickles:
                raise ValueError("no data.pkl")
            for entry in pickles:
                with archive.open(entry) as file:
                    _check_pickle(path, file, size)
    else:
        with path.open("rb") as file:
            # The format before torch 1.6: a number, a version, a table, and then the tensors.
            for _ in range(4):
                _check_pickle(path, file, size)


def _check_pickle(path: Path, file: IO[bytes], size: int) -> None:
    """Refuse a pickle that asks for far more memory than the file has bytes."""
    last = declared = counted = 0
    fresh = False
    for operation, argument, _ in pickletools.genops(file):
        if operation.name.startswith(("BININT", "INT", "LONG")):
            last = int(argument or 0)
        elif "UNICODE" in operation.name and str(argument).isdigit():  # the key of another tensor's storage
            fresh = True
        elif operation.name == "BINPERSID":  # a tensor's storage, described up to the number of its values
            # Many tensors may be views of one storage, whose key then comes from the pickle's memo.
            declared += last if fresh or last != counted else 0
            counted, fresh = last, False
        # An argument of `bytearray` may be a length.
        builder = operation.name == "GLOBAL" and str(argument).endswith("bytearray")
        if declared > 8 * size or builder or (operation.name == "STACK_GLOBAL"):
            raise ModelFileError(f"{path} asks for far more memory than its {size} bytes; it is refused")
