"""Ctrl-C ends the command with exit code 130 and without a traceback, whenever it comes and however often.

Only what loads nothing else is imported here: this is the first thing that the command does.
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
    """End the process at once. What is finished is on the disk: a run survives being killed at any moment."""
    del number, frame
    with contextlib.suppress(OSError):
        # Bars that are being drawn have hidden the cursor.
        os.write(2, b"\x1b[?25h\nStopped.\n" if os.isatty(2) else b"\nStopped.\n")
    os._exit(EXIT_CODE)


def _first(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    signal.signal(signal.SIGINT, leave)
    raise KeyboardInterrupt


def leave_on_ctrl_c() -> None:
    """End the process at the first Ctrl-C from here on: while modules are loaded, and at its very end.

    A process that is deaf to Ctrl-C, as those in a shell's background are, stays so.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, leave)
        sys.unraisablehook = _report


def _report(problem: "sys.UnraisableHookArgs") -> None:
    # Raised where Python can only report it, as in a destructor.
    if issubclass(problem.exc_type, KeyboardInterrupt):
        leave()
    sys.__unraisablehook__(problem)


@contextlib.contextmanager
def orderly() -> Iterator[None]:
    """Raise `KeyboardInterrupt` at the first Ctrl-C inside the block, so that what is open is closed."""
    ours = signal.getsignal(signal.SIGINT) is leave
    if ours:
        signal.signal(signal.SIGINT, _first)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, leave)
