"""Files that come with robustlab, by name: recipes, networks of the zoo, and texts on the checks."""

import importlib.metadata
import json
import re
from pathlib import Path
from typing import NamedTuple

RECIPES = (Path(__file__).parent / "recipes", Path(__file__).parents[2] / "recipes")
"""The folders of the recipes that come with robustlab: in an installed package, and in a checkout."""

ZOO = Path(__file__).parent / "models" / "zoo"


_FLAGS = (Path(__file__).parent / "report" / "flags.md", Path(__file__).parents[2] / "docs" / "flags.md")
"""The files that describe each check: in an installed package, and in a checkout."""

_SECTION = re.compile(r"^## (\S+)\n\n\*([^\n]*)\*\n(.*?)(?=^## |\Z)", flags=re.MULTILINE | re.DOTALL)
"""The heading, which is a check's id; its title; the text."""


class CheckText(NamedTuple):
    """The text on a check in docs/flags.md: its claim in one line, and the text in Markdown."""

    title: str
    text: str


def check_texts() -> dict[str, CheckText]:
    """Return the text on each check, by its id; empty if the document is missing."""
    file = next((file for file in _FLAGS if file.is_file()), None)
    sections = [] if file is None else _SECTION.findall(file.read_text(encoding="utf-8"))
    return {name: CheckText(title, text.strip()) for name, title, text in sections}


def shipped_recipes() -> dict[str, Path]:
    """Return the recipes that come with robustlab by name."""
    return {path.stem: path for folder in reversed(RECIPES) for path in sorted(folder.glob("*.toml"))}


def zoo_names() -> dict[str, str]:
    """Return the name of every network of the zoo, with what it is in one line."""
    # These files are a part of robustlab, so they need no checks, which take long to load.
    own = {path.stem: str(json.loads(path.read_bytes())["title"]) for path in ZOO.glob("*.json")}
    return dict(sorted(({entry.name: f"of {entry.value}" for entry in zoo_entries()} | own).items()))


def zoo_entries() -> importlib.metadata.EntryPoints:
    """Return the networks that other packages add to the zoo."""
    return importlib.metadata.entry_points(group="robustlab.zoo")
