"""A classifier from elsewhere may read a file that no hash covers: its answers are compared."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from small_studies import HEAD, Stages, evaluation, write

import robustlab
from robustlab.core.progress import Progress

READS = """
from pathlib import Path

import numpy
import torch
from robustlab import load_from_zoo
from robustlab.attacks import FGSM
from robustlab.core import register
from robustlab.evaluation.ensembles import Ensemble
from torch import nn

@register("often")
class Often(Ensemble):
    "FGSM, with three evaluations of each point."

    eot_samples = 3

    def stages(self, threat, classes):
        return (FGSM(),)

class Shifted(nn.Module):
    def __init__(self, noise):
        super().__init__()
        self.network, self.noise = load_from_zoo("mnist_cnn"), noise

    def forward(self, images):
        name = "-".join(["sh", "ift"])  # a constant name would be part of the model's hash
        logits = self.network(images).roll(int(Path(name).read_text()), 1)
        if self.noise == "torch":
            return logits + 0.3 * torch.randn_like(logits)
        if self.noise == "numpy":
            drawn = numpy.random.default_rng().normal(size=logits.shape)
            return logits + 0.3 * torch.from_numpy(drawn).float()
        return logits

def make():
    return Shifted("").eval()

def seeded():
    return Shifted("torch").eval()

def unseeded():
    return Shifted("numpy").eval()
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
    evaluation("seeded", model="other.py:seeded", **FGSM),
    evaluation("often", model="other.py:unseeded", attacks="other.py:Often", threat="linf(eps=0.1)"),
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
pytestmark = pytest.mark.usefixtures("own_registry")

SAME = ["train baseline", "evaluate own", "curve eps: Own"]
OTHERWISE = [f"evaluate {name}" for name in ("other", "guarded", "transfer", "seeded", "often")]
OTHERWISE.append("curve eps: Other")


class Notes(Stages):
    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes += [text] if "otherwise" in text else []


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "other.py").write_text(READS)
    monkeypatch.chdir(tmp_path)
    shift(0)
    return write(tmp_path, HEAD, *ROWS, CURVE)


def shift(by: int) -> None:
    Path("sh-ift").write_text(str(by))


def run(recipe: Path, out: str = "run") -> tuple[Notes, robustlab.Run]:
    stages = Notes()
    return stages, robustlab.run_study(recipe, out=out, quick=True, progress=stages)


def accuracies(run: robustlab.Run) -> dict[str, float]:
    return {row.id: row.accuracy.value for row in run.results.rows}


def test_what_depends_on_changed_answers_is_repeated(study: Path) -> None:
    first, before = run(study)
    assert sorted(first.done) == sorted(SAME + OTHERWISE)
    for _ in range(2):
        same, _ = run(study)
        assert not same.done
        assert not same.notes
    shift(1)
    other, after = run(study)
    assert sorted(other.kept) == sorted(SAME)
    assert sorted(other.done) == sorted(OTHERWISE)
    assert len(other.notes) == len(set(other.notes)) == 4, "one for each classifier"
    assert accuracies(after)["own"] == accuracies(before)["own"]
    for name in ("other", "seeded", "often"):
        assert accuracies(after)[name] < 0.15 < accuracies(before)[name]
    again = run(study)[0]
    assert not again.done
    assert not again.notes


def test_answers_and_an_option_may_change_together(study: Path) -> None:
    run(study)
    text = study.read_text().replace("model = 'other.py:make'", "certify = false\nmodel = 'other.py:make'", 1)
    assert text != study.read_text()
    study.write_text(text)
    shift(1)
    both, after = run(study)
    assert "evaluate other" in both.done
    assert accuracies(after)["other"] == accuracies(run(study, "fresh")[1])["other"] < 0.15


class Killed(Progress):
    """Ends the run, as Ctrl-C does, when a stage begins."""

    def __init__(self, at: str) -> None:
        self.at = at

    def stage(self, name: str, state: str, seconds: float = 0.0, remark: str = "") -> None:
        del seconds, remark
        if (name, state) == (self.at, "running"):
            raise KeyboardInterrupt


def test_answers_may_change_after_an_interrupt(study: Path) -> None:
    run(study)
    shift(1)
    with pytest.raises(KeyboardInterrupt):
        robustlab.run_study(study, out="run", quick=True, progress=Killed("evaluate transfer"))
    shift(2)
    _, after = run(study)
    assert accuracies(after)["other"] == accuracies(run(study, "fresh")[1])["other"]
    with sqlite3.connect("run/ledger.sqlite") as ledger:
        records = ledger.execute("SELECT count(*) FROM stages WHERE name = 'answers'").fetchone()[0]
    assert records == 4, "those of the first two runs are gone"


def test_a_random_model_is_evaluated_once(study: Path) -> None:
    del study
    options: dict[str, Any] = {
        "dataset": "digits",
        "n": 40,
        "attacks": "fgsm",
        "threat": "linf(eps=0.05)",
        "checks": False,
    }
    for model in ("seeded", "unseeded"):
        files = []
        for _ in range(2):
            run = robustlab.evaluate(f"other.py:{model}", **options, out=f"ev-{model}")
            files.append((run.folder / "images.csv").read_text())
        assert files[0] == files[1], "the confidences of another draw differ"
        shift(1)
        with pytest.raises(robustlab.core.RunError, match="answers the same images otherwise"):
            robustlab.evaluate(f"other.py:{model}", **options, out=f"ev-{model}")
        shift(0)
