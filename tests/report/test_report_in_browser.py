"""The report in a browser: no picture is broken, nothing overflows, and it prints."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from sample_evaluations import evaluation, flagged, hundred_classes, write_evaluation
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
  const panels = [...page.querySelectorAll(".panel")].filter(panel => panel.offsetHeight).length;
  const attacks = page.querySelector("#attacks .scroll"), flips = page.querySelector(".flips");
  const hidden = attacks ? attacks.scrollWidth - attacks.clientWidth : 0;
  const bottom = flips ? Math.round(flips.getBoundingClientRect().bottom) : 0;
  document.title = [page.documentElement.scrollWidth, page.images.length, broken, panels, hidden, bottom]
    .join(" ");
}}</script>"""


PAGES: dict[str, Callable[[Path], Path]] = {
    "study": write_run,
    "evaluation": lambda folder: write_evaluation(folder, evaluation()),
    "flagged": lambda folder: write_evaluation(folder, flagged()),
    "hundred_classes": lambda folder: write_evaluation(folder, hundred_classes()),
}


def started(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", *arguments]
    return subprocess.run(command, capture_output=True, check=True, timeout=120, encoding="utf-8")


def chromium(folder: Path, *arguments: str) -> str:
    return started(folder, *arguments).stdout


def messages(folder: Path, *arguments: str) -> str:
    return started(folder, *arguments).stderr


@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_overflows_in_a_browser(tmp_path: Path, name: str, width: int) -> None:
    page, frame = write_report(PAGES[name](tmp_path / "run")), tmp_path / "frame.html"
    frame.write_text(FRAME.format(page=page.as_uri(), width=width), encoding="utf-8")
    dumped = chromium(tmp_path, "--dump-dom", frame.as_uri())
    title = re.search(r"<title>(\d+) (\d+) (\d+) (\d+) (\d+) (\d+)</title>", dumped)
    assert title is not None
    laid_out, images, broken, panels, hidden, bottom = map(int, title.groups())
    assert laid_out == width
    assert images > 0
    assert broken == 0
    # One class is shown, without a script; all classes together if there are many.
    assert panels == (0 if name in {"study", "hundred_classes"} else 1)
    assert hidden == 0, "the attacks need no scrolling sideways"
    if width == 1280 and name != "study":
        assert 0 < bottom <= 800, "adversarial images are on the first screen"


@needs_chromium
@pytest.mark.parametrize("name", ["study", "evaluation"])
def test_nothing_breaks_the_security_policy(tmp_path: Path, name: str) -> None:
    page = write_report(PAGES[name](tmp_path / "run"))
    logged = ("--enable-logging=stderr", "--v=0", "--dump-dom")
    assert "Content Security Policy" not in messages(tmp_path, *logged, page.as_uri())
    styled = tmp_path / "styled.html"
    html = page.read_text(encoding="utf-8").replace("<main>", '<main style="color: red">')
    styled.write_text(html, encoding="utf-8")
    assert "Content Security Policy" in messages(tmp_path, *logged, styled.as_uri())


@needs_chromium
@pytest.mark.parametrize("name", ["study", "evaluation"])
def test_prints_on_paper(tmp_path: Path, name: str) -> None:
    target = tmp_path / "page.pdf"
    chromium(tmp_path, f"--print-to-pdf={target}", write_report(PAGES[name](tmp_path / "run")).as_uri())
    assert target.read_bytes().startswith(b"%PDF")
