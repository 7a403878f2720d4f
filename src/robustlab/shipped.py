"""What comes with robustlab as files, by name: recipes, and the networks of the zoo."""

import importlib.metadata
from pathlib import Path

from robustlab.core.untrusted import read_json

RECIPES = (Path(__file__).parent / "recipes", Path(__file__).parents[2] / "recipes")
"""Where the recipes that come with robustlab lie: in an installed package, and in a checkout."""

ZOO = Path(__file__).parent / "models" / "zoo"


def shipped_recipes() -> dict[str, Path]:
    """Return the recipes that come with robustlab by name."""
    return {path.stem: path for folder in reversed(RECIPES) for path in sorted(folder.glob("*.toml"))}


def zoo_names() -> dict[str, str]:
    """Return the name of every network of the zoo, with what it is in one line."""
    own = {path.stem: str(read_json(path)["title"]) for path in ZOO.glob("*.json")}
    return dict(sorted(({entry.name: f"of {entry.value}" for entry in zoo_entries()} | own).items()))


def zoo_entries() -> importlib.metadata.EntryPoints:
    """Return what other packages add to the zoo."""
    return importlib.metadata.entry_points(group="robustlab.zoo")
