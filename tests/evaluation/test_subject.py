"""Classifiers from files: every way to name one, and every way to get it wrong."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import robustlab
from robustlab.core import user_code
from robustlab.core.errors import ModelFileError, RobustlabError, SetupError
from robustlab.evaluation.subject import class_count, in_fastest_layout, load_classifier
from robustlab.models import CNN, Shape, save_network

FILE = """
from torch import nn
from helper import SIZE

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(SIZE, 3)

    def forward(self, images):
        return self.layer(images.flatten(1))

def make_model():
    return Net()

def make_nothing():
    return 7

def make_trouble():
    values = []
    return values[3]

MODEL = Net()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "helper.py").write_text("SIZE = 20\n")
    path = tmp_path / "my_net.py"
    path.write_text(FILE)
    return path


def test_a_function_of_a_file(file: Path) -> None:
    loaded = load_classifier(f"{file}:make_model")
    assert loaded.name == "my_net-make_model"
    assert class_count(loaded.model.eval(), torch.zeros(1, 1, 4, 5)) == 3


def test_a_module_of_a_file_is_taken_as_it_is(file: Path) -> None:
    loaded = load_classifier(f"{file}:MODEL")
    assert loaded.name == "my_net-MODEL"
    assert class_count(loaded.model.eval(), torch.zeros(1, 1, 4, 5)) == 3


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (":SIZE", "returned an int, not a torch.nn.Module"),
        (":make_modle", "has no function 'make_modle' (did you mean 'make_model'?)"),
        ("", "which function? Write"),
        ("", "it defines: Net, make_model, make_nothing, make_trouble"),
        (":make_nothing", "returned an int, not a torch.nn.Module"),
        (":make_trouble", "failed: IndexError: list index out of range (my_net.py, line 21)"),
        (":Net2", "did you mean 'Net'?"),
    ],
)
def test_wrong_functions(file: Path, name: str, expected: str) -> None:
    with pytest.raises(SetupError) as caught:
        load_classifier(f"{file}{name}")
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("import nothing_of_this_name", "can't be imported: ModuleNotFoundError"),
        ("def make_model(:", "can't be imported: SyntaxError"),
        ("raise SystemExit(3)", "can't be imported: SystemExit"),
        ("def make_model(x): return x", "needs x, and is called without arguments"),
    ],
)
def test_files_that_fail(tmp_path: Path, content: str, expected: str) -> None:
    (tmp_path / "bad.py").write_text(content)
    with pytest.raises(SetupError) as caught:
        load_classifier(f"{tmp_path / 'bad.py'}:make_model")
    assert expected in str(caught.value)


def test_names_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name, expected in (
        (tmp_path / "none.py:make", "does not exist"),
        (tmp_path / "empty", "holds no trained networks"),
        (tmp_path / "weights.pt", "FILE.py:FUNCTION --weights"),
        ("resnet50", "no model 'resnet50'; give FILE.py:FUNCTION, .* of the zoo: mnist_cnn"),
        ("mnist_cnm", r"no model 'mnist_cnm' \(did you mean 'mnist_cnn'\?\)"),
        (tmp_path / "none.safetensors", "does not exist"),
    ):
        with pytest.raises(RobustlabError, match=expected):
            load_classifier(str(name))


def test_a_name_of_the_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mnist_cnn").mkdir()
    monkeypatch.chdir(tmp_path)  # a folder of that name changes nothing
    loaded = load_classifier("mnist_cnn")
    assert (loaded.name, loaded.source) == ("mnist_cnn", "the zoo's mnist_cnn")
    assert class_count(loaded.model, torch.zeros(1, 1, 28, 28)) == 10
    assert loaded.sha256() == load_classifier("mnist_cnn").sha256()
    with pytest.raises(SetupError, match="only be named with the folder"):
        load_classifier("mnist_cnn", network="baseline")
    with pytest.raises(SetupError, match="holds no trained networks"):
        load_classifier("./mnist_cnn")


def test_networks_of_a_run(tmp_path: Path) -> None:
    shape = Shape(1, 8, 8, 4)
    for name in ("baseline", "adversarial"):
        network = CNN().build(shape)
        save_network(tmp_path / "models" / f"{name}.safetensors", network, CNN(), shape, {})
    loaded = load_classifier(str(tmp_path), network="baseline")
    assert loaded.name == f"{tmp_path.name}-baseline"
    alone = load_classifier(str(tmp_path / "models" / "baseline.safetensors"))
    assert (alone.name, alone.sha256()) == ("baseline", loaded.sha256())
    with pytest.raises(SetupError, match="name a network; it has: adversarial, baseline"):
        load_classifier(str(tmp_path))
    with pytest.raises(SetupError, match="did you mean 'baseline'"):
        load_classifier(str(tmp_path), network="baselin")


def weights_of(file: Path) -> dict[str, torch.Tensor]:
    state = load_classifier(f"{file}:make_model").model.state_dict()
    return {name: torch.ones_like(value) for name, value in state.items()}


@pytest.mark.parametrize("form", ["safetensors", "pt", "nested", "parallel"])
def test_weights(file: Path, form: str) -> None:
    tensors, path = (
        weights_of(file),
        file.parent / ("ours.safetensors" if form == "safetensors" else "ours.pt"),
    )
    if form == "safetensors":
        save_file(tensors, path)
    elif form == "pt":
        torch.save(tensors, path)
    elif form == "nested":
        torch.save({"epoch": 3, "state_dict": tensors}, path)
    else:
        torch.save({f"module.{name}": value for name, value in tensors.items()}, path)
    loaded = load_classifier(f"{file}:make_model", weights=str(path))
    assert loaded.name == "ours"
    assert all((parameter == 1).all() for parameter in loaded.model.parameters())


class Payload:
    """Would run code if it were unpickled."""


def test_wrong_weights(file: Path) -> None:
    tensors, folder = weights_of(file), file.parent
    (folder / "broken.pt").write_bytes(b"\x80\x02 nothing")
    (folder / "text.safetensors").write_text("nothing")
    torch.save(Payload(), folder / "code.pt")
    torch.save([1, 2], folder / "list.pt")
    (folder / "garbage.pt").write_text("garbage")
    (folder / "half.pt").write_bytes((folder / "list.pt").read_bytes()[:300])
    torch.save({1: torch.zeros(2)}, folder / "numbers.pt")
    torch.save({"layer.weight": tensors["layer.weight"]}, folder / "part.pt")
    torch.save({**tensors, "layer.bias": torch.full((3,), torch.nan)}, folder / "nan.pt")
    for name, expected in (
        ("none.pt", "does not exist"),
        ("broken.pt", "is damaged, or no file of weights"),
        ("garbage.pt", "is damaged, or no file of weights"),
        ("half.pt", "is damaged, or no file of weights"),
        ("numbers.pt", "holds no state_dict"),
        ("text.safetensors", "not a readable safetensors"),
        ("code.pt", "reading it would run code"),
        ("list.pt", "holds no state_dict"),
        ("part.pt", "layer.bias is missing"),
        ("nan.pt", "not finite"),
    ):
        with pytest.raises(ModelFileError, match=expected):
            load_classifier(f"{file}:make_model", weights=str(folder / name))


def test_what_decides_the_answers_decides_the_identity(file: Path) -> None:
    def identity() -> str:
        return load_classifier(f"{file}:make_model").code

    first = identity()
    assert identity() == first
    file.write_text(FILE.replace("flatten(1))", "flatten(1)) * 2"))
    assert identity() != first

    class Scaled(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor, self.shift = factor, torch.zeros(2)

        def extra_repr(self) -> str:
            return repr(lambda: self.factor)  # holds an address

    one, two, three = Scaled(1.0), Scaled(2.0), Scaled(1.0)
    three.shift += 1
    codes = {load_classifier(model).code for model in (one, two, three)}
    assert len(codes) == 3
    assert load_classifier(Scaled(1.0)).code in codes


class Flat(nn.Module):
    """Reshapes with `view`, which a channels-last layout does not allow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.conv(images).view(len(images), -1)
        return answer


def test_layout_is_only_changed_where_the_code_allows_it() -> None:
    images = torch.rand(2, 3, 6, 6)
    flat = Flat().eval()
    in_fastest_layout(flat, images)
    assert flat.conv.weight.is_contiguous()
    assert flat(images).shape == (2, 64)
    solid = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Unflatten(1, (1, 4)), nn.Conv3d(1, 1, 3)).eval()
    in_fastest_layout(solid, images)
    assert all(parameter.is_contiguous() for parameter in solid.parameters())
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()).eval()
    in_fastest_layout(plain, images)
    assert next(plain.parameters()).is_contiguous(memory_format=torch.channels_last)


def test_a_module(make_linear: Callable[..., nn.Module]) -> None:
    loaded = load_classifier(make_linear(), name="mine")
    assert (loaded.name, loaded.source) == ("mine", "Python")


def default_of(threshold: float) -> Callable[[], float]:
    def function(*, level: float = threshold) -> float:
        return level

    return function


class Thresholded(nn.Module):
    """Answers by a threshold that is kept in one of many places."""

    def __init__(self, place: str, threshold: float) -> None:
        super().__init__()
        if place == "unsaved buffer":
            self.register_buffer("level", torch.tensor(threshold), persistent=False)
        elif place == "private":
            self._level = threshold
        elif place == "list":
            self.levels = [threshold]
        elif place == "dict":
            self.levels_by_name = {"level": (threshold,)}
        elif place == "array":
            self.array = np.array([threshold])
        elif place == "function":
            self.function: Callable[..., Any] = lambda: threshold
        elif place == "default":
            self.function = default_of(threshold)
        elif place == "partial":
            self.function = partial(pow, threshold)
        elif place == "method":
            self.function = SimpleNamespace(level=threshold).__eq__
        elif place == "outside":
            self.parts = [Thresholded("private", threshold)]
        elif place == "weights outside":
            layer = nn.Linear(1, 1)
            layer.load_state_dict({"weight": torch.full((1, 1), threshold), "bias": torch.zeros(1)})
            self.layers = [layer]
        else:
            self.register_forward_hook(lambda *_: None if threshold < 0.7 else torch.zeros(1, 2))


PLACES = ["unsaved buffer", "private", "list", "dict", "array", "object", "hook", "function", "default"]
PLACES += ["partial", "method", "outside", "weights outside"]


@pytest.mark.parametrize("place", PLACES)
def test_a_setting_anywhere_decides_the_identity(place: str) -> None:
    def identity(threshold: float) -> tuple[str, str]:
        loaded = load_classifier(Thresholded(place, threshold))
        return loaded.code, loaded.sha256()

    assert identity(0.5) == identity(0.5)
    assert identity(0.5) != identity(0.8)


def test_a_file_that_the_users_imports_decides_the_identity(file: Path) -> None:
    first, again = (load_classifier(f"{file}:make_model").code for _ in range(2))
    (file.parent / "helper.py").write_text("SIZE = 2 * 10\n")
    assert first == again != load_classifier(f"{file}:make_model").code


def test_every_file_has_the_modules_beside_it_as_they_are_now(file: Path) -> None:
    def inputs(path: Path) -> int:
        return (
            load_classifier(f"{path}:make_model")
            .model.get_submodule("layer")
            .get_parameter("weight")
            .shape[1]
        )

    other = file.parent / "other" / "my_net.py"
    other.parent.mkdir()
    other.write_text(FILE)
    (other.parent / "helper.py").write_text("SIZE = 7\n")
    assert (inputs(file), inputs(other)) == (20, 7)
    (file.parent / "helper.py").write_text("SIZE = 20 + 1\n")
    assert inputs(file) == 21


def test_parameters_without_values_are_refused() -> None:
    class Lazy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.LazyLinear(3)

    with pytest.raises(SetupError, match=r"layer.weight has no shape yet; show the model one image first"):
        load_classifier(Lazy())
    with pytest.raises(SetupError, match=r"weight is on the meta device, without values"):
        load_classifier(nn.Linear(2, 3, device="meta"))
    with pytest.raises(SetupError, match=r"layer.weight has no shape yet"):
        load_classifier(Lazy(), weights="none.pt")


def test_sparse_weights_decide_the_identity() -> None:
    class Sparse(nn.Module):
        weight: torch.Tensor

        def __init__(self, factor: float) -> None:
            super().__init__()
            self.register_buffer("weight", factor * torch.eye(4).to_sparse())

    one, same, other = (load_classifier(Sparse(factor)).sha256() for factor in (1, 1, 2))
    assert one == same != other


def test_modules_that_others_loaded_stay_and_do_not_count(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_classifier(f"{file}:make_model").code
    (file.parent / "data.py").write_text("from helper import SIZE\ndef make(): return SIZE\n")
    user_code.call(f"{file.parent / 'data.py'}:make")
    mine = ModuleType("helper")
    mine.__file__ = str(file.parent / "helper.py")
    monkeypatch.setitem(sys.modules, "helper", mine)
    assert load_classifier(f"{file}:make_model").code == first
    assert sys.modules["helper"] is mine


def test_a_model_whose_train_returns_nothing_is_evaluated(tmp_path: Path) -> None:
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 2)

        def train(self, mode: bool = True) -> None:  # type: ignore[override]
            super().train(mode)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.layer(images.flatten(1))
            return logits

    images, labels = torch.rand(5, 1, 2, 2), torch.zeros(5).long()
    found = robustlab.evaluate(
        Frozen(), images=images, labels=labels, attacks="fgsm", checks=False, out=tmp_path / "run"
    )
    assert found.results.robust.n == 5
