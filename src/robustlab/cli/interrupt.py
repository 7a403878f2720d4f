"""Ctrl-C ends the command with exit code 130 and without a traceback, at any time.

This module imports only modules that load nothing else, since the command imports it first.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

EXIT_CODE = 130


def leave(number: int = signal.SIGINT, frame: FrameType | None = None) -> NoReturn:
    """End the process at once. Finished work is on the disk, so a run may be killed at any time."""
    del number, frame
    with contextlib.suppress(OSError):
        # Progress bars hide the cursor.
        os.write(2, b"\x1b[?25h\nStopped.\n" if os.isatty(2) else b"\nStopped.\n")
    os._exit(EXIT_CODE)


def _first(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    signal.signal(signal.SIGINT, leave)
    raise KeyboardInterrupt


def leave_on_ctrl_c() -> None:
    """End the process at the first Ctrl-C from now on, also while modules load and while it ends.

    A process that ignores Ctrl-C, such as one in the background of a shell, still ignores it.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, leave)
        sys.unraisablehook = _report


def _report(problem: "sys.UnraisableHookArgs") -> None:
    # For a KeyboardInterrupt that Python can only report, such as one in a destructor.
    if issubclass(problem.exc_type, KeyboardInterrupt):
        leave()
    sys.__unraisablehook__(problem)


@contextlib.contextmanager
def orderly() -> Iterator[None]:
    """Raise `KeyboardInterrupt` at the first Ctrl-C inside the block, so that open files are closed."""
    ours = signal.getsignal(signal.SIGINT) is leave
    if ours:
        signal.signal(signal.SIGINT, _first)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, leave)
