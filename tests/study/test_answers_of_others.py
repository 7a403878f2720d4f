"""A classifier from elsewhere may read a variable or a file that no hash covers: its answers are compared."""

from pathlib import Path

import pytest
from small_studies import HEAD, Stages, evaluation, write

import robustlab

READS = """
import os
from robustlab import load_from_zoo
from torch import nn

class Shifted(nn.Module):
    def __init__(self):
        super().__init__()
        self.network = load_from_zoo("mnist_cnn")

    def forward(self, images):
        return self.network(images).roll(int(os.environ["SHIFT"]), 1)

def make():
    return Shifted().eval()
"""
FGSM = {"attacks": "fgsm", "threat": "linf(eps=0.1)"}
ROWS = (
    evaluation("own", **FGSM),
    evaluation("other", model="other.py:make", **FGSM),
    evaluation("guarded", model="bit_depth(bits=3, classifier=other.py:make)", **FGSM),
    evaluation(
        "transfer",
        attacks="fgsm(gradient=surrogates)",
        threat="linf(eps=0.1)",
        surrogates='["other.py:make"]',
    ),
)
CURVE = """
[[curves]]
id = "eps"
title = "Eps"
x_label = "eps"
x = [0.0, 0.1]
series = [
    { label = "Own", model = "baseline", attacks = "fgsm", threat = "linf(eps=x)" },
    { label = "Other", model = "other.py:make", attacks = "fgsm", threat = "linf(eps=x)" },
]
"""
SAME = ["train baseline", "evaluate own", "curve eps: Own"]
OTHERWISE = ["evaluate other", "evaluate guarded", "evaluate transfer", "curve eps: Other"]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "other.py").write_text(READS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHIFT", "0")
    return write(tmp_path, HEAD, *ROWS, CURVE)


def run(recipe: Path) -> tuple[Stages, robustlab.Run]:
    stages = Stages()
    return stages, robustlab.run_study(recipe, out="run", quick=True, progress=stages)


def test_what_depends_on_changed_answers_is_repeated(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, before = run(study)
    assert sorted(first.done) == sorted(SAME + OTHERWISE)
    same, _ = run(study)
    assert not same.done
    monkeypatch.setenv("SHIFT", "1")
    other, after = run(study)
    assert sorted(other.kept) == sorted(SAME)
    assert sorted(other.done) == sorted(OTHERWISE)
    accuracy = [{row.id: row.accuracy.value for row in done.results.rows} for done in (before, after)]
    assert accuracy[0]["own"] == accuracy[1]["own"]
    assert accuracy[1]["other"] < 0.3 < accuracy[0]["other"]
    assert not run(study)[0].done
