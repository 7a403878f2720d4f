"""The tree of errors, and the hints in their messages."""

import dataclasses
import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import robustlab
from robustlab.attacks import FGSM, Attack
from robustlab.cli.main import app
from robustlab.core import errors
from robustlab.core.aliases import ALIASES, RENAMED, RenamedWarning, normalized
from robustlab.core.errors import RobustlabError, RunError, SpecError, did_you_mean
from robustlab.core.spec import parse, units
from robustlab.defenses import Defense
from robustlab.detectors import Detector
from robustlab.evaluation.ensembles import Ensemble
from robustlab.models import Model
from robustlab.study.recipe import NetworkPart
from robustlab.threats import ThreatModel
from robustlab.training import Objective

KINDS = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and kind.__module__ == errors.__name__
]


def test_every_error_is_a_robustlab_error_with_exit_code_2() -> None:
    assert len(KINDS) == 8
    for kind in KINDS:
        assert issubclass(kind, RobustlabError)
        assert kind.exit_code == 2
        assert kind.__name__ in str(errors.__doc__)


@pytest.mark.parametrize(
    ("word", "accepted", "hint"),
    [
        ("pdg", ["pgd", "fgsm"], " (did you mean 'pgd'?)"),
        ("epoch", ["epochs", "lr"], " (did you mean 'epochs'?)"),
        ("carlini", ["pgd", "fgsm"], ""),
        ("x", [], ""),
        ("", ["pgd"], ""),
        ("Linf", ["l2", "linf"], " (did you mean 'linf'?)"),
        ("PGD", ["fgsm", "pgd"], " (did you mean 'pgd'?)"),
        ("PGD-20", ["fgsm", "pgd"], " (did you mean 'pgd(steps=20)'?)"),
        ("APGD-CE", ["apgd", "apgd_l1"], " (did you mean 'apgd'?)"),
        ("FAB-T", ["fab", "fgsm"], " (did you mean 'fab'?)"),
        ("AutoAttack", ["standard", "autoattack"], " (did you mean 'autoattack'?)"),
        ("jsma", ["sigma_zero", "spsa"], " (did you mean 'sigma_zero'?)"),
        ("boundary", ["cw", "hop_skip_jump"], " (did you mean 'hop_skip_jump'?)"),
        *(
            (word, ["rel_step_size", "steps"], " (did you mean 'rel_step_size'?)")
            for word in ("step_size", "alpha", "eps_iter")
        ),
        *(
            (word, ["rel_step_size", "steps"], " (did you mean 'steps'?)")
            for word in ("iterations", "num_steps", "max_iter")
        ),
        ("--epsilon", ["eps"], " (did you mean 'eps'?)"),
        ("--eps", ["model", "threat"], " (did you mean 'threat'?)"),
    ],
)
def test_did_you_mean(word: str, accepted: list[str], hint: str) -> None:
    assert did_you_mean(word, accepted) == hint
    assert did_you_mean(word, iter(accepted)) == hint


NAMES = st.from_regex("[a-z][a-z0-9]{0,20}", fullmatch=True)


@given(words=st.lists(NAMES, min_size=1, unique=True), data=st.data())
def test_an_accepted_word_is_its_own_hint(words: list[str], data: st.DataObject) -> None:
    word = data.draw(st.sampled_from(words))
    assert did_you_mean(word, words) == f" (did you mean {word!r}?)"


def test_every_alias_stands_for_something_that_there_is() -> None:
    kinds = (Attack, Defense, Detector, Ensemble, Model, Objective, ThreatModel)
    every = {name: unit for kind in kinds for name, unit in units(kind).items()}
    arguments = {field.name for unit in every.values() for field in dataclasses.fields(unit)}  # type: ignore[arg-type]
    functions: tuple[Any, ...] = (robustlab.evaluate, robustlab.gate, Attack.run)
    options = {name for function in functions for name in inspect.signature(function).parameters}
    for name, words in ALIASES.items():
        assert name.partition("(")[0] in {*every, *arguments, *options, *NetworkPart.__dataclass_fields__}, (
            name
        )
        assert all(normalized(word) == word for word in words), words
        if "(" in name:
            parse(Attack, name)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("pgd(step=0.2)", "pgd(rel_step_size=0.2)"),
        ("fmn(step=0.5)", "fmn(step_size=0.5)"),
        ("cw(step=0.5, rounds=3, c=0.1)", "cw(lr=0.5, binary_search_steps=3, initial_const=0.1)"),
        ("where_masked(attack=focused(rounds=3))", "if_masked(attack=margin_search(rounds=3))"),
        ("smoothed(attack=nearest)", "if_shattered(attack=steepest_min_norm)"),
    ],
)
def test_a_name_of_the_last_version_is_accepted_with_a_warning(old: str, new: str) -> None:
    with pytest.warns(RenamedWarning, match="is now called"):
        assert parse(Attack, old) == parse(Attack, new)


def test_no_old_name_hides_a_new_one() -> None:
    for old, names in RENAMED.items():
        assert old not in names
        for unit in units(Attack).values():
            fields = {field.name for field in dataclasses.fields(unit)}  # type: ignore[arg-type]
            assert old not in fields or not fields.intersection(names), (old, unit)


def test_an_option_of_the_last_version_is_accepted(tmp_path: Path) -> None:
    with pytest.warns(RenamedWarning), pytest.raises(RobustlabError, match=r"^eot_samples must be"):
        robustlab.evaluate("mnist_cnn", threat="linf(eps=0.1)", samples=0, out=tmp_path)  # type: ignore[call-arg]


GATE: Any = robustlab.gate
RUN: Any = FGSM().run


@pytest.mark.parametrize(
    ("call", "new"),
    [
        (partial(GATE, "run", no_red_flags=True), "strict"),
        (partial(RUN, half=True), "bf16"),
        (partial(RUN, samples=3), "eot_samples"),
        (partial(RUN, realise=None), "quantize"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_argument_of_the_last_version_is_accepted(call: Callable[[], object], new: str) -> None:
    # The run does not exist, and no model is given.
    with pytest.warns(RenamedWarning, match=f"is now called {new}"), pytest.raises((RunError, TypeError)):
        call()


@pytest.mark.parametrize(
    ("call", "new"), [(partial(RUN, mode="verdict"), "early_stop"), (partial(RUN, sede=3), "seed")]
)
def test_an_argument_with_another_meaning_is_refused_with_its_new_name(
    call: Callable[[], object], new: str
) -> None:
    with pytest.raises(SpecError, match=rf"has no argument '.*' \(did you mean '{new}'\?\)"):
        call()


def test_options_and_units_of_the_last_version_have_a_hint() -> None:
    for command in ("evaluate", "gate"):
        refused = CliRunner().invoke(app, [command, "x", "--no-red-flags"])
        assert refused.exit_code == 2
        assert "(did you mean '--strict'?)" in refused.output + refused.stderr
    with pytest.warns(RenamedWarning, match="nearest is now called steepest_min_norm"):
        shown = CliRunner().invoke(app, ["ls", "nearest"])
    assert shown.exit_code == 0
    assert "steepest_min_norm" in shown.stdout
