"""Factors in specs: replaced by their values wherever they are used, and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustlab.attacks import Attack
from robustlab.core.errors import SpecError
from robustlab.core.factors import bound, names_in
from robustlab.core.spec import parse
from robustlab.threats import Linf, ThreatModel


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linf(eps=0.25*scale)", "linf(eps=0.125)"),
        ("linf(eps=scale)", "linf(eps=0.5)"),
        ("linf(eps=8/255*scale)", f"linf(eps={8 / 255 * 0.5})"),
        ("linf(eps=(1+scale)/4-x)", "linf(eps=0.275)"),
        ("pgd(steps=5), gaussian_noise(std=-scale)", "pgd(steps=5), gaussian_noise(std=-0.5)"),
        (
            "adversarial_training(attack=fgsm, threat=linf(eps=0.25*scale), source=baseline)",
            "adversarial_training(attack=fgsm, threat=linf(eps=0.125), source=baseline)",
        ),
        ("linf(eps=8/255)", "linf(eps=8/255)"),
        ("purifier(network=run(runs/mnist-2, vae), classifier=mnist_cnn)",) * 2,
        ("scale(x_1=3)", "scale(x_1=3)"),
        (
            "smoothed(classifier=run(runs/mnist-2, a/b), sigma = scale*2, votes=2)",
            "smoothed(classifier=run(runs/mnist-2, a/b), sigma = 1.0, votes=2)",
        ),
        ("smoothed(classifier=/data/é.pt, sigma=(scale))", "smoothed(classifier='/data/é.pt', sigma=(0.5))"),
        ("pgd(steps=5,\n  rel_step_size=\n  scale\n  /2)", "pgd(steps=5,\n  rel_step_size=\n  0.25)"),
        ("my.py:make", "my.py:make"),
        ("/data/x/scale", "/data/x/scale"),
    ],
)
def test_factors_are_replaced_and_nothing_else(text: str, expected: str) -> None:
    assert bound(text, {"scale": 0.5, "x": 0.1}) == expected


@pytest.mark.parametrize(
    "text", ["linf(eps=scale*baseline)", "linf(eps=scale/0)", "linf(eps=scale**2)", "linf(eps=scale*'a')"]
)
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="is not a number"):
        bound(text, {"scale": 0.5})


def test_names_are_those_of_values() -> None:
    text = "adversarial_training(attack=fgsm, threat=linf(eps=0.25*scale), source=baseline)"
    assert names_in(text) == {"fgsm", "scale", "baseline"}
    assert names_in("my.py:make") == set()
    assert names_in("baseline") == {"baseline"}


@given(eps=st.floats(0.0, 1.0), factor=st.floats(0.0, 1.0))
def test_a_bound_spec_holds_the_product(eps: float, factor: float) -> None:
    threat = parse(ThreatModel, bound(f"linf(eps={eps!r}*scale)", {"scale": factor}))
    assert isinstance(threat, Linf)
    assert threat.eps == eps * factor


def test_it_reads_what_specs_read() -> None:
    attack = parse(
        Attack, bound("restarts(attack=pgd(steps=3, rel_step_size=scale), times=2)", {"scale": 0.25})
    )
    assert attack == parse(Attack, "restarts(attack=pgd(steps=3, rel_step_size=0.25), times=2)")
