"""Command lines: options with values that are bent, in this process, and a few in processes of their own."""

import contextlib
import os
import random
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from fuzz.law import unfit
from fuzz.registry import Attempt, family
from fuzz.text import bent, word
from robustlab.cli.main import app
from robustlab.core.errors import RobustlabError

PREFIX = "robustlab: error: "

NET = """\
import torch
from torch import nn
def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
def data():
    return torch.full((2, 1, 4, 4), 0.5), torch.tensor([0, 1])
"""

EVALUATE = {
    "--model": "net.py:net",
    "--dataset": "net.py:data",
    "--threat": "linf(eps=0.1)",
    "--attacks": "fgsm",
    "--out": "run",
    "--name": "net",
    "-n": "2",
    "--batch-size": "2",
    "--seed": "0",
    "--device": "cpu",
    "--precision": "fp32",
    "--mode": "verdict",
    "--eot-samples": "1",
    "--weights": "w.safetensors",
    "--network": "baseline",
    "--surrogate": "net.py:net",
    "--data-root": "data",
}
NEEDED = ("--model", "--dataset", "--threat", "--attacks", "--out")

OTHERS = (
    *(
        ["ls", "pgd"],
        ["ls", "attacks"],
        ["ls", "--json"],
        ["gate", "run", "--min-robust", "0.5"],
        ["gate", "run"],
    ),
    *(
        ["compare", "run", "other"],
        ["report", "run"],
        ["study", "toy.toml", "--out", "run"],
        ["doctor"],
        ["--help"],
    ),
)


@family("commands")
def make(draw: random.Random, folder: Path) -> Attempt:
    """A command with options of its own, and some values or words changed."""
    (folder / "net.py").write_text(NET)
    words = _evaluate(draw) if draw.random() < 0.4 else _bent_words(draw, list(draw.choice(OTHERS)))
    if draw.random() < 0.01:
        return lambda: _in_process([os.fsencode(w.replace("\0", "")) for w in map(_encodable, words)], folder)
    return lambda: _here(words, folder)


def _evaluate(draw: random.Random) -> list[str]:
    given = {name: EVALUATE[name] for name in NEEDED}
    for name in draw.sample(list(EVALUATE), draw.choice((1, 1, 2, 3))):
        given[name] = draw.choice(
            (EVALUATE[name], bent(draw, EVALUATE[name]), word(draw), bent(draw, "9" * 20))
        )
    words = ["evaluate", "--no-checks", "--no-certify", *(w for option in given.items() for w in option)]
    return _bent_words(draw, words) if draw.random() < 0.2 else words


def _bent_words(draw: random.Random, words: list[str]) -> list[str]:
    place = draw.randrange(len(words))
    if words[0] == "study":  # without a name it is the study on MNIST
        return [words[0], bent(draw, words[1]) or "x", *words[2:]]
    words[place : place + 1] = draw.choice(([bent(draw, words[place])], [], [words[place]] * 2, [word(draw)]))
    return words or ["ls"]  # no word at all shows the help


def _here(words: list[str], folder: Path) -> None:
    with contextlib.chdir(folder):
        result = CliRunner().invoke(app, words)
    error = result.exception
    if error is not None and not isinstance(error, SystemExit):
        raise error
    _judge(result.exit_code, result.stdout, result.stderr)


def _in_process(words: list[bytes], folder: Path) -> None:
    command = [os.fsencode(sys.executable), b"-m", b"robustlab", *words]
    found = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    _judge(found.returncode, found.stdout.decode(), found.stderr.decode())


def _judge(code: int, out: str, err: str) -> None:
    assert code in {0, 1, 2}, f"exit code {code}: {err}"
    for text in (out, err):
        assert "Traceback" not in text, text
        assert all(line.isprintable() for line in text.replace("\u00a0", " ").splitlines()), repr(text)
    errors = [line.removeprefix(PREFIX) for line in err.splitlines() if line.startswith(PREFIX)]
    if code == 2 and "problem" not in out:  # of `doctor`
        assert len(errors) == 1, err
        assert not unfit(errors[0]), unfit(errors[0])
        raise RobustlabError(errors[0])


def _encodable(text: str) -> str:
    """Return a text that can be an argument of a process: bytes that are no UTF-8 may be in it."""
    return "".join(sign for sign in text if not "\ud800" <= sign <= "\udfff" or "\udc80" <= sign <= "\udcff")[
        :100_000
    ]
