"""The report in a browser: no picture is broken, nothing overflows, and it prints."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from sample_results import write_run

from robustlab.report import write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--allow-file-access-from-files",
    "--virtual-time-budget=5000",
)
# A frame is laid out at exactly its width, which a headless window may be too wide for.
FRAME = """<!DOCTYPE html><body style="margin: 0">
<iframe src="{page}" style="border: 0" width="{width}" height="900"></iframe>
<script>onload = () => {{
  const page = document.querySelector("iframe").contentDocument;
  const broken = [...page.images].filter(image => !image.naturalWidth).length;
  document.title = `${{page.documentElement.scrollWidth}} ${{page.images.length}} ${{broken}}`;
}}</script>"""


def chromium(folder: Path, *arguments: str) -> str:
    assert CHROMIUM is not None
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", *arguments]
    return subprocess.run(command, capture_output=True, check=True, timeout=120, encoding="utf-8").stdout


@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_overflows_in_a_browser(tmp_path: Path, width: int) -> None:
    page, frame = write_report(write_run(tmp_path / "run")), tmp_path / "frame.html"
    frame.write_text(FRAME.format(page=page.as_uri(), width=width), encoding="utf-8")
    title = re.search(r"<title>(\d+) (\d+) (\d+)</title>", chromium(tmp_path, "--dump-dom", frame.as_uri()))
    assert title is not None
    laid_out, images, broken = map(int, title.groups())
    assert laid_out == width
    assert images > 0
    assert broken == 0


@needs_chromium
def test_prints_on_paper(tmp_path: Path) -> None:
    target = tmp_path / "page.pdf"
    chromium(tmp_path, f"--print-to-pdf={target}", write_report(write_run(tmp_path / "run")).as_uri())
    assert target.read_bytes().startswith(b"%PDF")
