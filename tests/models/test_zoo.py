"""The zoo: its networks are what their cards say, and other packages can add to it."""

import importlib.metadata
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import robustlab
from hostile_settings import settings
from robustlab.attacks import FGSM, Attack
from robustlab.core.errors import RobustlabError
from robustlab.core.spec import parse
from robustlab.data import Split, Splits, load_dataset
from robustlab.evaluation.checks import AttackRunner
from robustlab.evaluation.checks.transfer import Transfer
from robustlab.evaluation.coordinator import EvaluationOptions, execute
from robustlab.models import Model, load_from_zoo
from robustlab.models.base import Shape
from robustlab.models.zoo import trained_on
from robustlab.runs.evaluation import CheckRecord
from robustlab.shipped import ZOO, zoo_names

OWN = sorted(path.stem for path in ZOO.glob("*.safetensors"))


def foreign_network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(784, 10))


def no_network() -> int:
    return 7


def broken_network() -> nn.Module:
    raise RuntimeError("its server is gone")


@pytest.fixture(scope="module")
def mnist(mnist_root: Path) -> Splits:
    return load_dataset("mnist", data_root=mnist_root)


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [
        importlib.metadata.EntryPoint(name=name, value=f"{__name__}:{name}", group="robustlab.zoo")
        for name in ("foreign_network", "no_network", "broken_network")
    ]

    def installed(*, group: str) -> importlib.metadata.EntryPoints:
        assert group == "robustlab.zoo"
        return importlib.metadata.EntryPoints(entries)

    monkeypatch.setattr(importlib.metadata, "entry_points", installed)


def test_every_network_has_a_card() -> None:
    assert OWN == [
        "mnist_cnn",
        "mnist_fgsm_0125",
        "mnist_fgsm_025",
        "mnist_sabr_01",
        "mnist_single_step",
        "mnist_thresholded_pgd",
    ]
    assert list(zoo_names()) == OWN
    for name in OWN:
        card = json.loads((ZOO / f"{name}.json").read_text())
        assert repr(parse(Model, card["model"])) == card["model"]
        assert card["title"] == zoo_names()[name]
        assert card["made_by"]


@pytest.mark.mnist
@pytest.mark.parametrize("name", OWN)
def test_a_network_classifies_mnist(name: str, mnist: Splits) -> None:
    network = robustlab.load_from_zoo(name)
    assert not any(module.training for module in network.modules())
    test = mnist.test.take(slice(1000))
    with torch.no_grad():
        right = network(test.pixels(slice(None))).argmax(dim=1) == test.labels
    assert right.double().mean() > 0.98


@pytest.mark.usefixtures("foreign")
def test_networks_of_other_packages() -> None:
    assert set(zoo_names()) == {*OWN, "foreign_network", "no_network", "broken_network"}
    network = load_from_zoo("foreign_network")
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    assert not any(module.training for module in network.modules())


@pytest.mark.usefixtures("foreign")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mnist_cn", r"no network 'mnist_cn' \(did you mean 'mnist_cnn'\?\); .*mnist_fgsm_0125"),
        ("../zoo/mnist_cnn", "no network '../zoo/mnist_cnn'"),
        ("no_network", "returned an int, not a torch.nn.Module"),
        ("broken_network", "failed when it made 'broken_network': RuntimeError: its server is gone"),
    ],
)
def test_what_is_no_network(name: str, expected: str) -> None:
    with pytest.raises(RobustlabError, match=expected):
        load_from_zoo(name)


@pytest.mark.mnist
def test_a_name_is_evaluated_and_resumed(tmp_path: Path, mnist: Splits) -> None:
    def run() -> robustlab.EvaluationRun:
        return robustlab.evaluate(
            "mnist_cnn",
            images=mnist.test.pixels(slice(20)),
            labels=mnist.test.labels[:20],
            attacks="pgd(steps=10)",
            checks=False,
            out=tmp_path / "run",
        )

    first, again = run(), run()
    assert first.results.subject.name == "mnist_cnn"
    assert first.results.robust.value < 0.2
    assert again.results.robust == first.results.robust


def test_what_the_caller_has_set_does_not_matter() -> None:
    with settings("float64", "device"):
        network, dataset = load_from_zoo("mnist_cnn"), robustlab.load_dataset("digits")
    weights = next(network.parameters())
    assert (weights.dtype, weights.device.type) == (torch.float32, "cpu")
    assert torch.equal(weights, next(load_from_zoo("mnist_cnn").parameters()))
    assert dataset.test.labels.device.type == "cpu"


def test_networks_trained_on_a_dataset() -> None:
    shape = Shape(1, 28, 28, 10)
    assert len(trained_on("mnist", shape)) == 2, "robust ones are left out"
    assert trained_on("digits", shape) == []
    assert trained_on("mnist", Shape(1, 28, 28, 2)) == []


@pytest.mark.mnist
@pytest.mark.usefixtures("mnist")
@pytest.mark.parametrize(("name", "surrogates"), [("mnist_cnn", 1), ("other", 2)])
def test_they_are_the_surrogates_where_none_is_given(
    name: str, surrogates: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def look(self: Transfer, lab: AttackRunner) -> Attack:
        del self
        asked.append(len(lab.surrogates))
        return FGSM()

    monkeypatch.setattr(Transfer, "attack", look)
    monkeypatch.setattr("robustlab.evaluation.coordinator.checking.checks_of", lambda _: (Transfer(),))
    last = nn.Linear(10, 10, bias=False)
    with torch.no_grad():
        last.weight.copy_(torch.eye(10))
    other = nn.Sequential(robustlab.load_from_zoo("mnist_single_step"), last).eval()
    options = EvaluationOptions(
        model=other if name == "other" else name,
        dataset="mnist",
        n=30,
        threat="linf(eps=0.02)",
        attacks="fgsm",
        out=str(tmp_path / "run"),
    )
    assert execute(options).results.checks[0].grade == "pass"
    assert asked == [surrogates], "the classifier itself is no surrogate"


def test_other_surrogates_are_another_check(
    tmp_path: Path, make_linear: Callable[..., nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = (1, 4, 5)
    known, model = [make_linear(classes=4, shape=shape, seed=3)], make_linear(classes=4, shape=shape, seed=2)
    images = torch.rand(30, *shape, generator=torch.Generator().manual_seed(0))
    split = Split(images=images, labels=model(images).argmax(dim=1), ids=torch.arange(30), name="test")

    def transferred() -> CheckRecord:
        options = EvaluationOptions(
            model=model,
            dataset=split,
            threat="linf(eps=0.01)",
            attacks="fgsm",
            certify=False,
            out=str(tmp_path / "run"),
        )
        return next(check for check in execute(options).results.checks if check.id == "transfer")

    assert transferred().grade == "skip"
    monkeypatch.setattr("robustlab.evaluation.coordinator.checking.trained_on", lambda *_: known)
    first = transferred()
    assert first.grade != "skip"
    assert transferred() == first
    known.append(make_linear(classes=4, shape=shape, seed=4))
    assert transferred().backwards > first.backwards
    known.clear()
    assert transferred().grade == "skip"
