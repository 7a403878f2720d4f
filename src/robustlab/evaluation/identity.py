"""What identifies code: its source, and the settings and tensors that it holds."""

import functools
import hashlib
import inspect
import re
from collections.abc import Iterable
from types import CellType, CodeType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robustlab.core.calling import is_library_file

_LIBRARIES = {"torch", "torchvision", "builtins", "abc", "typing"}
"""Their versions do not belong to what is evaluated."""

_OF_TORCH = set(vars(nn.Module()))
"""Attributes of every module: parameters, buffers and parts are hashed by themselves."""

_DEEPEST = 6


def hash_tensors(model: nn.Module) -> str:
    """Return the hash of all parameters and buffers, those that are not saved included."""
    return _hash(dict(model.named_buffers()) | model.state_dict())


def describe(model: nn.Module) -> str:
    """Return what, beside the weights, decides what a model computes, as far as it can be seen."""
    return _without_addresses(_Description().of_model(model))


def class_sources(kinds: Iterable[type]) -> str:
    """Return the source of classes, but for those of libraries."""
    own = {kind for kind in kinds if not _is_library(kind)}
    ordered = sorted(own, key=lambda kind: (kind.__module__, kind.__qualname__))
    return _without_addresses("\n".join(_Description().of_code(kind) for kind in ordered))


class _Description:
    """Texts that are other ones where the code or a setting is."""

    def __init__(self) -> None:
        self.known: set[int] = set()
        """The modules that are described already, or about to be."""

    def of_model(self, model: nn.Module) -> str:
        # What torch.compile returns is another object in every process.
        model = getattr(model, "_orig_mod", model)
        self.known.update(id(module) for module in model.modules())
        kinds = {kind for module in model.modules() for kind in type(module).__mro__}
        parts = [repr(model), class_sources(kinds)]
        for name, module in model.named_modules():
            own = {key: value for key, value in vars(module).items() if key not in _OF_TORCH}
            hooks = [list(hooks.values()) for hooks in (module._forward_hooks, module._forward_pre_hooks)]
            parts.append(f"{name} {self.of(own)} {self.of(hooks)}")
            if isinstance(module, torch.jit.ScriptModule):
                # Without the lines that it came from, and the numbers that tell classes of one name apart.
                graph = re.sub(r" # \S+:\d+:\d+$", "", str(module.inlined_graph), flags=re.MULTILINE)
                parts.append(re.sub(r"___torch_mangle_\d+\.", "", graph))
        return "\n".join(parts)

    def of(self, value: object, depth: int = 0) -> str:
        kind, below = type(value).__qualname__, depth + 1
        if isinstance(value, nn.Module):
            # One that hangs in a list or a function is no part of the model, but the model may ask it.
            return kind if id(value) in self.known else f"{hash_tensors(value)} {self.of_model(value)}"
        if isinstance(value, Tensor):
            return _hash({"": value})
        if isinstance(value, np.ndarray):
            return f"{value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
        if isinstance(value, ModuleType):
            return value.__name__
        if isinstance(value, CodeType):
            constants = [self.of(constant) for constant in value.co_consts]
            return f"{value.co_code.hex()} {value.co_names} {constants}"
        if depth >= _DEEPEST:
            return repr(value)
        if isinstance(value, dict):
            return f"{kind}{sorted((repr(key), self.of(item, below)) for key, item in value.items())}"
        if isinstance(value, set | frozenset):
            return f"{kind}{sorted(self.of(item, below) for item in value)}"
        if isinstance(value, list | tuple):
            return f"{kind}{[self.of(item, below) for item in value]}"
        if isinstance(value, functools.partial):
            return f"{kind}{[self.of(part, below) for part in (value.func, value.args, value.keywords)]}"
        if isinstance(value, property):
            return f"{kind}{[self.of(part, below) for part in (value.fget, value.fset)]}"
        if inspect.isroutine(value) or inspect.isclass(value):
            return self.of_code(value, depth)
        if hasattr(value, "__dict__"):
            return f"{kind}{self.of(vars(value), below)}"
        return repr(value)

    def of_code(self, code: Any, depth: int = 0) -> str:
        """Describe a class or a function by its source, or by what it was compiled to, and what it holds."""
        if inspect.isclass(code) and _is_library(code):
            return code.__qualname__
        try:
            source = inspect.getsource(code)
        except (OSError, TypeError):  # typed into a console, or compiled
            source = self._compiled(code, depth + 1)
        held = [getattr(code, name, None) for name in ("__defaults__", "__kwdefaults__", "__self__")]
        return source + self.of([*held, _cells(code)], depth + 1) + self._used(code)

    def _used(self, code: Any) -> str:
        """Describe the functions, classes and constants of its module, and of theirs, that code goes by."""
        if id(code) in self.known or is_library_file(_file(code)):
            return ""
        self.known.add(id(code))
        routines = vars(code).values() if inspect.isclass(code) else [code]
        used: dict[str, Any] = {}
        for routine in routines:
            plain = inspect.unwrap(getattr(routine, "__func__", getattr(routine, "fget", routine)))
            spaces = getattr(plain, "__globals__", {})
            names = _names(getattr(plain, "__code__", None))
            used |= {name: spaces[name] for name in names if name in spaces}
        parts = []
        for name, value in sorted(used.items()):
            if inspect.isroutine(value) or inspect.isclass(value):
                new = id(value) not in self.known and not is_library_file(_file(value))
                parts.append(f"{name} {self.of_code(value)}" if new else name)
            elif _is_setting(value):
                parts.append(f"{name} {self.of(value)}")
        return " ".join(parts)

    def _compiled(self, code: Any, depth: int) -> str:
        name = str(getattr(code, "__qualname__", repr(code)))
        if inspect.isclass(code):
            # What Python itself adds says nothing: the class's name, its line, its docstring.
            own = {key: item for key, item in vars(code).items() if _is_written(key, item)}
            return name + self.of(own, depth)
        body = getattr(inspect.unwrap(code), "__code__", None)
        return name + (self.of(body) if body else "")


def _is_written(name: str, member: object) -> bool:
    return not name.startswith("__") or inspect.isroutine(member) or isinstance(member, property)


def _cells(code: Any) -> list[object]:
    """Return what a function keeps of the scope it was made in, but for the class it belongs to."""
    names = getattr(getattr(code, "__code__", None), "co_freevars", ())
    cells = zip(names, getattr(code, "__closure__", None) or (), strict=False)
    return [cell.cell_contents for name, cell in cells if name != "__class__" and cell != _EMPTY]


_EMPTY = CellType()

_CONSTANTS = (bool, int, float, complex, str, bytes, type(None))


def _is_setting(value: object, depth: int = 0) -> bool:
    """Tell whether a module's own variable counts: constants, tensors, arrays, and containers of them alone.

    What can't change, a tuple, counts whatever it holds, functions for instance. A variable that changes by
    itself, as a cache may, makes another model of the same one to a second evaluation in one process: work
    done again, but no wrong verdict. Other objects may hold anything.
    """
    if isinstance(value, Tensor):
        return value.layout == torch.strided and not value.is_meta and not value.is_nested
    if isinstance(value, np.ndarray):
        return not value.dtype.hasobject
    if isinstance(value, (*_CONSTANTS, tuple, frozenset)):
        return True
    if depth >= _DEEPEST:
        return False
    if isinstance(value, dict):
        simple = all(isinstance(key, _CONSTANTS) for key in value)
        return simple and all(_is_setting(item, depth + 1) for item in value.values())
    return isinstance(value, list | set) and all(_is_setting(item, depth + 1) for item in value)


def _names(code: CodeType | None) -> set[str]:
    """Return the global names that code reads, the functions inside it included."""
    if code is None:
        return set()
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*inner)


def _file(code: Any) -> str:
    """Return the file that code stands in; nothing for what is built in, a name in brackets for a console."""
    try:
        return inspect.getfile(code)
    except (OSError, TypeError):
        plain = getattr(inspect.unwrap(code), "__code__", None) if inspect.isroutine(code) else None
        return plain.co_filename if plain is not None else ""


def _is_library(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in _LIBRARIES


def _without_addresses(text: str) -> str:
    # A function's repr holds its address, which is another one in every process.
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def _hash(tensors: dict[str, Any]) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        if isinstance(value, Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            plain = value.detach().resolve_conj().resolve_neg().cpu()
            plain = plain.dequantize() if plain.is_quantized else plain.to_dense()
            digest.update(plain.contiguous().reshape(-1).view(torch.uint8).numpy().data)
        elif isinstance(value, list | tuple):  # of a quantized layer: its weight and bias
            digest.update(f"{name} {_hash({str(place): item for place, item in enumerate(value)})}".encode())
        else:
            digest.update(f"{name} {value!r}".encode())
    return digest.hexdigest()
