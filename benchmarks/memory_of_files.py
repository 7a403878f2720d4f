"""The memory of an evaluation of many photos that are read from files as needed.

    python benchmarks/memory_of_files.py 2000 10000 50000

For each number it evaluates a small network, in a process of its own, on so many JPEG files of 240x224
pixels, resized and cut to 224x224, and prints by how much that raised the largest resident memory. The files
are links to 500 pictures of random blobs, so that they need little space. In memory 50,000 would take 7.5 GB.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

import robustlab

CLASSES, PICTURES = 10, 500

# What is freed goes back to the system at once: else a peak depends on where the allocator finds room.
PROMPT = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "16384",
    "MALLOC_MMAP_MAX_": "1000000",
    "MALLOC_TRIM_THRESHOLD_": "0",
}


def make_photos(folder: Path, count: int) -> None:
    """Write ``count`` JPEG files, in a folder for each class."""
    random, pictures = np.random.default_rng(0), folder / "pictures"
    pictures.mkdir()
    for number in range(PICTURES):
        small = Image.fromarray(random.integers(0, 256, (28, 30, 3), dtype=np.uint8))
        small.resize((240, 224), Image.Resampling.BICUBIC).save(pictures / f"{number}.jpg", quality=85)
    for place in range(count):
        target = folder / "photos" / f"class{place % CLASSES}" / f"{place}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.hardlink_to(pictures / f"{place % PICTURES}.jpg")


def largest_memory() -> float:
    """Return the largest resident memory of this process so far, in MB."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found, "only Linux has this file"
    return int(found[1]) / 1024


def measure(folder: Path, count: int) -> None:
    """Evaluate, and print a row of the table."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.AvgPool2d(28), nn.Flatten(), nn.Linear(192, CLASSES)).eval()
    before, started = largest_memory(), time.perf_counter()
    run = robustlab.evaluate(
        network,
        dataset=f"folder('{folder / 'photos'}', resize=224, crop=224)",
        n=count,
        attacks="fgsm",
        threat="linf(eps=1/255)",
        batch_size=100,
        certify=False,
        out=folder / "run",
    )
    grown, seconds = largest_memory() - before, time.perf_counter() - started
    ledger = (folder / "run" / "ledger.sqlite").stat().st_size / 2**20
    print(
        f"| {count:,} | {run.results.robust.n:,} | {grown:.0f} MB | {seconds:.0f} s | {ledger:.0f} MB |",
        flush=True,
    )


def main() -> None:
    """Measure each number of photos in a process of its own."""
    if len(sys.argv) > 3 and sys.argv[1] == "--one":
        measure(Path(sys.argv[2]), int(sys.argv[3]))
        return
    print("| photos | evaluated | added to the peak | time | ledger |\n|---|---|---|---|---|", flush=True)
    for count in map(int, sys.argv[1:] or ["2000", "10000", "50000"]):
        with tempfile.TemporaryDirectory() as folder:
            make_photos(Path(folder), count)
            call = [sys.executable, __file__, "--one", folder, str(count)]
            subprocess.run(call, check=True, env=os.environ | PROMPT)


if __name__ == "__main__":
    main()
