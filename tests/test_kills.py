"""A short round of `benchmarks/kills.py`; docs/reliability.md has the figures of a long one."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "kills.py"


@pytest.mark.skipif(sys.platform == "win32", reason="the campaign forks")
def test_a_short_campaign_loses_nothing() -> None:
    command = [sys.executable, str(SCRIPT), "--kills", "3", "--seconds", "60", "--only", "evaluation"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lost: 0" in done.stdout
    assert int(done.stdout.splitlines()[-1].split()[0]) >= 1, "nothing was killed"
