"""A model of the user's own that names its classes gets these names onto the page."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

import robustlab
from robustlab.evaluation.subject import load_classifier

NAMES = ["okapi", "heron", "lemur"]
IMAGES = torch.randint(256, (6, 1, 2, 2), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
LABELS = IMAGES.flatten(1)[:, :3].argmax(dim=1)

FILE = """
import torch
from torch import nn

class Net(nn.Module):
    class_names = ["okapi", "heron", "lemur"]

    def forward(self, images):
        return images.flatten(1)[:, :3]
"""


class Net(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :3]


class Outer(nn.Module):
    """Returns the logits of an inner network, which has the names, as transformers' models do."""

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self.inner = Net()
        self.inner.config = SimpleNamespace(id2label=dict(enumerate(names)))  # type: ignore[assignment]

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.inner(images)
        return logits


def names_on_the_page(model: Any, out: Path, **more: Any) -> list[str]:
    options: dict[str, Any] = {"images": IMAGES, "labels": LABELS} | more
    options |= {"threat": "linf(eps=0.9)", "attacks": "random_points(count=20)"}
    run = robustlab.evaluate(model, out=out, checks=False, certify=False, **options)
    return run.results.images.class_names


@pytest.mark.parametrize("python", [True, False])
def test_a_network_of_ones_own_brings_its_names(tmp_path: Path, *, python: bool) -> None:
    (tmp_path / "my.py").write_text(FILE)
    model = Outer(NAMES) if python else f"{tmp_path / 'my.py'}:Net"
    assert names_on_the_page(model, tmp_path / "run") == NAMES
    page = (tmp_path / "run" / "report.html").read_text()
    assert any(name in page for name in NAMES)


def test_names_of_another_number_of_classes_are_not_shown(tmp_path: Path) -> None:
    assert names_on_the_page(Outer([*NAMES, "owl"]), tmp_path / "run") == []


def test_the_names_of_the_images_come_first(tmp_path: Path) -> None:
    class Own(torch.utils.data.Dataset[Any]):
        classes = ("red", "green", "blue")

        def __len__(self) -> int:
            return 6

        def __getitem__(self, place: int) -> Any:
            return IMAGES[place] / 255, int(LABELS[place])

    data = {"images": None, "labels": None, "dataset": Own()}
    assert names_on_the_page(Outer(NAMES), tmp_path / "run", **data) == ["red", "green", "blue"]


def test_black_boxes_bring_their_names(tmp_path: Path) -> None:
    words = np.array(["ape", "bee", "cat"])[np.arange(6) % 3]
    model = LogisticRegression().fit(IMAGES.flatten(1).numpy() / 255, words)
    assert names_on_the_page(model, tmp_path / "run") == ["ape", "bee", "cat"]

    def predict(images: Any) -> Any:
        return images.reshape(len(images), -1)[:, :3]

    predict.class_names = NAMES  # type: ignore[attr-defined]
    assert names_on_the_page(predict, tmp_path / "other") == NAMES


def test_a_source_of_a_library_keeps_its_own() -> None:
    assert load_classifier("mnist_cnn").class_names == ()
