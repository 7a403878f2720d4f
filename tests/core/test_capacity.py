"""How much memory there is, by what the system says."""

import subprocess
import sys
from pathlib import Path

import pytest

from robustlab.core import capacity
from robustlab.core.capacity import available_memory

GB = 10**9


def test_this_machine_has_memory() -> None:
    found = available_memory("cpu")
    assert found is not None
    assert 10**7 < found < 10**15


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)


def test_control_groups_of_version_2(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("0::/outer/inner\n")
    root = tmp_path / "fs"
    write(
        root / "outer",
        memory__max=str(8 * GB),
        memory__current=str(5 * GB),
        memory__stat="anon 7\ninactive_file 1000000000\n",
    )
    write(root / "outer" / "inner", memory__max="max\n", memory__current=str(3 * GB))
    assert capacity.of_control_groups(root, own) == [4 * GB]
    write(root / "outer" / "inner", memory__max=f"{3 * GB}\n")
    assert sorted(capacity.of_control_groups(root, own)) == [0, 4 * GB]


def test_control_groups_of_version_1(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("9:cpu,cpuacct:/elsewhere\n5:memory:/job\n")
    write(
        tmp_path / "memory" / "job",
        memory__limit_in_bytes=f"{2 * GB}\n",
        memory__usage_in_bytes=f"{GB}\n",
        memory__stat="inactive_file 5\ntotal_inactive_file 7\n",
    )
    assert capacity.of_control_groups(tmp_path, own) == [GB + 7]


def test_without_control_groups(tmp_path: Path) -> None:
    assert capacity.of_control_groups(tmp_path / "fs", tmp_path / "cgroup") == []


LIMITED = """
import resource
import torch
from robustlab.core.capacity import available_memory
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 200_000_000, -1))
print(available_memory("cpu"))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_limit_of_the_process_counts() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=True)
    assert 150_000_000 < int(done.stdout) <= 200_000_000


def test_a_limit_that_is_exceeded_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "of_control_groups", lambda: [-5])
    assert available_memory("cpu") == 0
