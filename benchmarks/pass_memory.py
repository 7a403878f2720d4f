"""How much memory does a process take for each byte of a pass's tensors? Behind the factor `_OVERHEAD`.

    python benchmarks/pass_memory.py --model mnist_cnn --images 250
    python benchmarks/pass_memory.py --model mine.py:network --images 8 --shape 3 224 224 --bf16

An evaluation chooses its batch by the tensors of a pass each way (`core/capacity.py` counts them). A process
takes more: the libraries' scratch memory and what the allocator keeps come on top. Printed are the bytes that
a second image adds as counted, the growth of the process's peak per image, and their ratio. The peak is
VmHWM, which Linux reports.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from robustlab.core.capacity import TensorMemory
from robustlab.core.memory import keep_freed_memory
from robustlab.evaluation.subject import in_fastest_layout, load_classifier


def peak() -> int:
    """Return the largest resident memory of this process so far, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this system does not say how much memory a process had")


def both_ways(model: nn.Module, images: Tensor, *, bf16: bool) -> int:
    """Send images (N, C, H, W) forward and back; return the most bytes that tensors took."""
    with TensorMemory() as memory:
        points = images.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = model(points)
        torch.autograd.grad(logits.float().sum(), points)
    most: int = memory.most
    return most


def main() -> None:
    """Measure one network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="as in robustlab evaluate")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--images", type=int, default=16, help="images of the larger pass")
    parser.add_argument("--shape", type=int, nargs=3, default=(1, 28, 28))
    parser.add_argument("--bf16", action="store_true")
    options = parser.parse_args()
    keep_freed_memory()
    images = torch.rand(options.images, *options.shape)
    model = load_classifier(options.model, weights=options.weights).model.eval()
    model = in_fastest_layout(model.requires_grad_(False), images[:1])
    one, two = (both_ways(model, images[:count], bf16=options.bf16) for count in (1, 2))
    counted, few = two - one, max(1, options.images // 8)
    both_ways(model, images[:few], bf16=options.bf16)
    before = peak()
    both_ways(model, images, bf16=options.bf16)
    grown = (peak() - before) / (options.images - few)
    print(
        f"counted {counted / 1e6:.2f} MB an image, VmHWM {grown / 1e6:.2f} MB, factor {grown / counted:.2f}"
    )


if __name__ == "__main__":
    main()
