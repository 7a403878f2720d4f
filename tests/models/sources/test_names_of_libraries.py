"""Texts that name networks of libraries: dots and slashes need no quotes, unknown names get a suggestion."""

import sys
import types
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import torch
from source_models import Net, keras_or_skip, quiet

from robustlab.core.errors import RobustlabError, SetupError
from robustlab.core.spec import parse
from robustlab.defenses.loading import source
from robustlab.evaluation.subject import load_classifier
from robustlab.models.sources import FromOnnx, FromTimm, FromTorchvision, FromTransformers, Source

pytestmark = pytest.mark.filterwarnings("ignore")  # of the other libraries

LARGE = "vit_base_patch16_224.augreg2_in21k_ft_in1k"
TEXTS: list[tuple[str, Source]] = [
    ("timm(resnet50.a1_in1k)", FromTimm(network="resnet50.a1_in1k")),
    (f"timm({LARGE})", FromTimm(network=LARGE)),
    ("timm(hf-hub:timm/resnet18.a1_in1k)", FromTimm(network="hf-hub:timm/resnet18.a1_in1k")),
    ("timm(net, pretrained=False, classes=9)", FromTimm(network="net", pretrained=False, classes=9)),
    ("hf(google/vit-base-patch16-224)", FromTransformers(place="google/vit-base-patch16-224")),
    ("hf(owner/net-v1.5)", FromTransformers(place="owner/net-v1.5")),
    ("hf(owner/a-0.5-in-21k)", FromTransformers(place="owner/a-0.5-in-21k")),
    ("hf('/data/net 1')", FromTransformers(place="/data/net 1")),
    ("hf(./net)", FromTransformers(place="./net")),
    ("onnx(nets/net-v1.2.onnx, output=scores)", FromOnnx(path="nets/net-v1.2.onnx", output="scores")),
    ("torchvision(resnet50, weights=V2)", FromTorchvision(network="resnet50", weights="V2")),
    ("torchvision(net, weights=Net_Weights.V2)", FromTorchvision(network="net", weights="Net_Weights.V2")),
]


@pytest.mark.parametrize(("text", "expected"), TEXTS, ids=range(len(TEXTS)))
def test_a_text_names_a_network(text: str, expected: Source) -> None:
    assert source(text) == expected
    assert parse(Source, repr(expected)) == expected


UNKNOWN: list[tuple[str, str]] = [
    ("torchvision(resnet51)", "unknown classifier of torchvision 'resnet51' .did you mean 'resnet"),
    ("torchvision(ResNet50)", "did you mean 'resnet50'"),
    ("torchvision(deeplabv3_resnet50)", "unknown classifier of torchvision"),
    (
        "torchvision(resnet50, weights=IMAGENET1K_V3)",
        "unknown weights of resnet50 .*did you mean 'IMAGENET1K_V",
    ),
    ("torchvision(resnet50, weights=DEFAULT, classes=10)", "leave out classes"),
    ("torchvision()", "network"),
    ("timm(resnet18.a9_in1k)", "unknown classifier of timm 'resnet18.a9_in1k' .did you mean 'resnet"),
    ("timm(resnt18)", "did you mean 'resnet"),
    ("tim(resnet18)", "unknown source 'tim' .did you mean 'timm'"),
    ("export(none.pt2)", "none.pt2 does not exist"),
    ("torchscript(none.pt)", "none.pt does not exist"),
    ("keras(none.keras)", "none.keras does not exist"),
    ("none.onnx", "none.onnx does not exist"),
]


@pytest.mark.parametrize(("text", "message"), UNKNOWN, ids=range(len(UNKNOWN)))
def test_an_unknown_name_is_one_sentence(text: str, message: str) -> None:
    if text.startswith("timm"):
        pytest.importorskip("timm")
    with quiet(), pytest.raises(RobustlabError, match=message) as error:
        load_classifier(text)
    assert len(str(error.value)) <= 300


MISSING = [("timm(resnet18)", "timm", "timm"), ("hf(owner/net)", "transformers", "hf")]
MISSING += [("net.onnx", "onnxruntime", "onnx"), ("net.keras", "keras", "keras")]


@pytest.mark.parametrize(("text", "package", "extra"), MISSING)
def test_a_missing_package_names_its_extra(
    text: str, package: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("net.onnx", "net.keras"):
        Path(name).write_bytes(b"x")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        SetupError, match=rf"{package} is not installed; type: pip install 'robustlab\[{extra}\]'"
    ):
        load_classifier(text)


def test_without_a_network_the_library_says_what_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")

    def fails(*_: Any, **__: Any) -> None:
        raise FileNotFoundError("cannot find the requested files in the local cache")

    monkeypatch.setattr(timm, "create_model", fails)
    with quiet(), pytest.raises(SetupError, match=r"resnet18 could not be loaded: .*local cache; timm takes"):
        load_classifier("timm(resnet18)")


def test_no_folder_of_transformers(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    with quiet(), pytest.raises(SetupError, match=r"could not be loaded: .*; give owner/name of an image"):
        load_classifier(f"hf({tmp_path})")


def test_keras_with_another_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keras = keras_or_skip()
    (tmp_path / "net.keras").write_bytes(b"x")
    with pytest.raises(SetupError, match=r"robustlab needs a file that model.save of Keras wrote"):
        load_classifier(str(tmp_path / "net.keras"))
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    with pytest.raises(
        SetupError, match=r"already imported with its backend tensorflow.*KERAS_BACKEND=torch"
    ):
        load_classifier(str(tmp_path / "net.keras"))


def test_robustbench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "robustbench", None)
    with pytest.raises(SetupError, match=r"type: pip install robustbench 'setuptools<81'"):
        load_classifier("robustbench(Carmon2019Unlabeled)")

    sets: Any = Enum("BenchmarkDataset", {"c": "cifar10"})  # type: ignore[misc]
    threats: Any = Enum("ThreatModel", {"i": "Linf"})  # type: ignore[misc]
    package: Any = types.ModuleType("robustbench")
    zoo: Any = types.ModuleType("robustbench.model_zoo")
    zoo.enums = types.SimpleNamespace(BenchmarkDataset=sets, ThreatModel=threats)
    zoo.model_dicts = {sets("cifar10"): {threats("Linf"): {"Carmon2019Unlabeled": {}}}}
    package.model_zoo, package.load_model = zoo, lambda *_, **__: Net()
    monkeypatch.setitem(sys.modules, "robustbench", package)
    monkeypatch.setitem(sys.modules, "robustbench.model_zoo", zoo)
    subject = load_classifier("robustbench(Carmon2019Unlabeled, dataset=cifar10, threat=Linf)")
    assert subject.name == "Carmon2019Unlabeled"
    assert subject.model(torch.rand(1, 3, 8, 8)).shape == (1, 5)
    for text, message in (
        ("robustbench(Carmon2019Unlabelled)", "did you mean 'Carmon2019Unlabeled'"),
        ("robustbench(Carmon2019Unlabeled, dataset=cifar)", "unknown dataset of robustbench"),
        ("robustbench(Carmon2019Unlabeled, threat=linf)", "did you mean 'Linf'"),
    ):
        with pytest.raises(SetupError, match=message):
            load_classifier(text)
