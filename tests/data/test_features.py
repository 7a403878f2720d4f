"""Rows of features and signals as images, and back."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from torch import Tensor, nn

import robustlab
from robustlab.core.errors import DataError, SpecError
from robustlab.data import features

X, Y = load_iris(return_X_y=True)
LOW, HIGH = X.min(axis=0), X.max(axis=0)


class Line(nn.Module):
    """A linear classifier of rows in their own units; it notes the shapes that it gets."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape, self.seen = shape, set[tuple[int, ...]]()
        self.weight = nn.Parameter(torch.linspace(-1, 1, 3 * torch.Size(shape).numel()).view(3, -1))
        self.training = False

    def forward(self, rows: Tensor) -> Tensor:
        self.seen.add(tuple(rows.shape[1:]))
        logits: Tensor = rows.flatten(1) @ self.weight.T
        return logits


def labels_of(model: Line, rows: Any) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(torch.as_tensor(rows, dtype=torch.float32))
    return logits.argmax(dim=1)


@pytest.mark.parametrize("shape", [(4,), (2, 6)])
def test_the_classifier_gets_rows_in_their_own_units(shape: tuple[int, ...], tmp_path: Path) -> None:
    rows = np.random.default_rng(0).uniform(-50, 50, (12, *shape))
    model = Line(*shape)
    split = features(rows, labels_of(model, rows), low=-50, high=50)
    assert split.features is not None
    assert torch.allclose(
        split.features.rows(split.pixels(slice(None))).double(), torch.tensor(rows), atol=1e-4
    )
    model.seen.clear()
    run = robustlab.evaluate(
        model, dataset=split, threat="linf(eps=0.02)", attacks="pgd", out=tmp_path / "run"
    )
    assert model.seen == {shape}
    assert run.results.clean.value == 1
    # A linear classifier's exact robust accuracy: eps is a share of the range, so 2 in the units of the rows.
    logits = torch.tensor(rows).flatten(1) @ model.weight.detach().double().T
    label = logits.argmax(dim=1)
    gaps = model.weight.detach().double()[label][:, None] - model.weight.detach().double()
    margins = logits.gather(1, label[:, None]) - logits
    inside = torch.tensor(np.abs(rows).max() + 2 < 50)
    robust = (margins > 2 * gaps.abs().sum(dim=2)) | torch.nn.functional.one_hot(label, 3).bool()
    if inside:
        assert run.results.robust.value == robust.all(dim=1).double().mean()
    else:  # the ends of the ranges stop the attacker
        assert run.results.robust.value >= robust.all(dim=1).double().mean()


def test_ranges_differ_from_feature_to_feature() -> None:
    split = features(X, Y, low=LOW, high=HIGH)
    assert split.images.shape == (150, 1, 1, 4)
    pixels = split.pixels(slice(None)).flatten(1)
    assert (pixels.amin(dim=0) == 0).all()
    assert (pixels.amax(dim=0) == 1).all()


def test_a_feature_that_never_changes() -> None:
    rows = np.array([[1.0, 7.0], [2.0, 7.0]])
    split = features(rows, [0, 1], low=[0, 7], high=[4, 7])
    assert split.features is not None
    moved = split.features.rows(torch.rand(2, 1, 1, 2))
    assert (moved[:, 1] == 7).all()


def test_a_masked_feature_keeps_its_value(tmp_path: Path) -> None:
    model, rows = Line(4), np.random.default_rng(0).uniform(0, 1, (40, 4))
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, -1.0, 1.0, -1.0], [-1.0, 1.0, -1.0, 1.0], [0.0] * 4]))
    split = features(rows, labels_of(model, rows), low=0, high=1)
    threats = ("masked(threat=linf(eps=0.1), fixed=(0, 2))", "linf(eps=0.1)")
    run, free = (
        robustlab.evaluate(model, dataset=split, threat=threat, attacks="pgd", out=tmp_path / threat[:4])
        for threat in threats
    )
    assert run.results.norm == "linf"
    assert "2 of the values can't change" in run.results.attacker
    assert 0 < free.results.robust.value < run.results.robust.value < 1


def test_the_command_line_takes_rows_of_a_users_function(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\nfrom sklearn.datasets import load_iris\nfrom robustlab.data import features\n\n"
        "def rows():\n    x, y = load_iris(return_X_y=True)\n"
        "    return features(x, y, low=x.min(axis=0), high=x.max(axis=0))\n\n"
        "def model():\n    return torch.nn.Linear(4, 3).eval()\n"
    )
    monkeypatch.chdir(tmp_path)
    run = robustlab.evaluate(
        "mine.py:model", dataset="mine.py:rows", threat="l2(eps=0.1)", attacks="pgd(steps=3)", n=20, out="run"
    )
    assert run.results.images.n == 20
    assert run.results.images.name == "mine.py:rows"
    assert "--dataset mine.py:rows" in run.results.command


class Frame:
    """A table with named columns, as pandas has."""

    columns = ("length", "width")

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        del copy
        return np.array([[1.0, 2.0], [9.0, 3.0]], dtype=dtype)


def test_a_data_frame_names_its_columns() -> None:
    with pytest.raises(DataError, match=re.escape("row 1: length is 9, outside its range, 0 to 5")):
        features(Frame(), [0, 1], low=0, high=5)


WRONG: dict[str, tuple[Any, dict[str, Any], str]] = {
    "one dimension": (X[:, 0], {"low": 0, "high": 9}, r"\(N, F\) or \(N, C, L\), found \(150,\)"),
    "no rows": (X[:0], {"low": 0, "high": 9}, "found"),
    "texts": (np.array([["a", "b"]]), {"low": 0, "high": 9}, "rows must hold numbers"),
    "nan": (np.array([[np.nan, 1.0]]), {"low": 0, "high": 9}, "row 0: feature 0 is nan"),
    "outside": (X, {"low": 0, "high": 7}, "row 102: feature 0 is 7.1, outside its range, 0 to 7"),
    "shape of low": (X, {"low": [0, 1], "high": 9}, r"low must be a number, or numbers of shape \(4,\)"),
    "another value of a constant feature": (
        np.array([[0.1, 5.7]]),
        {"low": [0, 5], "high": [1, 5]},
        "row 0: feature 1 is 5.7, outside its range, 5 to 5",
    ),
    "infinite": (X, {"low": 0, "high": np.inf}, "high must be finite"),
    "crossed": (X, {"low": [0, 0, 9, 0], "high": [9, 9, 8, 9]}, "feature 2 has the range 9 to 8"),
    "names": (X, {"low": 0, "high": 9, "names": ("a", "b")}, "names must be 4 texts, found 2"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_rows_are_refused(case: str) -> None:
    rows, arguments, reason = WRONG[case]
    with pytest.raises(DataError, match=reason):
        features(rows, Y[: len(rows)], **arguments)


def test_wrong_labels_and_preprocessing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="labels must be integers"):
        features(X, Y[:3], low=0, high=9)
    split = features(X, Y, low=0, high=9)
    with pytest.raises(SpecError, match="rows of features have their ranges"):
        robustlab.evaluate(Line(4), dataset=split, mean=0.5, std=0.5, out=tmp_path / "run")
    with pytest.raises(SpecError, match="eight_bit is for images of 8-bit files; these are rows of features"):
        robustlab.evaluate(Line(4), dataset=split, eight_bit=True, out=tmp_path / "run")


@pytest.mark.parametrize("shape", [(4,), (2, 3)])
def test_the_page_shows_the_changed_values_in_their_units(shape: tuple[int, ...], tmp_path: Path) -> None:
    rows = np.random.default_rng(0).uniform(100, 900, (20, *shape))
    model = Line(*shape)
    with torch.no_grad():
        model.weight.copy_(torch.eye(3, torch.Size(shape).numel()))
    names = tuple(f"name <{place}>" for place in range(shape[0]))
    split = features(rows, labels_of(model, rows), low=0, high=1000, names=names)
    run = robustlab.evaluate(
        model, dataset=split, threat="linf(eps=0.1)", attacks="pgd", out=tmp_path / "run"
    )
    ranges = run.results.images.rows
    assert ranges is not None
    assert (ranges.signal, ranges.low[0], ranges.high[-1]) == (len(shape) == 2, 0, 1000)
    page = (run.folder / "report.html").read_text()
    broken = page[page.index('<section id="broken">') :]
    assert "changed value" in broken
    assert f"name &lt;0&gt;{', at 0' if len(shape) == 2 else ''}" in broken
    assert "<img" not in broken
    image = run.results.broken[0]
    before = rows[image.image_id].ravel()[image.label]
    assert f"{before:.4g}" in broken


def test_a_classifier_that_sees_only_fixed_features_is_believed(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).uniform(0, 1, (120, 4))
    labels = (rows[:, 0] > 0.5).astype(int)
    model = nn.Linear(4, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0] * 4, [20.0, 0.0, 0.0, 0.0]]))
        model.bias.copy_(torch.tensor([0.0, -10.0]))
    split = features(rows, labels, low=0, high=1)
    threat = "masked(threat=linf(eps=0.1), fixed=(0,))"
    options: dict[str, Any] = {"attacks": "pgd(steps=3), square(queries=20)", "certify": False}
    run = robustlab.evaluate(model.eval(), dataset=split, threat=threat, out=tmp_path / "run", **options)
    assert run.results.robust.value == 1
    skipped = {check.id: check.found for check in run.results.checks if check.grade == "skip"}
    for name in ("extreme-eps", "undefended-network"):
        assert "some values can't change" in skipped[name]
