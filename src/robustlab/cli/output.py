"""Keeps standard output for the result of a command; prints of a user's code go to standard error."""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from typing import Any, Self, TextIO

_OUT, _ERR = 1, 2


@contextlib.contextmanager
def kept_for_the_result() -> Iterator[None]:
    """Send writes to standard output inside the block to standard error, those of C code too.

    C code writes to the file descriptors, even if `sys.stdout` is another object, as in a notebook.
    """
    with contextlib.ExitStack() as stack:
        stack.callback(_reopen)
        with contextlib.suppress(AttributeError, OSError, ValueError):
            sys.stdout.flush()
            kept = os.dup(_OUT)
            stack.callback(os.close, kept)
            os.dup2(_ERR, _OUT)
            stack.callback(os.dup2, kept, _OUT)
            stack.callback(_flush_c)
        if sys.stderr is not None:
            kept_open: Any = _KeptOpen(sys.stderr)
            stack.enter_context(contextlib.redirect_stdout(kept_open))
            stack.enter_context(contextlib.redirect_stderr(kept_open))
        yield


class _KeptOpen:
    """A stream that stays open even if a user's code closes it, or uses it in a ``with``."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._stream.flush()

    detach = close


def open_all_streams() -> None:
    """Open the standard streams that the caller has closed, so that no other file gets their numbers."""
    for descriptor in (0, _OUT, _ERR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number
    _reopen()


def _reopen() -> None:
    """Replace a standard stream that is missing or closed."""
    for name, descriptor in (("stdout", _OUT), ("stderr", _ERR)):
        if getattr(getattr(sys, name), "closed", getattr(sys, name) is None):
            setattr(sys, name, open(descriptor, "w", errors="replace", closefd=False))  # noqa: SIM115 (stays open)


class Forgiving:
    """Standard error whose write errors, such as a full disk or a closed pipe, stop no work."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text; drop it after an error."""
        try:
            return self._stream.write(text)
        except OSError:
            self._give_up()
            return len(text)

    def flush(self) -> None:
        """Write the buffer; drop it after an error."""
        try:
            self._stream.flush()
        except OSError:
            self._give_up()

    def _give_up(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        with contextlib.suppress(OSError, ValueError):
            os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


def close_for_the_rest() -> None:
    """Send later prints, while the process ends, to standard error; the result is complete."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stdout.flush()
        os.dup2(_ERR, _OUT)


def _flush_c() -> None:
    """Write the buffer of C's ``printf``, before standard output changes."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # a system without such a library
        ctypes.CDLL(None).fflush(None)
