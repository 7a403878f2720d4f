"""What a caller, or a model, may have set for the whole process; and what it is afterwards."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from robustlab.core.isolation import callers_settings, other_default_device, put_back


@contextmanager
def _set(change: Callable[[], Any]) -> Iterator[None]:
    before = callers_settings()
    change()
    try:
        yield
    finally:
        put_back(before)


SETTINGS: dict[str, Callable[[], Any]] = {
    "float64": lambda: _set(lambda: torch.set_default_dtype(torch.float64)),
    "bfloat16": lambda: _set(lambda: torch.set_default_dtype(torch.bfloat16)),
    "default device": lambda: _set(lambda: torch.set_default_device("meta")),
    "device": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "no_grad": torch.no_grad,
    "inference": torch.inference_mode,
    "deterministic": lambda: _set(lambda: torch.use_deterministic_algorithms(True)),
    "anomaly": lambda: torch.autograd.set_detect_anomaly(True),
    "precision": lambda: _set(lambda: torch.set_float32_matmul_precision("medium")),
    "cudnn": lambda: _set(lambda: setattr(torch.backends.cudnn, "benchmark", True)),
}
"""Each makes a context of its own."""

TOGETHER = {
    "types and devices": ["float64", "device", "no_grad", "deterministic"],
    "modes": ["bfloat16", "default device", "autocast", "inference", "precision", "cudnn"],
}
"""All of them, in two rounds."""


@contextmanager
def settings(*names: str) -> Iterator[None]:
    """Apply settings inside the block, and make sure that they still hold at its end, and nothing else."""
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(SETTINGS[name]())
        before = seen()
        yield
        assert seen() == before


def seen() -> list[Any]:
    """Return all that must not change."""
    state = torch.get_rng_state().tolist()
    mode = torch.is_inference_mode_enabled()
    device = torch.empty(0).device
    return [callers_settings(), state, mode, device, torch.get_num_threads(), Path.cwd()]


def change_everything(folder: Path) -> None:
    """What a careless model may do."""
    torch.set_default_dtype(torch.float64)
    if torch.empty(0).device.type == "cpu" and not other_default_device():  # torch bears no second one
        torch.set_default_device("meta")
    torch.set_grad_enabled(False)
    torch.set_autocast_enabled("cpu", True)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.autograd.set_detect_anomaly(True)
    torch.set_float32_matmul_precision("medium")
    torch.backends.cudnn.benchmark = True
    torch.set_num_threads(torch.get_num_threads() + 1)
    os.chdir(folder)
