"""Random draws that depend on (seed, image id, purpose) and on nothing else.

A draw for an image depends neither on a global generator nor on the image's place in a batch. So the same
image gets the same numbers for any batch size, order, number of workers and resume point. The generator is
counter based: element j of a draw is a hash of (key, image id, j), computed for the whole batch at once with
the SplitMix64 finaliser (Steele, Lea & Flood 2014, doi:10.1145/2660193.2660195).
"""

import contextlib
import hashlib
import math
from collections.abc import Iterator

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX_2 = 0x94D049BB133111EB - (1 << 64)


def derive(seed: int, *purpose: object) -> int:
    """Return a 63-bit key for a purpose, e.g. ``derive(seed, "dropout", "baseline", epoch)``."""
    text = "\x1f".join([str(seed), *map(str, purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def uniform(key: int, ids: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Draw uniform numbers in [0, 1) for each image.

    Args:
        key: from `derive`.
        ids: (N,) int64, the images' dataset ids; the result is on their device.
        shape: the shape of one image's draw.

    Returns:
        (N, *shape) float32 with 24 random bits each.
    """
    return _bits(key, ids, math.prod(shape)).mul(2.0**-24).view(len(ids), *shape)


def normal(key: int, ids: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Draw standard normal numbers for each image: (N, *shape) float32, by the Box-Muller transform."""
    size = math.prod(shape)
    draws = _bits(key, ids, 2 * size)
    # (k + 1) / 2^24 lies in (0, 1], so the logarithm is finite.
    radius = draws[:, :size].add(1).mul(2.0**-24).log_().mul_(-2).sqrt_()
    angle = draws[:, size:].mul(2 * math.pi * 2.0**-24).cos_()
    return radius.mul_(angle).view(len(ids), *shape)


def _bits(key: int, ids: Tensor, size: int) -> Tensor:
    """Return (N, size) float32 whole numbers in [0, 2^24)."""
    per_image = _mix(ids.to(torch.int64) * _GOLDEN + key)
    counter = torch.arange(1, size + 1, device=ids.device, dtype=torch.int64) * _GOLDEN
    mixed = _mix(per_image[:, None] + counter[None, :])
    return _shift(mixed, 40).to(torch.float32)


def _mix(z: Tensor) -> Tensor:
    z = (z ^ _shift(z, 30)) * _MIX_1
    z = (z ^ _shift(z, 27)) * _MIX_2
    return z ^ _shift(z, 31)


def _shift(z: Tensor, places: int) -> Tensor:
    # int64 shifts drag the sign along; the mask makes the shift a logical one.
    return (z >> places) & ((1 << (64 - places)) - 1)


def global_state(device: torch.device) -> Tensor:
    """Return the state of the global generators of the CPU and of the device; a draw changes it."""
    state = torch.get_rng_state()
    return torch.cat([state, torch.cuda.get_rng_state(device)]) if device.type == "cuda" else state


@contextlib.contextmanager
def isolated(key: int) -> Iterator[None]:
    """Seed torch's global generators with ``key`` inside the block, and restore them after it.

    For layers that can only draw from the global generator, such as dropout in training.
    """
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(key)
        yield
