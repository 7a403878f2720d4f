"""A class of the user's file wherever a unit is expected; a text of an untrusted file runs no file."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from typer.testing import CliRunner

import robustlab
from robustlab.attacks import Attack, Gradient, as_criterion
from robustlab.certify import as_certifier
from robustlab.cli.main import app
from robustlab.cli.tables import _brief
from robustlab.core.errors import ModelFileError, RobustlabError, SetupError, SpecError
from robustlab.core.factors import bound
from robustlab.core.spec import Unit, parse
from robustlab.core.user_units import is_user_unit, parse_trusted, split_list
from robustlab.evaluation.engines import Engine, as_engine
from robustlab.evaluation.ensembles import attack_list
from robustlab.models import load_network
from robustlab.models.files import save_tensors
from robustlab.threats import ThreatModel

MINE = '''
from pathlib import Path
from typing import Annotated

from pydantic import Field

from robustlab.attacks import PGD, Attack, Criterion, ExactGradient, Gradient
from robustlab.attacks.criteria import Misclassified
from robustlab.certify import IBP, Certifier
from robustlab.core.spec import register
from robustlab.evaluation.engines import Engine, Serial

with Path("{folder}/imports.txt").open("a") as log:
    log.write("imported\\n")

@register("my_gradient")
class MyGradient(Gradient):
    """The classifier's gradient, or its opposite."""

    samples: Annotated[int, Field(ge=1)] = 1
    inner: Gradient = ExactGradient()

    def estimate(self, query):
        gradient, answers = query.exact()
        return {sign} * gradient, answers

@register("my_attack")
class MyAttack(Attack):
    """One step."""

    gradient: Gradient = ExactGradient()
    label: str = ""

    def search(self, session):
        session.propose(session.ascend(session.clean, session.gradient(session.clean), 1.0))

@register("my_engine")
class MyEngine(Engine):
    """Leaves a trace."""

    inner: Engine = Serial()

    def run(self, context, jobs, watch):
        Path("{folder}/engine.txt").write_text("ran")
        yield from self.inner.run(context, jobs, watch)

@register("my_certifier")
class MyCertifier(Certifier):
    """Proves all, or nothing."""

    norms = ("linf",)
    all: bool = True

    def prove(self, model, images, labels, threat):
        return labels.new_full(labels.shape, self.all).bool()

@register("my_goal")
class MyGoal(Misclassified):
    """Never reached, or as the default is."""

    never: bool = False

    def reached(self, seen):
        return super().reached(seen) & (not self.never)
'''

pytestmark = pytest.mark.usefixtures("own_registry")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    return tmp_path


def write(folder: Path, sign: int = 1) -> None:
    (folder / "my.py").write_text(MINE.replace("{folder}", str(folder)).replace("{sign}", str(sign)))


EXACT = "exact()"
NESTED = {
    "pgd(gradient=my.py:MyGradient)": f"my_gradient(samples=1, inner={EXACT})",
    "pgd(gradient='my.py:MyGradient')": f"my_gradient(samples=1, inner={EXACT})",
    "pgd(gradient=my.py:MyGradient(samples=3), steps=5)": f"my_gradient(samples=3, inner={EXACT})",
    'pgd(gradient="my.py:MyGradient(samples=3)")': f"my_gradient(samples=3, inner={EXACT})",
    "pgd(gradient='my.py:MyGradient'(samples=3))": f"my_gradient(samples=3, inner={EXACT})",
    "pgd(gradient=./my.py:MyGradient(samples=3))": f"my_gradient(samples=3, inner={EXACT})",
    "pgd(gradient={folder}/my.py:MyGradient)": f"my_gradient(samples=1, inner={EXACT})",
    "pgd(gradient=my:MyGradient(samples=2))": f"my_gradient(samples=2, inner={EXACT})",
    "pgd(gradient=my.py:MyGradient(inner=my.py:MyGradient(samples=2), samples=4))": (
        f"my_gradient(samples=4, inner=my_gradient(samples=2, inner={EXACT}))"
    ),
    "my.py:MyAttack(gradient=my.py:MyGradient(samples=2))": f"my_gradient(samples=2, inner={EXACT})",
    "'my.py:MyAttack'(gradient='my.py:MyGradient')": f"my_gradient(samples=1, inner={EXACT})",
}


@pytest.mark.parametrize("text", NESTED)
def test_a_class_as_an_argument(text: str, folder: Path) -> None:
    (attack,) = attack_list(text.replace("{folder}", str(folder)))
    assert repr(attack.gradient) == NESTED[text]  # type: ignore[union-attr]
    assert parse(Attack, repr(attack)) == attack, "in this process its name is known"


def test_a_file_whose_path_needs_quotes(folder: Path) -> None:
    place = folder / "run (1), it's"
    place.mkdir()
    (folder / "my.py").rename(place / "my.py")
    file = f"{place}/my.py"
    attacks = attack_list(f'pgd(gradient="{file}:MyGradient(samples=2)"), "{file}:MyAttack"')
    assert [repr(attack).partition("(")[0] for attack in attacks] == ["pgd", "my_attack"]


@pytest.mark.usefixtures("folder")
def test_a_list_of_attacks_in_attacks_and_alone() -> None:
    texts = [
        'restarts(attack="my.py:MyAttack", times=2)',
        "my.py:MyAttack(label='it\\'s, here')",
        "restarts(attack=my.py:MyAttack(gradient=my.py:MyGradient(samples=2)))",
        '"my.py:MyAttack"',
        "fgsm",
    ]
    together, apart = attack_list(", ".join(texts)), attack_list(texts)
    assert list(map(repr, together)) == list(map(repr, apart))
    assert [unit.name for unit in together] == ["restarts", "my_attack", "restarts", "my_attack", "fgsm"]
    assert together[1].label == "it's, here"  # type: ignore[union-attr]


@pytest.mark.usefixtures("folder")
def test_every_kind_of_an_option() -> None:
    assert repr(as_engine("my.py:MyEngine(inner=my.py:MyEngine)")) == (
        "my_engine(inner=my_engine(inner=serial()))"
    )
    assert repr(as_certifier("my.py:MyCertifier(all=False)")) == "my_certifier(all=False)"
    assert repr(as_criterion("my.py:MyGoal(never=True)")) == "my_goal(never=True)"
    with pytest.raises(SpecError, match=r"must be a class derived from Engine, found the class MyGoal"):
        as_engine("my.py:MyGoal")


@pytest.mark.usefixtures("folder")
def test_a_recipes_factors_in_the_arguments() -> None:
    text = bound("pgd(rel_step_size=0.5*scale, gradient=my.py:MyGradient(samples=3))", {"scale": 0.5})
    (attack,) = attack_list(text)
    assert repr(attack).startswith("pgd(steps=40, rel_step_size=0.25")
    assert "gradient=my_gradient(samples=3" in repr(attack)


MISTAKES: dict[str, tuple[str, type[RobustlabError], str]] = {
    "no file": ("pgd(gradient=none.py:G)", SetupError, "^the file none.py does not exist"),
    "no class": ("pgd(gradient=my.py:G(x=1))", SetupError, "has no class 'G'"),
    "which class": ('pgd(gradient="my.py")', SetupError, r"my.py: which class\?"),
    "another kind": (
        "pgd(gradient=my.py:MyAttack)",
        SpecError,
        "must be a class derived from Gradient, found the class MyAttack",
    ),
    "an argument": ("pgd(gradient=my.py:MyGradient(samplez=1))", SpecError, "^my_gradient has no argument"),
    "a spec in quotes": (
        "pgd(gradient='exact')",
        SpecError,
        "^pgd: gradient should be an instance of",
    ),
    "no last bracket": ("pgd(gradient=my.py:MyGradient", SpecError, "^can't parse attacks"),
    "quoted name": ("'fgsm'", SpecError, "^can't parse attack"),
    "brackets": ("pgd(gradient=('my.py:MyGradient')(samples=1))", SpecError, "^can't parse gradient"),
}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("text", "kind", "said"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_one_line(text: str, kind: type[RobustlabError], said: str) -> None:
    with pytest.raises(kind, match=said) as caught:
        attack_list(text)
    assert len(str(caught.value).splitlines()) == 1


# Lists

UNITS = ["fgsm", "pgd", "'x y.py:A'"]
NAMES = st.sampled_from([*UNITS, "my.py:A", "a/b.py:Mine", "package.module:A", "./my.py:A"])
TEXTS = st.text(max_size=8).map(repr) | st.text(alphabet="'\"\\,()[] a", max_size=8).map(repr)
LITERALS = st.sampled_from(["1", "8/255", "None", "margin", "(1, 2)", "[1, (2, 3)]"]) | TEXTS
SPECS = st.recursive(
    NAMES,
    lambda inner: st.tuples(
        NAMES, st.lists(st.tuples(st.sampled_from(["a", "b"]), inner | LITERALS), max_size=3)
    ).map(lambda parts: f"{parts[0]}({', '.join(f'{name}={value}' for name, value in parts[1])})"),
    max_leaves=8,
)


@given(specs=st.lists(SPECS, min_size=1, max_size=4))
def test_a_list_of_specs_comes_back(specs: list[str]) -> None:
    assert [part.strip() for part in split_list(", ".join(specs))] == specs


@given(spec=SPECS)
def test_what_is_outermost_decides_whether_a_text_means_a_class(spec: str) -> None:
    assert is_user_unit(spec) == (spec.partition("(")[0] not in UNITS)


# What comes from an untrusted file

HOSTILE = [
    "my.py:MyAttack",
    "my.py:MyAttack(label=a)",
    "'my.py:MyAttack'(label=a)",
    "my:MyAttack",
    "pgd(gradient=my.py:MyGradient)",
    "pgd(gradient='my.py:MyGradient')",
    "pgd(gradient=my.py:MyGradient(samples=3))",
    "restarts(attack=my.py:MyAttack)",
    "thresholded(classifier=my.py:Net, at=0.5)",
    "purifier(network='my.py:Net'(x=1), classifier=cnn)",
    "thresholded(classifier=code(reference='my.py:make'), at=0.5)",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_the_header_of_a_model_file_runs_no_file(text: str, folder: Path) -> None:
    path = folder / "net.safetensors"
    shape = {"channels": 1, "height": 8, "width": 8, "classes": 3}
    save_tensors(path, {"weight": torch.zeros(1)}, {"model": text, "shape": shape})
    with pytest.raises(ModelFileError, match="does not say which network it holds"):
        load_network(path)
    assert not (folder / "imports.txt").exists()


@pytest.mark.parametrize("kind", [Attack, Gradient, ThreatModel, Engine])
@pytest.mark.parametrize("text", HOSTILE)
def test_parse_runs_no_file(text: str, kind: type[Unit], folder: Path) -> None:
    with pytest.raises(SpecError):
        parse(kind, text)
    assert not (folder / "imports.txt").exists()


@pytest.mark.parametrize("text", HOSTILE)
def test_a_row_of_a_run_runs_no_file(text: str, folder: Path) -> None:
    assert _brief(text) == text
    assert not (folder / "imports.txt").exists()


def test_the_same_text_of_the_user_does(folder: Path) -> None:
    with pytest.raises(SpecError):
        parse(Attack, "pgd(gradient=my.py:MyGradient)")
    assert not (folder / "imports.txt").exists()
    assert parse_trusted(Attack, "pgd(gradient=my.py:MyGradient)").gradient.name == "my_gradient"  # type: ignore[attr-defined]
    assert (folder / "imports.txt").exists()


# In an evaluation


def evaluated(folder: Path, **options: Any) -> robustlab.EvaluationRun:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(20, 3)).eval()
    images = torch.rand(20, 1, 4, 5)
    given: dict[str, Any] = {"images": images, "labels": model(images).argmax(dim=1), "out": folder / "run"}
    given |= {"threat": "linf(eps=0.1)", "attacks": "fgsm", "precision": "fp32", "checks": False}
    return robustlab.evaluate(options.pop("model", model), **given | {"certify": False} | options)


def test_an_attack_with_a_changed_gradient_attacks_again(folder: Path) -> None:
    options = {"attacks": "pgd(steps=3, gradient=my.py:MyGradient)"}
    first = evaluated(folder, **options).results
    assert first.rows[0].broken > 0
    write(folder, sign=-1)
    assert evaluated(folder, **options).results.rows[0].broken == 0


def test_certifier_engine_and_target(folder: Path) -> None:
    plain = evaluated(folder, out=folder / "plain").results
    assert 0 < plain.robust.value < 1
    options = {"engine": "my.py:MyEngine", "certify": True}
    found = evaluated(folder, certifier="my.py:MyCertifier(all=False)", **options).results
    assert found.robust == plain.robust
    assert (folder / "engine.txt").read_text() == "ran"
    proven = evaluated(folder, certifier="my.py:MyCertifier", **options).results
    assert proven.robust.value == 1
    assert proven.certificates is not None
    goal = evaluated(folder, target="my.py:MyGoal(never=True)", out=folder / "goal").results
    assert goal.robust.value == 1


def test_a_model_that_changes_the_working_directory(folder: Path, tmp_path_factory: Any) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")

    class Moving(nn.Linear):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            os.chdir(elsewhere)
            return super().forward(images.flatten(1))

    options = {"certifier": "my.py:MyCertifier(all=False)", "engine": "my.py:MyEngine", "certify": True}
    model = Moving(20, 3).eval()
    labels = torch.zeros(20, dtype=torch.int64)
    found = evaluated(folder, model=model, labels=labels, target="my.py:MyGoal", **options)
    assert found.results.rows


UNUSED = {
    "certifier": ({"certifier": "none.py:Foo"}, "the file none.py does not exist"),
    "spec of a certifier": ({"certifier": "crwn"}, "unknown certifier 'crwn'"),
    "engine": ({"engine": "none.py:Foo"}, "the file none.py does not exist"),
    "target": ({"target": "none.py:Foo"}, "the file none.py does not exist"),
}


@pytest.mark.parametrize(("options", "said"), UNUSED.values(), ids=UNUSED)
def test_a_wrong_spec_is_refused_where_it_is_not_used(
    options: dict[str, str], said: str, folder: Path
) -> None:
    with pytest.raises(RobustlabError, match=said):
        evaluated(folder, certify=False, **options)
    assert not (folder / "run").exists()


def test_on_the_command_line(folder: Path) -> None:
    (folder / "net.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def make():\n"
        "    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).eval()\n"
    )
    words = ["evaluate", "--model", "net.py:make", "--dataset", "digits", "-n", "10", "--no-checks", "--json"]
    words += ["--attacks", 'restarts(attack="my.py:MyAttack", times=2), my.py:MyAttack', "--out", "run"]
    words += ["--certifier", "my.py:MyCertifier(all=False)", "--engine", "my.py:MyEngine"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [row["attack"].partition("(")[0] for row in found["rows"]] == ["restarts", "my_attack"]
    assert "--certifier 'my.py:MyCertifier(all=False)'" in found["command"]
    assert "--engine my.py:MyEngine" in found["command"]
    failed = CliRunner().invoke(app, [*words, "--no-certify", "--certifier", "mine.py:Foo"])
    assert failed.exit_code == 2
    assert failed.stderr.splitlines()[-1] == "robustlab: error: the file mine.py does not exist"
