"""Standard output belongs to the result of a command; what a user's code prints goes to standard error."""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def kept_for_the_result() -> Iterator[None]:
    """Send what is written to standard output inside the block to standard error, from C code too.

    Where there is no descriptor behind one of them, as in a notebook, this holds for Python's `print` alone.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(AttributeError, OSError, ValueError):
            sys.stdout.flush()
            out, err = sys.stdout.fileno(), sys.stderr.fileno()
            kept = os.dup(out)
            stack.callback(os.close, kept)
            os.dup2(err, out)
            stack.callback(os.dup2, kept, out)
            stack.callback(_flush_c)
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield


def close_for_the_rest() -> None:
    """Send what is still printed while the process ends to standard error; the result is complete."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stdout.flush()
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())


def _flush_c() -> None:
    """Write what C's ``printf`` holds back, while it still goes where it should."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # a system without such a library
        ctypes.CDLL(None).fflush(None)
