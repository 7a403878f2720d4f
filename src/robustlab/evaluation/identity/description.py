"""Describes a model by its code and its settings.

Code is described in its compiled form, so it is the same in a file, a notebook and a console. Only the user's
own code is followed; a library counts by its name. A model's answers are not part of it: their last bits
depend on the processor's instruction set, so no hash of them is the same everywhere, however they are
rounded. A resumed evaluation compares them with the kept ones instead (`coordinator/kept.py`).
"""

import argparse
import functools
import inspect
import os
import random
import re
import types
import weakref
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robustlab.core.installed import is_library, is_library_file
from robustlab.evaluation.identity.code import compiled, files_in, functions_of, names_in, variables_in
from robustlab.evaluation.identity.tensors import digest, graph_of, hash_of, hash_tensors
from robustlab.models.black_box import BlackBox

_OF_TORCH = set(vars(nn.Module()))
"""Attributes of every module: parameters, buffers and submodules are hashed separately."""

_DEEPEST = 10

_MAX_ITEMS = 100_000
"""The largest number of containers of one attribute; an object counts as ``_OBJECT`` of them."""

_OBJECT = 5

_PLAIN: tuple[type, ...] = (bool, int, float, complex, str, bytes, type(None), np.generic, Enum, range, slice)
_PLAIN += (Decimal, Fraction, PurePath, re.Pattern)
_PLAIN += (torch.dtype, torch.device, torch.layout, torch.memory_format)

_PARTIAL = (functools.partial, functools.partialmethod)

_SETTING = (*_PLAIN, *_PARTIAL, Tensor, np.ndarray, Mapping, list, tuple, set, frozenset, deque)
_SETTING += (argparse.Namespace, types.SimpleNamespace, types.MappingProxyType)
"""Classes of libraries whose objects are settings."""

_PASSING: tuple[type, ...] = (*weakref.ProxyTypes, weakref.ReferenceType, type(os.environ), random.Random)
_PASSING += (torch.Generator, np.random.Generator, np.random.BitGenerator, np.random.RandomState)
"""Weak references, and objects that change by themselves: not settings."""

_FUNCTION: tuple[type, ...] = (types.FunctionType, types.MethodType, types.BuiltinFunctionType)
_FUNCTION += (types.MethodWrapperType, staticmethod, classmethod)
_FUNCTION += (types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType)

_GLOBAL_HOOKS = [
    getattr(nn.modules.module, f"_global_{kind}_hooks")
    for kind in ("forward", "forward_pre", "backward", "backward_pre")
]

_EMPTY = types.CellType()

_CHANGING = (
    r" at 0x[0-9a-fA-F]+"  # an address in the repr of a function
    r"|(?<![.\w])[0-9]{14,15}(?![.0-9])"  # a number from `id` in a name of Keras
    # A random UUID, by which libraries name a session, with or without dashes.
    r"|\b[0-9a-f]{8}-?[0-9a-f]{4}-?4[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}\b"
)


def describe(model: nn.Module) -> str:
    """Return a description of all, except the weights, that visibly determines a model's output."""
    description = _Description()
    return f"{description.of_model(model)}\n{description.of_code()}"


def describe_classes(kinds: Iterable[type]) -> str:
    """Return the code of classes with its dependencies; empty if all classes are libraries'."""
    description, kinds = _Description(), set(kinds)
    for kind in kinds:
        description.of_class(kind)
    description.names.update(name for kind in description.classes for name in vars(kind))
    return description.of_code()


class _SurroundingError(Exception):
    """An object refers back to the model, or to very many others: a trainer, an optimizer, a registry."""


class _Description:
    """Texts that change if the code or a setting changes.

    Values are described in the order in which they are found, and their classes and functions are collected.
    Then `of_code` follows the functions.
    """

    def __init__(self) -> None:
        self.classes: dict[type, None] = {}
        self.functions: dict[Any, None] = {}
        self.names = {"forward", "train", "eval", "_call_impl"}
        """Names in reachable code: a method of such a name may be called. Torch calls the first ones."""
        self.parts: dict[int, str] = {}
        """The names of the model's own modules and weights, by identity."""
        self.met: dict[int, object] = {}
        """Functions and further modules that are already described, or will be."""
        self.inside, self.left = False, _MAX_ITEMS

    def of_model(self, model: nn.Module, depth: int = 0) -> str:
        # The result of torch.compile is a different object in every process.
        model = getattr(model, "_orig_mod", model)
        modules = dict(model.named_modules())
        if depth == 0:
            every = modules | dict(model.named_parameters()) | dict(model.named_buffers())
            self.parts = {id(part): name for name, part in every.items()}
        self.met.update({id(module): module for module in modules.values()})
        texts = []
        for name, module in modules.items():
            settings = {key: value for key, value in vars(module).items() if key not in _OF_TORCH}
            if isinstance(module, BlackBox):  # its counters change
                settings = module.settings()
            if "_orig_mod" in module._modules:  # different in every process
                settings = {}
            forward = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
            hooks = [*forward, *module._backward_hooks.values(), *module._backward_pre_hooks.values()]
            hooks += [] if name else _GLOBAL_HOOKS
            texts.append(
                f"{name} {self.of_class(type(module))} {self.of_each(settings | {'hooks': hooks}, depth + 1)}"
            )
            if isinstance(module, torch.jit.ScriptModule):
                texts.append(graph_of(module))
        return "\n".join(texts)

    def of_each(self, settings: Mapping[str, object], depth: int) -> str:
        """Describe attributes, each with its own limit."""
        texts = []
        for key in sorted(settings):
            if not self.inside:
                self.left = _MAX_ITEMS
            texts.append(f"{key}={self.of(settings[key], depth)}")
        return " ".join(texts)

    def of(self, value: object, depth: int = 0) -> str:
        """Describe a value: a setting by its value, a container or an object by its content."""
        kind, below = type(value).__qualname__, depth + 1
        if isinstance(value, _PASSING):
            return kind
        if isinstance(value, _PLAIN):
            # A number in a library's object may be an address; one of the model itself is a setting.
            return _stable(repr(value)) if self.inside or isinstance(value, str) else repr(value)
        if isinstance(value, bytearray | memoryview | array):
            return f"{kind} {digest(bytes(value))}"
        if id(value) in self.parts:
            if self.inside:
                raise _SurroundingError
            return f"part {self.parts[id(value)]}"
        if isinstance(value, nn.Module):
            # A network in a list or a function is not a submodule, but the model may call it.
            known = id(value) in self.met or depth >= _DEEPEST
            return kind if known else f"{hash_tensors(value)} {self.of_model(value, below)}"
        if isinstance(value, Tensor):
            return hash_of({"": value})
        if isinstance(value, np.ndarray):
            values = self.of(value.tolist(), below) if value.dtype.hasobject else digest(value.tobytes())
            return f"{value.dtype} {value.shape} {values}"
        self.left -= 1
        if self.left < 0 and self.inside:
            raise _SurroundingError
        if isinstance(value, types.ModuleType) or depth >= _DEEPEST or self.left < 0:
            return kind
        if isinstance(value, dict | types.MappingProxyType):
            # A subclass of dict may load items on access, or count accesses.
            items = dict.items(value) if isinstance(value, dict) else value.items()
            named = [(_stable(self.of(key, below)), self.of(item, below)) for key, item in items]
            return f"{kind}{sorted(named)}"
        if isinstance(value, set | frozenset):
            return f"{kind}{sorted(self.of(item, below) for item in value)}"
        if isinstance(value, list | tuple | deque):
            return f"{kind}{[self.of(item, below) for item in value]}"
        if isinstance(value, _PARTIAL):
            return f"{kind}{[self.of(part, below) for part in (value.func, value.args, value.keywords)]}"
        if inspect.isclass(value):
            return self.of_class(value)
        if isinstance(value, _FUNCTION) or "__wrapped__" in getattr(value, "__dict__", {}):
            return self.of_function(value, below)
        return self.of_object(value, below)

    def of_class(self, kind: type) -> str:
        """Add a class and its bases."""
        self.classes.update(dict.fromkeys([*kind.__mro__, *inspect.getmro(type(kind))]))
        return _stable(f"{kind.__module__}.{kind.__qualname__}")

    def of_function(self, function: Any, depth: int) -> str:
        """Describe the values that a function keeps, and add its code."""
        name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"
        if id(function) in self.met:
            return name
        self.met[id(function)] = function
        self.functions[getattr(function, "__func__", function)] = None
        # The last one is that of `functools.singledispatch`.
        held = [getattr(function, place, None) for place in ("__self__", "__wrapped__", "registry")]
        if not is_library(function):
            held += [getattr(function, "__defaults__", None), getattr(function, "__kwdefaults__", None)]
            cells = getattr(function, "__closure__", None) or ()
            held.append([cell.cell_contents for cell in cells if cell != _EMPTY])
        if not is_library_file(getattr(getattr(function, "__code__", None), "co_filename", "")):
            held.append({key: item for key, item in vars(function).items() if key != "__wrapped__"})
        # A function with the two lists of its cells is one level.
        return f"{name}{self.of(held, depth - 2)}"

    def of_object(self, value: object, depth: int) -> str:
        """Describe an object by its class and attributes; only by its class if it contains the model."""
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
        """Describe the user's code that was found, and the code that it can reach."""
        texts: set[str] = set()
        done: set[int] = set()
        while True:
            kinds = [kind for kind in self.classes if not is_library(kind)]
            members = [*self.functions, *(item for kind in kinds for item in self._members(kind, texts))]
            new = {id(item): item for item in members if hasattr(item, "__code__") and id(item) not in done}
            if not new:
                return "\n".join(sorted(texts))
            done.update(new)
            for function in new.values():
                kept = self.of_function(function, 0)
                if not is_library_file(function.__code__.co_filename):
                    texts.add(f"{function.__qualname__} {compiled(function.__code__)} {kept}")
                    self._follow(function, texts)

    def _members(self, kind: type, texts: set[str]) -> Iterator[Any]:
        """Describe the code and the settings of a class; yield its functions that may be called."""
        texts.add(f"{kind.__module__}.{kind.__qualname__}")
        for name, member in list(vars(kind).items()):
            functions = functions_of(member)
            texts.update(
                f"{kind.__qualname__}.{name} {compiled(function.__code__)}" for function in functions
            )
            special = name.startswith("__") and name != "__init__"
            if special or {name, f"{kind.__qualname__}.{name}", "getattr"} & self.names:
                yield from functions
            whole = not functions or isinstance(member, functools.partialmethod)
            if whole and not special and self._counts(member):
                texts.add(f"{kind.__qualname__}.{name} {self.of(member)}")

    def _follow(self, function: Any, texts: set[str]) -> None:
        """Describe the objects that a function names in its module, and in the user's modules named there."""
        names = names_in(function.__code__)
        self.names |= names
        for file in files_in(function.__code__):
            texts.add(f"{file.name} {digest(file.read_bytes())}")
        if names & {"environ", "getenv"}:
            texts.update(f"{name}={os.environ[name]}" for name in names & os.environ.keys())
        spaces = [function.__globals__]
        for space in spaces:
            # In its own module a function reads variables, in another one attributes.
            wanted = variables_in(function.__code__) if space is function.__globals__ else names
            for name in sorted(wanted & space.keys()):
                value = space[name]
                if isinstance(value, types.ModuleType):
                    known = any(vars(value) is other for other in spaces)
                    if not known and not is_library_file(getattr(value, "__file__", None) or ""):
                        spaces.append(vars(value))
                elif self._counts(value):
                    self.left = _MAX_ITEMS
                    texts.add(f"{space.get('__name__')}.{name} {self.of(value)}")

    def _counts(self, value: object) -> bool:
        """Return whether a module's variable or a class's attribute counts: settings, code, networks.

        Objects of libraries count if they contain settings or can be called; a logger or a lock does not. A
        variable that changes by itself, such as a cache, changes the identity for a second evaluation in the
        same process. This repeats work, but gives no wrong verdict.
        """
        if inspect.isclass(value):
            self.names.add(f"{value.__qualname__}.__init__")
        return callable(value) or isinstance(value, _SETTING) or not is_library(type(value))


def _state(value: object) -> object:
    """Return an object's attributes, also those in slots; without any, the state that pickle would save."""
    state = {}
    for base in type(value).__mro__:
        slots = vars(base).get("__slots__", ())
        for name in [slots] if isinstance(slots, str) else slots:
            private = name.startswith("__") and not name.endswith("__")
            name = f"_{base.__name__.lstrip('_')}{name}" if private else name
            if not name.startswith("__") and hasattr(value, name):
                state[name] = getattr(value, name)
    state |= getattr(value, "__dict__", {})
    if state or type(value) is object:
        return state
    try:
        return value.__reduce_ex__(2)
    except Exception:  # a lock or a file, for example, can't be pickled
        return state


def _stable(text: str) -> str:
    """Remove irrelevant parts that differ between processes."""
    return re.sub(_CHANGING, "", text)
