"""How the process holds on to memory, and gives it back."""

import ctypes
import gc
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
_LARGE = 1 << 30


def keep_freed_memory() -> bool:
    """Ask the C library to reuse freed blocks of up to 1 GiB, as it does with small ones; tell if it will.

    By default glibc gives a freed block of over 32 MiB back to the system at once. The activations of a large
    batch are such blocks, and with every pass the system then fills them with zeros again: a pass of 1,000
    MNIST images was measured to take up to 1.8 times as long, of 250 the same (LOG.md, "Speed of
    gradients and training"). For a process of our own: what it has freed stays with it until it ends.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGE)) and bool(mallopt(_TRIM_THRESHOLD, 2 * _LARGE - 1))


def give_back_freed_memory() -> None:
    """Give the system what is freed, where the C library can: after work that took much and is over."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
    if trim is not None:
        trim(0)
