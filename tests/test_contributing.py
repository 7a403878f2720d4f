"""Each page of CONTRIBUTING.md, installed as a package, does what it says in a fresh process."""

import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import robustlab
from robustlab.core.spec import Unit

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text()
PAGES = dict(re.findall(r"^## Add an? (\w+)\n(.*?)(?=^## )", GUIDE, flags=re.MULTILINE | re.DOTALL))
KINDS = ("attack", "defense", "detector", "dataset", "certifier", "check")

N = 60
LEVELS = [0.2 + 0.6 * number / (N - 1) for number in range(N)]
"""What the pixels of the images are, of which all figures below follow; none is on a border."""

NET = f'''
import torch
from torch import nn

class Bright(nn.Module):
    """Class 1 where the mean is above a border."""

    def __init__(self, border):
        super().__init__()
        self.border = border

    def forward(self, images):
        above = images.flatten(1).mean(dim=1) - self.border
        return torch.stack([-above, above], dim=1)

class Direction(nn.Module):
    """Class 0 where the rows' sums differ most, class 1 where the columns' do."""

    def forward(self, images):
        rows, columns = images.sum(dim=3).squeeze(1), images.sum(dim=2).squeeze(1)
        return torch.stack([rows.var(dim=1), columns.var(dim=1)], dim=1)

def bright():
    return Bright(0.5).eval()

def tilted():
    return Bright(0.7).eval()

def direction():
    return Direction().eval()

def shrinking():
    layer = nn.Linear(16, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[-0.25], [0.25]]).expand(2, 16))
        layer.bias.copy_(torch.tensor([2.0, -2.0]))
    return nn.Sequential(nn.Flatten(), layer, nn.Softshrink(0.5)).eval()

def data():
    levels = torch.linspace(0.2, 0.8, {N})
    return levels.view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous(), (levels > 0.5).long()

def doubled():
    images, labels = data()
    return torch.cat([images, images[:5]]), torch.cat([labels, labels[:5]])
'''


def install(folder: Path, kind: str) -> None:
    """Put a page's code into a package that is installed in a folder, as its pyproject.toml says."""
    page = PAGES[kind]
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    tables = re.findall(r"```toml\n(.*?)```", page, flags=re.DOTALL)
    (name,) = re.findall(r'^@register\("(\w+)"\)$', code, flags=re.MULTILINE)
    if tables:
        groups = tomllib.loads(tables[0])["project"]["entry-points"]
    else:
        (group,) = re.findall(r"Group `(robustlab\.\w+)`", page)
        groups = {group: {name: f"my_package.{name}"}}
    assert groups.keys() == {f"robustlab.{kind}"}
    info, package = folder / "my_package-1.0.dist-info", folder / "my_package"
    info.mkdir()
    package.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    lines = [
        f"[{group}]\n{key} = {value}\n" for group, found in groups.items() for key, value in found.items()
    ]
    (info / "entry_points.txt").write_text("".join(lines))
    (package / "__init__.py").write_text("")
    (package / f"{name}.py").write_text(code)
    (folder / "net.py").write_text(NET)


def python(folder: Path, *words: str) -> str:
    """Run Python in a folder of which it finds the packages; return what it prints."""
    paths = os.pathsep.join([str(folder), str(Path(robustlab.__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def evaluated(folder: Path, **options: str | bool) -> dict[str, Any]:
    """Return the results of an evaluation on the command line."""
    words = ["-m", "robustlab", "evaluate", "--json", "--precision", "fp32", "--out", "run", "--overwrite"]
    given: dict[str, str | bool] = {
        "checks": False,
        "model": "net.py:bright",
        "dataset": "net.py:data",
        "threat": "linf(eps=0.1)",
    }
    for name, value in (given | options).items():
        words += [f"--{name}", value] if isinstance(value, str) else [f"--{'' if value else 'no-'}{name}"]
    found: dict[str, Any] = json.loads(python(folder, *words))
    assert json.loads((folder / "run" / "results.json").read_text()) == found
    return found


def count(where: Any) -> int:
    return sum(map(bool, map(where, LEVELS)))


def test_there_is_a_short_page_for_each_kind() -> None:
    assert set(KINDS) <= PAGES.keys()
    for kind in KINDS:
        assert len(PAGES[kind].strip().splitlines()) < 40, kind


def test_the_groups_of_all_kinds_are_listed() -> None:
    for module in pkgutil.walk_packages(robustlab.__path__, "robustlab."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    kinds = {base.kind for base in Unit.__subclasses__() if base.__module__.startswith("robustlab.")}
    (listing,) = re.findall(r"The groups are (.*?);", GUIDE, flags=re.DOTALL)
    listed = set(re.findall(r"`(?:robustlab)?\.(\w+)`", listing))
    assert kinds <= listed
    assert listed - kinds <= {"criterion", "engine", "gradient"}
    assert "`robustlab.zoo`" in GUIDE


def test_the_attack(tmp_path: Path) -> None:
    install(tmp_path, "attack")
    results = evaluated(tmp_path, attacks="bim(steps=1), bim", certify=False)
    short, whole = results["rows"]
    assert short["attack"] == "bim(steps=1, rel_step_size=0.2, gradient=exact())"
    # One step is a fifth of eps, ten reach all of it.
    assert short["broken"] == count(lambda level: abs(level - 0.5) < 0.02) > 0
    assert short["broken"] + whole["broken"] == count(lambda level: abs(level - 0.5) < 0.1) < N
    assert whole["attacked"] == N - short["broken"]
    assert results["robust"]["value"] == pytest.approx(count(lambda level: abs(level - 0.5) > 0.1) / N)
    assert "bim(steps=10, rel_step_size=0.2" in python(tmp_path, "-m", "robustlab", "ls", "attacks")


def test_the_defense(tmp_path: Path) -> None:
    install(tmp_path, "defense")
    undefended = count(lambda level: (level > 0.7) == (level > 0.5))
    composed = 'differentiable_bits(classifier="net.py:tilted", bits=1)'
    results = evaluated(tmp_path, model=composed, attacks="fgsm", certify=False)
    # Rounded to black or white, every image is on the right side; a step reaches 0.5 from within eps.
    assert results["clean"]["value"] == 1.0
    assert undefended < N
    assert results["robust"]["value"] == pytest.approx(count(lambda level: abs(level - 0.5) > 0.1) / N)
    assert results["subject"]["source"].startswith("differentiable_bits(classifier='net.py:tilted', bits=1)")


DETECT = """
import math
import torch
from net import Bright, data
from robustlab.core.spec import parse
from robustlab.detectors import Detector

detector = parse(Detector, "squeezing(network=baseline)")
assert detector.networks == ("baseline",), detector.networks
network, images = Bright(0.5).eval(), data()[0]
scores = detector.score({"baseline": network}, images)
share = lambda level: 1 / (1 + math.exp(-2 * (level - 0.5)))
expected = [2 * abs(share(level) - share(round(level))) for level in images[:, 0, 0, 0].tolist()]
assert torch.allclose(scores, torch.tensor(expected), atol=1e-5), (scores, expected)
clean = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 4, 4)
assert float(detector.score({"baseline": network}, clean).abs().max()) == 0 < float(scores.min())
finer = parse(Detector, "squeezing(network=baseline, bits=8)").score({"baseline": network}, images)
assert float(finer.max()) < float(scores.min()), "more bits change less"
print("detected", len(scores))
"""


def test_the_detector(tmp_path: Path) -> None:
    install(tmp_path, "detector")
    assert python(tmp_path, "-c", DETECT).split() == ["detected", str(N)]


def test_the_dataset(tmp_path: Path) -> None:
    install(tmp_path, "dataset")
    results = evaluated(tmp_path, model="net.py:direction", dataset="bars", attacks="fgsm", certify=False)
    images = results["images"]
    assert (images["name"], images["split"], images["n"], images["classes"]) == ("bars", "test", 200, 2)
    assert images["shape"] == [1, 8, 8]
    assert results["clean"]["value"] == 1.0
    code = (
        "import robustlab, torch; a, b = (robustlab.load_dataset('bars') for _ in range(2)); "
        "print(len(a.train), len(a.validation), len(a.test), *a.class_names, "
        "*a.test.labels.bincount().tolist(), "
        "all(torch.equal(a.split(k).images, b.split(k).images) for k in ('train', 'validation', 'test')), "
        "a.test.images.flatten(1).sum(1).unique().tolist())"
    )
    *sizes, horizontal, vertical, zeros, ones, same, sums = python(tmp_path, "-c", code).split()
    assert sizes == ["640", "160", "200"]
    assert (horizontal, vertical, same, sums) == ("horizontal", "vertical", "True", "[8.0]")
    assert int(zeros) + int(ones) == 200
    assert 60 < int(zeros) < 140


def test_the_certifier(tmp_path: Path) -> None:
    install(tmp_path, "certifier")
    results = evaluated(tmp_path, model="net.py:shrinking", threat="l2(eps=0.5)", attacks="fgsm")
    # The layer's outputs are 4 (level - 1/2) and its negative, of which 1/2 is shrunk away; their difference
    # changes by at most 2 for a move of length 1.
    far = count(lambda level: abs(4 * (level - 0.5)) > 1.0)
    assert 0 < far < N
    assert results["certified"]["value"] == pytest.approx(far / N)
    assert results["rows"][0]["attacked"] <= N - far
    # Interval bounds do not know the layer: without the package nothing is proven.
    (tmp_path / "my_package-1.0.dist-info" / "entry_points.txt").unlink()
    assert (
        evaluated(tmp_path, model="net.py:shrinking", threat="l2(eps=0.5)", attacks="fgsm")["certified"]
        is None
    )


def test_the_check(tmp_path: Path) -> None:
    install(tmp_path, "check")
    results = evaluated(tmp_path, dataset="net.py:doubled", attacks="fgsm", checks=True)
    found = results["checks"][-1]
    assert found["id"] == "distinct-images"
    assert (found["grade"], found["found"]) == ("fail", f"5 of {N + 5} images came before")
    assert (found["n"], found["doubts"], found["forwards"]) == (N + 5, "evaluation", 0)
    listed = json.loads(python(tmp_path, "-m", "robustlab", "ls", "checks", "--json"))["checks"]
    assert listed["distinct-images"].startswith("Every image is another one.")
