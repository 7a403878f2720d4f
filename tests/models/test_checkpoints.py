"""Weights as other programs leave them: found wherever they are, and refused where they do not fit."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustlab.core.errors import ModelFileError
from robustlab.models.checkpoints import load_weights

Tensors = dict[str, Tensor]


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3)).eval()


def ones(number: float = 1.0) -> Tensors:
    state = network().state_dict()
    return {name: torch.full_like(value, number) for name, value in state.items()}


def prefixed(prefix: str, tensors: Tensors) -> Tensors:
    return {prefix + name: value for name, value in tensors.items()}


def without_counts(tensors: Tensors) -> Tensors:
    return {name: value for name, value in tensors.items() if not name.endswith("tracked")}


def loaded(content: Any, path: Path) -> tuple[nn.Module, str]:
    torch.save(content, path)
    model = network()
    return model, load_weights(model, path)


PLACES: list[Callable[[Tensors], Any]] = [
    *(
        lambda tensors, key=key: {"epoch": 3, key: tensors}
        for key in ("net", "weights", "model_ema", "my_own")
    ),
    *(
        lambda tensors, prefix=prefix: prefixed(prefix, tensors)
        for prefix in ("model.", "_orig_mod.", "module.", "net.", "model._orig_mod.module.")
    ),
    without_counts,
    lambda tensors: {"state_dict": prefixed("model.", tensors) | {"loss.weight": torch.ones(3)}, "lr": 0.1},
    lambda tensors: {"a": {"b": {"state_dict": prefixed("module.", without_counts(tensors))}}},
    lambda tensors: {name.replace("0.", "0._orig_mod."): value for name, value in tensors.items()},
]


@pytest.mark.parametrize("place", PLACES)
def test_weights_are_found_where_they_are(place: Callable[[Tensors], Any], tmp_path: Path) -> None:
    model, remark = loaded(place(ones()), tmp_path / "w.pt")
    assert all((value == 1).all() for value in model.parameters())
    assert remark == ""


def test_a_network_inside_another_takes_the_bare_weights(tmp_path: Path) -> None:
    torch.save(ones(), tmp_path / "w.pt")
    outer = nn.ModuleDict({"net": network()})
    load_weights(outer, tmp_path / "w.pt")
    assert all((value == 1).all() for value in outer.parameters())


@pytest.mark.parametrize("order", [("model", "model_ema"), ("model_ema", "model")])
def test_the_plain_weights_are_taken_and_the_average_is_named(order: tuple[str, str], tmp_path: Path) -> None:
    sets = {"model": ones(1), "model_ema": ones(2)}
    model, remark = loaded({key: sets[key] for key in order}, tmp_path / "w.pt")
    assert all((value == 1).all() for value in model.parameters())
    assert "loaded: model; not loaded: model_ema, a running average (EMA)" in remark
    _, silent = loaded({"model": ones(), "model_ema": ones()}, tmp_path / "w.pt")
    assert silent == ""


def changed(value: Callable[[Tensor], Any], name: str = "3.weight") -> Tensors:
    state = ones()
    return state | {name: value(state[name])}


WRONG = [
    (lambda t: t.to(torch.complex64), "3.weight holds complex numbers"),
    (lambda t: t.bool(), "3.weight holds boolean numbers"),
    (lambda t: t.long(), "3.weight holds whole numbers"),
    (lambda t: t.double() * 1e300, "3.weight holds values too large for torch.float32"),
    (lambda t: t * torch.nan, r"3.weight holds values that are not finite \(NaN\)"),
    (lambda t: t * torch.inf, r"not finite \(infinity\)"),
    (lambda t: (t * torch.nan).to(torch.float8_e4m3fn), r"not finite \(NaN\)"),
    (lambda t: t.to_sparse(), "3.weight is sparse"),
    (lambda t: torch.nested.nested_tensor([t[0], t[1]]), "3.weight is nested"),
    (lambda t: t.to("meta"), "3.weight is without values"),
    (lambda t: torch._make_per_tensor_quantized_tensor(t.to(torch.int8), 1.0, 0), "3.weight is quantized"),
    (lambda t: t[0], "3.weight has shape"),
]


@pytest.mark.filterwarnings("ignore")  # torch warns of its own rarer formats
@pytest.mark.parametrize(("change", "expected"), WRONG)
def test_tensors_that_do_not_fit_are_named(
    change: Callable[[Tensor], Any], expected: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelFileError, match=expected) as caught:
        loaded(changed(change), tmp_path / "w.pt")
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn])
def test_other_widths_are_converted(kind: torch.dtype, tmp_path: Path) -> None:
    model, _ = loaded(changed(lambda t: t.to(kind)), tmp_path / "w.pt")
    assert all((value == 1).all() for value in model.parameters())


def test_infinities_that_the_network_has_itself_are_fine(tmp_path: Path) -> None:
    class Masked(nn.Linear):
        def __init__(self) -> None:
            super().__init__(2, 2)
            self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))

    torch.save(Masked().state_dict(), tmp_path / "w.pt")
    assert load_weights(Masked(), tmp_path / "w.pt") == ""


def repacked(
    path: Path, change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED
) -> None:
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(name, change(name, data))


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save({"x": torch.zeros(10**6)}, path)
    repacked(path, lambda _, data: data, zipfile.ZIP_DEFLATED)
    with pytest.raises(ModelFileError, match="is a compressed archive"):
        load_weights(network(), path)


def test_files_that_ask_for_more_memory_than_they_have_bytes_are_refused(tmp_path: Path) -> None:
    path, allocate = tmp_path / "w.pt", b"\x80\x02c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R."
    torch.save(ones(), path)
    repacked(path, lambda name, data: allocate if name.endswith("data.pkl") else data)
    with pytest.raises(ModelFileError, match="asks for far more memory"):
        load_weights(network(), path)
    older = io.BytesIO()
    torch.save({"x": torch.zeros(3)}, older, _use_new_zipfile_serialization=False)
    path.write_bytes(older.getvalue().replace(b"K\x03Nt", b"J\xff\xff\xff\x7fNt"))
    with pytest.raises(ModelFileError, match="asks for far more memory"):
        load_weights(network(), path)


def test_the_older_format_is_read(tmp_path: Path) -> None:
    torch.save(ones(), tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    assert load_weights(network(), tmp_path / "w.pt") == ""


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04" + b"\0" * 50, "is damaged"),
        (b"PK\x05\x06" + b"\0" * 18, "is damaged"),
    ],
)
def test_files_of_no_use(content: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(ModelFileError, match=expected):
        load_weights(network(), tmp_path / "w.pt")


def test_every_prefix_of_a_file_is_refused_in_one_line(tmp_path: Path) -> None:
    torch.save(ones(), tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    for size in range(0, len(whole), 97):
        (tmp_path / "w.pt").write_bytes(whole[:size])
        with pytest.raises(ModelFileError) as caught:
            load_weights(network(), tmp_path / "w.pt")
        assert "\n" not in str(caught.value)


def test_a_dict_that_holds_itself_is_read(tmp_path: Path) -> None:
    content: dict[str, Any] = {"model": ones()}
    content["self"] = content
    model, _ = loaded(content, tmp_path / "w.pt")
    assert all((value == 1).all() for value in model.parameters())


def test_many_views_of_one_storage_are_no_bomb(tmp_path: Path) -> None:
    model = nn.Sequential(*(nn.Linear(16, 16) for _ in range(30)))
    flat = nn.utils.parameters_to_vector(model.parameters()).detach()
    nn.utils.vector_to_parameters(flat, model.parameters())
    torch.save(model.state_dict(), tmp_path / "views.pt")
    fresh = nn.Sequential(*(nn.Linear(16, 16) for _ in range(30)))
    assert load_weights(fresh, tmp_path / "views.pt") == ""
    assert torch.equal(fresh.state_dict()["29.weight"], model.state_dict()["29.weight"])


@pytest.mark.parametrize("name", ["semantic_head", "schema", "swav"])
def test_a_name_is_no_average_by_a_part_of_a_word(name: str, tmp_path: Path) -> None:
    _, said = loaded({name: ones(2.0), "net": ones(3.0)}, tmp_path / "w.pt")
    assert "average" not in said
