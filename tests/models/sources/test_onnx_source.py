"""ONNX files as they are found: flat or channels-last inputs, fixed batches, several outputs, damage."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from source_models import SHAPE, Net, black_box_file, of_onnxruntime, onnx_file, quiet
from torch import Tensor, nn

from robustlab.core.errors import ModelFileError, RobustlabError, SetupError
from robustlab.evaluation.subject import LoadedClassifier, load_classifier
from robustlab.models.sources.declared import DeclaredInput, in_declared_input

pytest.importorskip("onnx2torch")
pytestmark = pytest.mark.filterwarnings("ignore")  # of the other libraries

IMAGES = torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(0))


def loaded(text: object) -> LoadedClassifier:
    with quiet():
        return load_classifier(str(text))


def test_gradients_are_those_of_the_network(tmp_path: Path) -> None:
    model, network = loaded(onnx_file(tmp_path / "net.onnx")).model, Net()
    slopes: list[Tensor] = []
    for one in (model, network):
        points = IMAGES.clone().requires_grad_()
        slopes += torch.autograd.grad(one(points).square().sum(), points)
    assert torch.allclose(slopes[0], slopes[1], atol=1e-5)


class Twice(nn.Module):
    """Two outputs, of which the second holds the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Net()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.network(x)
        return logits.argmax(dim=1), logits


class ChannelsLast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = Net()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x.permute(0, 3, 1, 2))
        return logits


FORMS: list[tuple[nn.Module, tuple[int, ...], bool, str]] = [
    (Net(flat=True), (1, 192), True, r"an input of shape \(N, 192\): images are reshaped"),
    (Net(flat=True), (1, 192, 1), False, r"an input of shape \(N, 192, 1\): images are reshaped"),
    (ChannelsLast(), (1, 8, 8, 3), True, r"images of shape \(N, 8, 8, 3\): the channels go to the end"),
    (Net(), (1, *SHAPE), False, ""),
    (Net(), (2, *SHAPE), False, ""),
]


@pytest.mark.parametrize(("network", "shape", "dynamic", "remark"), FORMS, ids=range(len(FORMS)))
def test_images_are_brought_into_the_declared_input(
    network: nn.Module, shape: tuple[int, ...], remark: str, tmp_path: Path, *, dynamic: bool
) -> None:
    more: dict[str, Any] = {} if dynamic else {"dynamic_axes": None}
    subject = loaded(onnx_file(tmp_path / "net.onnx", network, shape, **more))
    with torch.no_grad():
        assert torch.allclose(subject.model(IMAGES), Net()(IMAGES), atol=1e-5)
    if remark:
        assert re.search(remark, " ".join(subject.remarks))


def test_a_black_box_with_a_fixed_batch(tmp_path: Path) -> None:
    import onnx

    path = black_box_file(tmp_path / "box.onnx")
    file = onnx.load(str(path))
    file.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    file.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(file, str(tmp_path / "two.onnx"))
    subject = loaded(tmp_path / "two.onnx")
    assert torch.equal(subject.model(IMAGES), of_onnxruntime(path, IMAGES))
    assert any("takes only batches of 2" in remark for remark in subject.remarks)
    assert any("onnx2torch can't convert it" in remark for remark in subject.remarks)


def test_the_output_with_the_logits_is_named(tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "two.onnx", Twice(), output_names=["label", "scores"], dynamic_axes=None)
    with pytest.raises(ModelFileError, match=r"no output 'logits'; it has label, scores: .*output=NAME"):
        loaded(path)
    with pytest.raises(ModelFileError, match="did you mean 'scores'"):
        loaded(f"onnx({path}, output=scoers)")
    subject = loaded(f"onnx({path}, output=scores)")
    assert torch.allclose(subject.model(IMAGES), Net()(IMAGES), atol=1e-5)


def test_what_is_wrong_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no network" * 20)
    for text, message in (
        (tmp_path / "no.onnx", "could not be loaded: .* it is not an ONNX file, or it is damaged"),
        (tmp_path / "none.onnx", "does not exist"),
        (f"onnx({tmp_path})", "is a folder, not a file"),
    ):
        with pytest.raises(RobustlabError, match=message):
            loaded(text)
    path = onnx_file(tmp_path / "net.onnx")
    with pytest.raises(
        RobustlabError, match=r"images of shape \(3, 8, 8\), not \(3, 9, 9\).*--resize 8 --crop 8"
    ):
        loaded(path).model(torch.rand(1, 3, 9, 9))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(SetupError, match=r"package onnxruntime is not installed.*'robustlab\[onnx\]'"):
        loaded(path)


def test_an_open_shape_is_not_wrapped() -> None:
    network = Net()
    assert in_declared_input(network, [None, 3, None, None]) == (network, ())
    wrapped, remarks = in_declared_input(network, [None, None, None, 3])
    assert not isinstance(wrapped, DeclaredInput) or wrapped.channels_last
    assert remarks


def test_weights_in_a_file_beside_it_are_its_own(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    models = []
    for name, factor in (("one", 1.0), ("other", 2.0)):
        (tmp_path / name).mkdir()
        whole = onnx.load(str(onnx_file(tmp_path / name / "whole.onnx")))
        for tensor in whole.graph.initializer:
            values = onnx.numpy_helper.to_array(tensor) * factor
            tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype("float32"), tensor.name))
        place = tmp_path / name / "net.onnx"
        options = {"save_as_external_data": True, "location": "net.data", "size_threshold": 0}
        onnx.save_model(whole, str(place), **options)
        assert (tmp_path / name / "net.data").stat().st_size > 0
        models.append(loaded(place))
    one, other = models
    assert (one.code, one.sha256()) != (other.code, other.sha256())
    with torch.no_grad():
        assert torch.allclose(one.model(IMAGES), loaded(tmp_path / "one" / "whole.onnx").model(IMAGES))
        assert not torch.allclose(one.model(IMAGES), other.model(IMAGES))
