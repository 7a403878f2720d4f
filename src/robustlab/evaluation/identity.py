"""What identifies a model: its weights, the code that it runs, and the settings that it holds.

Code is what Python compiled, so it is the same for a file, a notebook and a console. Only the user's own is
followed; of a library the name counts. A model's answers are not part of it: their last bits depend on the
processor's instruction set, so no hash of them is the same everywhere, however they are rounded. An
evaluation that goes on compares them with the kept ones instead (`engine/kept.py`).
"""

import argparse
import dis
import functools
import hashlib
import inspect
import re
import weakref
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from types import CellType, CodeType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robustlab.core.installed import is_library, is_library_file

_OF_TORCH = set(vars(nn.Module()))
"""Attributes of every module: parameters, buffers and parts are hashed by themselves."""

_DEEPEST = 6

_MOST = 20_000
"""How many containers of one attribute are looked at; an object counts as ``_OBJECT`` of them."""

_OBJECT = 20

_PLAIN: tuple[type, ...] = (bool, int, float, complex, str, bytes, type(None), np.generic, Enum, range, slice)
_PLAIN += (Decimal, Fraction, PurePath)
_PLAIN += (torch.dtype, torch.device, torch.layout, torch.memory_format)

_HOLDERS = (argparse.Namespace, SimpleNamespace)
"""Objects of libraries that hold settings and nothing else."""

_EMPTY = CellType()

_PASSING = (
    r" at 0x[0-9a-fA-F]+"  # an address, in the repr of a function
    r"|(?<![.\w])[0-9]{14,15}(?![.0-9])"  # one as `id` returns it, by which Keras names its nodes
    # A random UUID, by which libraries name a session; with or without its dashes.
    r"|\b[0-9a-f]{8}-?[0-9a-f]{4}-?4[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}\b"
)


def hash_tensors(model: nn.Module) -> str:
    """Return the hash of all parameters and buffers, those that are not saved included."""
    return _hash(dict(model.named_parameters()) | dict(model.named_buffers()) | model.state_dict())


def describe(model: nn.Module) -> str:
    """Return what, beside the weights, decides what a model computes, as far as it can be seen."""
    description = _Description()
    return f"{description.of_model(model)}\n{description.of_code()}"


def describe_classes(kinds: Iterable[type]) -> str:
    """Return the code of classes and what it goes by; empty if all of them are libraries'."""
    description, kinds = _Description(), set(kinds)
    for kind in kinds:
        description.of_class(kind)
    description.names.update(name for kind in description.classes for name in vars(kind))
    return description.of_code()


class _SurroundingError(Exception):
    """An object leads back to the model, or to very many others: a trainer, an optimizer, a registry."""


class _Description:
    """Texts that are other ones where the code or a setting is.

    Values are described as they are met, and collect the classes and functions that they bring along. Then
    `of_code` goes from function to function.
    """

    def __init__(self) -> None:
        self.classes: dict[type, None] = {}
        self.functions: dict[Any, None] = {}
        self.names = {"forward", "train", "eval", "_call_impl"}
        """What reached code names: a method of such a name may be called. Torch calls the first ones."""
        self.parts: dict[int, str] = {}
        """The names of the model's own modules and weights, by identity."""
        self.met: dict[int, object] = {}
        """Functions and further modules that are described already, or about to be."""
        self.inside, self.left = False, _MOST

    def of_model(self, model: nn.Module, depth: int = 0) -> str:
        # What torch.compile returns is another object in every process.
        model = getattr(model, "_orig_mod", model)
        modules = dict(model.named_modules())
        if depth == 0:
            every = modules | dict(model.named_parameters()) | dict(model.named_buffers())
            self.parts = {id(part): name for name, part in every.items()}
        self.met.update({id(module): module for module in modules.values()})
        texts = []
        for name, module in modules.items():
            settings = {key: value for key, value in vars(module).items() if key not in _OF_TORCH}
            if "_orig_mod" in module._modules:  # what torch.compile keeps is another one in every process
                settings = {}
            forward = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
            hooks = [*forward, *module._backward_hooks.values(), *module._backward_pre_hooks.values()]
            texts.append(
                f"{name} {self.of_class(type(module))} {self.of_each(settings | {'hooks': hooks}, depth + 1)}"
            )
            if isinstance(module, torch.jit.ScriptModule):
                texts.append(_graph(module))
        return "\n".join(texts)

    def of_each(self, settings: Mapping[str, object], depth: int) -> str:
        """Describe attributes, each with an allowance of its own."""
        texts = []
        for key in sorted(settings):
            if not self.inside:
                self.left = _MOST
            texts.append(f"{key}={self.of(settings[key], depth)}")
        return " ".join(texts)

    def of(self, value: object, depth: int = 0) -> str:
        """Describe a value: a setting by what it is, a container or an object by what it holds."""
        kind, below = type(value).__qualname__, depth + 1
        if isinstance(value, weakref.ProxyType | weakref.CallableProxyType | weakref.ReferenceType):
            return kind  # what is only borrowed is no setting
        if isinstance(value, _PLAIN):
            # A number that an object of a library keeps may be an address; the model's own is a setting.
            return _stable(repr(value)) if self.inside or isinstance(value, str) else repr(value)
        if isinstance(value, bytearray | memoryview | array):
            return f"{kind} {_digest(bytes(value))}"
        if id(value) in self.parts:
            if self.inside:
                raise _SurroundingError
            return f"part {self.parts[id(value)]}"
        if isinstance(value, nn.Module):
            # One that hangs in a list or a function is no part of the model, but the model may ask it.
            known = id(value) in self.met or depth >= _DEEPEST
            return kind if known else f"{hash_tensors(value)} {self.of_model(value, below)}"
        if isinstance(value, Tensor):
            return _hash({"": value})
        if isinstance(value, np.ndarray):
            return f"{value.dtype} {value.shape} {'' if value.dtype.hasobject else _digest(value.tobytes())}"
        self.left -= 1
        if self.left < 0 and self.inside:
            raise _SurroundingError
        if isinstance(value, ModuleType) or depth >= _DEEPEST or self.left < 0:
            return kind
        if isinstance(value, dict):
            items = dict.items(value)  # a subclass may load them, or count that they were read
            named = [(_stable(self.of(key, below)), self.of(item, below)) for key, item in items]
            return f"{kind}{sorted(named)}"
        if isinstance(value, set | frozenset):
            return f"{kind}{sorted(self.of(item, below) for item in value)}"
        if isinstance(value, list | tuple | deque):
            return f"{kind}{[self.of(item, below) for item in value]}"
        if isinstance(value, functools.partial):
            return f"{kind}{[self.of(part, below) for part in (value.func, value.args, value.keywords)]}"
        if inspect.isclass(value):
            return self.of_class(value)
        if inspect.isroutine(value) or "__wrapped__" in getattr(value, "__dict__", {}):
            return self.of_function(value, below)
        return self.of_object(value, below)

    def of_class(self, kind: type) -> str:
        """Take a class and its bases along."""
        self.classes.update(dict.fromkeys(kind.__mro__))
        return f"{kind.__module__}.{kind.__qualname__}"

    def of_function(self, function: Any, depth: int) -> str:
        """Describe what a function keeps, and take its code along."""
        name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"
        if id(function) in self.met:
            return name
        self.met[id(function)] = function
        self.functions[getattr(function, "__func__", function)] = None
        held = [getattr(function, "__self__", None), getattr(function, "__wrapped__", None)]
        if not is_library(function):
            held += [getattr(function, "__defaults__", None), getattr(function, "__kwdefaults__", None)]
            cells = getattr(function, "__closure__", None) or ()
            held.append([cell.cell_contents for cell in cells if cell != _EMPTY])
        # A function with the two lists around its cells is one level.
        return f"{name}{self.of(held, depth - 2)}"

    def of_object(self, value: object, depth: int) -> str:
        """Describe an object by its class and attributes; by its class alone where it surrounds the model."""
        kind, outermost = self.of_class(type(value)), not self.inside
        self.left -= _OBJECT
        self.inside = True
        try:
            # An object and the dict of its attributes are one level.
            return f"{kind}{self.of(_state(value), depth - 1)}"
        except _SurroundingError:
            if not outermost:
                raise
            return kind
        finally:
            self.inside = not outermost

    def of_code(self) -> str:
        """Describe the user's code that was met, and what can be reached from it."""
        texts: set[str] = set()
        done: set[int] = set()
        while True:
            kinds = [kind for kind in self.classes if not is_library(kind)]
            found = [*self.functions, *(item for kind in kinds for item in self._members(kind, texts))]
            new = {id(item): item for item in found if hasattr(item, "__code__") and id(item) not in done}
            if not new:
                return "\n".join(sorted(texts))
            done.update(new)
            for function in new.values():
                kept = self.of_function(function, 0)
                if not is_library_file(function.__code__.co_filename):
                    texts.add(f"{function.__qualname__} {_compiled(function.__code__)} {kept}")
                    self._follow(function, texts)

    def _members(self, kind: type, texts: set[str]) -> Iterator[Any]:
        """Describe the code and the settings of a class; yield the functions of it that may be called."""
        texts.add(f"{kind.__module__}.{kind.__qualname__}")
        for name, member in list(vars(kind).items()):
            functions = _functions(member)
            texts.update(
                f"{kind.__qualname__}.{name} {_compiled(function.__code__)}" for function in functions
            )
            special = name.startswith("__") and name != "__init__"
            if special or {name, f"{kind.__qualname__}.{name}"} & self.names:
                yield from functions
            if not functions and not special and (_is_setting(member) or _is_users_object(member)):
                texts.add(f"{kind.__qualname__}.{name} {self.of(member)}")

    def _follow(self, function: Any, texts: set[str]) -> None:
        """Describe what a function names in its module, and in the user's modules that are named there."""
        names = _names(function.__code__)
        self.names |= names
        spaces = [function.__globals__]
        for space in spaces:
            # Of its own module a function reads variables, of another one attributes.
            wanted = _variables(function.__code__) if space is function.__globals__ else names
            for name in sorted(wanted & space.keys()):
                value = space[name]
                if isinstance(value, ModuleType):
                    known = any(vars(value) is other for other in spaces)
                    if not known and not is_library_file(getattr(value, "__file__", None) or ""):
                        spaces.append(vars(value))
                elif self._counts(value):
                    self.left = _MOST
                    texts.add(f"{space.get('__name__')}.{name} {self.of(value)}")

    def _counts(self, value: Any) -> bool:
        """Tell whether a module's variable counts: settings, code, networks, objects of a user's class."""
        if inspect.isclass(value):
            self.names.add(f"{value.__qualname__}.__init__")
        if inspect.isclass(value) or inspect.isroutine(value) or isinstance(value, nn.Module):
            return True
        if isinstance(value, dict | list | set):
            return _is_setting(value)
        return _is_setting(value) or _is_users_object(value)


def _is_users_object(value: object) -> bool:
    return not inspect.isclass(value) and not is_library(type(value))


def _state(value: object) -> dict[str, object]:
    """Return an object's attributes, those in slots included."""
    slots = [vars(base).get("__slots__", ()) for base in type(value).__mro__]
    names = [name for some in slots for name in ([some] if isinstance(some, str) else some)]
    kept = {
        name: getattr(value, name) for name in names if not name.startswith("__") and hasattr(value, name)
    }
    return kept | getattr(value, "__dict__", {})


def _functions(member: Any) -> list[Any]:
    """Return the functions behind a member of a class: itself, or those of a property or a class method."""
    places = ("__func__", "fget", "fset", "func", "__wrapped__")
    found = [member, *(getattr(member, place, None) for place in places if not inspect.isclass(member))]
    return [item for item in found if inspect.isfunction(item)]


@functools.cache
def _compiled(code: CodeType) -> str:
    """Return what Python made of a function: no comments, no line numbers."""
    inner = [_compiled(item) if isinstance(item, CodeType) else _constant(item) for item in code.co_consts]
    return _digest(f"{code.co_code.hex()} {code.co_exceptiontable.hex()} {code.co_names} {inner}".encode())


def _constant(value: object) -> str:
    # The order of a set is another one in every process.
    return repr(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)


def _is_setting(value: object, depth: int = 0) -> bool:
    """Tell whether a value is a setting: a plain one, a tensor, an array, or a container of such.

    What can't change, a tuple, counts whatever it holds, functions for instance. A variable that changes by
    itself, as a cache may, makes another model of the same one to a second evaluation in one process: work
    done again, but no wrong verdict. Other containers may hold anything.
    """
    if isinstance(value, Tensor):
        return value.layout == torch.strided and not value.is_meta and not value.is_nested
    if isinstance(value, np.ndarray):
        return not value.dtype.hasobject
    if isinstance(value, (*_PLAIN, tuple, frozenset, functools.partial)):
        return True
    if depth >= _DEEPEST:
        return False
    if isinstance(value, _HOLDERS):
        return _is_setting(vars(value), depth + 1)
    if isinstance(value, dict):
        items = dict.items(value)
        return all(isinstance(key, _PLAIN) and _is_setting(item, depth + 1) for key, item in items)
    return isinstance(value, list | set | deque) and all(_is_setting(item, depth + 1) for item in value)


def _names(code: CodeType) -> set[str]:
    """Return what code names, by texts such as getattr takes them too, the functions inside it included."""
    inner = [_names(item) for item in code.co_consts if isinstance(item, CodeType)]
    return set(code.co_names).union((item for item in code.co_consts if isinstance(item, str)), *inner)


def _variables(code: CodeType) -> set[str]:
    """Return which of `_names` can be variables of the module that the code stands in."""
    names = _names(code)
    if "globals" in names:
        return names
    codes = [code]
    for one in codes:
        codes += [item for item in one.co_consts if isinstance(item, CodeType)]
    loaded = (step for one in codes for step in dis.get_instructions(one))
    return {str(step.argval) for step in loaded if step.opname in {"LOAD_GLOBAL", "LOAD_NAME"}}


def _graph(module: torch.jit.ScriptModule) -> str:
    """Describe what a TorchScript module computes."""
    graph: Any = module.inlined_graph
    # Without the lines that it came from, and the numbers that tell classes of one name apart.
    text = re.sub(r" # \S+:\d+:\d+$", "", str(graph), flags=re.MULTILINE)
    nodes = [node for node in graph.findAllNodes("prim::Constant") if node.hasAttribute("value")]
    tensors = {str(place): node.t("value") for place, node in enumerate(nodes) if node.kindOf("value") == "t"}
    return f"{re.sub(r'___torch_mangle_[0-9]+[.]', '', text)} {_hash(tensors)}"


def _stable(text: str) -> str:
    """Leave out what is another one in every process and decides nothing."""
    return re.sub(_PASSING, "", text)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _hash(tensors: Mapping[str, Any]) -> str:
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
