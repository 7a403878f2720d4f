"""How the process keeps freed memory, and returns it to the system."""

import ctypes
import gc
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
_LARGE = 1 << 30


def keep_freed_memory() -> bool:
    """Let the C library reuse freed blocks of up to 1 GiB, as it reuses small ones; return whether it will.

    By default glibc returns a freed block of over 32 MiB to the system at once. The activations of a large
    batch are such blocks, and the system fills them with zeros again in every pass. A pass of 1,000 MNIST
    images was measured to take up to 1.8 times as long, one of 250 images the same time (LOG.md, "Speed of
    gradients and training"). Use this only in robustlab's own process: it keeps freed memory until it ends.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGE)) and bool(mallopt(_TRIM_THRESHOLD, 2 * _LARGE - 1))


def give_back_freed_memory() -> None:
    """Return freed memory to the system, if the C library can; use it after work that needed much memory."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
    if trim is not None:
        trim(0)
