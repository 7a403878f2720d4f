"""Mistakes in a spec are named, and nothing in it is executed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from registered_units import KINDS

from robustlab.attacks import Attack
from robustlab.core.errors import SpecError
from robustlab.core.spec import Unit, parse
from robustlab.core.threat import ThreatModel
from robustlab.defenses import Defense
from robustlab.detectors import Detector
from robustlab.models import Model
from robustlab.training import Objective

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
