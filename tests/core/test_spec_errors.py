"""Mistakes in a spec are named, and nothing in it is executed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from registered_units import KINDS

from robustlab.attacks import Attack
from robustlab.core.errors import SpecError
from robustlab.core.spec import Unit, parse
from robustlab.defenses import Defense
from robustlab.detectors import Detector
from robustlab.models import Model
from robustlab.threats import ThreatModel
from robustlab.training import Objective

NO_SPECS = ["", "pgd(", "pgd(*[1])", "pgd(**{'steps': 3})", "pgd()()", "pgd, fgsm", "attacks.pgd()", "3"]
NO_SPECS += [
    "fgsm\0",
    "\ud800",
    "(" * 300 + ")" * 300,
    "-" * 100_000 + "1",
    "x" * 1_000_000,
    "f('\\d')['\\d']",
]
NO_SPECS += ["pgd(steps=" + "9" * 5000 + ")", "pgd(a=" * 5000 + "1" + ")" * 5000]
NO_SPECS += ["pgd(steps=" + sign.join("1" * 900) + ")" for sign in "+/"]

REFUSED: list[tuple[type[Unit], str, tuple[str, ...]]] = [
    *((Attack, text, ("attack", "pgd(steps=40)")) for text in NO_SPECS),
    (Attack, "pgd(40)", ("by name", "pgd(steps=40)")),
    (ThreatModel, "linf(8/255)", ("by name", "linf(eps=8/255)")),
    (Attack, "pgd(1, 2, 3, 4, 5, 6)", ("by name", "steps")),
    (Attack, "pdg(steps=3)", ("'pdg'", "'pgd'", "robustlab ls attacks")),
    (Attack, "linf(eps=0.1)", ("unknown attack 'linf'",)),
    (ThreatModel, "linfty(eps=0.1)", ("unknown threat 'linfty'", "'linf'", "l2, linf")),
    (Model, "cn", ("unknown model 'cn'", "'cnn'")),
    (Objective, "crossentropy", ("unknown objective", "'cross_entropy'")),
    (Detector, "discriminater()", ("unknown detector", "'discriminator'")),
    (Attack, "pgd(restart=4)", ("pgd", "'restart'", "'restarts'", "steps, rel_step_size")),
    (Attack, "fgsm(eps=0.3)", ("fgsm", "'eps'", "linf(eps=0.3)", "random_start, rel_step_size")),
    (Attack, "pgd(steps=1, steps=2)", ("pgd", "'steps'")),
    *((Attack, f"pgd(steps={value})", ("pgd: steps", value)) for value in ("0", "-3", "2.5", "None")),
    *((Attack, f"pgd(steps={value})", ("pgd: steps", f"found {value!r}")) for value in ("many", "true")),
    *(
        (Attack, f"pgd(rel_step_size={value})", ("pgd: rel_step_size",))
        for value in ("0", "inf", "1e999", "nan", "1e39", "True")
    ),
    (Attack, "pgd(restarts=0)", ("restarts", "found 0")),
    (Attack, "pgd(steps='3')", ("pgd: steps", "'3'")),
    (Attack, "pgd(steps=1" + "0" * 29 + ")", ("pgd: steps",)),
    (Attack, "pgd(steps=2**3)", ("'2**3'",)),
    (Attack, "pgd(steps={[]: 1})", ("{[]: 1}",)),
    (Attack, "pgd(steps=fgsm())", ("'fgsm()'",)),
    (Attack, "gaussian_noise", ("gaussian_noise", "std")),
    *(
        (Attack, f"gaussian_noise(std={value})", ("gaussian_noise: std",))
        for value in ("1.01", "-0.1", "nan")
    ),
    (Attack, "fgsm_literal_clamp(eps=2.1)", ("eps", "found 2.1")),
    (ThreatModel, "linf(eps=1.5)", ("linf: eps", "found 1.5")),
    (ThreatModel, "linf(eps=-0.1)", ("linf: eps", "found -0.1")),
    (ThreatModel, "linf(eps=True)", ("linf: eps", "found True")),
    (ThreatModel, "linf(eps=8/0)", ("8 / 0",)),
    (ThreatModel, "linf(eps=1" + "0" * 400 + "/3)", ("too large",)),
    (ThreatModel, "linf", ("linf", "linf(eps=...)")),
    (ThreatModel, "l2(eps=-1)", ("l2: eps",)),
    (ThreatModel, "l2(eps=inf)", ("l2: eps",)),
    (ThreatModel, "l2(eps=1e39)", ("l2: eps", "found 1e+39")),
    (Model, "cnn(dropout=1)", ("dropout",)),
    (Model, "vae(latent=0)", ("latent",)),
    (Objective, "vae_loss(kl_weight=-1)", ("kl_weight",)),
    (Objective, "gan_loss(smoothing=0.5)", ("smoothing",)),
    (Defense, "purifier(network=vae)", ("purifier", "classifier")),
    (Defense, "purifier(network=3, classifier=b)", ("purifier: network", "found 3")),
    (
        Defense,
        "adversarial_training(attack=fgms, threat=linf(eps=0.1), source=b)",
        ("unknown attack 'fgms'", "'fgsm'"),
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
        ("fraction",),
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


@pytest.mark.parametrize("text", ["fgsm # fast", "pgd(steps=3) # , fgsm", "pgd(steps=3)#"])
def test_a_comment_hides_no_part_of_a_spec(text: str) -> None:
    with pytest.raises(SpecError, match="can't parse"):
        parse(Attack, text)
