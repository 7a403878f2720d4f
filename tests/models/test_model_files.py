"""Weights on disk come back as they were, or not at all."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from robustlab.core import seeding
from robustlab.core.errors import ModelFileError
from robustlab.core.spec import parse, units
from robustlab.models import DiffusionNetwork, Model, Shape, load_network, save_network
from robustlab.models.files import load_tensors, save_tensors

SHAPE = Shape(1, 8, 8, 3)
SMALL = [
    "cnn(dropout=0.3)",
    "vae(hidden=9, latent=2)",
    "gan(hidden=8, latent=3, dropout=0.1)",
    "strided_cnn(hidden=9)",
    "thresholded(classifier=strided_cnn(hidden=5), at=0.3)",
    "thresholded(classifier=strided_cnn(hidden=5), at=(0.3, 0.5))",
    "purifier(network=reformer(channels=2), classifier=strided_cnn(hidden=5))",
    "prototypes(per_class=2)",
    "deep_cnn(channels=(2, 3), strides=(1, 2), hidden=5)",
    "conv_vae(channels=3, latent=2)",
    "denoising_autoencoder(channels=3)",
    "diffusion(channels=8)",
    "reformer(channels=2)",
]


def build(text: str, seed: int = 1) -> nn.Module:
    with seeding.isolated(seed):
        return parse(Model, text).build(SHAPE)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "models" / "vae.safetensors"
    save_network(path, build(SMALL[1]), parse(Model, SMALL[1]), SHAPE, {"title": "A VAE", "stage": "abc"})
    return path


def test_every_model_is_tried() -> None:
    own_code = {name for name, unit in units(Model).items() if unit.runs_code}
    assert {text.split("(")[0] for text in SMALL} == set(units(Model)) - own_code


@pytest.mark.parametrize("text", SMALL)
def test_a_network_comes_back(text: str, tmp_path: Path) -> None:
    network = build(text).eval()
    path = tmp_path / "deep" / "er" / "net.safetensors"
    save_network(path, network, parse(Model, text), SHAPE, {"seed": 5})
    loaded = load_network(path)
    assert type(loaded) is type(network)
    assert not any(module.training for module in loaded.modules())
    assert loaded.state_dict().keys() == network.state_dict().keys()
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    inputs = [torch.rand(4, *SHAPE.image)]
    if isinstance(network, DiffusionNetwork):
        inputs.append(torch.rand(4))  # the times
    assert torch.allclose(loaded(*inputs), network(*inputs), atol=1e-6)
    assert torch.equal(load_network(str(path))(*inputs), loaded(*inputs))


def test_the_card_lies_beside_the_weights(saved: Path) -> None:
    card = json.loads(saved.with_suffix(".json").read_text())
    assert card == {
        "model": SMALL[1],
        "shape": {"channels": 1, "height": 8, "width": 8, "classes": 3},
        "title": "A VAE",
        "stage": "abc",
    }
    assert load_tensors(saved)[1] == card
    assert sorted(path.name for path in saved.parent.iterdir()) == ["vae.json", "vae.safetensors"]


def test_the_layout_in_memory_does_not_matter(tmp_path: Path) -> None:
    network = build(SMALL[0])
    save_network(tmp_path / "a", network, parse(Model, SMALL[0]), SHAPE, {})
    network.to(memory_format=torch.channels_last)
    save_network(tmp_path / "b", network, parse(Model, SMALL[0]), SHAPE, {})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@given(
    floats=st.lists(st.floats(width=32), min_size=1),
    whole=st.lists(st.integers(0, 255), min_size=1),
    header=st.dictionaries(
        st.text(), st.text() | st.floats(allow_nan=False, allow_infinity=False) | st.none()
    ),
)
def test_tensors_and_header_come_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, floats: list[float], whole: list[int], header: dict[str, Any]
) -> None:
    path = tmp_path_factory.mktemp("tensors") / "t.safetensors"
    tensors = {"floats": torch.tensor(floats), "now/bytes": torch.tensor(whole, dtype=torch.uint8)}
    save_tensors(path, tensors, header)
    found, again = load_tensors(path)
    assert again == header
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].numpy().tobytes() == tensor.numpy().tobytes()


# Files that are not what they should be


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="does not exist") as caught:
        load_network(tmp_path / "gone.safetensors")
    assert str(tmp_path / "gone.safetensors") in str(caught.value)


@given(data=st.data())
def test_no_part_of_a_file_passes_for_the_whole(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("cut") / "vae.safetensors"
    save_network(path, build(SMALL[1]), parse(Model, SMALL[1]), SHAPE, {})
    content = path.read_bytes()
    kept = data.draw(st.integers(0, len(content) - 1))
    path.write_bytes(content[:kept])
    with pytest.raises(ModelFileError, match=r"vae\.safetensors is not a readable safetensors file"):
        load_network(path)


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 1000, b"PK\x03\x04" * 100, b"\x80\x02}q\x00.", b"\xff" * 64]
)
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="not a readable safetensors file"):
        load_network(path)
    (tmp_path / "models").mkdir()
    path.rename(tmp_path / "models" / "vae.safetensors")
    with pytest.raises(ModelFileError, match=r"is a folder.*its networks are models/vae\.safetensors"):
        load_network(tmp_path)


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    # A pickle runs code when it is loaded; it must be refused before that.
    class Bomb:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return (Path.touch, (tmp_path / "canary",))  # type: ignore[return-value]

    torch.save({"weights": Bomb()}, tmp_path / "x.safetensors")
    with pytest.raises(ModelFileError):
        load_network(tmp_path / "x.safetensors")
    assert not (tmp_path / "canary").exists()


GOOD_SHAPE = SHAPE._asdict()


@pytest.mark.parametrize(
    "header",
    [
        {},
        [],
        {"shape": GOOD_SHAPE},
        {"model": SMALL[1]},
        {"model": "transformer(depth=3)", "shape": GOOD_SHAPE},
        {"model": "__import__('os')", "shape": GOOD_SHAPE},
        {"model": 5, "shape": GOOD_SHAPE},
        {"model": None, "shape": GOOD_SHAPE},
        {"model": SMALL[1], "shape": [1, 8, 8, 3]},
        {"model": SMALL[1], "shape": {"channels": 1}},
        {"model": SMALL[1], "shape": {**GOOD_SHAPE, "depth": 1}},
        {"model": SMALL[1], "shape": {**GOOD_SHAPE, "height": "8"}},
        {"model": SMALL[1], "shape": {**GOOD_SHAPE, "height": -8}},
        {"model": SMALL[1], "shape": {**GOOD_SHAPE, "height": 8.5}},
        {"model": SMALL[1], "shape": {**GOOD_SHAPE, "height": 0}},
        {"model": SMALL[1], "shape": {**GOOD_SHAPE, "height": True}},
        {"model": SMALL[1], "shape": {**GOOD_SHAPE, "height": None}},
        {"model": SMALL[1], "shape": {**GOOD_SHAPE, "height": 10**15}},
    ],
    ids=str,
)
def test_a_file_that_does_not_say_what_it_holds_is_refused(header: Any, saved: Path) -> None:
    tensors, _ = load_tensors(saved)
    save_tensors(saved, tensors, header)
    with pytest.raises(ModelFileError, match="does not say which network it holds"):
        load_network(saved)


def drop(tensors: dict[str, Tensor]) -> None:
    del tensors["mean.bias"]


def add(tensors: dict[str, Tensor]) -> None:
    tensors["more.bias"] = torch.zeros(1)


def transpose(tensors: dict[str, Tensor]) -> None:
    tensors["mean.weight"] = tensors["mean.weight"].T


def spoil(value: float) -> Callable[[dict[str, Tensor]], None]:
    def change(tensors: dict[str, Tensor]) -> None:
        tensors["mean.bias"][1] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop, "mean.bias is missing"),
        (add, "more.bias is unknown"),
        (transpose, r"mean.weight has shape \(9, 2\), the network has \(2, 9\)"),
        (spoil(float("nan")), "mean.bias holds values that are not finite"),
        (spoil(float("inf")), "mean.bias holds values that are not finite"),
    ],
)
def test_weights_that_do_not_fit_are_named(
    change: Callable[[dict[str, Tensor]], None], message: str, saved: Path
) -> None:
    tensors, header = load_tensors(saved)
    change(tensors)
    save_tensors(saved, tensors, header)
    with pytest.raises(ModelFileError, match=message) as caught:
        load_network(saved)
    assert str(saved) in str(caught.value)


def test_weights_of_another_network_are_refused(saved: Path) -> None:
    _, header = load_tensors(saved)
    save_tensors(saved, build(SMALL[2]).state_dict(), header)
    with pytest.raises(ModelFileError, match=r"holds another network: .*\(and \d+ more\)"):
        load_network(saved)
    wider = {**header, "model": "vae(hidden=10, latent=2)"}
    save_tensors(saved, build(SMALL[1]).state_dict(), wider)
    with pytest.raises(ModelFileError, match=r"has shape \(9,\), the network has \(10,\)"):
        load_network(saved)
