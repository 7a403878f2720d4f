"""Calls a user's code: an exception becomes one line, and changed settings are restored."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from robustlab.core.errors import RobustlabError
from robustlab.core.installed import is_library_file, is_robustlabs
from robustlab.core.isolation import callers_settings, other_default_device, put_back
from robustlab.core.text import one_line

_LONGEST = 200
"""Characters of a user's message that are shown."""

_NO_MEMORY = (
    "DefaultCPUAllocator",  # torch has no class of its own for it on a CPU
    "bad_alloc",
    "out of memory",  # of MPS, and of CUDA's driver
    "ALLOC_FAILED",  # of cuBLAS and cuDNN
)


class UserCodeError(RobustlabError):
    """A user's code raised something; it is the error's ``__cause__``."""

    @property
    def quits(self) -> bool:
        """Whether the code meant to end the program, like `sys.exit`; no code may treat this as an answer."""
        return not isinstance(self.__cause__, Exception)


class calling:  # noqa: N801 (used as a function)
    """Run a user's code in the block; anything but Ctrl-C that it raises is a `UserCodeError`.

    An out-of-memory error passes unchanged; the caller explains it. Process-wide settings that the code
    changes are restored.

    Args:
        what: whose code it is, such as "the model".
        doing: what it was called for, such as " on images of shape (2, 1, 28, 28)".
    """

    def __init__(self, what: str, doing: str = "") -> None:
        self.what, self.doing = what, doing

    def __enter__(self) -> None:
        self._settings = callers_settings()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        put_back(self._settings)
        if error is None or is_ctrl_c(error):
            return
        if is_out_of_memory(error) or _is_ours(error):
            return
        raise UserCodeError(f"{self.what} failed{self.doing}: {blame(error)}") from error


def is_ctrl_c(error: BaseException) -> bool:
    """Return whether the user stops the program; a subclass of KeyboardInterrupt is the code's own."""
    return type(error) is KeyboardInterrupt


def _is_ours(error: BaseException) -> bool:
    """Return whether an error is robustlab's own; a user's code may raise a subclass of one."""
    return isinstance(error, RobustlabError) and is_robustlabs(type(error))


@contextmanager
def blaming(what: str) -> Iterator[None]:
    """Run robustlab's code and a user's in the block; an error of the user's is a `UserCodeError`.

    Errors of robustlab, of its output and of memory pass unchanged.

    Args:
        what: what is being done, such as an attack's name.
    """
    try:
        yield
    except BaseException as error:
        if is_ctrl_c(error) or _is_ours(error):
            raise
        trace = traceback.extract_tb(error.__traceback__)
        # If the reader of the progress has ended, this error passes through the user's code but does not come
        # from it.
        unread = isinstance(error, BrokenPipeError) or not isinstance(error, Exception)
        if is_out_of_memory(error) or not _own(trace[-1:] if unread else trace):
            raise
        raise UserCodeError(f"{what} can't work: {blame(error)}") from error


def ask(model: nn.Module, images: Tensor) -> Any:
    """Return a model's answer to images (N, C, H, W); an error of the model is a `UserCodeError`."""
    # If the user has made a GPU the default device, the model's code may rely on that.
    default = images.device if other_default_device() else nullcontext()
    with calling("the model", f" on images of shape {tuple(images.shape)} (N, C, H, W)"), default:
        return model(images)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on any device."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(sign in _message(error) for sign in _NO_MEMORY)
    )


def raised_by_users_code(error: BaseException) -> bool:
    """Return whether the line that raised an error is the user's own, such as a signal handler."""
    return bool(_own(traceback.extract_tb(error.__traceback__)[-1:]))


def blame(error: BaseException) -> str:
    """Describe an error in one line, with the line of the user's code that raised it."""
    text = in_one_line(error)
    own = _own(traceback.extract_tb(error.__traceback__))
    return f"{text} ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else text


def in_one_line(error: BaseException) -> str:
    """Return an error's type and message."""
    return f"{type(error).__name__}: {_message(error)}".rstrip(": ")


def _message(error: BaseException) -> str:
    """Return an error's message in one line of a bounded length that a terminal can show."""
    try:
        text = str(error)[: 10 * _LONGEST]
    except BaseException as wrong:  # the message is the user's code too
        if is_ctrl_c(wrong):
            raise
        return f"(its message can't be shown: {type(wrong).__name__})"
    return one_line(text, _LONGEST)


def _own(frames: list[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    """Return the frames of the user's own code."""
    return [frame for frame in frames if not is_library_file(frame.filename)]
