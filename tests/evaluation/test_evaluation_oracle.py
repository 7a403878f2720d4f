"""Evaluations of linear classifiers, whose robust accuracy is known in closed form."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation_runs import SHAPE, evaluate, grey_split, linear_radii, split_of, states, verdicts, weights
from torch import Tensor, nn

from robustlab.certify.interval import Interval
from robustlab.core import seeding
from robustlab.core.errors import RobustlabError
from robustlab.runs.records import Figure

ATTACK = "apgd(steps=30, loss=margin), apgd(steps=20, loss=margin, targets=3)"


@pytest.fixture
def model(make_linear: Callable[..., nn.Module]) -> nn.Module:
    return make_linear(classes=4, shape=SHAPE, seed=2)


IN_L1 = "apgd_l1(steps=60, loss=margin), fmn(steps=60)"


@pytest.mark.parametrize(
    ("norm", "eps", "attacks"),
    [
        ("linf", 0.01, ATTACK),
        ("linf", 0.03, ATTACK),
        ("l2", 0.05, ATTACK),
        ("l2", 0.11, ATTACK),
        ("l1", 0.1, IN_L1),
        ("l1", 0.25, IN_L1),
    ],
)
def test_robust_accuracy_is_exact(
    model: nn.Module, tmp_path: Path, norm: str, eps: float, attacks: str
) -> None:
    split = grey_split(model)
    radii = linear_radii(model, split, norm)
    assert ((radii - eps).abs() > 1e-4 * eps).all(), "rounding decides"
    run = evaluate(tmp_path, model, split, attacks=attacks, threat=f"{norm}(eps={eps})")

    robust = (radii > eps).sum().item()
    assert 5 < robust < 55, "the test tells nothing"
    assert run.results.robust.value == robust / 60
    assert run.results.clean.value == 57 / 60
    expected = ["misclassified" if r == 0 else "broken" if r <= eps else "robust" for r in radii.tolist()]
    assert list(states(run).values()) == expected


@pytest.mark.parametrize("eps", [2, 3])
def test_robust_accuracy_within_l0_is_exact(
    make_linear: Callable[..., nn.Module], tmp_path: Path, eps: int
) -> None:
    shape = (3, 6, 7)
    model = make_linear(classes=4, shape=shape, seed=2)
    grey = grey_split(model, shape=shape)
    # Pushed into their classes, each by its own length, so that more than one value must change.
    push = 0.2 * seeding.uniform(6, grey.ids, (1, 1, 1))
    images = grey.tensor() + push * weights(model)[grey.labels].sign().float().view(-1, *shape)
    labels = grey.labels.clone()
    labels[:3] = (labels[:3] + 1) % 4
    split = split_of(images, labels, grey.ids)
    radii = linear_radii(model, split, "l0")
    run = evaluate(tmp_path, model, split, attacks="sigma_zero(steps=200)", threat=f"l0(eps={eps})")
    expected = ["misclassified" if r == 0 else "broken" if r <= eps else "robust" for r in radii.tolist()]
    assert min(expected.count("broken"), expected.count("robust")) > 5, "the test tells nothing"
    assert list(states(run).values()) == expected
    assert run.results.robust.value == (radii > eps).sum().item() / 60


def test_figures_agree_with_one_another(model: nn.Module, tmp_path: Path) -> None:
    attacks = "fgsm, " + ATTACK
    results = evaluate(tmp_path, model, grey_split(model), attacks=attacks).results
    assert results.rows[0].attacked == 57, "a misclassified image was attacked"
    for before, after in zip(results.rows, results.rows[1:], strict=False):
        assert after.attacked == before.attacked - before.broken, "only survivors meet the next attack"
        assert after.robust.value <= before.robust.value
    assert results.rows[-1].robust == results.robust
    assert sum(flip.n for flip in results.flips) == sum(row.broken for row in results.rows)
    assert results.distances is not None
    assert sum(results.distances.counts) == sum(row.broken for row in results.rows)
    assert len(results.broken) == sum(row.broken for row in results.rows)
    confirmed = sum(row.broken for row in results.rows)
    assert results.forwards == 60 + sum(row.forwards for row in results.rows) + confirmed
    assert results.backwards == sum(row.backwards for row in results.rows)


def test_proofs_spare_attacks_and_change_no_verdict(model: nn.Module, tmp_path: Path) -> None:
    split = grey_split(model)
    plain = evaluate(tmp_path / "plain", model, split, attacks=ATTACK)
    proven = evaluate(tmp_path / "proven", model, split, attacks=ATTACK, certify=True)
    assert plain.results.certified is None
    # Interval bounds of one linear layer are exact.
    assert proven.results.certified == proven.results.robust == plain.results.robust
    assert proven.results.rows[0].attacked == sum(s == "broken" for s in states(plain).values())
    assert {"certified", "broken", "misclassified"} == set(states(proven).values())


def test_every_pass_is_in_the_totals(model: nn.Module, tmp_path: Path) -> None:
    split = grey_split(model)
    plain = evaluate(tmp_path / "a", model, split, attacks=ATTACK).results
    results = evaluate(tmp_path / "b", model, split, attacks=ATTACK, curve=True).results
    curve = results.curve
    assert curve is not None
    searches = [row for row in results.rows if " within " in row.attack]
    assert curve.forwards == sum(row.forwards for row in searches) > 57
    assert curve.backwards == sum(row.backwards for row in searches) > 57
    assert results.backwards == plain.backwards + curve.backwards
    # What the searches found is measured again, too.
    assert results.forwards > plain.forwards + curve.forwards
    assert results.seconds > sum(row.seconds for row in results.rows)


@pytest.mark.parametrize("certifier", ["ibp", "auto"])
def test_the_certifier_costs_passes(model: nn.Module, tmp_path: Path, certifier: str) -> None:
    split, passes = grey_split(model), 0

    def count(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        nonlocal passes
        del module
        # An interval goes through as its centre and its radius.
        passes += len(inputs[0]) * (2 if isinstance(inputs[0], Interval) else 1)

    model.register_forward_pre_hook(count)
    options: dict[str, Any] = {"certify": True, "certifier": certifier, "batch_size": 60}
    results = evaluate(tmp_path, model, split, attacks="fgsm", **options).results
    assert results.certified is not None
    assert results.certified.value > 0
    # Beside these it is shown an image or two at a time, to see what it is: by `auto` three times more.
    assert results.forwards <= passes <= results.forwards + 45 + 3 * (certifier == "auto")
    if certifier == "auto":  # the others' costs depend on what intervals leave open
        return
    without = sum(row.forwards + row.broken for row in results.rows) + 60
    assert results.forwards == without + 3 * 57 + 3 * round(60 * results.certified.value)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_curve_follows_the_closed_form(model: nn.Module, tmp_path: Path, norm: str) -> None:
    eps = {"linf": 0.02, "l2": 0.08}[norm]
    split, threat = grey_split(model), f"{norm}(eps={eps})"
    results = evaluate(
        tmp_path, model, split, attacks=ATTACK, threat=threat, curve=True, certify=True
    ).results
    curve = results.curve
    assert curve is not None
    assert curve.eps[0] == 0.0
    assert curve.eps[-1] == pytest.approx(4 / 3 * eps, rel=1e-5)
    assert curve.robust[0] == results.clean
    assert curve.robust[curve.eps.index(eps)] == results.robust
    found = [figure.value for figure in curve.robust]
    assert found == sorted(found, reverse=True)

    radii = linear_radii(model, split, norm)
    slack = 0.06 * curve.eps[-1]  # of the searches, on four classes
    for at, value in zip(curve.eps[1:], found[1:], strict=True):
        assert (radii > at).sum() <= 60 * value <= (radii + slack > at).sum()
    assert curve.certified is not None
    for proven, attacked in zip(curve.certified, curve.robust, strict=True):
        assert proven.value <= attacked.value
    assert curve.certified[0] == results.clean
    assert curve.certified[curve.eps.index(eps)] == results.certified
    proven_wide = round(60 * curve.certified[-1].value)
    assert proven_wide > 0
    met = {row.attack: row.attacked for row in results.rows if " within " in row.attack}
    assert set(met.values()) == {round(60 * results.clean.value) - proven_wide}, "a proven image was attacked"


@pytest.mark.parametrize("threat", ["linf(eps=0.1)", "l2(eps=0.5)", "l1(eps=2.0)", "l0(eps=30)"])
def test_a_curve_costs_at_most_twice_what_pgd_at_one_eps_does(
    small_cnn: nn.Module, tmp_path: Path, threat: str
) -> None:
    images = seeding.uniform(3, torch.arange(3), (1, 28, 28))
    with torch.no_grad():
        split = split_of(images, small_cnn(images).argmax(dim=1))
    options = dict[str, Any](attacks="pgd(steps=100)", mode="max-loss", threat=threat)
    results = evaluate(tmp_path, small_cnn, split, curve=True, **options).results
    curve, pgd = results.curve, results.rows[0]
    assert curve is not None
    assert len(curve.eps) >= 30
    assert (pgd.attacked, pgd.backwards) == (3, 300)
    assert 300 < curve.forwards + curve.backwards <= 2 * (pgd.forwards + pgd.backwards)


def test_8_bit_images_only(model: nn.Module, tmp_path: Path) -> None:
    split = grey_split(model)
    split = split_of(split.tensor().mul(255).round().to(torch.uint8), split.labels, split.ids)
    eps, floor = 0.0234, 5 / 255  # five whole levels fit in
    run = evaluate(tmp_path, model, split, attacks=ATTACK, threat=f"linf(eps={eps})", eight_bit=True)
    radii = linear_radii(model, split, "linf")
    assert run.results.robust.value == (radii > floor).sum().item() / 60
    assert ((radii > floor) & (radii <= eps)).any(), "the test tells nothing"
    distances = [float(row["distance"]) for row in verdicts(run).values() if row["state"] == "broken"]
    levels = torch.tensor(distances) * 255
    assert (levels - levels.round()).abs().max() < 1e-3
    assert max(distances) <= eps


def test_8_bit_images_in_the_l2_ball(model: nn.Module, tmp_path: Path) -> None:
    split = grey_split(model)
    split = split_of(split.tensor().mul(255).round().to(torch.uint8), split.labels, split.ids)
    run = evaluate(tmp_path, model, split, attacks=ATTACK, threat="l2(eps=0.1)", eight_bit=True)
    free = evaluate(tmp_path / "free", model, split, attacks=ATTACK, threat="l2(eps=0.1)")
    broken = [row for row in verdicts(run).values() if row["state"] == "broken"]
    assert broken
    assert all(float(row["distance"]) <= 0.1 * (1 + 1e-6) + 1e-6 for row in broken)
    assert run.results.robust.value >= free.results.robust.value
    assert run.results.unconfirmed == []
    # Rounding moves each of 20 pixels by half a level at most: what breaks this much nearer still does,
    # inside the ball, once rounded.
    radii, slack = linear_radii(model, split, "l2"), 20**0.5 / 255
    assert ((radii > 0) & (radii < 0.1 - slack)).sum() > 5, "the test tells nothing"
    assert run.results.robust.value <= (radii > 0.1 - slack).sum().item() / 60


def test_8_bit_images_that_were_rounded_as_floats(model: nn.Module, tmp_path: Path) -> None:
    split = grey_split(model, n=20)
    whole = split_of(split.tensor().mul(255).round().to(torch.uint8), split.labels, split.ids)
    off = split_of(whole.pixels(slice(None)) + 5e-7, split.labels, split.ids)
    options = dict[str, Any](attacks="random_points(count=100)", threat="l0(eps=3)", eight_bit=True)
    expected = states(evaluate(tmp_path / "whole", model, whole, **options))
    assert list(expected.values()).count("broken") > 0, "the test tells nothing"
    assert states(evaluate(tmp_path / "off", model, off, **options)) == expected


@pytest.mark.parametrize("error", [ValueError, RobustlabError])
def test_a_classifier_that_refuses_negatives_is_evaluated_without_proofs(
    model: nn.Module, tmp_path: Path, error: type[Exception]
) -> None:
    class Dark(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            if images.amax() > 0.9:
                raise error("too bright")
            logits: Tensor = model(images)
            return logits

    split = grey_split(model, n=20)
    split = split_of(split.tensor() * 0.2, split.labels, split.ids)
    results = evaluate(tmp_path, Dark().eval(), split, attacks="fgsm", certify=True).results
    assert results.certified is None


@pytest.mark.parametrize("classes", [2, 100])
def test_few_and_many_classes(make_linear: Callable[..., nn.Module], tmp_path: Path, classes: int) -> None:
    model = make_linear(classes=classes, shape=SHAPE, seed=4)
    split = grey_split(model, n=30)
    radii = linear_radii(model, split, "linf")
    eps = float(radii.median())
    attacks = "apgd(steps=30, loss=dlr, targets=9), apgd(steps=30, loss=margin), fab(steps=30)"
    run = evaluate(tmp_path, model, split, attacks=attacks, threat=f"linf(eps={eps})")
    assert run.results.images.classes == classes
    # The median image lies on the boundary itself, where rounding decides.
    robust = (radii > eps * 1.0001).sum().item()
    assert robust <= 30 * run.results.robust.value <= robust + 1


def test_colour_images_that_are_not_square(make_linear: Callable[..., nn.Module], tmp_path: Path) -> None:
    shape = (3, 5, 2)
    model = make_linear(classes=3, shape=shape, seed=6)
    split = grey_split(model, shape=shape)
    run = evaluate(tmp_path, model, split, attacks=ATTACK)
    assert run.results.images.shape == shape
    assert run.results.robust.value == (linear_radii(model, split, "linf") > 0.02).sum().item() / 60


def test_figures_carry_wilson_intervals(model: nn.Module, tmp_path: Path) -> None:
    figure: Figure = evaluate(tmp_path, model, grey_split(model)).results.robust
    assert figure.n == 60
    assert figure.low < figure.value < figure.high
