"""A model that no look tells from another one is told by its answers."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import robustlab
from robustlab.core.errors import RunError
from robustlab.evaluation.subject import load_classifier


def shades(count: int = 60) -> Tensor:
    return torch.linspace(0.1, 0.9, count)[:, None, None, None].expand(count, 1, 3, 3).contiguous()


class Banded(nn.Module):
    """Tells dark from light; beyond a threshold, which it reads from a file, it tells the opposite."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def forward(self, images: Tensor) -> Tensor:
        threshold = float(self.path.read_text())
        grey = images.flatten(1).mean(1)
        logits = 50 * torch.stack([0.5 - grey, grey - 0.5], dim=1)
        return torch.where((grey > threshold)[:, None], logits.flip(1), logits)


class Noisy(nn.Module):
    """Draws from a generator of its own, as far as a file says; each network draws other numbers."""

    seeds = itertools.count()

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.generator = path, np.random.default_rng(next(self.seeds))

    def forward(self, images: Tensor) -> Tensor:
        noise = float(self.path.read_text()) * self.generator.normal(size=len(images))
        grey = images.flatten(1).mean(1) + torch.tensor(noise, dtype=torch.float32)
        return 50 * torch.stack([0.5 - grey, grey - 0.5], dim=1)


@pytest.mark.parametrize(("kind", "before", "after"), [(Banded, "2", "0.6"), (Noisy, "0.01", "3")])
def test_a_change_that_hides_in_a_file(
    kind: Any, before: str, after: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path, images = tmp_path / "threshold", shades()
    labels = (images.flatten(1).mean(1) > 0.5).long()
    given: dict[str, Any] = {"images": images, "labels": labels, "threat": "linf(eps=0.02)"}
    given |= {"attacks": "random_points(count=2)", "checks": False, "certify": False, "precision": "fp32"}
    path.write_text(before)
    first = robustlab.evaluate(kind(path), **given)
    named = robustlab.evaluate(kind(path), out="named", **given)
    assert robustlab.evaluate(kind(path), **given).folder == first.folder
    path.write_text(after)
    other = robustlab.evaluate(kind(path), **given)
    assert other.folder == first.folder.with_name(f"{first.folder.name}-2")
    assert other.results.clean.value < first.results.clean.value - 0.2
    assert robustlab.evaluate(kind(path), **given).folder == other.folder
    with pytest.raises(RunError, match="answers the same images otherwise"):
        robustlab.evaluate(kind(path), out="named", **given)
    assert robustlab.load_run("named").results == named.results
    path.write_text(before)
    assert robustlab.evaluate(kind(path), **given).folder == first.folder


def code_of(source: str, folder: Path) -> str:
    (folder / "net.py").write_text(source)
    return load_classifier(f"{folder / 'net.py'}:Net").code


READING = """
import json
from pathlib import Path
from torch import nn

class Net(nn.Module):
    def forward(self, images):
        factor = json.loads((Path(__file__).parent / "settings.json").read_text())
        return images.flatten(1) * factor
"""


def test_a_settings_file_that_code_names_belongs_to_the_model(tmp_path: Path) -> None:
    codes = []
    for factor in (1, 1, 2):
        (tmp_path / "settings.json").write_text(json.dumps(factor))
        codes.append(code_of(READING, tmp_path))
    assert codes[0] == codes[1] != codes[2]


class Part:
    def __init__(self, number: int) -> None:
        self.number, self.settings = number, {"number": number}


class Many(nn.Module):
    def __init__(self, last: int) -> None:
        super().__init__()
        self.parts = [Part(number) for number in range(3000)] + [Part(last)]


def test_many_parts_are_no_surroundings() -> None:
    one, same, other = (load_classifier(Many(last)).code for last in (1, 1, 2))
    assert one == same != other
