"""Models and datasets that follow MAITE's protocols for image classification are taken as they are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

import robustlab
from robustlab.core.errors import SpecError
from robustlab.data.own import as_split

protocols = pytest.importorskip("maite.protocols.image_classification")

RNG = np.random.default_rng(0)
PICTURES = RNG.uniform(0, 1, (12, 1, 4, 4)).astype(np.float32)
WEIGHTS = RNG.normal(size=(16, 3)).astype(np.float32)
LABELS = (PICTURES.reshape(12, -1) @ WEIGHTS).argmax(axis=1)


class Pictures:
    """A dataset with one-hot targets and metadata."""

    metadata: Any = {"id": "pictures", "index2label": {0: "cat", 1: "dog", 2: "cow"}}  # noqa: RUF012

    def __len__(self) -> int:
        return len(PICTURES)

    def __getitem__(self, place: int, /) -> tuple[Any, Any, Any]:
        return PICTURES[place], np.eye(3)[LABELS[place]], {"id": place}


class Linear:
    """A model that takes and returns a list of arrays."""

    metadata: Any = {"id": "linear", "index2label": {0: "cat", 1: "dog", 2: "cow"}}  # noqa: RUF012

    def __call__(self, batch: Sequence[Any], /) -> Sequence[Any]:
        assert isinstance(batch, list)
        scores = [np.asarray(image).reshape(-1) @ WEIGHTS for image in batch]
        return [np.exp(score) / np.exp(score).sum() for score in scores]


def test_they_follow_the_protocols() -> None:
    assert isinstance(Pictures(), protocols.Dataset)
    assert isinstance(Linear(), protocols.Model)


def test_they_are_evaluated_as_they_are(tmp_path: Path) -> None:
    options: dict[str, Any] = {"threat": "linf(eps=0.2)", "attacks": "square(queries=50)", "checks": False}
    run = robustlab.evaluate(Linear(), dataset=Pictures(), out=tmp_path / "run", **options)
    assert run.results.images.n == 12
    assert run.results.images.name == "Pictures"
    assert run.results.images.class_names == ["cat", "dog", "cow"]
    assert run.results.subject.name == "Linear"
    assert run.results.subject.black_box == "scores"
    assert run.results.clean.value == 1
    assert run.results.robust.value < 1


def test_its_labels_are_the_largest_targets() -> None:
    split = as_split(Pictures()).split
    assert split.labels.tolist() == LABELS.tolist()
    assert torch.equal(split.pixels(slice(None)), torch.from_numpy(PICTURES))


def test_an_object_with_metadata_alone_is_no_dataset() -> None:
    class Other:
        metadata: Any = {}  # noqa: RUF012

    with pytest.raises(SpecError, match="dataset must be a name"):
        robustlab.evaluate(Linear(), dataset=cast("Any", Other()), attacks="square")
