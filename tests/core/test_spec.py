"""Laws of units and their specs, for every registered unit of every kind."""

import dataclasses
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from robustlab.attacks import FGSM, PGD, Attack, FGSMLiteralClamp, GaussianNoise
from robustlab.core import spec
from robustlab.core.errors import SpecError
from robustlab.core.spec import Unit, has_lengths, nested_kinds, parse, pixel_fields, scaled, units
from robustlab.core.threat import L2, Linf, ThreatModel
from robustlab.defenses import AdversarialTraining, Defense, Purifier
from robustlab.detectors import Detector
from robustlab.models import CNN, Model
from robustlab.training import Objective

KINDS: list[type[Unit]] = [Attack, ThreatModel, Model, Objective, Defense, Detector]
REGISTERED = [(kind, unit) for kind in KINDS for unit in units(kind).values()]

every_unit = pytest.mark.parametrize(
    ("kind", "unit"), REGISTERED, ids=[f"{kind.kind}-{unit.name}" for kind, unit in REGISTERED]
)


def instances(unit: type[Unit]) -> st.SearchStrategy[Unit]:
    """Units of a class with any arguments that their annotations allow."""
    hints = typing.get_type_hints(unit, include_extras=True)
    arguments = {field.name: _values(hints[field.name]) for field in dataclasses.fields(unit)}  # type: ignore[arg-type]
    # Some arguments only go together with certain others.
    drawn = st.fixed_dictionaries(arguments).map(lambda chosen: _allowed(unit, chosen))
    return drawn.filter(lambda made: made is not None)  # type: ignore[return-value]


def _allowed(unit: type[Unit], arguments: dict[str, Any]) -> Unit | None:
    try:
        return unit(**arguments)
    except pydantic.ValidationError:
        return None


def _values(hint: Any) -> st.SearchStrategy[Any]:
    if typing.get_origin(hint) is typing.Literal:
        return st.sampled_from(typing.get_args(hint))
    if typing.get_origin(hint) in {types.UnionType, typing.Union}:
        return st.one_of([_values(choice) for choice in typing.get_args(hint)])
    if hint is type(None):
        return st.none()
    if hint is bool:
        return st.booleans()
    kind, *extras = typing.get_args(hint) if typing.get_origin(hint) is Annotated else (hint,)
    limits: dict[str, float] = {}
    for rule in (rule for extra in extras if isinstance(extra, FieldInfo) for rule in extra.metadata):
        limits |= {name: getattr(rule, name) for name in ("ge", "gt", "le", "lt") if hasattr(rule, name)}
    low, high = limits.get("ge", limits.get("gt")), limits.get("le", limits.get("lt"))
    if issubclass(kind, Unit):
        # A unit inside a unit inside a unit has no end.
        return st.one_of([instances(unit) for unit in units(kind).values() if not nested_kinds(unit)])
    if kind is str:
        return st.text(min_size=1) | st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
    if kind is int:
        return st.integers(None if low is None else int(low), None if high is None else int(high))
    assert kind is float, f"no strategy for {hint}"
    return st.floats(
        low,
        high,
        exclude_min="gt" in limits,
        exclude_max="lt" in limits,
        allow_nan=False,
        allow_infinity=False,
    )


@every_unit
@given(data=st.data())
def test_the_repr_is_the_spec(kind: type[Unit], unit: type[Unit], data: st.DataObject) -> None:
    original = data.draw(instances(unit))
    parsed = parse(kind, repr(original))
    assert parsed == original
    assert type(parsed) is unit
    assert repr(parsed) == repr(original)
    assert hash(parsed) == hash(original)


@every_unit
@given(data=st.data())
def test_arguments_may_come_in_any_order_and_layout(
    kind: type[Unit], unit: type[Unit], data: st.DataObject
) -> None:
    original = data.draw(instances(unit))
    names = [field.name for field in dataclasses.fields(original)]  # type: ignore[arg-type]
    shuffled = data.draw(st.permutations(names))
    spelt = ",\n  ".join(f"{name} = {spec._spell(getattr(original, name))}" for name in shuffled)
    assert parse(kind, f"  {unit.name} (\n{spelt} )\n") == original


@every_unit
@given(data=st.data())
def test_different_units_have_different_specs(
    kind: type[Unit], unit: type[Unit], data: st.DataObject
) -> None:
    del kind
    one, other = data.draw(instances(unit)), data.draw(instances(unit))
    assert (one == other) == (repr(one) == repr(other))


@every_unit
def test_units_are_frozen_and_keyword_only(kind: type[Unit], unit: type[Unit]) -> None:
    del kind
    fields = dataclasses.fields(unit)  # type: ignore[arg-type]
    assert all(field.kw_only for field in fields)
    if fields:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(_some(unit), fields[0].name, None)


def _some(unit: type[Unit]) -> Unit:
    """The unit with the fewest arguments spelt out."""
    needed: dict[str, dict[str, Any]] = {
        "gaussian_noise": {"std": 0.1},
        "fgsm_literal_clamp": {"eps": 0.1},
        "linf": {"eps": 0.1},
        "l2": {"eps": 0.1},
        "l1": {"eps": 0.1},
        "l0": {"eps": 3},
        "corruption": {"effect": "stripe"},
        "restarts": {"attack": FGSM()},
        "purifier": {"network": "vae", "classifier": "baseline"},
        "discriminator": {"network": "gan"},
        "adversarial_training": {"attack": FGSM(), "threat": Linf(eps=0.1), "source": "baseline"},
    }
    return unit(**needed.get(unit.name, {}))


FROZEN_SPECS = {
    "adversarial_game(smoothing=0.0)",
    "adversarial_training(attack=fgsm(random_start=False, step=None), "
    "threat=linf(eps=0.1), source=baseline, fraction=0.3)",
    "apgd(steps=100, loss=cross_entropy, targets=0, restarts=1, rho=0.75, start=surface)",
    "apgd_l1(steps=100, loss=cross_entropy, targets=0, restarts=1)",
    "cnn(dropout=0.2)",
    "corruption(effect=stripe, severity=None)",
    "cross_entropy()",
    "cw(steps=1000, rounds=9, step=0.01, c=0.001, confidence=0.0, abort_early=True)",
    "ddn(steps=100, gamma=0.05, radius=1.0)",
    "deepfool(steps=50, candidates=10, overshoot=0.02)",
    "discriminator(network=gan)",
    "ead(steps=1000, rounds=9, step=0.01, c=0.001, beta=0.01, confidence=0.0)",
    "fab(steps=100, targets=9, alpha_max=0.1, eta=1.05, beta=0.9, restarts=1)",
    "fgsm(random_start=False, step=None)",
    "fgsm_literal_clamp(eps=0.1)",
    "fmn(steps=100, step=1.0, gamma=0.05)",
    "focused(survey=2, steps=20, rounds=40, patches=60, keep=0.25, tighten=0.93)",
    "gan(hidden=512, latent=64, dropout=0.3)",
    "gaussian_noise(std=0.1)",
    "grey_pixels(margin=0.05)",
    "hop_skip_jump(steps=40, samples=100)",
    "l0(eps=3)",
    "l1(eps=0.1)",
    "l2(eps=0.1)",
    "linf(eps=0.1)",
    "mi_fgsm(steps=10, decay=1.0, diversity=0.0, kernel=0, transfer=False, loss=cross_entropy)",
    "nearest(steps=100, step=0.6, gamma=0.1, loss=cross_entropy)",
    "pgd(steps=40, step=0.1, restarts=1, loss=cross_entropy, start=random)",
    "purifier(network=vae, classifier=baseline)",
    "random_points(count=100, draw=uniform, loss=margin)",
    "reconstruction(kl_weight=0.0)",
    "restarts(attack=fgsm(random_start=False, step=None), times=10)",
    "rotation_translation(rotation=30.0, shift=3.0, angles=31, shifts=5, loss=margin)",
    "sigma_zero(steps=1000, step=1.0, sigma=0.001, threshold=0.3, threshold_step=0.01)",
    "spsa(steps=40, pairs=64, delta=0.01, step=0.1, loss=margin)",
    "square(queries=5000, p=0.8, loss=margin, restarts=1, rescale=False)",
    "vae(hidden=400, latent=20)",
}


def test_the_specs_that_name_results_on_disk_stay_as_they_are() -> None:
    # Runs on disk are keyed by these texts: a change makes every such run be done again.
    assert {repr(_some(unit)) for _, unit in REGISTERED} == FROZEN_SPECS


@pytest.mark.parametrize("text", ["fgsm", "fgsm()", " fgsm ( ) ", "\nfgsm\n"])
def test_a_bare_name_is_a_call_without_arguments(text: str) -> None:
    assert parse(Attack, text) == FGSM()


def test_a_name_and_its_text_are_the_same_reference() -> None:
    bare = parse(Defense, "purifier(network=vae, classifier=baseline)")
    assert parse(Defense, "purifier(network='vae', classifier=\"baseline\")") == bare


@pytest.mark.parametrize("name", ["class", "None", "lambda", "ﬁ", "a-b", "a b", "ünï", "'", "\\", "\n", "\0"])
def test_any_name_of_a_network_survives_the_spec(name: str) -> None:
    defense = Purifier(network=name, classifier="baseline")
    assert parse(Defense, repr(defense)) == defense


REFUSED: list[tuple[type[Unit], str, tuple[str, ...]]] = [
    (Attack, "", ("attack ''", "is no spec", "name(argument=value, ...)", "apgd")),
    (Attack, "pgd(", ("is no spec",)),
    (Attack, "pgd(40)", ("is no spec", "name(argument=value, ...)")),
    (Attack, "pgd(*[1])", ("is no spec",)),
    (Attack, "pgd(**{'steps': 3})", ("is no spec",)),
    (Attack, "pgd()()", ("is no spec",)),
    (Attack, "pgd, fgsm", ("is no spec",)),
    (Attack, "attacks.pgd()", ("is no spec",)),
    (Attack, "3", ("is no spec",)),
    (Attack, "fgsm\0", ("is no spec",)),
    (Attack, "\ud800", ("is no spec",)),
    (Attack, "(" * 300 + ")" * 300, ("is no spec", "...")),
    (Attack, "-" * 100_000 + "1", ("is no spec", "...")),
    (Attack, "pdg(steps=3)", ("unknown attack 'pdg'", "did you mean 'pgd'?", "fgsm, fgsm_literal_clamp")),
    (Attack, "carlini_wagner", ("unknown attack 'carlini_wagner'; accepted: apgd",)),
    (Attack, "linf(eps=0.1)", ("unknown attack 'linf'",)),
    (ThreatModel, "linfty(eps=0.1)", ("unknown threat 'linfty'", "did you mean 'linf'?", "l2, linf")),
    (Model, "cn", ("unknown model 'cn'", "did you mean 'cnn'?")),
    (Objective, "crossentropy", ("unknown objective", "did you mean 'cross_entropy'?")),
    (Detector, "discriminater(network=gan)", ("unknown detector", "did you mean 'discriminator'?")),
    (
        Attack,
        "pgd(restart=4)",
        ("pgd has no argument 'restart'", "did you mean 'restarts'?", "accepted: steps, step"),
    ),
    (Attack, "fgsm(eps=0.3)", ("fgsm has no argument 'eps'", "accepted: random_start, step")),
    (Attack, "pgd(steps=1, steps=2)", ("pgd", "'steps' is given twice")),
    (Attack, "pgd(steps=0)", ("pgd: steps", "greater than or equal to 1", "found 0")),
    (Attack, "pgd(steps=-3)", ("steps", "found -3")),
    (Attack, "pgd(steps=2.5)", ("steps", "integer", "found 2.5")),
    (Attack, "pgd(steps=None)", ("steps", "found None")),
    (Attack, "pgd(steps=many)", ("steps", "found 'many'")),
    (Attack, "pgd(step=0)", ("step", "greater than 0")),
    (Attack, "pgd(step=inf)", ("step", "finite")),
    (Attack, "pgd(step=1e999)", ("step", "finite")),
    (Attack, "pgd(step=nan)", ("step", "found 'nan'")),
    (Attack, "pgd(restarts=0)", ("restarts", "found 0")),
    (Attack, "pgd(steps=2**3)", ("'2**3' is neither a literal, a name nor a spec",)),
    (Attack, "pgd(steps={[]: 1})", ("neither a literal",)),
    (Attack, "pgd(steps=" + "1+" * 900 + "1)", ("neither a literal",)),
    (Attack, "pgd(steps=fgsm())", ("'fgsm()' is neither a literal",)),
    (Attack, "gaussian_noise", ("gaussian_noise: std", "required")),
    (Attack, "gaussian_noise(std=1.01)", ("std", "less than or equal to 1", "found 1.01")),
    (Attack, "gaussian_noise(std=-0.1)", ("std", "greater than or equal to 0")),
    (Attack, "gaussian_noise(std=nan)", ("std", "found 'nan'")),
    (Attack, "fgsm_literal_clamp(eps=2.1)", ("eps", "found 2.1")),
    (ThreatModel, "linf(eps=1.5)", ("linf: eps", "less than or equal to 1", "found 1.5")),
    (ThreatModel, "linf(eps=-0.1)", ("linf: eps", "found -0.1")),
    (ThreatModel, "linf(eps=8/0)", ("'8 / 0' is no fraction",)),
    (ThreatModel, "linf", ("linf: eps", "required")),
    (ThreatModel, "l2(eps=-1)", ("l2: eps",)),
    (ThreatModel, "l2(eps=inf)", ("l2: eps", "finite")),
    (Model, "cnn(dropout=1)", ("dropout", "less than 1")),
    (Model, "vae(latent=0)", ("latent",)),
    (Objective, "reconstruction(kl_weight=-1)", ("kl_weight",)),
    (Objective, "adversarial_game(smoothing=0.5)", ("smoothing",)),
    (Defense, "purifier(network=vae)", ("purifier: classifier", "required")),
    (Defense, "purifier(network=3, classifier=b)", ("purifier: network", "found 3")),
    (
        Defense,
        "adversarial_training(attack=fgms, threat=linf(eps=0.1), source=b)",
        ("unknown attack 'fgms'", "did you mean 'fgsm'?"),
    ),
    (
        Defense,
        "adversarial_training(attack=linf(eps=0.1), threat=linf(eps=0.1), source=b)",
        ("unknown attack 'linf'",),
    ),
    (
        Defense,
        "adversarial_training(attack=fgsm, threat=linf(eps=7), source=b)",
        ("linf: eps", "found 7"),
    ),
    (
        Defense,
        "adversarial_training(attack='fgsm', threat=linf(eps=0.1), source=b)",
        ("adversarial_training: attack", "Attack", "found 'fgsm'"),
    ),
    (
        Defense,
        "adversarial_training(attack=fgsm, threat=linf(eps=0.1), source=b, fraction=0)",
        ("fraction", "greater than 0"),
    ),
    (Detector, "grey_pixels(margin=0.5)", ("margin",)),
]


@pytest.mark.parametrize(
    ("kind", "text", "fragments"), REFUSED, ids=[repr(text)[:60] for _, text, _ in REFUSED]
)
def test_a_mistake_is_named(kind: type[Unit], text: str, fragments: tuple[str, ...]) -> None:
    with pytest.raises(SpecError) as caught:
        parse(kind, text)
    for fragment in fragments:
        assert fragment in str(caught.value)
    assert len(str(caught.value)) < 1000


INJECTIONS = [
    "{}",
    "pgd(steps={})",
    "pgd(steps=[{}])",
    "pgd(steps={{'a': {}}})",
    "{}()",
    "pgd(**{})",
    "({}, pgd())",
    "[{} for x in 'a']",
    "pgd(steps=(lambda: {})())",
    "pgd(steps=(x := {}))",
    "pgd(steps=f'{{{}}}')",
    "purifier(network=vae, classifier={})",
    "adversarial_training(attack={}, threat=linf(eps=0.1), source=b)",
]


@pytest.mark.parametrize("template", INJECTIONS)
@pytest.mark.parametrize("kind", [Attack, Defense])
def test_nothing_in_a_spec_is_executed(template: str, kind: type[Unit], tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    code = f"__import__('pathlib').Path({str(canary)!r}).touch()"
    assert eval(code) is None  # the code would work
    assert canary.exists()
    canary.unlink()
    with pytest.raises(SpecError):
        parse(kind, template.format(code))
    assert not canary.exists()


PIECES = st.sampled_from(
    [
        *["pgd", "fgsm", "linf", "gaussian_noise", "steps", "step", "std", "eps", "lambda", "for", "in"],
        *["(", ")", "[", "]", "{", "}", "=", ",", ":", ".", "*", "**", "-", "+", " ", "\n", "'", '"', "\\"],
        *["0", "1", "40", "0.5", "1e999", "1j", "None", "True", "...", "f''", "b''", "\0", "é", ":=", "#"],
    ]
)


@given(text=st.text() | st.lists(PIECES, max_size=12).map("".join))
def test_any_text_is_a_unit_or_a_clear_error(text: str) -> None:
    for kind in KINDS:
        try:
            unit = parse(kind, text)
        except SpecError:
            continue
        assert parse(kind, repr(unit)) == unit


# Lengths


def lengths(unit: Unit) -> Iterator[float]:
    for field in dataclasses.fields(unit):  # type: ignore[arg-type]
        value = getattr(unit, field.name)
        if isinstance(value, Unit):
            yield from lengths(value)
        elif field.name in pixel_fields(type(unit)):
            yield value


def others(unit: Unit) -> list[object]:
    """Everything in a unit but its lengths."""
    result: list[object] = [type(unit)]
    for field in dataclasses.fields(unit):  # type: ignore[arg-type]
        value = getattr(unit, field.name)
        if isinstance(value, Unit):
            result.append(others(value))
        elif field.name not in pixel_fields(type(unit)):
            result.append(value)
    return result


@every_unit
@given(data=st.data(), factor=st.floats(0, 1))
def test_scaling_multiplies_lengths_and_nothing_else(
    kind: type[Unit], unit: type[Unit], data: st.DataObject, factor: float
) -> None:
    del kind
    original = data.draw(instances(unit))
    changed = scaled(original, factor)
    assert list(lengths(changed)) == [length * factor for length in lengths(original)]
    assert others(changed) == others(original)
    assert has_lengths(original) == bool(list(lengths(original)))


@every_unit
@given(data=st.data())
def test_scaling_by_one_is_the_identity(kind: type[Unit], unit: type[Unit], data: st.DataObject) -> None:
    del kind
    original = data.draw(instances(unit))
    assert scaled(original, 1.0) == original


def test_what_counts_as_a_length_is_declared() -> None:
    found = {(unit.name, name) for _, unit in REGISTERED for name in pixel_fields(unit)}
    assert found == {
        ("gaussian_noise", "std"),
        ("linf", "eps"),
        ("l2", "eps"),
        ("l1", "eps"),
        ("ddn", "radius"),
        ("spsa", "delta"),
    }
    assert not has_lengths(None)
    assert not has_lengths(PGD())
    assert not has_lengths(FGSMLiteralClamp(eps=0.25))


def test_scaling_reaches_nested_units() -> None:
    defense = AdversarialTraining(attack=GaussianNoise(std=0.2), threat=L2(eps=3.0), source="b", fraction=0.5)
    expected = AdversarialTraining(
        attack=GaussianNoise(std=0.1), threat=L2(eps=1.5), source="b", fraction=0.5
    )
    assert scaled(defense, 0.5) == expected
    assert nested_kinds(AdversarialTraining) == {"attack": Attack, "threat": ThreatModel}


def test_scaling_out_of_range_is_an_error() -> None:
    with pytest.raises(SpecError, match=r"linf: eps: .*less than or equal to 1, found 1\.8"):
        scaled(Linf(eps=0.9), 2.0)
    assert scaled(L2(eps=0.9), 2.0) == L2(eps=1.8)


# Other packages

PLUGIN = '''
from robustlab.attacks import Attack, Session
from robustlab.core.spec import PixelLength, register


@register("nudge")
class Nudge(Attack):
    """Add a little to every pixel."""

    size: PixelLength = 0.01

    def search(self, session: Session) -> None:
        session.propose(session.clean + self.size)
'''


def test_other_packages_plug_in_by_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nudging.py").write_text(PLUGIN)
    info = tmp_path / "nudging-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nudging\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[robustlab.attack]\nnudge = nudging:Nudge\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(spec, "_plugins_loaded", set())
    monkeypatch.setattr(spec, "_registry", {kind: dict(known) for kind, known in spec._registry.items()})

    assert "nudge" in units(Attack)
    attack = parse(Attack, "nudge(size=0.25)")
    assert repr(attack) == "nudge(size=0.25)"
    assert repr(scaled(attack, 0.5)) == "nudge(size=0.125)"
    assert attack.summary() == "Add a little to every pixel."
    with pytest.raises(SpecError, match="did you mean 'nudge'"):
        parse(Attack, "nugde")


def test_an_attack_is_no_model() -> None:
    assert not set(units(Attack)) & set(units(Model))
    assert units(Model)["cnn"] is CNN


def test_brief_leaves_defaults_out() -> None:
    assert FGSM().brief() == "fgsm()"
    assert parse(Attack, "pgd(steps=3, restarts=1)").brief() == "pgd(steps=3)"
    assert Linf(eps=0.1).brief() == "linf(eps=0.1)"
