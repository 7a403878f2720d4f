"""Damages files: bits, bytes, fields, rows."""

import csv
import io
import json
import random
import sqlite3
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

DEEP, DIGITS = "@deep@", "@digits@"

VALUES: tuple[Any, ...] = (
    *(None, True, False, "", "x", "5", [], {}, [[]], {"a": 1}),
    *(0, 1, -1, 2, 5, 10, 255, 10**9, 2**63, -(2**63) - 1, 10**29, 10**400),
    *(0.0, -0.0, 0.5, 1.0, 5.0, 1e-320, 1e30, 1e300, -1e300),
    *(float("nan"), float("inf"), float("-inf")),
    *(
        "nan",
        "\x1b[31m",
        "\x00",
        "\ud800",
        "\u202e",
        "a\nb",
        "<script>",
        "`|*_",
        "../../../etc",
        "x" * 200_000,
    ),
    *(DEEP, DIGITS, [0.5] * 500, list(range(2000))),
)


def damaged(draw: random.Random, content: bytes) -> bytes:
    """Return a file's content with a few bytes changed, cut out, doubled or added, or its end cut off."""
    for _ in range(draw.choice((1, 1, 2, 5))):
        place = draw.randrange(len(content) + 1)
        end = min(len(content), place + draw.choice((1, 8, 64, 4096)))
        chunk = content[place:end]
        content = draw.choice(
            (
                content[:place]
                + bytes(byte ^ (1 << draw.randrange(8)) for byte in chunk[:1])
                + content[place + 1 :],
                content[:place],
                content[:place] + content[end:],
                content[:end] + chunk + content[end:],
                content[:place] + draw.randbytes(len(chunk)) + content[end:],
                content[:place] + bytes(len(chunk)) + content[end:],
            )
        )
    return content


def damaged_json(draw: random.Random, content: bytes) -> bytes:
    """Return a JSON file with a few fields removed, doubled, exchanged or put to another value."""
    if draw.random() < 0.15:
        return damaged(draw, content)
    tree = json.loads(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        places = [*_places(tree)]
        if not places:
            break
        draw.choice(_CHANGES)(draw, *draw.choice(places), places)
    text = json.dumps(tree, indent=draw.choice((None, 2)))
    text = text.replace(f'"{DEEP}"', draw.choice((150, 100_000)) * "[").replace(f'"{DIGITS}"', "9" * 5000)
    return text.encode()


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Return every place of a JSON tree, as container and key."""
    found, left = [], [tree]
    while left:
        node = left.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        found += [(node, key) for key in keys]
        left += [node[key] for key in keys if isinstance(node[key], dict | list)]
    return found


def _put(draw: random.Random, node: Any, key: Any, places: list[Any]) -> None:
    del places
    node[key] = deepcopy(draw.choice(VALUES))


def _shift(draw: random.Random, node: Any, key: Any, places: list[Any]) -> None:
    """Change a number a little, so that it may still look right."""
    if isinstance(node[key], int | float) and not isinstance(node[key], bool):
        node[key] = draw.choice((node[key] + 1, node[key] - 1, -node[key], node[key] * 2, node[key] // 3))
    else:
        _put(draw, node, key, places)


def _remove(draw: random.Random, node: Any, key: Any, places: list[Any]) -> None:
    del draw, places
    del node[key]


def _add(draw: random.Random, node: Any, key: Any, places: list[Any]) -> None:
    del places
    if isinstance(node, list):
        node.insert(key, deepcopy(node[key]))
    else:
        node[draw.choice(("x", key + "_", "\x1b", "\ud800"))] = deepcopy(node[key])


def _exchange(draw: random.Random, node: Any, key: Any, places: list[Any]) -> None:
    other, there = draw.choice(places)
    node[key] = other[there] if not isinstance(other[there], dict | list) else deepcopy(draw.choice(VALUES))


_CHANGES: tuple[Callable[[random.Random, Any, Any, list[Any]], None], ...] = (
    _put,
    _shift,
    _shift,
    _remove,
    _add,
    _exchange,
)


def damaged_csv(draw: random.Random, content: bytes) -> bytes:
    """Return a CSV file with a few rows or cells removed, doubled, exchanged or put to another value."""
    if draw.random() < 0.15:
        return damaged(draw, content)
    rows = list(csv.reader(io.StringIO(content.decode())))
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        if not rows:
            break
        row, other = draw.randrange(len(rows)), draw.randrange(len(rows))
        column = draw.randrange(max(1, len(rows[row])))
        value = str(draw.choice(VALUES))[:150_000]
        match draw.randrange(7):
            case 0:
                del rows[row]
            case 1:
                rows.insert(row, rows[other])
            case 2:
                rows[row] = rows[other]
            case 3:
                rows[row], rows[other] = rows[other], rows[row]
            case 4:
                rows[row] = [*rows[row][:column], value, *rows[row][column + 1 :]]
            case 5:
                cell = rows[other][min(column, len(rows[other]) - 1)] if rows[other] else ""
                rows[row] = [*rows[row][:column], cell, *rows[row][column + 1 :]]
            case _:
                rows[row] = rows[row][:column] if draw.random() < 0.5 else [*rows[row], value]
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator=draw.choice(("\n", "\r\n"))).writerows(rows)
    return buffer.getvalue().encode("utf-8", "surrogatepass")


def damage_ledger(draw: random.Random, path: Path) -> None:
    """Change rows of a ledger, or bytes of its file."""
    if draw.random() < 0.3:
        path.write_bytes(damaged(draw, path.read_bytes()))
        return
    db = sqlite3.connect(path)
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for _ in range(draw.choice((1, 1, 2, 5))):
        table = draw.choice(tables)
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        column = draw.choice(columns)
        cells = [row[0] for row in db.execute(f"SELECT {column} FROM {table}")]
        if not cells:
            continue
        old = draw.choice(cells)
        new = draw.choice(
            (*cells[:20], *_SQL_VALUES, old[: len(old) // 2] if isinstance(old, bytes | str) else 7)
        )
        statement = draw.choice(
            (
                f"UPDATE OR IGNORE {table} SET {column} = :new WHERE {column} IS :old",
                f"UPDATE OR IGNORE {table} SET {column} = {column} + 1 WHERE {column} IS :old",
                f"DELETE FROM {table} WHERE {column} IS :old",
            )
        )
        try:
            db.execute(statement, {"new": new, "old": old})
        except sqlite3.IntegrityError:  # a value that the table itself refuses
            continue
    if draw.random() < 0.1:
        db.execute(f"DROP TABLE {draw.choice(tables)}")
    db.commit()
    db.close()


_SQL_VALUES = (
    0,
    1,
    -1,
    3,
    2**62,
    0.5,
    1e308,
    float("inf"),
    "seven",
    "",
    "x" * 200_000,
    b"",
    b"\xff" * 9,
    None,
)
