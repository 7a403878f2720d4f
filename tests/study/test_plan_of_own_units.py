"""Units of another package are part of the keys of a study's stages: their specs, and their code."""

from pathlib import Path
from types import ModuleType

import pytest
from planning import Planner, changed, planner

SOURCE = '''
from robustlab.attacks import FGSM
from robustlab.core.spec import register
from robustlab.defenses import Purifier
from robustlab.detectors import GreyPixels
from robustlab.models import CNN
from robustlab.threats import Linf
from robustlab.training import Adam, CrossEntropy, Shift

FACTOR = {factor}

@register("own_unit")
class Own({base}):
    """A unit of another package."""

    def extra(self):
        return FACTOR
'''
PART = ' = "adversarial_training(attack=fgsm, threat=linf(eps=0.25*scale), source=baseline, fraction=0.3)"'
BY_KIND = {
    "attack": ("FGSM", ("defense" + PART, ("defense" + PART).replace("fgsm", "own_unit"))),
    "threat": ("Linf", ("defense" + PART, ("defense" + PART).replace("linf", "own_unit"))),
    "objective": ("CrossEntropy", ('objective = "cross_entropy"', 'objective = "own_unit"')),
    "model": ("CNN", ('model = "cnn(dropout=0.2)"', 'model = "own_unit"')),
    "augmentation": ("Shift", ("epochs = 10\n", 'epochs = 10\naugmentation = ["own_unit"]\n')),
    "optimizer": ("Adam", ("lr = 1e-3\n", 'optimizer = "own_unit"\n')),
    "defense": ("Purifier", ('source = "purifier(', 'source = "own_unit(')),
    "detector": ("GreyPixels", ('detector = "grey_pixels"', 'detector = "own_unit"')),
}


pytestmark = pytest.mark.usefixtures("own_registry")


@pytest.fixture
def make(tmp_path: Path) -> Planner:
    return planner(tmp_path)


@pytest.mark.parametrize("kind", BY_KIND)
def test_a_changed_unit_repeats_what_depends_on_it(
    kind: str, make: Planner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, change = BY_KIND[kind]
    plans = []
    for factor in (1, 1, 2):
        file = tmp_path / "own_units.py"
        file.write_text(SOURCE.format(base=base, factor=factor))
        module = ModuleType("own_units")
        module.__file__ = str(file)
        monkeypatch.setitem(__import__("sys").modules, "own_units", module)
        exec(compile(file.read_text(), str(file), "exec"), vars(module))
        plans.append(make(change))
    first, same, other = plans
    assert not changed(first, same)
    assert changed(first, other)
