"""Process-wide settings: robustlab uses its own, and restores the caller's afterwards."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

import torch

from robustlab.core.errors import RobustlabError
from robustlab.core.threads import measured_threads

_other_device: ContextVar[bool] = ContextVar("the caller works on another default device", default=False)


class _Setting(NamedTuple):
    read: Callable[[], Any]
    write: Callable[[Any], object]
    own: Callable[[Any], Any]
    """robustlab's settings, given the caller's."""


def _global_device() -> torch.device | None:
    """Return the device that `torch.set_default_device` named."""
    context = getattr(getattr(torch, "_GLOBAL_DEVICE_CONTEXT", None), "device_context", None)
    return None if context is None else torch.device(context.device)


def _cudnn() -> tuple[bool, bool]:
    return torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic


def _set_cudnn(values: tuple[bool, bool]) -> None:
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = values


def _parts(home: Any, *kinds: str) -> list[Any]:
    return [getattr(home, kind) for kind in kinds if hasattr(getattr(home, kind, None), "fp32_precision")]


_BACKENDS: Any = torch.backends
_ON_CPU = _parts(_BACKENDS.mkldnn, "matmul", "conv", "rnn")  # from torch 2.9 on
_ON_GPU = _parts(_BACKENDS.cuda, "matmul") + _parts(_BACKENDS.cudnn, "conv", "rnn")


def _precision() -> tuple[Any, ...]:
    """Return how fp32 products are rounded: the older settings, or None, and the newer ones part by part."""
    try:
        older, parts = (torch.get_float32_matmul_precision(), _BACKENDS.cudnn.allow_tf32), _ON_CPU
    except RuntimeError:  # the caller uses the newer settings; then torch refuses to read these
        older, parts = None, _ON_CPU + _ON_GPU
    return older, [(part, part.fp32_precision) for part in parts]


def _set_precision(values: tuple[Any, ...]) -> None:
    older, parts = values
    if older is not None:  # first: these write the newer ones too
        torch.set_float32_matmul_precision(older[0])
        _BACKENDS.cudnn.allow_tf32 = older[1]
    for part, value in parts:
        part.fp32_precision = value


def _exact(values: tuple[Any, ...]) -> tuple[Any, ...]:
    # Otherwise GPUs round the inputs of convolutions to TF32's 10 bits, and processors may round them to
    # bf16.
    older, parts = values
    return older and ("highest", False), [(part, "ieee") for part, _ in parts]


def _autocast(kind: str) -> _Setting:
    return _Setting(
        lambda: torch.is_autocast_enabled(kind),
        lambda value: torch.set_autocast_enabled(kind, value),
        lambda _: False,
    )


_SETTINGS = (
    _Setting(torch.get_default_dtype, torch.set_default_dtype, lambda _: torch.float32),
    # Own: see `own_settings`.
    _Setting(_global_device, torch.set_default_device, lambda device: device),
    _Setting(torch.is_grad_enabled, torch.set_grad_enabled, lambda _: True),
    _autocast("cpu"),
    _autocast("cuda"),
    _Setting(
        lambda: (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        lambda values: torch.use_deterministic_algorithms(values[0], warn_only=values[1]),
        lambda _: (False, False),
    ),
    _Setting(
        lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        lambda values: torch.autograd.set_detect_anomaly(*values),
        lambda _: (False, True),
    ),
    # Batches shrink as images are broken; cuDNN would search for the fastest algorithm for each new size.
    _Setting(_cudnn, _set_cudnn, lambda _: (False, False)),
    _Setting(_precision, _set_precision, _exact),
    _Setting(sys.getrecursionlimit, sys.setrecursionlimit, lambda limit: limit),
)


def callers_settings() -> list[Any]:
    """Return the settings for `put_back`."""
    return [setting.read() for setting in _SETTINGS]


def put_back(values: list[Any]) -> None:
    """Set the settings that have changed since `callers_settings`."""
    for setting, value in zip(_SETTINGS, values, strict=True):
        if setting.read() != value:
            setting.write(value)


def other_default_device() -> bool:
    """Return whether the caller of robustlab has set a default device other than the CPU."""
    return _other_device.get()


@contextmanager
def own_settings() -> Iterator[None]:
    """Compute inside the block with torch's default settings and exact products in fp32.

    These are float32 on the CPU, with gradients, without autocast, deterministic mode or anomaly mode. At the
    end the caller's settings, torch's generators and the working directory are restored, even if a model has
    changed them. The number of threads is at most the caller's, or the one that the model's file sets; work
    inside the block gets the faster number (`measured_threads`).

    It also works as a decorator.

    Raises:
        RobustlabError: the caller is inside a transform of `torch.func`, where values can't be read.
    """
    _refuse_transform()
    with ExitStack() as stack:
        stack.enter_context(measured_threads())
        stack.callback(put_back, callers_settings())
        stack.callback(_return_to, torch.get_num_threads(), working_folder())
        stack.enter_context(torch.inference_mode(False))
        # Of a new tensor: in torch 2.4 `torch.get_default_device` does not see `with torch.device(...)`, and
        # fails after `torch.set_default_device(None)`.
        if torch.empty(0).device.type != "cpu":
            stack.callback(_other_device.reset, _other_device.set(True))
            # Only then: it makes every call of torch slower.
            stack.enter_context(torch.device("cpu"))
        put_back([setting.own(setting.read()) for setting in _SETTINGS])
        # Counting devices takes longer than all the rest, and no generator has been used before the first
        # device is.
        used: Any = torch.cuda.is_initialized
        devices = range(torch.cuda.device_count()) if used() else ()
        stack.enter_context(torch.random.fork_rng(devices=devices))
        yield


def _refuse_transform() -> None:
    innermost = torch._C._functorch.peek_interpreter_stack()
    if innermost is not None:
        transform = str(innermost.key()).rpartition(".")[2].lower()
        raise RobustlabError(
            f"robustlab can't work inside torch.func's {transform}, where tensors have no values to decide "
            "by; call it outside, on plain tensors"
        )


def working_folder() -> Path | None:
    """Return the working directory, if it still exists."""
    try:
        return Path.cwd()
    except OSError:
        return None


def _return_to(threads: int, folder: Path | None) -> None:
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    if folder is not None and working_folder() != folder:
        with suppress(OSError):
            os.chdir(folder)
