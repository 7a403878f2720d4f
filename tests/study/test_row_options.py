"""A row of a study takes the options of an evaluation, with the same meaning."""

import shlex
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from small_studies import HEAD, evaluation, write
from typer.testing import CliRunner

import robustlab
from robustlab.cli.main import app
from robustlab.core.errors import RecipeError
from robustlab.models.files import load_tensors
from robustlab.options import AttackFields, EvaluationFields
from robustlab.runs.evaluation import Evaluation
from robustlab.runs.run import load_results
from robustlab.study.loading import load_recipe
from robustlab.study.plan import at
from robustlab.study.recipe import EvaluationPart, SeriesPart

PGD: dict[str, Any] = {"attacks": "pgd(steps=3)", "threat": "linf(eps=0.1)"}
ROWS: dict[str, dict[str, Any]] = {
    "plain": {},
    "normalised": {"mean": "0.5", "std": "[0.2]", "scale": 0.9},
    "named": {"mean": "mnist", "std": "mnist"},
    "curved": {"curve": True},
    "unproven": {"certify": False},
    "proven": {"certifier": "ibp"},
}
FEWER = {"fewer": {"images": 25}, "more": {"images": 10**6}}
FIXED = (18, 19, 20)
MASKED: dict[str, Any] = {"masked": {"threat": f"masked(threat=linf(eps=0.1), fixed={FIXED})"}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> robustlab.Run:
    folder = tmp_path_factory.mktemp("options")
    rows = {**ROWS, **FEWER, **MASKED}
    recipe = write(folder, HEAD, *(evaluation(name, **(PGD | given)) for name, given in rows.items()))
    return robustlab.run_study(recipe, out=folder / "run", quick=True)


def test_a_row_may_forbid_some_values(run: robustlab.Run) -> None:
    row = next(row for row in run.results.rows if row.id == "masked")
    assert row.threat == MASKED["masked"]["threat"]
    done = load_results(run.folder / row.folder)
    assert isinstance(done, Evaluation)
    assert done.pictures
    shown = load_tensors(run.folder / row.folder / done.pictures)[0]
    moved = (shown["adversarial"] - shown["clean"]).flatten(1)
    assert (moved[:, list(FIXED)] == 0).all()
    assert (moved != 0).any(dim=1).all()
    assert moved.abs().max() <= 0.1 + 1e-6


def test_each_option_is_a_key() -> None:
    assert {part.name for part in fields(EvaluationFields)} <= {part.name for part in fields(EvaluationPart)}
    assert {part.name for part in fields(AttackFields)} <= {part.name for part in fields(SeriesPart)}


def test_the_texts_that_take_factors_are_the_same_everywhere() -> None:
    texts: dict[str, Any] = {
        "attacks": "pgd(steps=x)",
        "threat": "linf(eps=x)",
        "target": "targeted(classes=x)",
    }
    plain: dict[str, Any] = {"model": "baseline", "mean": "mnist", "std": "mnist"}
    series = SeriesPart(label="a", **plain, **texts)
    assert series.specs() == texts
    values: dict[str, Any] = {name: text.replace("x", "0.5") for name, text in texts.items()}
    assert at(series, 0.5) == SeriesPart(label="a", **plain, **values)
    texts |= {"certifier": "smoothing(sigma=x)"}
    row = EvaluationPart(id="a", title="A", **plain, **texts)
    assert row.specs() == texts
    settings = row.settings(lambda text: text.replace("x", "0.5"))
    assert (settings["target"], settings["certifier"]) == ("targeted(classes=0.5)", "smoothing(sigma=0.5)")


@pytest.mark.parametrize("name", ROWS)
def test_it_means_the_same_as_for_evaluate(run: robustlab.Run, name: str, tmp_path: Path) -> None:
    row = robustlab.load_run(run.folder / "evaluations" / name)
    given: dict[str, Any] = {key: [0.2] if value == "[0.2]" else value for key, value in ROWS[name].items()}
    again = robustlab.evaluate(
        run.folder,
        network="baseline",
        dataset=robustlab.load_dataset("digits").limited(1000, 40, 60).test,
        **PGD,
        **given,
        checks=False,
        precision="fp32",
        out=tmp_path / "again",
    )
    assert isinstance(row, robustlab.EvaluationRun)
    one, other = row.results, again.results
    assert (one.clean, one.robust, one.certified) == (other.clean, other.robust, other.certified)
    assert one.subject.preprocessing == other.subject.preprocessing
    assert [part.attack for part in one.rows] == [part.attack for part in other.rows]
    left, right = one.curve, other.curve
    assert (left is None) == (right is None) == (name != "curved")
    if left and right:
        assert (left.eps, left.robust, left.certified) == (right.eps, right.robust, right.certified)


def test_a_row_may_be_about_fewer_images(run: robustlab.Run) -> None:
    rows = {name: robustlab.load_run(run.folder / "evaluations" / name) for name in ("plain", *FEWER)}
    results = {name: row.results for name, row in rows.items() if isinstance(row, robustlab.EvaluationRun)}
    assert [results[name].robust.n for name in rows] == [60, 25, 60]
    assert results["more"].robust == results["plain"].robust
    texts = {name: (rows[name].folder / "images.csv").read_text().splitlines() for name in rows}
    assert texts["fewer"] == texts["plain"][:26]


def test_they_differ(run: robustlab.Run) -> None:
    rows = {row.id: row for row in run.results.rows}
    assert rows["normalised"].accuracy != rows["plain"].accuracy
    assert rows["named"].confidence != rows["plain"].confidence
    assert rows["unproven"].certified is None
    assert rows["proven"].certified is not None


def test_a_changed_option_repeats_its_row_alone(run: robustlab.Run, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run.folder.parent, tmp_path / "copy"))
    recipe = folder / "small.toml"
    recipe.write_text(recipe.read_text().replace("scale = 0.9", "scale = 3.0"))
    again = robustlab.run_study(recipe, out=folder / "run", quick=True, overwrite=True)
    before, after = ({row.id: row.accuracy for row in done.results.rows} for done in (run, again))
    assert before.pop("normalised") != after.pop("normalised")
    assert before == after


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({**PGD, "mean": "0.1"}, "mean needs std"),
        ({**PGD, "mean": "minst", "std": "mnist"}, "unknown mean 'minst'"),
        ({**PGD, "scale": 0}, "scale must lie between"),
        ({**PGD, "eight_bit": 1}, "eight_bit"),
        ({**PGD, "certifier": "ipb"}, "ipb"),
        ({"attacks": "gaussian_noise(std=0.1)", "certifier": "ibp"}, "row.certifier: ibp proves within linf"),
        ({"attacks": "corruption(effect=fog)", "target": "next"}, "can't move towards a target class"),
        ({"curve": True}, "curve needs attacks"),
        ({"attacks": "gaussian_noise(std=0.3)", "curve": True}, "a curve against eps needs a threat model"),
        ({**PGD, "target": -1}, "target"),
        ({**PGD, "eot_samples": 0}, "eot_samples"),
        ({**PGD, "images": 0}, "images"),
    ],
)
def test_a_wrong_one_is_refused(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = write(tmp_path, HEAD, evaluation("row", **fields))
    with pytest.raises(RecipeError, match=message) as error:
        load_recipe(path)
    assert "row" in str(error.value) or "evaluations.0" in str(error.value)


def test_its_command_repeats_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = write(
        tmp_path,
        HEAD,
        VAE,
        evaluation("clean"),
        evaluation("own", **PGD, target="next"),
        evaluation("composed", model="guarded", **PGD, checks="none", mean="0.1", std="0.9"),
        evaluation("zoo", model="mnist_cnn", **PGD, surrogates='["baseline"]', certify=False),
    )
    run = robustlab.run_study(recipe)
    assert run.folder == tmp_path / "runs" / "small"
    for name, expected in MODELS.items():
        row = robustlab.load_run(run.folder / "evaluations" / name)
        assert isinstance(row, robustlab.EvaluationRun)
        command = shlex.split(row.results.command)
        assert command[3] == expected if command else expected == ""
        if not command:
            continue
        result = CliRunner().invoke(app, [*command[1:], "--out", f"again-{name}"])
        assert result.exit_code == 0, result.output
        again, before = (folder / "images.csv" for folder in (Path(f"again-{name}"), row.folder))
        assert again.read_text() == before.read_text()


VAE = """
[networks.vae]
title = "VAE"
model = "vae(hidden=16, latent=4)"
objective = "vae_loss"
epochs = 1

[models.guarded]
title = "Guarded"
source = "purifier(network=vae, classifier=baseline)"
"""
MODELS = {
    "clean": "",
    "own": "run(folder='runs/small', network=baseline)",
    "composed": "purifier(network=\"run(folder='runs/small', network=vae)\", "
    "classifier=\"run(folder='runs/small', network=baseline)\")",
    "zoo": "mnist_cnn",
}


def test_a_goal_without_a_target_class_needs_no_targetable_attack(tmp_path: Path) -> None:
    row = evaluation("row", attacks="corruption(effect=fog)", target="misclassified")
    assert load_recipe(write(tmp_path, HEAD, row)).evaluations[0].target == "misclassified"


OWN = """
import torch
from robustlab.core import register
from robustlab.threats import Linf

@register("half_linf")
class Half(Linf):
    "The same ball."

def images():
    return torch.zeros(20, 1, 28, 28), torch.arange(20) % 10
"""


@pytest.mark.usefixtures("own_registry")
def test_its_command_has_the_users_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN)
    rows = evaluation("own", attacks="fgsm", threat="own.py:Half(eps=0.1)", checks="none")
    text = HEAD.replace('"digits"', '"own.py:images"\ntest = "own.py:images"')
    path = write(tmp_path, text, "epochs = 1\n", rows)
    for options, named in (
        ({}, ["--dataset", "own.py:images", "-n", "20"]),
        (
            {"dataset": "digits", "data_root": "elsewhere"},
            ["--dataset", "digits", "--data-root", "elsewhere"],
        ),
    ):
        run = robustlab.run_study(path, out=f"run-{len(options)}", **options)  # type: ignore[arg-type]
        row = robustlab.load_run(run.folder / "evaluations" / "own")
        assert isinstance(row, robustlab.EvaluationRun)
        command = shlex.split(row.results.command)
        assert command[command.index("--threat") + 1] == "own.py:Half(eps=0.1)"
        place = command.index(named[0])
        assert command[place : place + len(named)] == named
        result = CliRunner().invoke(app, [*command[1:], "--out", "again", "--overwrite"])
        assert result.exit_code == 0, result.output
        assert Path("again/images.csv").read_text() == (row.folder / "images.csv").read_text()


def test_a_wrong_number_of_channels_is_found_before_the_training(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD, evaluation("row", **PGD, mean="cifar10", std="cifar10"))
    with pytest.raises(RecipeError, match=r"evaluations\.row: mean has 3 values"):
        robustlab.run_study(path, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_class_that_the_network_lacks_is_found_before_the_training(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD, evaluation("row", **PGD, target=10))
    with pytest.raises(RecipeError, match=r"evaluations\.row: target 10: the model outputs 10 logits"):
        robustlab.run_study(path, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
