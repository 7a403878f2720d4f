"""Bends texts: what people mistype, and what nobody types."""

import random

STRANGE = (
    *(
        "\0",
        "\x1b[31m",
        "\x1b]0;title\x07",
        "\u202e",
        "\u2028",
        "\ud800",
        "\udcff",
        "\ufeff",
        "é",
        "漢",
        "\r",
        "\n",
        "\t",
    ),
    *(
        "%s",
        "{}",
        "${HOME}",
        "../../..",
        "\\d",
        '"',
        "'",
        "#",
        "=",
        "==",
        ",",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "**",
        "*",
    ),
    *("nan", "inf", "1e999", "-0", "0x", "1j", "None", "True", "..."),
)

HUGE = (
    lambda draw: "(" * draw.choice((50, 5000)),
    lambda draw: "9" * draw.choice((30, 5000)),
    lambda draw: "a" * draw.choice((300, 1_000_000)),
    lambda _: "-" * 5000 + "1",
    lambda draw: "x(y=" * draw.choice((50, 5000)) + ")" * 5000,
    lambda _: "[" * 5000 + "]" * 5000,
    lambda _: "1+" * 5000 + "1",
)


def bent(draw: random.Random, text: str) -> str:
    """Return the text with a few changes, and sometimes with none."""
    for _ in range(draw.choice((0, 1, 1, 1, 2, 3))):
        place = draw.randrange(len(text) + 1)
        end = min(len(text), place + draw.randrange(4))
        text = draw.choice((_insert, _delete, _double, _replace, _swell))(draw, text, place, end)
    return text


def word(draw: random.Random) -> str:
    """Return a text of a few strange pieces."""
    return "".join(draw.choice(STRANGE) for _ in range(draw.randrange(5)))


def _insert(draw: random.Random, text: str, place: int, end: int) -> str:
    del end
    return text[:place] + draw.choice(STRANGE) + text[place:]


def _delete(draw: random.Random, text: str, place: int, end: int) -> str:
    del draw
    return text[:place] + text[end:]


def _double(draw: random.Random, text: str, place: int, end: int) -> str:
    del draw
    return text[:end] + text[place:]


def _replace(draw: random.Random, text: str, place: int, end: int) -> str:
    return text[:place] + draw.choice(STRANGE) + text[end:]


def _swell(draw: random.Random, text: str, place: int, end: int) -> str:
    if draw.random() < 0.8:  # huge ones cost time
        return _insert(draw, text, place, end)
    return text[:place] + draw.choice(HUGE)(draw) + text[end:]
