"""A preprocessing that was left outside: found by a check, and put in front of the network by an option."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from evaluation_runs import evaluate, states
from torch import Tensor, nn
from typer.testing import CliRunner

import robustlab
from robustlab.certify import IBP
from robustlab.cli.main import app
from robustlab.core.errors import RobustlabError, SpecError
from robustlab.core.spec import units
from robustlab.data import Dataset, Split, Splits
from robustlab.evaluation.coordinator import EvaluationOptions
from robustlab.evaluation.preprocessing import asked, statistics, usual
from robustlab.models.preprocessing import Preprocessed, Preprocessing
from robustlab.threats import Linf


class Normalised(nn.Module):
    """Normalises inside, as a network of one's own does."""

    def __init__(self, inner: nn.Module, mean: float, std: float) -> None:
        super().__init__()
        self.inner, self.mean, self.std = inner, mean, std

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner((x - self.mean) / self.std)
        return logits


@pytest.fixture(scope="module")
def images(digits: Splits) -> Split:
    return digits.test.take(slice(60))


@pytest.fixture
def network(make_linear: Callable[..., nn.Module]) -> nn.Module:
    return make_linear(classes=10, shape=(1, 28, 28), seed=1)


def test_the_option_is_the_normalisation_inside(network: nn.Module, images: Split, tmp_path: Path) -> None:
    inside = evaluate(tmp_path / "inside", Normalised(network, 0.1307, 0.3081).eval(), images)
    option = evaluate(tmp_path / "option", network, images, mean="mnist", std="mnist")
    assert states(option) == states(inside)
    assert option.results.robust == inside.results.robust
    assert option.results.subject.preprocessing == "mean 0.1307, std 0.3081"
    assert inside.results.subject.preprocessing == ""


def test_scale_comes_first() -> None:
    model = Preprocessed(nn.Identity(), Preprocessing(mean=(10.0, 20.0), std=(2.0, 4.0), scale=255.0))
    image = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)
    assert model(image).flatten().tolist() == [-5.0, (255 - 20) / 4]
    assert model(image.half()).dtype == torch.float16, "a network in half precision gets its own type"


def test_it_is_a_part_of_what_is_evaluated(network: nn.Module, images: Split, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    keys = set()
    for more in ({}, {"mean": 0.1, "std": 1}, {"mean": 0.2, "std": 1}, {"scale": 2}, {"mean": 0, "std": 1}):
        run = evaluate(tmp_path, network, images.take(slice(8)), attacks="fgsm", overwrite=True, **more)
        keys.add((run.folder / "manifest.json").read_text().split('"problem": "')[1].split('"')[0])
    assert len(keys) == 4, "the last one does nothing, and so is the first"
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all("preprocess" not in type(part).__name__.lower() for part in network.modules())


def test_proofs_go_through_it(network: nn.Module, images: Split) -> None:
    model = Preprocessed(network, Preprocessing(mean=(0.1307,), std=(0.3081,), scale=2.0)).eval()
    block = images.pixels(slice(None))
    labels = model(block).argmax(dim=1)
    assert IBP().explain(model, block) is None
    assert IBP().certify(model, block, labels, Linf(eps=1e-4)).any()


GOOD: list[tuple[Any, Any, tuple[float, ...]]] = [
    ("mnist", "mnist", (0.1307,)),
    (" ImageNet", "imagenet", statistics()["imagenet"][0]),
    ("0.5", 0.5, (0.5,)),
    ("0.1, 0.2,0.3", 1, (0.1, 0.2, 0.3)),
    ([0.1, 2], (1, 1), (0.1, 2.0)),
    (-1, "1", (-1.0,)),
    (np.float64(0.25), np.float32(1), (0.25,)),
]


@pytest.mark.parametrize(("mean", "std", "expected"), GOOD)
def test_how_it_may_be_said(mean: Any, std: Any, expected: tuple[float, ...]) -> None:
    found = asked(mean, std, 1.0)
    assert found is not None
    assert found.mean == expected


BAD: list[tuple[Any, Any, Any, str]] = [
    ("mnist", None, 1.0, "mean needs std"),
    (None, 1.0, 1.0, "std needs mean"),
    ("mnits", "mnist", 1.0, "did you mean 'mnist'"),
    ("mnist", "0", 1.0, "std must lie between"),
    (0.0, -1.0, 1.0, "std must lie between"),
    ("1,,2", "1", 1.0, "unknown mean ''"),
    ("nan", "1", 1.0, "mean must lie between"),
    ("0", "inf", 1.0, "std must lie between"),
    ([], 1.0, 1.0, "mean must be a number"),
    (True, 1.0, 1.0, "mean must be a number"),
    ({}, 1.0, 1.0, "mean must be a number"),
    (None, None, 0.0, "scale must lie between"),
    (None, None, "255", "scale must be a number"),
    (10**400, 1.0, 1.0, "mean must lie between"),
    ("x" * 10**6, "1", 1.0, "unknown mean"),
]


@pytest.mark.parametrize(("mean", "std", "scale", "message"), BAD, ids=range(len(BAD)))
def test_what_it_can_not_be_is_said_in_one_line(mean: Any, std: Any, scale: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message) as error:
        asked(mean, std, scale)
    assert len(str(error.value)) < 300
    assert "\n" not in str(error.value)


def test_values_for_other_channels_are_refused(network: nn.Module, images: Split, tmp_path: Path) -> None:
    with pytest.raises(
        RobustlabError,
        match="mean has 3 values and std 3; give one number for all channels",
    ):
        evaluate(tmp_path, network, images, mean="cifar10", std="cifar10")


NAMED = {name: unit for name, unit in units(Dataset).items() if unit.mean}


@pytest.mark.parametrize("name", NAMED)
def test_the_check_tries_the_values_of_the_nearest_dataset(name: str) -> None:
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (NAMED[name].mean, NAMED[name].std))
    images = torch.cat([mean - std, mean + std]).expand(-1, -1, 4, 4) + 0.01
    always = {"--mean 0.5 --std 0.5", "--scale 255"} | (
        {"--mean imagenet --std imagenet"} if len(NAMED[name].mean) == 3 else set()
    )
    tried = usual(images)
    assert tried.keys() == always | {f"--mean {name} --std {name}"}
    assert all(found.fits(images.shape[1]) for found in tried.values())


def test_images_of_other_channels_have_no_nearest_dataset() -> None:
    assert set(usual(torch.rand(4, 2, 3, 3))) == {"--mean 0.5 --std 0.5", "--scale 255"}


@pytest.mark.parametrize(
    "given",
    [{"mean": "mnist", "std": "mnist"}, {"mean": (-0.1, 0.25, 1e-5), "std": 0.3, "scale": 255.0}],
)
def test_the_command_gives_the_same_again(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def evaluate(*_: Any, **options: Any) -> None:
        seen.update(options)
        raise RobustlabError("seen")

    monkeypatch.setattr(robustlab, "evaluate", evaluate)
    words = shlex.split(EvaluationOptions(model="mnist_cnn", **given).command())
    assert CliRunner().invoke(app, words[1:]).exit_code == 2
    values = (seen["mean"], seen["std"], seen.get("scale"))
    assert asked(*values) == asked(given["mean"], given["std"], given.get("scale", 1.0))
