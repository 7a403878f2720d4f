"""The docstrings and comments of the source are easy to read, by the same rules as the documents."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

import pytest

from test_prose import DIALECT, MAX_WORDS, MEAN_WORDS, sentences, words

SOURCE = Path(__file__).parents[1] / "src" / "robustlab"
SECTION = re.compile(r"^(?:Args|Attributes|Raises|Returns|Yields):$", re.MULTILINE)
ENTRY = re.compile(r"^ {4}(?=[\w*][\w*, ]*: )", re.MULTILINE)
"""Where an entry of a section begins, such as ``    steps: how many``: it is a sentence of its own."""
DRAWN = re.compile(r"^(?:\S+ {4,}|[├└]).*$", re.MULTILINE)
"""A line of a table or a tree: no prose."""
OLD_WORDS = re.compile(r"\b(?:in the place of|from which on|yardstick|realis\w+)\b", re.IGNORECASE)


def docstrings(source: str) -> Iterator[str]:
    """Yield every text that stands alone as a statement, also the one below an attribute."""
    for node in ast.walk(ast.parse(source)):
        value = node.value if isinstance(node, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            text = DRAWN.sub("", SECTION.sub("", cleandoc(value.value)))
            yield ENTRY.sub("\n", text)


def comments(source: str) -> Iterator[str]:
    """Yield every comment; lines of comments below each other are one."""
    block: list[str] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            block.append(token.string.lstrip("# "))
        elif token.type != tokenize.NL and block:
            yield " ".join(block)
            block = []


def prose(source: str) -> list[str]:
    """Return the sentences of the docstrings and comments of a module."""
    return [sentence for text in (*docstrings(source), *comments(source)) for sentence in sentences(text)]


@pytest.fixture(params=sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def module(request: pytest.FixtureRequest) -> list[str]:
    path: Path = request.param
    return prose(path.read_text(encoding="utf-8"))


def test_sentences_are_short(module: list[str]) -> None:
    lengths = [words(sentence) for sentence in module]
    assert sum(lengths) <= MEAN_WORDS * len(lengths)
    assert [sentence for sentence in module if words(sentence) > MAX_WORDS] == []


def test_words_are_standard(module: list[str]) -> None:
    found = [sentence for sentence in module if DIALECT.search(sentence) or OLD_WORDS.search(sentence)]
    assert found == []


def test_docstrings_and_comments_are_read() -> None:
    source = '''
def run(a, b):
    """Run it.

    Args:
        a: the first one,
            of two.
        b: the second one.
    """
    # One comment
    # in two lines.
    return a  # another one


SIZE = 1
"""A size."""
'''
    assert sorted(map(words, prose(source))) == [2, 2, 2, 4, 5, 6]
