"""How a message shows a user's values: one short line without control characters."""

import re
import reprlib

MESSAGE_LIMIT = 300
"""The longest message, in characters; longer ones are cut in the middle."""

_VALUE_LIMIT = 60

_LAYOUT = "\n\t\u00a0\u202f"
"""Line breaks and spaces that are safe on a terminal."""

LONG_DECIMAL = re.compile(r"\d+\.\d{5,}(e-?\d+)?")
"""A number with many decimals, which nobody typed in a spec."""

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _VALUE_LIMIT
_short.maxlong = 40
_short.maxlevel = 2


def one_line(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """Return a text in one line of at most ``limit`` characters, all of them printable.

    White space becomes single spaces. Control characters, those that turn the direction of writing, and
    halves of surrogate pairs are written as Python does (``\\x1b``). A text that is too long is cut in the
    middle.
    """
    ends = 4 * limit  # the whole text is not needed to cut it
    if len(text) > 2 * ends:
        text = f"{text[:ends]} {text[-ends:]}"
    line = printable(" ".join(text.split()))
    if len(line) <= limit:
        return line
    tail = limit // 3
    return f"{line[: limit - tail - 5]} ... {line[-tail:]}"


def printable(text: str) -> str:
    """Return a text without characters that control a terminal; line breaks stay."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in _LAYOUT else repr(sign)[1:-1] for sign in text)


def file_part(text: str) -> str:
    """Return a name or a spec as a part of a file's name, of at most 60 bytes.

    Of a path only the last part stays, and of an argument its value: ``folder(path='my/photos', crop=224)``
    becomes ``folder-photos-224``.
    """
    plain = re.sub(r"\b\w+=|[^(),='\"]*[/\\\\]+(?=[^(),='\"])", "", text)
    return re.sub(r"[^\w.-]+", "-", plain).strip("-").encode()[:60].decode(errors="ignore")


def a_kind(value: object) -> str:
    """Return the name of a value's type with its article: ``an int``, ``the class PGD``, ``None``."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return "None" if value is None else with_article(type(value).__name__)


def with_article(noun: str) -> str:
    """Return ``a classifier``, ``an autoencoder``."""
    return f"{'an' if noun[:1].lower() in set('aeiou') else 'a'} {noun}"


def shown(value: object) -> str:
    """Return a value as Python writes it, shortened and in one line, to name it in a message."""
    try:
        text = _short.repr(value)
    except Exception:  # an integer of 5,000 digits, or an object whose own repr fails
        text = f"<{type(value).__name__}>"
    return one_line(text, 2 * _VALUE_LIMIT)


def spelled(value: float) -> str:
    """Return a number as Python writes it, and a number of 8-bit levels or half ones as ``8/255``.

    Both texts are the same number. 1/3 and 1/30 are levels too, but users rarely mean them as such.
    """
    halves = round(510 * value) if 0 < value < 256 else 0
    fraction = f"{halves / 2:g}"
    of_levels = halves % (17 if halves % 2 else 170) and float(fraction) / 255 == value
    return f"{fraction}/255" if of_levels and len(fraction) + 4 < len(repr(value)) else repr(value)


def respelled(spec: str) -> str:
    """Return a spec with its long decimals written by `spelled`, as robustlab writes specs now."""
    return LONG_DECIMAL.sub(lambda match: spelled(float(match[0])), spec)


def level(value: float) -> str:
    """Return a length on the pixel scale: ``0.3``, ``2``, and ``8/255`` rather than ``0.0314``."""
    if float(f"{value:.3g}") == value:
        return f"{value:.3g}" if value < 1000 else f"{value:.0f}"
    return of_255(value) or f"{value:.4g}"


def of_255(value: float) -> str:
    """Return ``8/255`` for such a number, also one that was measured in float32; empty for any other.

    Multiples of 51/255 are short decimals, such as 0.2.
    """
    whole = round(255 * value)
    return f"{whole}/255" if 0 < value < 1 and whole % 51 and abs(255 * value - whole) < 1e-4 else ""
