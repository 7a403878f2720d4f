"""Numbers as text for readers."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from robustlab.core.text import LONG_DECIMAL, of_255, respelled
from robustlab.runs.records import ComputeRecord, Figure

NBSP = "\u00a0"

_FINE = 5000
"""For at least this many images, the second decimal of a percentage is significant."""


NO_ANSWER = -1
"""The class of an image without a valid answer."""


def class_name(number: int, names: Sequence[str]) -> str:
    """Return the name of a class, or its number; both if the name is not unique."""
    if number == NO_ANSWER:
        return "no answer"
    if number >= len(names):
        return str(number)
    return names[number] if names.count(names[number]) == 1 else f"{names[number]} ({number})"


def decimals(n: int) -> int:
    """Return how many decimals are significant in a percentage of ``n`` images."""
    return 2 if n >= _FINE else 1


def percent(value: float, places: int = 1) -> str:
    """Return ``99.1 %``, with a non-breaking space."""
    return f"{100 * value:.{places}f}{NBSP}%"


def reference(value: float) -> str:
    """Return a study's figure with its own decimals: ``99 %``, ``96.5 %``."""
    return f"{100 * value:.4g}{NBSP}%"


def share(figure: Figure) -> str:
    """Return a figure's value as a percentage."""
    return percent(figure.value, decimals(figure.n))


def interval(figure: Figure) -> str:
    """Return a figure's interval in percent, ``98.90 – 99.27``."""
    places = decimals(figure.n)
    return f"{100 * figure.low:.{places}f}{NBSP}–{NBSP}{100 * figure.high:.{places}f}"


def score(value: float) -> str:
    """Return a score in [0, 1] such as an AUROC."""
    return f"{value:.3f}"


def score_interval(figure: Figure) -> str:
    """Return the interval of a score in [0, 1]."""
    return f"{figure.low:.3f}{NBSP}–{NBSP}{figure.high:.3f}"


def count(value: float) -> str:
    """Return a whole number with thousands separators."""
    return f"{round(value):,}"


def distance(value: float) -> str:
    """Return a length with three decimals or as ``8/255``, and no movement as 0."""
    return of_255(value) or f"{value:.3f}" if value else "0"


def number(value: float) -> str:
    """Return a number with at most three decimals without trailing zeros."""
    return f"{round(value, 3) + 0.0:g}"


def factors(values: Mapping[str, float]) -> str:
    """Return the values of factors: ``scale = 0.5``."""
    return ", ".join(f"{name} = {value:g}" for name, value in values.items())


def passes(total: int, n: int) -> str:
    """Return how many of ``total`` passes were spent on each of ``n`` images."""
    each = total / n if n else 0.0
    return f"{each:,.1f}".removesuffix(".0")


def duration(seconds: float) -> str:
    """Return seconds as ``0.3 s``, ``34 s``, ``3 min 05 s`` or ``1 h 02 min``."""
    if seconds < 0.05:
        return f"<{NBSP}0.1{NBSP}s"
    if seconds < 9.95:
        return f"{seconds:.1f}{NBSP}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{NBSP}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}{NBSP}min{NBSP}{rest:02}{NBSP}s"
    return f"{minutes // 60}{NBSP}h{NBSP}{minutes % 60:02}{NBSP}min"


def machine(compute: ComputeRecord) -> str:
    """Return the device with its threads, the instruction set, and the limits on it."""
    threads = counted(compute.threads, "thread")
    used = {number: share for number, share in compute.threads_used.items() if share >= 0.005}
    if used and [*used] != [compute.threads]:
        each = (f"{number}: {100 * share:.0f}{NBSP}%" for number, share in used.items())
        threads += f" at most ({', '.join(each)} of the time)"
    parts = [f"{compute.device_name} ({compute.device})", threads]
    if compute.instruction_set:
        parts.append(f"instruction set {compute.instruction_set}")
    return ", ".join([*parts, *(f"{name}={value}" for name, value in compute.caps.items())])


def search(compute: ComputeRecord) -> str:
    """Return the precision of an evaluation's search, the reason for it, and the batch size."""
    groups, timed = f"search in {compute.training_precision}", compute.pass_time
    if timed is not None:
        times = f"{timed.fp32:.3g}{NBSP}s in fp32, {timed.bf16:.3g}{NBSP}s in bf16"
        groups += f" (a pass of {counted(timed.images, 'image')} forward and back takes {times})"
    size = compute.batch_size
    return f"{groups}, {counted(size, 'image')} at once" if size is not None else groups


def spec(text: str | None) -> str:
    """Return a spec with its long decimals shortened: ``step=0.03333333333333333`` to ``step=0.0333``."""
    return LONG_DECIMAL.sub(lambda match: f"{float(match[0]):.3g}", respelled(text or "–"))


def first_word(attack: str) -> str:
    """Return the name that a spec begins with."""
    return attack.partition("(")[0]


def moment(created: str) -> str:
    """Return an ISO time as ``22 November 2026, 11:35 UTC``, or the text itself if it is not an ISO time."""
    try:
        time = datetime.fromisoformat(created).astimezone(UTC)
    except ValueError:
        return created
    # strftime's month names depend on the machine's language; the report is in English.
    return f"{time.day} {_MONTHS[time.month - 1]} {time:%Y, %H:%M} UTC"


_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return ``1 image`` or ``1,200 images``."""
    return f"{count(number)}{NBSP}{noun if number == 1 else plural or noun + 's'}"


def listing(parts: list[str], last: str = "and") -> str:
    """Join parts as ``a, b and c``."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def slug(text: str) -> str:
    """Return a text as a part of a file name or anchor, of at most 60 characters."""
    return re.sub(r"[^a-z0-9_]+", "-", text.lower())[:60].strip("-") or "x"
