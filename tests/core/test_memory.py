"""Freed blocks stay with the process: what is allocated again is not zeroed by the system each time."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
from robustlab.core.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        bytearray(200 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
if not keep_freed_memory():
    sys.exit(3)
bytearray(200 << 20)
print(before, faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it asks glibc")
def test_large_blocks_are_reused() -> None:
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, timeout=60)
    if done.returncode == 3:
        pytest.skip("the C library is not glibc")
    before, after = map(int, done.stdout.split())
    assert after < before / 10
