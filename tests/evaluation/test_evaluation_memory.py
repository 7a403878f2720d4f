"""The memory of an evaluation is that of one batch, however many images there are."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PEAK = """
import re, sys
from pathlib import Path
import torch
from torch import nn
import robustlab

def peak():
    # Not ru_maxrss: a process inherits that of the one that started it.
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])

count, folder = int(sys.argv[1]), sys.argv[2]
images = torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(0))
torch.manual_seed(0)
model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 10)).eval()
labels = model(images).argmax(dim=1)
before = peak()
robustlab.evaluate(
    model, images=images, labels=labels, threat="linf(eps=0.004)", attacks="pgd(steps=2)",
    batch_size=100, checks=False, out=folder,
)
print(peak() - before)
"""


# What is freed goes back to the system at once: else a peak depends on where the allocator finds room.
PROMPT = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "16384",
    "MALLOC_MMAP_MAX_": "1000000",
    "MALLOC_TRIM_THRESHOLD_": "0",
    "OMP_NUM_THREADS": "1",
}


def peak(count: int, folder: Path) -> float:
    """Return by how many MB an evaluation in a process of its own raises the process's peak."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(count), str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | PROMPT,
        check=True,
    )
    return int(done.stdout.split()[-1]) / 1024


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_peak_memory_does_not_grow_with_the_images(tmp_path: Path) -> None:
    # Both have more broken images than the page shows.
    few, many = peak(900, tmp_path / "few"), peak(3600, tmp_path / "many")
    # The images that were added take 133 MB as floats; of them stay rows: 3 MB were measured.
    assert many < few + 8, f"{few:.0f} MB for 900 images, {many:.0f} MB for 3,600"
