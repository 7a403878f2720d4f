"""Opens a page if there is a display."""

import os
import sys
import webbrowser
from pathlib import Path

import typer


def show(page: Path) -> None:
    """Open a page in the user's browser; without a display print its path."""
    headless = sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    if headless or not webbrowser.open(page.resolve().as_uri()):
        typer.echo(f"There is no display to open a browser on; the report is {page.resolve()}", err=True)
