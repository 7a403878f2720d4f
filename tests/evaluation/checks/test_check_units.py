"""Checks are units: listed, chosen by cost or by name, and added by other packages."""

import importlib.util
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_checks_in_engine import run
from torch import nn
from toy_defenses import evaluated, trained

from robustlab.core.calling import UserCodeError
from robustlab.core.errors import SpecError
from robustlab.core.spec import parse, register, units
from robustlab.data import Splits
from robustlab.evaluation.checks import (
    BUILT_IN,
    ActiveCheck,
    AttackRunner,
    Check,
    CheckResult,
    Context,
    PassiveCheck,
    Sample,
    all_checks,
    checks_of,
)
from robustlab.evaluation.coordinator import checking
from robustlab.evaluation.identity import code_of
from robustlab.evaluation.identity.units import _sources

PLUGIN = '''
from robustlab.core.spec import register
from robustlab.evaluation.checks import ActiveCheck, CheckResult

LIMIT = {limit}

@register("first_logit")
class FirstLogit(ActiveCheck):
    """Looks at the first logit."""

    title = "The first logit is small"
    expected = "at most a limit"
    meaning = "The first logit is large."

    def sample(self, context):
        return context.any_images(5)

    def look(self, runner, sample):
        largest = float(runner.logits(sample.images.pixels(slice(None)))[:, 0].max())
        return CheckResult(grade="pass" if largest <= LIMIT else "fail", found=f"{{largest:.3g}}", n=5)
'''


pytestmark = pytest.mark.usefixtures("own_registry")


@pytest.fixture
def model(make_linear: Callable[..., nn.Module]) -> nn.Module:
    return make_linear(classes=4, shape=(1, 4, 5), seed=2)


def load(file: Path, source: str) -> type[Check]:
    """Import a file as Python does it, in a process of its own, and return the check that it registers."""
    file.write_text(source)
    module_spec = importlib.util.spec_from_file_location(file.stem, file)
    assert module_spec
    assert module_spec.loader
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[file.stem] = module
    try:
        # Not by the loader: its cache goes by a time in whole seconds.
        exec(compile(source, str(file), "exec"), vars(module))
    finally:
        del sys.modules[file.stem]
    return units(Check)["first_logit"]


def times_started(folder: Path, name: str) -> int:
    db = sqlite3.connect(folder / "ledger.sqlite")
    try:
        (count,) = db.execute(
            "SELECT COUNT(*) FROM events WHERE event = 'started' AND name = ?", (name,)
        ).fetchone()
    finally:
        db.close()
    return int(count)


def test_every_registered_check_of_robustlab_has_its_place() -> None:
    own = {kind for kind in units(Check).values() if kind.__module__.startswith("robustlab.")}
    assert own == set(BUILT_IN)
    assert len(BUILT_IN) == len(own)
    for kind in BUILT_IN:
        assert kind.id == kind.name.replace("_", "-")
        assert kind().id == kind.id
        assert parse(Check, repr(kind())) == kind()


def test_checks_of_other_packages_come_last_by_name() -> None:
    for name in ("zebra", "aardvark"):

        @register(name)
        class Animal(PassiveCheck):
            """An animal."""

            title, expected, meaning = "It looks", "nothing", "Nothing."

            def look(self, context: Context) -> CheckResult:
                return CheckResult(grade="pass", found="nothing", n=len(context.images))

    assert [type(check) for check in all_checks()][: len(BUILT_IN)] == list(BUILT_IN)
    assert [check.id for check in all_checks()][len(BUILT_IN) :] == ["aardvark", "zebra"]


CHEAP_ACTIVE = {
    "no-gradient",
    "softmax-output",
    "logit-scale",
    "randomness",
    "batch-dependence",
    "optimisation-at-inference",
    "state-changes",
    "zero-gradients",
}


def test_cheap_checks_are_cheap(digits: Splits) -> None:
    cheap = checks_of("cheap")
    assert {check.id for check in cheap if isinstance(check, ActiveCheck)} == CHEAP_ACTIVE
    assert all(check.cheap for check in all_checks() if isinstance(check, PassiveCheck))
    context = evaluated(trained(digits.train), digits.test.take(slice(300)))
    for check in cheap:
        record = check.run(context)
        assert record.forwards + record.backwards <= 1500, record


def test_checks_are_chosen_by_name_or_id() -> None:
    chosen = checks_of(("zero_gradients", "clean-accuracy", "zero-gradients"))
    assert [check.id for check in chosen] == ["clean-accuracy", "zero-gradients"]
    assert checks_of(()) == ()
    assert checks_of("all") == all_checks()
    with pytest.raises(SpecError, match=r"unknown check 'zero-gradient' \(did you mean 'zero-gradients'\?\)"):
        checks_of(("zero-gradient",))


@pytest.mark.parametrize("which", ["cheap", ("sample-size", "logit_scale")])
def test_an_evaluation_runs_those_that_are_asked_for(
    which: Any, model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole: Any = checking.checked

    def some(*args: Any) -> Any:
        return whole(*args[:3], which=which)

    monkeypatch.setattr("robustlab.evaluation.coordinator.evaluate.checked", some)
    results = run(tmp_path, model).results
    assert [check.id for check in results.checks] == [check.id for check in checks_of(which)]
    monkeypatch.undo()
    kept = {check.id: check for check in run(tmp_path, model).results.checks}
    assert all(kept[check.id] == check for check in results.checks)
    assert times_started(tmp_path, "logit-scale") == 1, "what was computed is kept"


def test_the_code_of_a_check_is_part_of_what_is_kept(model: nn.Module, tmp_path: Path) -> None:
    def grade(limit: float) -> str:
        load(tmp_path / "my_check.py", PLUGIN.format(limit=limit))
        checks = run(tmp_path / "run", model).results.checks
        assert checks[-1].id == "first-logit"
        return checks[-1].grade

    assert grade(1e9) == "pass"
    assert grade(1e9) == "pass"
    assert times_started(tmp_path / "run", "first-logit") == 1
    assert grade(-1e9) == "fail", "the old outcome"
    assert times_started(tmp_path / "run", "first-logit") == 2
    assert times_started(tmp_path / "run", "zero-gradients") == 1


def test_an_installed_package_counts_by_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "shelf-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shelf\nVersion: 1.0\n")
    (info / "RECORD").write_text("shelf/__init__.py,,\nshelf/checks.py,,\n")
    package = tmp_path / "shelf"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "checks.py").write_text(PLUGIN.format(limit=1))
    monkeypatch.syspath_prepend(tmp_path)
    import_module = importlib.import_module
    try:
        import_module("shelf.checks")
        check = units(Check)["first_logit"]()
        before = code_of(check)
        assert before.startswith(" ")
        assert code_of(check) == before
        (package / "helpers.py").write_text("LIMIT = 2\n")
        _sources.cache_clear()
        assert code_of(check) != before
    finally:
        for name in ("shelf", "shelf.checks"):
            sys.modules.pop(name, None)
        _sources.cache_clear()
    assert code_of(all_checks()[0]) == "", "robustlab's own is part of every key"


def test_a_check_that_does_not_say_what_it_is() -> None:
    @register("silent")
    class Silent(PassiveCheck):
        """Says nothing."""

        title = "It is silent"

        def look(self, context: Context) -> CheckResult:
            raise NotImplementedError

    with pytest.raises(SpecError, match="the check silent has no expected and no meaning"):
        all_checks()


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (None, "AttributeError"),
        (CheckResult(grade="bad", found="", n=1), "ValidationError"),  # type: ignore[arg-type]
        (CheckResult(grade="pass", found="", n=-1), "ValidationError"),
    ],
    ids=["nothing", "grade", "n"],
)
def test_a_check_that_returns_nonsense_is_a_warning(outcome: Any, said: str, digits: Splits) -> None:
    @register("odd")
    class Odd(ActiveCheck):
        """Returns nonsense."""

        title, expected, meaning = "It is odd", "nothing", "Nothing."

        def sample(self, context: Context) -> Sample:
            return context.any_images(3)

        def look(self, runner: AttackRunner, sample: Sample) -> CheckResult:
            del runner, sample
            assert outcome is None or isinstance(outcome, CheckResult)
            return outcome  # type: ignore[return-value]

    context = evaluated(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).eval(), digits.test.take(slice(5)))
    record = Odd().run(context)
    assert record.grade == "warn"
    assert record.found.startswith(f"could not be computed: {said}")


def test_a_check_that_quits_is_an_error_that_names_it(model: nn.Module, tmp_path: Path) -> None:
    @register("quitting")
    class Quitting(PassiveCheck):
        """Quits."""

        title, expected, meaning = "It quits", "nothing", "Nothing."

        def look(self, context: Context) -> CheckResult:
            del context
            raise SystemExit(3)

    with pytest.raises(UserCodeError, match="quitting can't work: SystemExit: 3"):
        run(tmp_path, model)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("no-gradient", "BPDA"),
        ("zero-gradients", "BPDA"),
        ("optimisation-at-inference", "BPDA"),
        ("gradient-free-attack", "BPDA"),
        ("randomness", "--eot-samples"),
        ("shattered-gradients", "smoothed("),
        ("softmax-output", "without its last layer"),
    ],
)
def test_a_check_that_sees_a_masked_gradient_names_the_remedy(name: str, remedy: str) -> None:
    (check,) = checks_of((name,))
    assert remedy in check.meaning
