"""Attacks and threat models of a user's own file: `my.py:MyAttack(steps=5)`."""

import json
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import robustlab
from robustlab.attacks import FGSM, PGD, Attack
from robustlab.cli.main import app
from robustlab.core.errors import RobustlabError, SetupError, SpecError
from robustlab.core.spec import parse
from robustlab.core.user_units import is_user_unit, split_list, user_unit
from robustlab.evaluation.ensembles import Standard, attack_list
from robustlab.threats import Linf, ThreatModel, as_threat

HEAD = """
from pathlib import Path
from typing import Annotated

from pydantic import Field

from robustlab.attacks import Attack, PGD
from robustlab.core.spec import register
from robustlab.evaluation.ensembles import Ensemble
from robustlab.threats import Linf

with Path("{folder}/imports.txt").open("a") as log:
    log.write("imported\\n")
"""
ATTACK = '''
@register("mine")
class Mine(Attack):
    """Steps of the gradient's sign, or backwards."""

    steps: Annotated[int, Field(ge=1)] = 3
    inner: Attack = PGD()

    def search(self, session):
        points = session.clean
        for _ in range(self.steps):
            points = session.ascend(points, {sign} * session.gradient(points), 0.5)
        session.propose(points)

class Bare(Attack):
    """Not registered."""

    def search(self, session):
        session.propose(session.clean)

class Heir(Mine):
    """Not registered, though its base is."""

def function():
    return Mine()

@register("both")
class Both(Ensemble):
    """Two attacks."""

    def stages(self, threat, classes):
        return PGD(steps=2), Mine(steps=2)

@register("half_linf")
class Half(Linf):
    """Half of the ball."""

    def project(self, images, clean, eps=None):
        return super().project(images, clean, (self.eps if eps is None else eps) * {share})

made = Mine(steps=7)
'''
SHADOW = '''
@register("pgd")
class Shadow(Attack):
    """Has the name of one of robustlab's."""

    def search(self, session):
        session.propose(session.clean)
'''


pytestmark = pytest.mark.usefixtures("own_registry")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, name: str = "my.py", *, sign: int = 1, share: float = 0.5, more: str = "") -> str:
    text = HEAD.replace("{folder}", str(folder)) + ATTACK.replace("{sign}", str(sign)) + more
    (folder / name).write_text(text.replace("{share}", str(share)))
    return name


def imports(folder: Path) -> int:
    return len((folder / "imports.txt").read_text().splitlines())


def test_a_class_of_a_file(folder: Path) -> None:
    write(folder)
    before = set(sys.modules), list(sys.path)
    attack, ensemble, other, last = attack_list(
        f"standard, {folder}/my.py:Mine(steps=5, inner=pgd(steps=2, loss=margin)), my.py:Mine, fgsm"
    )
    assert attack == Standard()
    assert repr(ensemble).startswith(
        "mine(steps=5, inner=pgd(steps=2, rel_step_size=0.1, restarts=1, loss=margin"
    )
    assert (repr(other), last) == (f"mine(steps=3, inner={PGD()!r})", FGSM())
    assert imports(folder) == 1
    assert parse(Attack, repr(ensemble)) == ensemble
    assert [repr(unit) for unit in attack_list(["my.py:Both", "my.py:made"])] == [
        "both()",
        repr(parse(Attack, "mine(steps=7)")),
    ]
    assert imports(folder) == 1
    assert (set(sys.modules), sys.path) == before


def test_a_class_of_a_module(folder: Path) -> None:
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").write_text("")
    write(folder, "package/attacks.py")
    (attack,) = attack_list("package.attacks:Mine(steps=1)")
    assert repr(attack).startswith("mine(steps=1")
    assert as_threat("package.attacks:Half(eps=8/255)") == parse(ThreatModel, "half_linf(eps=8/255)")


def test_annotations_that_are_text(folder: Path) -> None:
    write(folder)
    text = "from __future__ import annotations\n" + (folder / "my.py").read_text()
    (folder / "my.py").write_text(text)
    (attack,) = attack_list("my.py:Mine(steps=2, inner=fgsm)")
    assert (
        repr(attack) == "mine(steps=2, inner=fgsm(random_start=False, rel_step_size=None, gradient=exact()))"
    )
    with pytest.raises(SpecError, match=r"^mine: steps should be greater than or equal to 1, found 0"):
        attack_list("my.py:Mine(steps=0)")


def test_a_changed_file_is_imported_again(folder: Path) -> None:
    write(folder)
    (first,) = attack_list("my.py:Mine")
    write(folder, sign=-1)
    (second,) = attack_list("my.py:Mine")
    assert imports(folder) == 2
    assert type(first) is not type(second)
    assert parse(Attack, "mine") == second


MISTAKES: dict[str, tuple[str, type[RobustlabError], str]] = {
    "no file": ("none.py:Mine", SetupError, "the file none.py does not exist"),
    "no module": ("nothing.at:Mine", SetupError, "nothing.at can't be imported"),
    "no name": ("my.py", SetupError, r"my.py: which class\? Write .*my.py:NAME; it defines: Mine, "),
    "another name": ("my.py:Nine", SetupError, r"has no class 'Nine' \(did you mean 'Mine'\?\)"),
    "not registered": (
        "my.py:Bare",
        SpecError,
        r'^my.py:Bare is not registered: write @register\("a_name"\)',
    ),
    "not registered itself": ("my.py:Heir(steps=2)", SpecError, "^my.py:Heir is not registered"),
    "a threat model": ("my.py:Half(eps=0.1)", SpecError, "must be a class .* found the class Half"),
    "a function": ("my.py:function", SpecError, "derived from Attack or Ensemble, found a function"),
    "arguments of an object": ("my.py:made(steps=3)", SpecError, "must be a class .* found a Mine"),
    "an argument": ("my.py:Mine(stepz=3)", SpecError, "^mine has no argument 'stepz'"),
    "by place": ("my.py:Mine(3)", SpecError, r"^mine takes its arguments by name: mine\(steps=3\)"),
    "open bracket": ("my.py:Mine(steps=3", SpecError, "^can't parse attacks"),
    "stars": ("my.py:Mine(**{})", SpecError, "^can't parse attack"),
    "nothing between": ("my.py:Mine, , fgsm", SpecError, "^can't parse attacks"),
    "a broken file": (
        "broken.py:Mine",
        SetupError,
        r"broken.py can't be imported: ZeroDivisionError.*line 1",
    ),
    "a file that quits": ("quits.py:Mine", SetupError, "must not exit when it is loaded"),
    "robustlab's name": ("shadow.py:Shadow", SpecError, "^shadow.py:Shadow is registered as 'pgd'"),
    "a name beside it": ("shadow.py:Mine, pgd(stepz=1)", SpecError, "^pgd has no argument 'stepz'.*steps"),
}


@pytest.mark.parametrize(("text", "kind", "said"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_one_line(text: str, kind: type[RobustlabError], said: str, folder: Path) -> None:
    write(folder)
    write(folder, "shadow.py", more=SHADOW)
    (folder / "broken.py").write_text("1 / 0\n")
    (folder / "quits.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(kind, match=said) as caught:
        attack_list(text)
    assert len(str(caught.value).splitlines()) == 1
    assert parse(Attack, "pgd") == PGD(), "robustlab's own keeps its name"


def test_lists_are_split_at_commas_outside_of_brackets_and_quotes() -> None:
    text = "a(b=[1, 2], c='x, y'), d, \"e, f\", g(h=(1, (2, 3)))"
    assert [part.strip() for part in split_list(text)] == [
        "a(b=[1, 2], c='x, y')",
        "d",
        '"e, f"',
        "g(h=(1, (2, 3)))",
    ]
    assert list(split_list("a,")) == ["a"]


@pytest.mark.parametrize(
    "text",
    [
        "standard",
        "pgd(steps=40)",
        "fgsm",
        "APGD-CE",
        "linf(eps=8/255)",
        "pgd(x='a.py:b')",
        "",
        "a:b:c",
        "x" * 10**6,
    ],
)
def test_other_texts_mean_no_file(text: str) -> None:
    assert not is_user_unit(text)


def test_a_file_whose_path_has_spaces_and_brackets(folder: Path) -> None:
    place = folder / "run (1), new"
    place.mkdir()
    write(folder)
    (place / "my.py").write_text((folder / "my.py").read_text())
    assert repr(user_unit(f"{place}/my.py:Mine(steps=2)", Attack)).startswith("mine(steps=2")


# In an evaluation


def evaluated(folder: Path, **options: Any) -> robustlab.EvaluationRun:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(20, 3)).eval()
    images = torch.rand(30, 1, 4, 5)
    given: dict[str, Any] = {"images": images, "labels": model(images).argmax(dim=1), "out": folder / "run"}
    given |= {"threat": "linf(eps=0.1)", "attacks": "my.py:Mine(steps=2)", "precision": "fp32"}
    given |= {"checks": False, "certify": False}
    return robustlab.evaluate(model, **given | options)


def stages_started(folder: Path, begins: str) -> int:
    db = sqlite3.connect(folder / "run" / "ledger.sqlite")
    try:
        names = [name for (name,) in db.execute("SELECT name FROM events WHERE event = 'started'")]
    finally:
        db.close()
    return sum(name.startswith(begins) and not name.endswith("verified") for name in names)


def test_a_changed_attack_attacks_again(folder: Path) -> None:
    write(folder)
    first = evaluated(folder).results
    (row,) = first.rows
    assert row.attack == f"mine(steps=2, inner={PGD()!r})"
    assert row.attacked == 30
    assert row.broken > 0
    assert evaluated(folder).results.rows == first.rows
    assert stages_started(folder, "mine(") == 1
    write(folder, sign=-1)
    changed = evaluated(folder).results
    assert stages_started(folder, "mine(") == 2
    assert changed.rows[0].broken == 0, "it goes the wrong way now"
    write(folder)
    assert evaluated(folder).results.robust == first.robust
    assert stages_started(folder, "mine(") == 2, "what the first code found is still there"


def test_a_changed_threat_model_is_another_one(folder: Path) -> None:
    write(folder, share=0.0)
    options = {"threat": "my.py:Half(eps=0.1)", "attacks": "pgd(steps=5)"}
    none = evaluated(folder, **options).results
    assert none.threat == "half_linf(eps=0.1)"
    assert none.robust.value == 1.0
    assert evaluated(folder, **options).results.rows == none.rows
    assert stages_started(folder, "pgd(") == 1
    write(folder, share=1.0)
    whole = evaluated(folder, **options).results
    assert whole.robust == evaluated(folder / "other", **options | {"threat": Linf(eps=0.1)}).results.robust
    assert whole.robust.value < 1.0


def test_in_python(folder: Path) -> None:
    write(folder)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(20, 3)).eval()
    images = torch.rand(20, 1, 4, 5)
    labels = model(images).argmax(dim=1)
    within = FGSM().run(model, images, labels, "my.py:Half(eps=0.1)")
    assert float(within.distances.max()) == pytest.approx(0.05, abs=1e-5)
    found = evaluated(folder, attacks=[user_unit("my.py:Mine", Attack), "my.py:Mine(steps=1)", PGD(steps=1)])
    assert len(found.results.rows) == 3


def test_on_the_command_line(folder: Path) -> None:
    write(folder)
    (folder / "net.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def make():\n"
        "    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).eval()\n"
    )
    words = ["evaluate", "--model", "net.py:make", "--dataset", "digits", "-n", "10", "--no-checks", "--json"]
    words += ["--threat", "my.py:Half(eps=0.3)", "--attacks", "my.py:Mine(steps=2), fgsm", "--out", "run"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["threat"] == "half_linf(eps=0.3)"
    assert [row["attack"].partition("(")[0] for row in found["rows"]] == ["mine", "fgsm"]
    assert "--attacks 'my.py:Mine(steps=2), fgsm'" in found["command"]
    failed = CliRunner().invoke(app, [*words[:-6], "--attacks", "my.py:Bare"])
    assert failed.exit_code == 2
    assert "robustlab: error: my.py:Bare is not registered" in failed.stderr
