"""What holds for every input: it is taken, or refused in one line, soon and without a flood of memory."""

import random
import resource
import signal
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import psutil

from fuzz.registry import FAMILIES
from robustlab.core.errors import RobustlabError
from robustlab.core.text import MESSAGE_LIMIT

SECONDS = 120.0
"""The longest that one input may take on a busy machine; most take a few milliseconds."""

MEMORY = 2 * 1024**3
"""The bytes of memory that one input may ask for beyond what the process has."""


class TooSlow(BaseException):
    """An input took longer than it may. No ``except Exception`` swallows it."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one input.

    Attributes:
        refused: whether a `RobustlabError` came.
        fault: what broke the law, in words, with its traceback; empty if nothing did.
    """

    refused: bool
    fault: str


def try_input(name: str, seed: int, index: int, folder: Path | None = None) -> Outcome:
    """Make input number ``index`` of a family and try it; the same numbers make the same input.

    Args:
        name: the family.
        seed: of all inputs of a round.
        index: which of them.
        folder: an empty folder for its files; default: one that is removed afterwards.
    """
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
            return try_input(name, seed, index, Path(temporary))
    attempt = FAMILIES[name](random.Random(f"{name}/{seed}/{index}"), folder)
    try:
        with warnings.catch_warnings(), _limited():
            warnings.simplefilter("error")
            attempt()
    except RobustlabError as error:
        return Outcome(refused=True, fault=unfit(str(error), error.limit))
    except (Exception, SystemExit, TooSlow):
        return Outcome(refused=False, fault=traceback.format_exc())
    return Outcome(refused=False, fault="")


def unfit(message: str, limit: int = MESSAGE_LIMIT) -> str:
    """Say why a message is unfit for a terminal; empty if it is fit."""
    if not message.strip():
        return "an error without a message"
    if len(message) > limit:
        return f"a message of {len(message)} characters: {message[:limit]!r}..."
    if not message.isprintable():
        return f"a message with line breaks or control characters: {message!r}"
    return ""


@contextmanager
def _limited() -> Iterator[None]:
    """Bound time and memory inside the block; what is too much raises there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = psutil.Process().memory_info().vms + MEMORY
    late = False

    def ring(number: int, frame: FrameType | None) -> None:
        nonlocal late
        del number, frame
        late = True
        raise TooSlow(f"longer than {SECONDS:g} seconds")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    try:
        yield
    except RobustlabError as error:
        if late:  # robustlab took it for an error of the user's code
            raise TooSlow(f"longer than {SECONDS:g} seconds, then: {error}") from error
        raise
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
