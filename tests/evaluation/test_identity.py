"""What identifies code: its source, or what it was compiled to where it was typed into a console."""

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from robustlab.attacks import Attack, Restarts
from robustlab.core.threat import Linf
from robustlab.evaluation.engine.problem import program
from robustlab.evaluation.engine.stages import Attacking
from robustlab.evaluation.subject import load_classifier

CONSOLE = """
class Net(nn.Module):
    scale = 2

    def forward(self, images):
        '''A comment.'''
        return [images.flatten(1) * self.scale for _ in range(3)][-1]
"""


@pytest.mark.parametrize(
    "change", [("* self", "/ self"), ("range(3)", "range(4)"), ("scale = 2", "scale = 3")]
)
def test_a_class_typed_into_a_console_is_its_code(change: tuple[str, str]) -> None:
    def identity(source: str) -> str:
        scope: dict[str, Any] = {"__name__": "console", "nn": nn}
        exec(source, scope)
        return load_classifier(scope["Net"]()).code

    assert identity(CONSOLE) == identity(CONSOLE)
    assert identity(CONSOLE) != identity(CONSOLE.replace(*change))


def test_modules_that_hold_each_other_have_an_identity() -> None:
    one, two = nn.Linear(1, 1), nn.Linear(1, 1)
    one.held, two.held = [two], [one]  # type: ignore[assignment]
    assert load_classifier(one).code


BASE = """
class Base(Attack):
    def search(self, session):
        session.propose(session.clean + 0.02)
"""


def test_a_base_class_or_a_wrapper_typed_into_a_console_decides_what_is_kept() -> None:
    def code(source: str, wrapper: type[Restarts] = Restarts) -> str:
        scope: dict[str, Any] = {"__name__": "console", "Attack": Attack}
        exec(source, scope)
        attack = wrapper(attack=type("Derived", (scope["Base"],), {})(), times=2)
        return Attacking(attack=attack, threat=Linf(eps=0.1)).code

    class Wrapper(Restarts):
        """A wrapper that is not robustlab's."""

    assert code(BASE) == code(BASE)
    assert code(BASE) != code(BASE.replace("+", "-"))
    assert code(BASE) != code(BASE, Wrapper)


def test_the_code_that_draws_random_numbers_belongs_to_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    before, read = program.__wrapped__(), Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) + b"#" * (path.name == "seeding.py"))
    assert program.__wrapped__() != before
