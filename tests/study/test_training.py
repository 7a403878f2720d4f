"""`robustlab.train`: one network, its card, and the commands that check it."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import robustlab
from robustlab.cli.main import app
from robustlab.core.errors import DataError, ModelFileError, RobustlabError, RunError, SpecError
from robustlab.data import Split, Splits
from robustlab.defenses.loading import load
from robustlab.models.files import save_tensors
from robustlab.study.loading import load_recipe
from robustlab.threats import L1, L2, Linf
from robustlab.training import AWP, MSD, Alternating, CrossEntropy, RadiusTraining, Trades

OPTIONS: dict[str, Any] = {
    "architecture": "strided_cnn(hidden=20)",
    "dataset": "digits",
    "epochs": 3,
    "attack_images": 0,
    "train": 200,
    "validation": 60,
    "device": "cpu",
    "precision": "fp32",
}
OBJECTIVE = "trades(eps=0.1, beta=3, steps=2)"
OWN = """
import torch
from sklearn.datasets import load_digits
from torch import nn

def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, {classes}))

def images(rows):
    digits = load_digits()
    return (torch.tensor(digits.images[:, None]) / 16).float()[rows], torch.tensor(digits.target)[rows]

def data():
    return images(slice(0, 300))

def unseen():
    return images(slice(300, 400))
"""


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def train(**options: Any) -> Any:
    return robustlab.train(OBJECTIVE, **OPTIONS | {"out": "runs/one"} | options)


def test_the_card_says_what_was_trained_and_what_came_out() -> None:
    run = train(validation_attack="pgd(steps=3)", validation_threat="linf(eps=0.1)", lr=5e-3)
    card = json.loads(Path("runs/one/card.json").read_text())
    assert card == run.card
    (network,) = run.results.networks
    kept = network.epochs[network.best_epoch - 1]
    assert card["objective"] == repr(Trades(threat=Linf(eps=0.1), beta=3, steps=2))
    assert card["dataset"]["train"] == 200
    assert card["dataset"]["validation"] == 60
    assert card["validation_accuracy"] == kept["validation accuracy"]
    assert card["validation_robust_accuracy"] == kept["validation robust accuracy"]
    assert card["test_accuracy"]["value"] == run.results.rows[0].accuracy.value > 0.2
    assert card["versions"]["torch"].startswith(torch.__version__.partition("+")[0])
    assert card["seed"] == 0
    assert card["seconds"] >= 0
    page = Path("runs/one/card.md").read_text()
    assert card["check"][0] in page
    assert Path("runs/one/figures/training-network.svg").exists()
    assert "figures/training-network.svg" in page


def test_the_card_has_the_attacked_and_the_proven_share() -> None:
    run = train(attack_images=30, validation_attack="pgd(steps=3)", validation_threat="linf(eps=0.05)")
    (attacked,) = run.card["attacked"]
    row = robustlab.load_run(run.folder / "evaluations" / "attacked")
    assert isinstance(row, robustlab.EvaluationRun)
    assert row.results.certified is not None
    assert attacked["threat"] == "linf(eps=0.05)"
    assert attacked["attacks"] == "standard(effort=standard)"
    assert attacked["robust_accuracy"] == row.results.robust.model_dump()
    assert attacked["certified"] == row.results.certified.model_dump()
    assert attacked["robust_accuracy"]["n"] == 30
    assert run.card["test_accuracy"]["n"] > 300
    page = Path("runs/one/card.md").read_text()
    assert "first 30 test images within `linf(eps=0.05)`" in page
    (command,) = run.card["check"]
    assert "linf(eps=0.05)" in command


def test_without_a_validation_attack_the_threat_model_is_the_objectives() -> None:
    run = train(attack_images=20)
    assert [row["threat"] for row in run.card["attacked"]] == ["linf(eps=0.1)"]
    before = (run.folder / "models" / "network.safetensors").stat().st_mtime_ns
    more = train(attack_images=40)  # the network is not trained again
    assert [row["robust_accuracy"]["n"] for row in more.card["attacked"]] == [40]
    assert (run.folder / "models" / "network.safetensors").stat().st_mtime_ns == before
    plain = robustlab.train("cross_entropy", **OPTIONS | {"out": "runs/plain", "attack_images": 20})
    assert plain.card["attacked"] == []
    norms = robustlab.train(
        "msd(linf=0.1, l2=0.5, l1=0, steps=2)", **OPTIONS | {"out": "runs/norms", "attack_images": 10}
    )
    assert [row["threat"] for row in norms.card["attacked"]] == ["linf(eps=0.1)", "l2(eps=0.5)"]


@pytest.mark.parametrize("wrong", [-1, 1.5, "all", True])
def test_the_number_of_attacked_images_is_checked(wrong: object) -> None:
    with pytest.raises(SpecError, match="attack_images"):
        train(attack_images=wrong)


def test_the_recipe_of_the_card_gives_the_same_weights() -> None:
    run = train(schedule="triangle", augmentation=["shift(pixels=1)", "flip"], betas=(0.8, 0.99))
    recipe = load_recipe(run.folder / "recipe.toml")
    assert (run.folder / "recipe.toml").read_text() == run.card["recipe"]
    assert recipe.networks["network"].augmentation == ("shift(pixels=1)", "flip")
    robustlab.run_study(run.folder / "recipe.toml", out="again", device="cpu", precision="fp32")
    again = Path("again/models/network.safetensors")
    assert weights(again) == weights(run.file)


def weights(path: Path) -> list[float]:
    return [float(tensor.double().sum()) for tensor in robustlab.load_network(path).state_dict().values()]


def test_the_commands_of_the_card_run(digits: Splits) -> None:
    run = train()
    (command,) = run.card["check"]
    words = shlex.split(command)
    assert words[:5] == ["robustlab", "evaluate", "run(runs/one)", "--dataset", "digits"]
    assert words[5:] == ["--threat", "linf(eps=0.1)", "--attacks", "standard"]
    words = [*words[1:-1], "fgsm", "-n", "10", "--no-checks", "--out", "runs/attacked"]
    assert CliRunner().invoke(app, words).exit_code == 0
    network = load("run(runs/one)").network.eval()
    test = digits.test
    found = float((network(test.pixels(slice(None))).argmax(dim=1) == test.labels).double().mean())
    assert run.card["test_accuracy"]["value"] == pytest.approx(found)


def test_stopped_after_an_epoch_it_goes_on_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = train(out="whole")
    seen = 0

    def stop(*content: Any) -> None:
        nonlocal seen
        save_tensors(*content)
        seen += 1
        if seen == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("robustlab.training.loop.save_tensors", stop)
    with pytest.raises(KeyboardInterrupt):
        train()
    assert not Path("runs/one/card.json").exists()
    with pytest.raises(RobustlabError):
        load("run(runs/one)")
    monkeypatch.undo()
    resumed = train()
    assert resumed.file.read_bytes() == expected.file.read_bytes()
    before = resumed.file.stat().st_mtime_ns
    assert train().card["weights"] == expected.card["weights"]
    assert resumed.file.stat().st_mtime_ns == before  # nothing is trained a second time


def test_the_seed_decides_the_weights() -> None:
    first, again, other = train(out="a"), train(out="b"), train(out="c", seed=1)
    assert first.file.read_bytes() == again.file.read_bytes() != other.file.read_bytes()


@pytest.mark.parametrize("change", [{"epochs": 4}, {"seed": 2}, {"train": 100}, {"clip": 1.0}])
def test_a_folder_of_another_training_is_refused(change: dict[str, Any]) -> None:
    train(epochs=OPTIONS["epochs"])
    (name,) = change
    with pytest.raises(RunError, match=f"another|other settings: {name}"):
        train(**change)
    assert train(**change, overwrite=True).results.networks


def test_a_folder_of_a_study_is_refused() -> None:
    run = train()
    robustlab.run_study(run.folder / "recipe.toml", out="study", device="cpu")
    with pytest.raises(RunError, match="belongs to"):
        train(out="study", overwrite=True)


# Own code and own data


def own(classes: int = 10) -> dict[str, Any]:
    Path("mine.py").write_text(OWN.format(classes=classes))
    data = {"dataset": "mine.py:data", "test_dataset": "mine.py:unseen", "train": None, "validation": None}
    return {"architecture": None, "model": "mine.py:make", **data}


def test_a_network_and_images_of_the_users_own() -> None:
    run = train(**own())
    assert run.card["dataset"]["train"] == 240
    assert run.card["dataset"]["test"] == 100
    (command,) = run.card["check"]
    words = shlex.split(command)
    assert words[2:6] == ["--model", "mine.py:make", "--weights", "runs/one/models/network.safetensors"]
    assert words[6:8] == ["--dataset", "mine.py:unseen"]
    words = [*words[1:-1], "fgsm", "--no-checks", "--out", "runs/attacked"]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert load_recipe(run.folder / "recipe.toml").data.test == "mine.py:unseen"


def test_a_file_of_weights_runs_no_code_of_its_choice() -> None:
    run = train(**own())
    Path("mine.py").write_text("raise SystemExit('it was run')")
    for text in ("run(runs/one)", str(run.file)):
        with pytest.raises(ModelFileError, match=r"give --model mine.py:make --weights"):
            load(text)


def test_changed_code_is_another_training() -> None:
    given = own()
    train(**given)
    with Path("mine.py").open("a") as file:
        file.write("\n# changed\n")
    with pytest.raises(RunError, match="model"):
        train(**given)


def test_splits_in_memory_have_no_recipe_and_no_commands(digits: Splits) -> None:
    images = digits.train.take(slice(200))
    run = train(
        dataset=images,
        test_dataset=digits.test.take(slice(50)),
        train=None,
        validation=None,
        architecture="cnn",
    )
    assert run.card["recipe"] is None
    assert run.card["check"] == []
    assert run.card["dataset"]["train"] == 160


def test_a_network_that_does_not_fit_is_refused() -> None:
    with pytest.raises(RobustlabError, match="outputs 3 logits, but labels go up to 9"):
        train(**own(classes=3))


# Mistakes


@pytest.mark.parametrize(
    ("change", "error", "expected"),
    [
        ({"architecture": None}, SpecError, "either an architecture.*neither"),
        ({"model": "mine.py:make"}, SpecError, "either an architecture.*both"),
        ({"architecture": "vae"}, SpecError, "architecture: vae"),
        ({"architecture": "code(reference='a.py:b')"}, SpecError, "architecture: code"),
        ({"architecture": None, "model": "cnn"}, SpecError, "model must be your own code"),
        ({"epochs": 0}, SpecError, "epochs must be"),
        ({"lr": 0.0}, SpecError, "lr"),
        ({"schedule": "cosin"}, SpecError, "schedule.*cosine"),
        ({"validation_stop": 0.1}, SpecError, "validation_stop"),
        ({"dataset": "minst"}, DataError, "unknown dataset"),
        ({"dataset": "mine.py:data"}, DataError, "test_dataset"),
        ({"test_dataset": "mine.py:data"}, DataError, "test_dataset"),
        ({"optimizer": "sgd(lr=1e9)"}, RobustlabError, r"diverged in epoch 1.*learning rate of 1e\+09"),
    ],
)
def test_a_mistake_is_named(change: dict[str, Any], error: type[Exception], expected: str) -> None:
    with pytest.raises(error, match=expected):
        train(**change)


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        ("tradez", "unknown objective 'tradez'.*'trades'"),
        ("trades(eps=-0.1)", "eps"),
        ("vae_loss", "objective: vae_loss trains an autoencoder"),
    ],
)
def test_an_objective_that_does_not_fit_is_refused(objective: str, expected: str) -> None:
    with pytest.raises(SpecError, match=expected):
        robustlab.train(objective, **OPTIONS)


def test_the_threat_models_of_an_objective_are_those_to_check() -> None:
    from robustlab.study.card import threats_of

    assert list(threats_of(CrossEntropy())) == []
    assert list(threats_of(AWP(objective=Trades(threat=Linf(eps=0.3))))) == [Linf(eps=0.3)]
    assert list(threats_of(RadiusTraining(target=1.5))) == [L2(eps=1.5)]
    both = Alternating(first=Trades(threat=Linf(eps=0.3)), second=Trades(threat=L1(eps=5.0)))
    assert list(threats_of(both)) == [Linf(eps=0.3), L1(eps=5.0)]
    assert list(threats_of(MSD(linf=0.1, l2=1.0, l1=5.0))) == [Linf(eps=0.1), L2(eps=1.0), L1(eps=5.0)]


def test_the_terminal_shows_the_accuracies_and_what_to_do_next() -> None:
    words = [
        "train",
        "cross_entropy",
        "--architecture",
        "strided_cnn",
        "--dataset",
        "digits",
        "--epochs",
        "1",
    ]
    words += ["--train", "100", "--lr", "5e-3", "--out", "runs/cli"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    for part in ("epoch 1 of 1", "Clean test images", "runs/cli/card.md", "run(runs/cli)"):
        assert part in done.output
    again = CliRunner().invoke(app, [*words, "--json"])
    assert json.loads(again.stdout) == json.loads(Path("runs/cli/card.json").read_text())


def test_a_split_must_come_with_a_split(digits: Splits) -> None:
    split: Split = digits.test
    with pytest.raises(DataError, match="same kind"):
        train(dataset=split, test_dataset="mine.py:test")
