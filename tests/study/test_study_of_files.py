"""A study of images that are read as they are needed is the study of the same images in memory."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import robustlab
from conftest import MadeImages
from robustlab.core import spec
from robustlab.core.spec import register
from robustlab.data import Dataset, Splits
from robustlab.models.files import load_tensors

TINY = Path(__file__).parents[1] / "recipes" / "tiny.toml"
SOURCE = MadeImages((300, 1, 12, 12))


@pytest.fixture(autouse=True)
def datasets() -> Iterator[None]:
    @register("made")
    class Made(Dataset):
        """Images of three classes, in memory or not."""

        lazy: bool = False

        def load(self, *, data_root: Any, validation_fraction: float, seed: int, download: bool) -> Splits:
            del data_root, download
            images = SOURCE if self.lazy else SOURCE.rows(torch.arange(300))
            part, share = (images, torch.arange(300) % 3), validation_fraction
            return self.divided(part, part, validation_fraction=share, seed=seed, source="made")

    yield
    spec._registry[Dataset].pop("made")


def timeless(value: Any) -> Any:
    """Return results without what the clock and the memory say."""
    if isinstance(value, dict):
        dropped = {"seconds", "created", "peak_memory_mb", "events"}
        return {key: timeless(part) for key, part in value.items() if key not in dropped}
    return [timeless(part) for part in value] if isinstance(value, list) else value


def test_the_results_are_the_same(tmp_path: Path) -> None:
    for lazy in (False, True):
        SOURCE.asked.clear()
        robustlab.run_study(TINY, dataset=f"made(lazy={lazy})", quick=True, out=tmp_path / str(lazy))
    assert SOURCE.asked
    memory, files = (
        json.loads((tmp_path / str(lazy) / "results.json").read_text()) for lazy in (False, True)
    )
    assert [results["dataset"].pop("name") for results in (memory, files)] == ["made", "made(lazy=True)"]
    assert timeless(files) == timeless(memory)
    for path in (tmp_path / "False" / "models").glob("*.safetensors"):
        one, other = (load_tensors(tmp_path / str(lazy) / "models" / path.name)[0] for lazy in (False, True))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
