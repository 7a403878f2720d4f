"""One small network with random weights for every source, beside its own library's answers."""

import contextlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustlab.core import seeding

SHAPE = (3, 8, 8)


@dataclass(frozen=True)
class Case:
    """What a user types, and the logits (N, K) of the library itself for images (N, C, H, W) in [0, 1]."""

    text: str
    logits: Callable[[Tensor], Tensor]
    shape: tuple[int, int, int] = SHAPE
    gradient: bool = True


class Net(nn.Module):
    """A small CNN of images (N, 3, 8, 8); ``flat``: of images (N, 192)."""

    def __init__(self, *, flat: bool = False, classes: int = 5) -> None:
        super().__init__()
        self.flat = flat
        with seeding.isolated(1):
            self.convolution, self.linear = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(256, classes)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(-1, *SHAPE) if self.flat else x
        logits: Tensor = self.linear(self.convolution(x).relu().flatten(1))
        return logits


@contextlib.contextmanager
def quiet() -> Any:
    """Ignore the warnings of the libraries while a test makes a file with them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def onnx_file(path: Path, network: nn.Module | None = None, shape: Any = (1, *SHAPE), **more: Any) -> Path:
    """Write a network as ONNX; its batch is open unless ``dynamic_axes`` is None."""
    options: dict[str, Any] = {"input_names": ["images"], "output_names": ["logits"], "dynamo": False}
    options["dynamic_axes"] = {"images": {0: "n"}, "logits": {0: "n"}}
    with quiet():
        torch.onnx.export(network or Net(), (torch.rand(shape),), str(path), **options | more)
    return path


def black_box_file(path: Path) -> Path:
    """Write an ONNX network with an operation that onnx2torch does not know."""
    onnx = pytest.importorskip("onnx")
    weight = onnx.numpy_helper.from_array(Net().linear.weight.detach()[:, :192].T.contiguous().numpy(), "w")
    nodes = [
        onnx.helper.make_node("Flatten", ["images"], ["flat"]),
        onnx.helper.make_node("MatMul", ["flat", "w"], ["plain"]),
        onnx.helper.make_node("Shrink", ["plain"], ["logits"], lambd=0.01, bias=0.01),
    ]
    given = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, ["n", *SHAPE])
    answer = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["n", 5])
    graph = onnx.helper.make_graph(nodes, "net", [given], [answer], [weight])
    opsets = [onnx.helper.make_opsetid("", 15)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), str(path))
    return path


def of_onnxruntime(path: Path, images: Tensor) -> Tensor:
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: images.numpy()})[0])


def torchvision_case(folder: Path) -> Case:
    from torchvision import models

    del folder
    with seeding.isolated(0):
        network = models.get_model("resnet18", weights=None, num_classes=5).eval()
    return Case("torchvision(resnet18, classes=5)", network, (3, 32, 48))


def timm_case(folder: Path) -> Case:
    timm = pytest.importorskip("timm")
    del folder
    with quiet(), seeding.isolated(0):
        network = timm.create_model("test_resnet.r160_in1k", pretrained=False).eval()
    steps = timm.data.resolve_data_config({}, model=network)
    transform = timm.data.create_transform(**steps, is_training=False)
    text = "timm(test_resnet.r160_in1k, pretrained=False)"
    return Case(text, lambda images: network(transform(images)), (3, 50, 70))


def transformers_case(folder: Path) -> Case:
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=16,
        patch_size=8, id2label=dict(enumerate(["cat", "dog", "cow"])),
    )  # fmt: skip
    with quiet(), seeding.isolated(2):
        model = transformers.ViTForImageClassification(config).eval()
        model.save_pretrained(folder / "vit")
        processor = transformers.ViTImageProcessor(size={"height": 16, "width": 16})
        processor.save_pretrained(folder / "vit")

    def logits(images: Tensor) -> Tensor:
        found = processor(list(images), do_rescale=False, return_tensors="pt")
        answer: Tensor = model(**found).logits
        return answer

    return Case(f"hf({folder / 'vit'})", logits, (3, 24, 30))


def onnx_case(folder: Path) -> Case:
    pytest.importorskip("onnx2torch")
    path = onnx_file(folder / "net.onnx")
    return Case(str(path), lambda images: of_onnxruntime(path, images))


def black_box_case(folder: Path) -> Case:
    pytest.importorskip("onnx2torch")
    path = black_box_file(folder / "box.onnx")
    return Case(f"onnx({path})", lambda images: of_onnxruntime(path, images), gradient=False)


def keras_case(folder: Path) -> Case:
    keras = keras_or_skip()
    with quiet():
        layers = keras.layers
        parts = [layers.Input((8, 8, 3)), layers.Rescaling(2.0), layers.Conv2D(4, 3), layers.Flatten()]
        model = keras.Sequential([*parts, layers.Dropout(0.5), layers.Dense(5)])
        model.save(folder / "net.keras")

    def logits(images: Tensor) -> Tensor:
        return torch.from_numpy(model.predict(images.permute(0, 2, 3, 1).numpy(), verbose=0))

    return Case(str(folder / "net.keras"), logits)


def keras_or_skip() -> Any:
    from robustlab.models.sources.keras import _keras

    pytest.importorskip("onnx")  # a cheap look before the import of keras, which takes seconds
    with quiet():
        return _keras()


def torchscript_case(folder: Path) -> Case:
    with quiet():
        script: Any = torch.jit.trace(Net(), torch.rand(2, *SHAPE))  # type: ignore[no-untyped-call]
        script.save(str(folder / "net.pt"))
    return Case(f"torchscript({folder / 'net.pt'})", Net())


def export_case(folder: Path) -> Case:
    with quiet():
        program = torch.export.export(Net(), (torch.rand(1, *SHAPE),))
        torch.export.save(program, folder / "net.pt2")
    return Case(str(folder / "net.pt2"), Net())


CASES: dict[str, Callable[[Path], Case]] = {
    "torchvision": torchvision_case,
    "timm": timm_case,
    "transformers": transformers_case,
    "onnx": onnx_case,
    "black box": black_box_case,
    "keras": keras_case,
    "torchscript": torchscript_case,
    "export": export_case,
}
