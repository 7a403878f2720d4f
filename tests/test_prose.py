"""The documents are easy to read: short sentences, short lines, and no words of a private dialect."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = (*sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md", ROOT / "README.md")
MEAN_WORDS, MAX_WORDS, MAX_LINE = 25, 40, 120
DIALECT = re.compile(
    r"\b(?<!there )(?:is|are) no (?!longer\b)"
    r"|\b(?:anew|tell|tells|told|whatever|but for|vouch\w*)\b",
    flags=re.IGNORECASE,
)


def sentences(markdown: str) -> list[str]:
    """Return the sentences outside code blocks, tables and headings; a code span is one word."""
    markdown = re.sub(r"^```.*?^```$", "", markdown, flags=re.MULTILINE | re.DOTALL)
    markdown = re.sub(r"^(?:\||#|!\[).*$", "", markdown, flags=re.MULTILINE)
    markdown = re.sub(r"`[^`]+`", "Code", markdown)
    markdown = re.sub(r"\]\([^)]*\)", "]", markdown)
    found = []
    for paragraph in re.split(r"\n\s*\n|\n\s*(?:-|\d+\.)\s", markdown):
        found += re.split(r"(?<=[.!?])[*\")]*\s+(?=[*\"(\[]*(?:[A-Z]|robustlab|bf16))", paragraph)
    return [sentence for sentence in found if words(sentence)]


def words(sentence: str) -> int:
    return len([part for part in sentence.split() if re.search(r"\w", part)])


@pytest.fixture(params=DOCUMENTS, ids=lambda path: path.name)
def document(request: pytest.FixtureRequest) -> str:
    path: Path = request.param
    return path.read_text(encoding="utf-8")


def test_sentences_are_short(document: str) -> None:
    lengths = [words(sentence) for sentence in sentences(document)]
    assert sum(lengths) / len(lengths) <= MEAN_WORDS
    longest = max(sentences(document), key=words)
    assert words(longest) <= MAX_WORDS, longest


def test_lines_are_short(document: str) -> None:
    lines = [line for line in document.splitlines() if not line.startswith("|")]
    assert [line for line in lines if len(line) > MAX_LINE] == []


def test_words_are_standard(document: str) -> None:
    found = [sentence for sentence in sentences(document) if DIALECT.search(sentence)]
    assert found == []


def test_a_sentence_is_counted() -> None:
    text = "# A head\n\nTwo words. `a b c` is code, (see [here](there.md)).\n\n- One\n  item.\n\n| a | b |\n"
    assert list(map(words, sentences(text))) == [2, 5, 2]
    assert words("Words - of a sentence.") == 4
    assert DIALECT.search("A list is no tensor.")
    assert not DIALECT.search("There is no reason. It is no longer there.")
