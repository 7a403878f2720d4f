"""The experiment log: every entry is complete, and whoever refers to it names an entry that exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOG = (ROOT / "LOG.md").read_text(encoding="utf-8")
PARTS = ["Question", "Setup", "Result", "Decision"]
ENTRIES = re.split(r"^## ", LOG, flags=re.MULTILINE)[1:]
HEADINGS = [entry.splitlines()[0] for entry in ENTRIES]
TITLES = [heading.partition(": ")[2] for heading in HEADINGS]
DATES = [heading.partition(": ")[0] for heading in HEADINGS]
CODE = [path for folder in ("src", "benchmarks", "tests") for path in sorted((ROOT / folder).rglob("*.py"))]
DOCUMENTS = [path for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")) if path.name != "LOG.md"]


def anchor(heading: str) -> str:
    """Return what GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def unwrapped(text: str) -> str:
    """Return a text with its line breaks and the signs of comments taken out."""
    return re.sub(r"\s*\n\s*(?:# )?", " ", text)


@pytest.mark.parametrize("entry", ENTRIES, ids=HEADINGS)
def test_an_entry_has_a_dated_heading_and_four_parts(entry: str) -> None:
    assert re.match(r"\d{4}-\d\d-\d\d: \S", entry)
    assert re.findall(r"^- \*\*(\w+)\.\*\*", entry, flags=re.MULTILINE) == PARTS


def test_entries_are_newest_first_and_titles_are_unique() -> None:
    assert sorted(DATES, reverse=True) == DATES
    assert len(set(TITLES)) == len(TITLES)


def test_no_line_of_the_log_is_too_long() -> None:
    assert [line for line in LOG.splitlines() if len(line) > 120] == []


def test_code_names_entries_that_exist() -> None:
    named = set()
    for path in CODE:
        if path == Path(__file__):
            continue
        for title in re.findall(
            r'(?<!CHANGE)LOG\.md(?:, "([^"]+)")?', unwrapped(path.read_text(encoding="utf-8"))
        ):
            assert title in TITLES, f"{path.relative_to(ROOT)} names no entry of LOG.md: {title!r}"
            named.add(title)
    assert named, "the search finds nothing"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents_link_to_entries_that_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?:\.\./)?LOG\.md#([^)]+)\)", text):
        assert target in map(anchor, HEADINGS), f"{path.name} links to {target}"
    rest = re.sub(r"\]\([^)]*\)", "", text)
    assert not re.search(r"(?<!CHANGE)LOG\.md", rest), f"{path.name} names the log without a link"


def test_entries_that_entries_name_exist() -> None:
    for title in re.findall(r'entr(?:y|ies) "([^"]+)"', unwrapped(LOG)):
        assert title in TITLES
