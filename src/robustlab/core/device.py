"""Which device and number format the work runs on, chosen from what the machine can do."""

import platform
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from robustlab.core.errors import SetupError

DeviceChoice = Literal["auto", "cpu", "cuda", "mps"]
PrecisionChoice = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class Compute:
    """Where and how to compute.

    Attributes:
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``.
        precision: the format of the matrix products in training, ``"fp32"`` or ``"bf16"``. Attacks and
            every figure that is reported are computed in fp32 whatever it says.
    """

    device: str
    precision: str

    def autocast(self) -> torch.autocast:
        """Return the context in which a training step runs."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16")


def resolve(device: DeviceChoice = "auto", precision: PrecisionChoice = "auto") -> Compute:
    """Turn the user's choices into a `Compute`.

    Raises:
        SetupError: the device asked for is not there, or the precision is unknown.
    """
    if precision not in get_args(PrecisionChoice):
        raise SetupError(f"unknown precision {precision!r}; accepted: {', '.join(get_args(PrecisionChoice))}")
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    chosen = next(name for name in ("cuda", "mps", "cpu") if available[name]) if device == "auto" else device
    if not available.get(chosen, False):
        there = ", ".join(name for name, found in available.items() if found)
        raise SetupError(f"device {chosen!r} is not available here; available: {there}")
    if precision == "auto":
        precision = "bf16" if fast_bf16(chosen) else "fp32"
    return Compute(device=chosen, precision=precision)


def fast_bf16(device: str) -> bool:
    """Tell whether the device multiplies bf16 matrices faster than fp32 ones."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device == "mps":
        return False
    # Without bf16 instructions the processor emulates them and is slower than in fp32.
    supported = [getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile")]
    return any(probe() for probe in supported if probe is not None)


def describe(device: str) -> str:
    """Return the device's own name, such as the processor's model."""
    if device == "cuda":
        return str(torch.cuda.get_device_name())
    return f"{_processor()} ({torch.get_num_threads()} threads)"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:  # noqa: PTH123 (a pseudo-file)
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
