"""Standard output holds the result and nothing else, whatever a user's code writes and by whatever way."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from robustlab.cli.output import kept_for_the_result

LOUD = """
import atexit
import ctypes
import os
import torch
from torch import nn

def shout(text):
    print(f"{text} from Python")
    os.write(1, f"{text} from its descriptor\\n".encode())
    ctypes.CDLL(None).printf(f"{text} from C\\n".encode())

shout("import")
atexit.register(shout, "exit")

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(784, 10)

    def forward(self, images):
        if len(images) > 2:
            shout("forward")
        return self.layer(images.flatten(1))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="C's library has another name there")
def test_json_alone_is_on_standard_output(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(LOUD)
    command = [sys.executable, "-m", "robustlab", "evaluate", "--model", "net.py:Net", "--dataset", "digits"]
    command += ["-n", "5", "--attacks", "fgsm", "--no-checks", "--out", "run", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((tmp_path / "run" / "results.json").read_text())
    for moment in ("import", "forward", "exit"):
        for way in ("Python", "its descriptor", "C"):
            assert f"{moment} from {way}" in done.stderr


@pytest.mark.parametrize("capture", ["capfd", "capsys"])
def test_what_is_written_goes_to_standard_error_and_back(
    capture: str, request: pytest.FixtureRequest
) -> None:
    # capsys puts objects that have no descriptor in the place of both.
    captured = request.getfixturevalue(capture)
    with kept_for_the_result():
        sys.stdout.write("one\n")
        os.write(1, b"two\n" if capture == "capfd" else b"")
    sys.stdout.write("three\n")
    found = captured.readouterr()
    assert sorted(found.err.split()) == (["one", "two"] if capture == "capfd" else ["one"])
    assert found.out.split() == ["three"]


def test_closed_descriptors_are_no_error() -> None:
    code = "import os\nos.close(1)\nfrom robustlab.cli.output import kept_for_the_result\n"
    code += "with kept_for_the_result(): print(7)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "7\n")


@pytest.mark.skipif(sys.platform == "win32", reason="it has no shell that closes descriptors so")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["ls --json", "doctor"])
def test_a_caller_may_close_the_streams(command: str, closed: str) -> None:
    line = f"{sys.executable} -m robustlab {command} {closed}"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(sys.platform == "win32", reason="it has no such pipes")
@pytest.mark.parametrize("command", ["ls", "doctor"])
def test_a_reader_who_has_enough_ends_the_command_quietly(command: str) -> None:
    line = f"{sys.executable} -m robustlab {command} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("place", ["2>/dev/full", "2> >(true)"])
def test_progress_that_nobody_can_read_stops_no_work(place: str, tmp_path: Path) -> None:
    line = f"{sys.executable} -m robustlab evaluate --model mnist_cnn --dataset digits -n 5 --attacks fgsm "
    line += f"--no-checks --out run --json {place}"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert json.loads(done.stdout) == json.loads((tmp_path / "run" / "results.json").read_text())


SABOTAGE = """
import signal
import sys
import time
import torch
from torch import nn

def late(number, frame):
    raise TimeoutError("too slow")

class Net(nn.Sequential):
    def __init__(self):
        torch.manual_seed(0)  # so that some images are correct, and attacked
        super().__init__(nn.Flatten(), nn.Linear(784, 10))

class Shutting(Net):
    def forward(self, images):
        sys.__stdout__.close()
        return super().forward(images)

class Shallow(Net):
    def forward(self, images):
        frame, depth = sys._getframe(), 60
        while frame := frame.f_back:
            depth += 1
        sys.setrecursionlimit(depth)
        return super().forward(images)

class Alarmed(Net):
    armed = False

    def forward(self, images):
        if len(images) > 2 and not self.armed:  # not one of the first, by which the model is looked at
            self.armed = True
            signal.signal(signal.SIGALRM, late)
            signal.setitimer(signal.ITIMER_REAL, 0.5)
        return super().forward(images)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="it has no such signal")
@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("Shutting", 0, "robust"),
        ("Shallow", 0, "robust"),
        ("Alarmed", 2, "TimeoutError: too slow (net.py, line"),
    ],
)
def test_what_a_model_does_to_the_process_is_no_traceback(
    name: str, code: int, said: str, tmp_path: Path
) -> None:
    (tmp_path / "net.py").write_text(SABOTAGE)
    command = f"evaluate --model net.py:{name} --dataset digits -n 40 --no-checks --no-certify".split()
    command += ["--threat", "linf(eps=0.001)", "--attacks", "square(queries=4000)"]
    command = [sys.executable, "-m", "robustlab", *command]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("capture", ["capfd", "capsys"])
def test_streams_that_are_closed_stay_open(capture: str, request: pytest.FixtureRequest) -> None:
    captured = request.getfixturevalue(capture)
    out, err = sys.stdout, sys.stderr
    with kept_for_the_result():
        sys.stdout.close()
        with sys.stderr, sys.stdout:
            sys.stderr.write("one\n")
        sys.stdout.detach()  # type: ignore[union-attr]
        sys.stdout.write("two\n")
        assert sys.stderr.isatty() == err.isatty()
    assert (sys.stdout, sys.stderr) == (out, err)
    sys.stdout.write("three\n")
    found = captured.readouterr()
    assert found.err.split() == ["one", "two"]
    assert found.out.split() == ["three"]
