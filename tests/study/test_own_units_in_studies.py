"""A study with code of a user or of another package: changed code is another training, or another row."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from small_studies import HEAD, SCALE, evaluation, write
from typer.testing import CliRunner

import robustlab
from robustlab.certify import Certifier, ProofResult
from robustlab.cli.main import app
from robustlab.core.errors import RecipeError, SpecError
from robustlab.core.spec import register
from robustlab.evaluation.checks import CheckResult, PassiveCheck

NETWORK = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(784, 10)

    def forward(self, images):
        return self.layer(images.flatten(1))

def make():
    return Net()
"""
UNITS = """
from robustlab.core import register
from robustlab.training import Objective, Schedule
from robustlab.training.objectives.base import cross_entropy

@register("doubled")
class Doubled(Objective):
    "Twice the cross-entropy."

    def loss(self, step):
        return 2 * cross_entropy(step)

@register("falling")
class Falling(Schedule):
    "Falls."

    def scale(self, progress):
        return 1 - progress
"""
OWN = HEAD.replace('"strided_cnn(hidden=16)"', '"code(net.py:make)"')
PGD: dict[str, Any] = {"attacks": "pgd(steps=2)", "threat": "linf(eps=0.05)"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NETWORK)
    (tmp_path / "units.py").write_text(UNITS)
    return tmp_path


def accuracies(run: robustlab.Run) -> dict[str, float]:
    return {row.id: row.accuracy.value for row in run.results.rows}


def test_a_network_of_changed_code_is_trained_again(place: Path) -> None:
    rows = evaluation("clean"), evaluation("pgd", **PGD)
    first = accuracies(robustlab.run_study(write(place, OWN, *rows), out="run"))
    assert accuracies(robustlab.run_study(write(place, OWN, *rows), out="run")) == first
    (place / "net.py").write_text(NETWORK.replace("return self.layer", "return -3 * self.layer"))
    again = accuracies(robustlab.run_study(write(place, OWN, *rows, evaluation("clean2")), out="run"))
    assert again["clean"] == again["clean2"] > 0.3
    fresh = accuracies(robustlab.run_study(write(place, OWN, *rows), out="fresh"))
    assert {name: again[name] for name in fresh} == fresh


def test_the_command_of_a_row_names_the_code_and_the_weights(place: Path) -> None:
    purified = evaluation("guarded", model="bit_depth(bits=3, classifier=baseline)", **PGD)
    run = robustlab.run_study(write(place, OWN, evaluation("pgd", **PGD), purified), out="run")
    row, guarded = (robustlab.load_run(run.folder / "evaluations" / name) for name in ("pgd", "guarded"))
    assert isinstance(row, robustlab.EvaluationRun)
    assert isinstance(guarded, robustlab.EvaluationRun)
    assert guarded.results.command == "", "no text says where its parts come from"
    words = shlex.split(row.results.command)[1:]
    result = CliRunner().invoke(app, [*words, "--out", "again"])
    assert result.exit_code == 0, result.output
    assert Path("again/images.csv").read_text() == (row.folder / "images.csv").read_text()


def test_factors_are_for_every_spec_of_a_row(place: Path) -> None:
    row = evaluation(
        "row",
        attacks="pgd(steps=2)",
        threat="linf(eps=0.1*scale)",
        certifier="auto(work=1e5*scale)",
        model="smoothed(classifier=run(first/folder-1, network), sigma=0.1*scale, votes=2)",
    )
    robustlab.train(
        "cross_entropy", architecture="strided_cnn", dataset="digits", epochs=1, out="first/folder-1"
    )
    run = robustlab.run_study(write(place, HEAD, SCALE, row), out="run", quick=True)
    assert {row.variant for row in run.results.rows} == {"study", "pixel"}
    wrong = evaluation("row", **{**PGD, "certifier": "auto(work=-1*scale)"})
    with pytest.raises(RecipeError, match=r"row.*study units.*\.certifier: .*work"):
        robustlab.run_study(write(place, HEAD, SCALE, wrong), out="wrong")


def test_units_of_a_file_train_in_recipes_and_alone(place: Path) -> None:
    head = HEAD.replace('"cross_entropy"', '"units.py:Doubled"') + 'schedule = "units.py:Falling"\n'
    row = evaluation("clean")
    run = robustlab.run_study(write(place, head, row), out="run", quick=True)
    trained = robustlab.train(
        "units.py:Doubled",
        model="net.py:make",
        dataset="digits",
        epochs=1,
        schedule="units.py:Falling",
        validation_attack="pgd(steps=1)",
        validation_threat="linf(eps=0.05)",
        out="trained",
    )
    again = robustlab.run_study("trained/recipe.toml", out="again")
    assert accuracies(again) == accuracies(trained)
    assert accuracies(run)["clean"] > 0.3
    (place / "units.py").write_text(UNITS.replace("return 2 *", "return 0 *"))
    changed = robustlab.run_study(write(place, head, row), out="run", quick=True)
    assert accuracies(changed) != accuracies(run)


def test_a_long_spec_is_no_long_path(place: Path) -> None:
    inner = "pgd_training(threat=linf(eps=0.05), attack=pgd(steps=1, rel_step_size=0.25))"
    objective = inner
    for _ in range(3):
        objective = f"alternating(first={inner}, second={objective}, share=0.5)"
    assert len(objective) > 255
    options = {"architecture": "strided_cnn(hidden=16)", "dataset": "digits", "epochs": 1, "train": 50}
    run = robustlab.train(objective, out=place / "run", **options)  # type: ignore[arg-type]
    assert run.card["epochs"] == 1
    with pytest.raises(SpecError, match="objective is too long"):
        robustlab.train("a" * 256, out=place / "other", **options)  # type: ignore[arg-type]


@pytest.mark.usefixtures("own_registry")
def test_a_row_is_made_again_when_a_certifier_of_a_package_changes(place: Path) -> None:
    recipe = write(place, OWN.replace("net.py:make", "net.py:no_bounds"), evaluation("pgd", **PGD))
    (place / "net.py").write_text(
        NETWORK.replace("self.layer(images.flatten(1))", "self.layer(images.flatten(1)).erf()")
        + "\n\ndef no_bounds():\n    return Net()\n"
    )

    def certified(share: float) -> float | None:
        @register("of_a_package")
        class OfAPackage(Certifier):
            """Claims what it is told."""

            norms = ("linf",)
            claimed = share

            def prove(self, model: Any, images: Any, labels: Any, threat: Any) -> ProofResult:
                del threat
                proven = (model(images).argmax(dim=1) == labels) & (self.claimed == 1)
                zeros = torch.zeros_like(labels)
                return ProofResult(proven, zeros + 1, zeros)

        run = robustlab.run_study(recipe, out="run", quick=True)
        (figures,) = [row for row in run.results.rows if row.id == "pgd"]
        return None if figures.certified is None else figures.certified.value

    assert not certified(0.0)
    assert certified(1.0)


@pytest.mark.usefixtures("own_registry")
def test_a_check_of_changed_code_is_made_again(place: Path) -> None:
    recipe = write(place, HEAD, evaluation("pgd", **PGD))

    def check_says(text: str) -> str:
        @register("of_a_package")
        class OfAPackage(PassiveCheck):
            """Says something."""

            title, expected, meaning = "Of a package", "something", "nothing"
            said = text

            def look(self, context: Any) -> CheckResult:
                del context
                return CheckResult(grade="pass", found=self.said, n=1)

        row = robustlab.load_run(
            robustlab.run_study(recipe, out="run", quick=True).folder / "evaluations/pgd"
        )
        assert isinstance(row, robustlab.EvaluationRun)
        return next(c.found for c in row.results.checks if c.id == "of-a-package")

    assert check_says("one") == "one"
    assert check_says("two") == "two"
