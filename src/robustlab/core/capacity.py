"""The memory of a device, and the memory that a computation needs."""

import os
import sys
import weakref
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def available_memory(device: str) -> int | None:
    """Return how many bytes can still be allocated on a device; None if the system does not report it.

    On a CPU it is the smallest of the system's free memory, the control groups' rest and the process's rest.
    """
    kind = device.partition(":")[0]
    if kind == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free) + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if kind == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    limits = [_of_the_system(), *of_control_groups(), _of_the_process()]
    return min((max(0, number) for number in limits if number is not None), default=None)


def _of_the_system() -> int | None:
    """Return the free memory in /proc/meminfo or, without this file, half of the machine's memory."""
    text = _read(Path("/proc/meminfo"))
    for line in (text or "").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, OSError, ValueError):  # Windows
        return None


_GROUPS = {"memory.max": "memory.current", "memory.limit_in_bytes": "memory.usage_in_bytes"}
"""The files with the limit and the usage, in version 2 and version 1 of control groups."""


def of_control_groups(
    root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> list[int]:
    """Return the remaining memory of each control group around this process, such as a container's."""
    paths = [line.split(":", 2)[2].strip("/") for line in (_read(own) or "").splitlines()]
    folders = {root / base / part for base in ("", "memory") for path in paths for part in _around(path)}
    left = []
    for folder in folders:
        for limit, usage in _GROUPS.items():
            most, used = _read(folder / limit), _read(folder / usage)
            if most is None or used is None or not most.strip().isdecimal():  # "max" is not a limit
                continue
            # Cached file pages count as used, but the system can free them.
            files = [
                line.split()[1]
                for line in (_read(folder / "memory.stat") or "").splitlines()
                if line.startswith(("inactive_file ", "total_inactive_file "))
            ]
            left.append(int(most) - int(used) + int(files[-1] if files else 0))
    return left


def _around(path: str) -> list[str]:
    parts = [part for part in path.split("/") if part]
    return ["/".join(parts[:depth]) for depth in range(len(parts) + 1)]


def _of_the_process() -> int | None:
    """Return the memory that ``ulimit -v`` leaves."""
    if sys.platform == "win32":
        return None
    import resource

    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    text = _read(Path("/proc/self/statm"))
    if most == resource.RLIM_INFINITY or text is None:
        return None
    return most - int(text.split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


class TensorMemory(TorchDispatchMode):
    """Counts the bytes of the tensors that operations inside the block make, on every device.

    It is exact and deterministic, but counts only tensors. A library's scratch memory, and an allocator's
    reserve, are not included.

    Attributes:
        most: the largest number of bytes that were in use at the same time.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most = self._now = 0
        self._living: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and note what it made."""
        del types
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._note(tensor.untyped_storage())
        return made

    def _note(self, storage: torch.UntypedStorage) -> None:
        number, size = storage._cdata, storage.nbytes()
        if number not in self._living:
            self._living[number] = size
            self._now += size
            self.most = max(self.most, self._now)
            weakref.finalize(storage, self._forget, number).atexit = False

    def _forget(self, number: int) -> None:
        self._now -= self._living.pop(number)
