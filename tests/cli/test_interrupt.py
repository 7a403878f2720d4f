"""Ctrl-C at every moment of a command: exit code 130 and no traceback."""

import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as Unix does")

SEND_AT_IMPORT = """
import os, signal, sys, runpy
target, times = sys.argv[1], int(sys.argv[2])
sys.argv[1:] = sys.argv[3:]

class Sender:
    def find_spec(self, name, path=None, target_module=None):
        if name == target:
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Sender())
runpy.run_module("robustlab", run_name="__main__")
"""

MODEL = """
import os, signal, threading, time
from torch import nn

def send():
    for _ in range(5):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.002)

class Net(nn.Module):
    def forward(self, images):
        threading.Thread(target=send).start()
        time.sleep(9)
        return images.flatten(1)[:, :10]
"""


def started(*arguments: str, cwd: Path) -> "subprocess.Popen[str]":
    # What runs in a shell's background is deaf to Ctrl-C, and so are its children unless they are told.
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def stopped(process: "subprocess.Popen[str]") -> str:
    """Return what a process said that ended as it should."""
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "KeyboardInterrupt" not in said
    return said


EVALUATE = ["evaluate", "--model", "net.py:Net", "--dataset", "digits", "-n", "20", "--attacks", "fgsm"]
EVALUATE += ["--no-checks", "--out", "run"]


@pytest.mark.parametrize("times", [1, 5])
@pytest.mark.parametrize("module", ["robustlab.cli", "robustlab.cli.interrupt", "typer", "rich", "torch"])
def test_while_modules_are_loaded(module: str, times: int, tmp_path: Path) -> None:
    (tmp_path / "send.py").write_text(SEND_AT_IMPORT)
    stopped(started("send.py", module, str(times), *EVALUATE, cwd=tmp_path))


def test_five_times_while_the_model_works(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(MODEL)
    assert "Stopped." in stopped(started("-m", "robustlab", *EVALUATE, cwd=tmp_path))


def test_from_outside(tmp_path: Path) -> None:
    process = started("-X", "importtime", "-m", "robustlab", *EVALUATE, cwd=tmp_path)
    assert process.stderr is not None
    for line in process.stderr:  # what was loaded, in order; before this, Python itself starts
        if line.split()[-1:] == ["robustlab.core.errors"]:
            break
    for _ in range(5):
        process.send_signal(signal.SIGINT)
        time.sleep(0.002)
    stopped(process)


PRELUDE = """
import atexit, os, signal, time
from robustlab.cli.interrupt import leave_on_ctrl_c, orderly
send = lambda: os.kill(os.getpid(), signal.SIGINT)
leave_on_ctrl_c()
"""


@pytest.mark.parametrize(
    "program",
    [
        "with orderly():\n try: send()\n except KeyboardInterrupt: send()",
        "with orderly():\n class Last:\n  def __del__(self): send()\n Last(); time.sleep(9)",
        "with orderly(): pass\nsend(); time.sleep(9)",
        "atexit.register(send)",
    ],
    ids=["swallowed once", "in a destructor", "afterwards", "at the very end"],
)
def test_there_is_always_a_way_out(program: str, tmp_path: Path) -> None:
    assert "Stopped." in stopped(started("-c", f"{PRELUDE}\n{program}\n", cwd=tmp_path))


def test_the_first_one_is_an_orderly_end() -> None:
    # A shell starts what runs in its background deaf to Ctrl-C.
    listening = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    program = (
        f"{listening}{PRELUDE}try:\n with orderly(): send()\nexcept KeyboardInterrupt: print('closed')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "closed\n"), done.stderr


def test_a_process_that_is_deaf_to_it_stays_so() -> None:
    program = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)" + PRELUDE + "send()"
    program += "\nwith orderly(): send()\n"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
