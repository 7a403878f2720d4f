"""The choice of device and precision."""

import subprocess
import sys

import pytest
import torch

from robustlab.core import device
from robustlab.core.device import Compute, describe, fast_bf16, resolve
from robustlab.core.errors import SetupError


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> "Machine":
    return Machine(monkeypatch)


class Machine:
    """Pretends that this machine has other devices."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def has(self, *, cuda: bool, mps: bool, bf16: bool = False) -> None:
        self._monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        self._monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        self._monkeypatch.setattr(device, "fast_bf16", lambda _: bf16)


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_auto_takes_the_best_device(machine: Machine, cuda: bool, mps: bool, chosen: str) -> None:
    machine.has(cuda=cuda, mps=mps)
    assert resolve().device == chosen
    assert resolve("cpu").device == "cpu"


def test_auto_takes_bf16_where_it_is_fast(machine: Machine) -> None:
    machine.has(cuda=False, mps=False, bf16=True)
    assert resolve() == Compute(device="cpu", precision="bf16")
    assert resolve(precision="fp32").precision == "fp32"
    machine.has(cuda=False, mps=False, bf16=False)
    assert resolve() == Compute(device="cpu", precision="fp32")
    assert resolve(precision="bf16").precision == "bf16"


def test_what_is_not_there_is_an_error(machine: Machine) -> None:
    machine.has(cuda=False, mps=True)
    with pytest.raises(SetupError, match="'cuda' is not available here; available: cpu, mps"):
        resolve("cuda")
    with pytest.raises(SetupError, match="'gpu' is not available"):
        resolve("gpu")  # type: ignore[arg-type]
    with pytest.raises(SetupError, match="unknown precision 'fp16'; accepted: auto, fp32, bf16"):
        resolve(precision="fp16")  # type: ignore[arg-type]


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_autocast(precision: str, dtype: torch.dtype) -> None:
    layer = torch.nn.Linear(4, 4)
    with Compute(device="cpu", precision=precision).autocast():
        assert layer(torch.ones(1, 4)).dtype == dtype
    assert layer(torch.ones(1, 4)).dtype == torch.float32


def test_this_machine_can_be_described() -> None:
    assert isinstance(fast_bf16("cpu"), bool)
    assert not fast_bf16("mps")
    assert f"({torch.get_num_threads()} threads)" in describe("cpu")
    assert len(describe("cpu")) > len(" (2 threads)")


@pytest.mark.parametrize(
    "setting",
    [
        "pass",
        "b.cudnn.allow_tf32 = False",
        "torch.set_float32_matmul_precision('medium')",
        "b.fp32_precision = 'bf16'",
        "b.cuda.matmul.fp32_precision = 'tf32'",
        "b.mkldnn.conv.fp32_precision = 'bf16'",
    ],
)
@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="torch before 2.9")
def test_products_are_exact_whatever_the_caller_has_set(setting: str) -> None:
    # In a process of its own: some of the settings can't be undone.
    program = f"""
import torch
from robustlab.core.isolation import own_settings
b = torch.backends
parts = [b.cuda.matmul, b.cudnn.conv, b.cudnn.rnn, b.mkldnn.matmul, b.mkldnn.conv, b.mkldnn.rnn]
state = lambda: [part.fp32_precision.replace("ieee", "none") for part in parts]
{setting}
before = state()
with own_settings():
    assert state() == ["none"] * 6, state()
    image, weight = torch.rand(4, 3, 8, 8), torch.rand(5, 3, 3, 3)
    found, exact = (torch.conv2d(image.to(t), weight.to(t)) for t in (torch.float32, torch.float64))
    assert torch.allclose(found.double(), exact, rtol=1e-5)
again = state()
assert before[:3] == again[:3] and before[4:] == again[4:], (before, again)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("processor", "cap", "expected"),
    [
        ({"amx_tile", "avx512_bf16"}, "", "amx_tile"),
        ({"amx_tile", "avx512_bf16"}, "avx512_core_bf16", "avx512_bf16"),
        ({"amx_tile", "avx512_bf16"}, "AVX512_CORE_AMX", "amx_tile"),
        ({"avx512_bf16"}, "", "avx512_bf16"),
        ({"avx512_bf16"}, "AVX512_CORE", "emulation"),
        ({"avx512_bf16"}, "avx2", "emulation"),
        (set(), "", "emulation"),
    ],
)
def test_the_instruction_set_is_named(
    monkeypatch: pytest.MonkeyPatch, processor: set[str], cap: str, expected: str
) -> None:
    for name in ("amx_tile", "avx512_bf16"):
        monkeypatch.setattr(torch.cpu, f"_is_{name}_supported", lambda name=name: name in processor)
    for variable in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(variable, raising=False)
        if cap:
            monkeypatch.setenv(variable, cap)
        found = device.instruction_set()
        assert found == f"{torch.backends.cpu.get_cpu_capability()}, bf16 by {expected}"
        for name, fast in (("AMD EPYC", {"amx_tile", "avx512_bf16"}), ("Intel(R) Xeon(R)", {"amx_tile"})):
            monkeypatch.setattr(device, "_processor", lambda name=name: name)
            assert fast_bf16("cpu") == (expected in fast)
        assert device.caps().get(variable, "") == cap
        monkeypatch.delenv(variable, raising=False)
