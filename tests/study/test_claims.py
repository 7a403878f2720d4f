"""Claims hold only if they hold at the unfavourable ends of every interval."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustlab.core.errors import RecipeError
from robustlab.evaluation.metrics import proportion
from robustlab.runs.records import Figure
from robustlab.runs.results import ClaimVerdict
from robustlab.study.claims import judge


def holds(comparison: str, figures: dict[str, Figure]) -> bool:
    return judge(comparison, figures, {}).state == "holds"


def figure(low: float, high: float) -> Figure:
    return Figure(value=(low + high) / 2, low=low, high=high, n=100)


FIGURES = {
    "clean": figure(0.98, 0.99),
    "fgsm": figure(0.79, 0.81),
    "noise": figure(0.80, 0.82),
    "found.auroc": figure(0.60, 0.70),
}


@pytest.mark.parametrize(
    ("comparison", "expected"),
    [
        ("clean > fgsm", True),
        ("fgsm < clean", True),
        ("noise > fgsm", False),  # the intervals overlap
        ("fgsm > noise", False),
        ("clean > clean", False),
        ("clean >= 0.98", True),
        ("clean > 0.98", False),
        ("clean >= 0.981", False),
        ("clean <= 0.99", True),
        ("clean < 0.99", False),
        ("0.98 <= clean", True),
        ("1 > clean", True),
        ("clean - fgsm >= 0.17", True),  # 0.98 - 0.81, at the unfavourable ends
        ("clean - fgsm >= 0.171", False),
        ("clean - fgsm <= 0.2", True),
        ("clean - fgsm <= 0.199", False),
        ("clean + fgsm >= 1.77", True),
        ("clean + fgsm >= 1.78", False),
        ("clean - (fgsm - noise) >= 0.97", True),
        ("clean - fgsm - 0.1 > 0.06", True),
        ("fgsm + 0.1 < clean", True),
        ("found.auroc >= 0.6", True),
        ("found.auroc > 0.65", False),
    ],
)
def test_judgements(comparison: str, expected: bool) -> None:
    # Sums of decimal fractions are not exact: look a hair's breadth beside the boundary.
    nudged = {name: figure(f.low + 1e-12, f.high - 1e-12) for name, f in FIGURES.items()}
    exact = comparison.split()[0] in {"clean", "0.98", "1", "found.auroc"} and len(comparison.split()) == 3
    assert holds(comparison, FIGURES if exact else nudged) is expected


INTERVALS = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(lambda ends: figure(min(ends), max(ends)))
SHARE = st.floats(0, 1)


@given(a=INTERVALS, b=INTERVALS, c=st.floats(-1, 1).map(lambda x: round(x, 3)), data=st.data())
def test_what_holds_holds_for_all_values_in_the_intervals(
    a: Figure, b: Figure, c: float, data: st.DataObject
) -> None:
    figures = {"a": a, "b": b}
    x = data.draw(st.floats(a.low, a.high))
    y = data.draw(st.floats(b.low, b.high))
    constant = abs(c)
    for text, fact in (
        ("a > b", x > y),
        ("a <= b", x <= y),
        (f"a - b >= {constant}", x - y >= constant - 1e-12),
        (f"a + b < {constant}", x + y < constant + 1e-12),
        (f"{constant} > a - b", constant + 1e-12 > x - y),
    ):
        assert not holds(text, figures) or fact


@given(a=INTERVALS, b=INTERVALS)
def test_a_comparison_and_its_mirror_agree(a: Figure, b: Figure) -> None:
    figures = {"a": a, "b": b}
    assert holds("a > b", figures) == holds("b < a", figures)
    assert holds("a >= b", figures) == holds("b <= a", figures)
    assert not (holds("a > b", figures) and holds("b > a", figures))


def test_more_images_decide_what_few_cannot() -> None:
    few = {"a": proportion(60, 100), "b": proportion(50, 100)}
    many = {"a": proportion(6000, 10_000), "b": proportion(5000, 10_000)}
    assert holds("a > b", few) is False
    assert holds("a > b", many) is True


@given(a=INTERVALS, b=INTERVALS, data=st.data())
def test_what_is_refuted_holds_for_no_values_in_the_intervals(
    a: Figure, b: Figure, data: st.DataObject
) -> None:
    figures = {"a": a, "b": b}
    x = data.draw(st.floats(a.low, a.high))
    y = data.draw(st.floats(b.low, b.high))
    for text, fact in (("a > b", x > y), ("a <= b", x <= y), ("a - b >= 0.1", x - y >= 0.1 + 1e-12)):
        assert judge(text, figures, {}).state != "refuted" or not fact


def test_few_images_leave_a_comparison_open() -> None:
    few = {"a": proportion(60, 100), "b": proportion(50, 100)}
    many = {"a": proportion(6000, 10_000), "b": proportion(5000, 10_000)}
    assert [judge("a > b", found, {}).state for found in (few, many)] == ["open", "holds"]
    assert [judge("b > a", found, {}).state for found in (few, many)] == ["open", "refuted"]


def test_a_reading_is_as_good_as_its_worst_comparison() -> None:
    def state(*states: str) -> str:
        parts = [{"text": "a > b", "state": state} for state in states]
        return ClaimVerdict.model_validate({"reading": "", "variant": None, "comparisons": parts}).state

    assert state("holds", "holds") == "holds"
    assert state("holds", "open") == "open"
    assert state("open", "refuted", "holds") == "refuted"


def test_titles_and_figures_are_spelt_out() -> None:
    titles = {"clean": "Clean images", "fgsm": "FGSM", "found": "Discriminator"}
    figures = FIGURES | {"found.calibrated_detection": figure(0.1, 0.3)}

    def said(comparison: str) -> str:
        return judge(comparison, figures, titles).text

    assert said("clean - fgsm >= 0.1") == "“Clean images” 98.5 % − “FGSM” 80.0 % ≥ 10 %"
    assert said("found.auroc < 0.5") == "“Discriminator”: AUROC 0.650 < 50 %"
    detected = "“Discriminator”: detected at the 5 % threshold 20.0 %"
    assert said("found.calibrated_detection >= 0.5") == f"{detected} ≥ 50 %"
    assert said("noise + 0.25 <= 1") == "“noise” 81.0 % + 25 % ≤ 100 %"


@pytest.mark.parametrize(
    "comparison",
    [
        "",
        "clean",
        "clean = 0.9",
        "clean == 0.9",
        "clean != 0.9",
        "clean > fgsm > 0.1",
        "clean > 0.9 and fgsm > 0.1",
        "not clean > 0.9",
        "clean >",
        "clean is fgsm",
        "\0",
        "(" * 300 + "clean > 0" + ")" * 300,
        "-" * 100_000 + "1 > 0",
    ],
)
def test_what_is_no_comparison_is_refused(comparison: str) -> None:
    with pytest.raises(RecipeError, match=r"^can't parse claim"):
        judge(comparison, FIGURES, {})


@pytest.mark.parametrize(
    ("comparison", "name"),
    [
        ("claen > 0.9", "claen"),
        ("clean * 2 > 0.9", "clean * 2"),
        ("clean - f(fgsm) > 0", "f(fgsm)"),
        ("'clean' > 0.9", "'clean'"),
        ("__import__('os').getpid() > 0", "__import__('os').getpid()"),
        ("found.recall > 0.9", "found.recall"),
    ],
)
def test_unknown_figures_are_named(comparison: str, name: str) -> None:
    with pytest.raises(RecipeError) as caught:
        judge(comparison, FIGURES, {})
    assert f"unknown figure {name!r}" in str(caught.value)
    assert "accepted: clean, fgsm, noise, found.auroc" in str(caught.value)


def test_a_near_miss_is_pointed_out() -> None:
    with pytest.raises(RecipeError, match=r"unknown figure 'claen' \(did you mean 'clean'\?\)"):
        judge("claen > 0.9", FIGURES, {})
