"""A study runs on any dataset: nothing in it knows the digits' shape, number or classes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import robustlab
from robustlab.core import spec
from robustlab.core.spec import register
from robustlab.data import Dataset, Splits

TINY = Path(__file__).parents[1] / "recipes" / "tiny.toml"


@pytest.fixture
def colours() -> Iterator[None]:
    @register("colours")
    class Colours(Dataset):
        """Images of one colour each, with noise: three classes, 12x10, three channels."""

        class_names = ("red", "green", "blue")

        def load(self, *, data_root: Any, validation_fraction: float, seed: int, download: bool) -> Splits:
            del data_root, download
            drawn = torch.Generator().manual_seed(0)
            labels = torch.arange(300) % 3
            images = torch.randint(0, 90, (300, 3, 12, 10), generator=drawn, dtype=torch.uint8)
            images[torch.arange(300), labels] += 120
            parts = (images[:240], labels[:240]), (images[240:], labels[240:])
            return self.divided(*parts, validation_fraction=validation_fraction, seed=seed, source="drawn")

    yield
    spec._registry[Dataset].pop("colours")


@pytest.mark.usefixtures("colours")
def test_a_study_of_coloured_images(tmp_path: Path) -> None:
    results = robustlab.run_study(TINY, dataset="colours", quick=True, out=tmp_path).results
    assert results.dataset.name == "colours"
    assert results.rows
    page = (tmp_path / "report.html").read_text()
    assert "colours" in page


@pytest.mark.usefixtures("colours")
def test_the_pages_of_a_study_name_the_classes(tmp_path: Path) -> None:
    results = robustlab.run_study(TINY, dataset="colours", quick=True, out=tmp_path).results
    assert results.dataset.class_names == ["red", "green", "blue"]
    row = next(row for row in results.rows if row.attacks)
    own = json.loads((tmp_path / str(row.folder) / "results.json").read_text())
    assert own["images"]["class_names"] == ["red", "green", "blue"]
    page = (tmp_path / "report.html").read_text()
    assert 'alt="a red, read as' in page, "in the gallery"
    chart = page[page.index("Confusion matrix") :]
    assert all(f">{name}<" in chart for name in ("red", "green", "blue"))
