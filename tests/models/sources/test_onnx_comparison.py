"""Each network that onnx2torch makes is compared with onnxruntime, also where the file leaves sizes open."""

from pathlib import Path
from typing import Any

import pytest
import torch
from source_models import of_onnxruntime, onnx_file, quiet
from torch import Tensor, nn

from robustlab.evaluation.subject import LoadedClassifier, load_classifier

onnx2torch = pytest.importorskip("onnx2torch")
pytestmark = pytest.mark.filterwarnings("ignore")  # of the other libraries

AXES = {"images": {0: "n", 2: "h", 3: "w"}, "logits": {0: "n"}}


class Doubled(nn.Module):
    """A conversion with other answers."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = 2 * self.network(images)
        return logits


def loaded(path: Path) -> LoadedClassifier:
    with quiet():
        return load_classifier(str(path))


def wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    convert = onnx2torch.convert
    monkeypatch.setattr(onnx2torch, "convert", lambda model: Doubled(convert(model)))


def flat(side: int, channels: int = 1) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * side * side, 5)).eval()


@pytest.mark.parametrize(("side", "channels"), [(28, 1), (96, 3)])
def test_a_wrong_conversion_is_found_where_sizes_are_open(
    side: int, channels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    axes = {"images": {0: "n", 1: "c", 2: "h", 3: "w"}, "logits": {0: "n"}}
    shape = (1, channels, side, side)
    path = onnx_file(tmp_path / "net.onnx", flat(side, channels), shape, dynamic_axes=axes)
    assert not loaded(path).remarks, "a right one is used as it is"
    wrong(monkeypatch)
    subject = loaded(path)
    assert any("has other answers" in remark for remark in subject.remarks)
    images = torch.rand(3, *shape[1:])
    assert torch.equal(subject.model(images), of_onnxruntime(path, images))


def test_a_conversion_that_could_not_be_compared_is_named(tmp_path: Path) -> None:
    network = flat(10, 3)
    subject = loaded(onnx_file(tmp_path / "net.onnx", network, (1, 3, 10, 10), dynamic_axes=AXES))
    assert sum("could not be compared" in remark for remark in subject.remarks) == 1
    images = torch.rand(4, 3, 10, 10)
    assert torch.allclose(subject.model(images), network(images), atol=1e-5)
    assert subject.model(images.requires_grad_()).requires_grad


def test_an_answer_that_is_no_number_is_a_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.full((len(images), 5), torch.nan)

    def convert(model: Any) -> nn.Module:
        del model
        return Broken()

    monkeypatch.setattr(onnx2torch, "convert", convert)
    subject = loaded(onnx_file(tmp_path / "net.onnx"))
    assert any("has other answers" in remark for remark in subject.remarks)


def test_a_wrong_size_is_not_on_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    loaded(onnx_file(tmp_path / "net.onnx", flat(10, 3), (1, 3, 10, 10), dynamic_axes=AXES))
    assert "onnxruntime" not in capfd.readouterr().err
