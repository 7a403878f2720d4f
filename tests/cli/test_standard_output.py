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
