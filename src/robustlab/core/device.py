"""Chooses the device and the number format of the computations."""

import os
import platform
from dataclasses import dataclass
from typing import get_args

import torch

from robustlab.core.errors import SetupError
from robustlab.core.options import DeviceChoice, PrecisionChoice


@dataclass(frozen=True, kw_only=True)
class Compute:
    """Where and how to compute.

    Attributes:
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``.
        precision: the format of the matrix products in training, ``"fp32"`` or ``"bf16"``. Attacks and every
            figure that is reported are computed always in fp32.
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
        there = ", ".join(name for name, kinds in available.items() if kinds)
        raise SetupError(f"device {chosen!r} is not available here; available: {there}")
    if precision == "auto":
        precision = "bf16" if fast_bf16(chosen) else "fp32"
    return Compute(device=chosen, precision=precision)


def fast_bf16(device: str) -> bool:
    """Return whether the device multiplies bf16 matrices faster than fp32 ones."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device == "mps":
        return False
    # Without bf16 instructions the processor emulates them and is slower than in fp32. Intel's bf16 vector
    # instructions are slower than fp32 too: a Xeon without AMX did 271 GFLOP/s in fp32 and 154 in bf16
    # (LOG.md, "Trainings side by side on a Xeon").
    instructions = _bf16_instructions()
    return instructions == "amx_tile" or (instructions == "avx512_bf16" and "Intel" not in _processor())


def describe(device: str) -> str:
    """Return the device's own name, such as the processor's model, and how many threads use it."""
    return hardware(device) if device == "cuda" else f"{hardware(device)} ({torch.get_num_threads()} threads)"


def hardware(device: str) -> str:
    """Return the device's own name, such as the processor's model."""
    return str(torch.cuda.get_device_name()) if device == "cuda" else _processor()


_CAPS = (
    *("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"),
    *("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS"),
)
"""Environment variables by which torch, oneDNN and MKL choose kernels other than the processor's best."""

_WITHOUT_BF16 = {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI"}
"""Values of oneDNN's cap that leave out the bf16 instructions."""


def caps() -> dict[str, str]:
    """Return the environment variables that are set and change which instructions are used."""
    return {name: os.environ[name] for name in _CAPS if os.environ.get(name)}


def instruction_set() -> str:
    """Return the instruction set for which torch chose its kernels, and the one that multiplies in bf16.

    Both determine the order of sums of products, and so the last bits of every figure.
    """
    return f"{torch.backends.cpu.get_cpu_capability()}, bf16 by {_bf16_instructions() or 'emulation'}"


def _bf16_instructions() -> str:
    """Return the best instructions that multiply in bf16; empty if there are none, or may not be used."""
    cap = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or ""
    if cap.upper() in _WITHOUT_BF16:
        return ""
    for name in ("amx_tile", "avx512_bf16"):
        supported = getattr(torch.cpu, f"_is_{name}_supported", None)
        if (
            supported is not None
            and supported()
            and not (name == "amx_tile" and cap and "AMX" not in cap.upper())
        ):
            return name
    return ""


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:  # noqa: PTH123 (a pseudo-file)
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
