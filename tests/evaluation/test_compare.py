"""Comparing two evaluations, and deciding whether one is good enough."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation_runs import SHAPE, evaluate, grey_split, split_of, states
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from torch import nn

import robustlab
from robustlab.core.errors import DataError, RobustlabError, RunError
from robustlab.data import Split
from robustlab.evaluation.compare import mcnemar, paired_difference
from robustlab.runs.run import EvaluationFolder

ATTACKS = "apgd(steps=20)"


@pytest.fixture
def model(make_linear: Callable[..., nn.Module]) -> nn.Module:
    return make_linear(classes=4, shape=SHAPE, seed=2)


@pytest.fixture
def runs(model: nn.Module, make_linear: Callable[..., nn.Module], tmp_path: Path) -> list[EvaluationFolder]:
    """Evaluations of a classifier and of a slightly different one."""
    split = grey_split(model)
    other = make_linear(classes=4, shape=SHAPE, seed=2)
    with torch.no_grad():
        other.get_submodule("1").get_parameter("weight")[1] *= 0.9
    return [
        evaluate(tmp_path / name, network, split, attacks=ATTACKS)
        for name, network in (("first", model), ("second", other))
    ]


def test_comparison_counts_flips(runs: list[EvaluationFolder]) -> None:
    first, second = states(runs[0]), states(runs[1])
    lost = [i for i in first if first[i] == "robust" != second[i]]
    gained = [i for i in first if second[i] == "robust" != first[i]]
    assert lost or gained
    found = robustlab.compare(runs[0], runs[1])
    assert (found.n, found.gained, found.lost) == (60, len(gained), len(lost))
    assert {flip.image_id for flip in found.flipped} == {*lost, *gained}
    assert found.p_value == pytest.approx(binomtest(len(gained), len(gained + lost)).pvalue)
    assert found.difference == pytest.approx(found.second.value - found.first.value)
    assert found.low <= found.difference <= found.high
    assert found.other_settings == []
    back = robustlab.compare(runs[1].folder, str(runs[0].folder))
    assert (back.gained, back.lost, back.p_value) == (found.lost, found.gained, found.p_value)
    assert back.difference == pytest.approx(-found.difference)
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))


@pytest.mark.parametrize(("one", "other"), [(0, 1), (3, 3), (7, 2), (40, 61), (0, 5000), (2000, 1700)])
def test_mcnemar_is_the_binomial_test(one: int, other: int) -> None:
    assert mcnemar(one, other) == pytest.approx(binomtest(one, one + other).pvalue, rel=1e-9)


def test_a_comparison_with_flips_loads_nothing_heavy(runs: list[EvaluationFolder]) -> None:
    code = (
        "import sys; from robustlab.cli.main import app\n"
        "try: app()\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'numpy', 'scipy', 'rich'} & sys.modules.keys()\n"
    )
    first, second = (str(run.folder) for run in runs)
    gate = ["gate", second, "--baseline", first, "--max-drop", "1.0"]
    for words in (["compare", first, second], gate, [*gate, "--markdown", "-", "--junit", f"{first}/x.xml"]):
        subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=True)


def test_an_evaluation_equals_itself(runs: list[EvaluationFolder]) -> None:
    found = robustlab.compare(runs[0], runs[0])
    assert (found.gained, found.lost, found.p_value, found.difference) == (0, 0, 1.0, 0.0)


def test_common_images_are_compared(model: nn.Module, runs: list[EvaluationFolder], tmp_path: Path) -> None:
    few = evaluate(tmp_path / "few", model, grey_split(model), attacks=ATTACKS, n=20)
    found = robustlab.compare(few, runs[0])
    assert (found.n, found.gained, found.lost) == (20, 0, 0)
    assert found.first == few.results.robust


@pytest.mark.parametrize(
    ("change", "reported"),
    [
        ({"mode": "max-loss"}, ["mode: verdict and max-loss"]),
        ({"target": "next"}, ["goal: any class except the label and the class after the label"]),
        ({"eot_samples": 2}, ["samples: 1 and 2"]),
        ({"seed": 3}, ["seed: 0 and 3"]),
        ({"attacks": "fgsm"}, ["attacks: apgd(steps=20, "]),
        ({"curve": True}, []),
        ({"curve": True, "attacks": "fgsm"}, ["attacks: apgd(steps=20, "]),
        ({"precision": "bf16"}, ["search precision: fp32 and bf16"]),
        ({"certify": True, "batch_size": 7, "n": 30}, []),
    ],
)
def test_other_settings_are_told(
    model: nn.Module, tmp_path: Path, change: dict[str, Any], reported: list[str]
) -> None:
    split = grey_split(model)
    one = evaluate(tmp_path / "one", model, split, attacks=ATTACKS)
    two = evaluate(tmp_path / "two", model, split, **({"attacks": ATTACKS} | change))
    found = robustlab.compare(one, two).other_settings
    assert len(found) == len(reported)
    assert all(line.startswith(start) for line, start in zip(found, reported, strict=True))
    if reported:
        with pytest.raises(RobustlabError, match="evaluated otherwise"):
            robustlab.gate(two, baseline=one)


def test_a_run_with_a_curve_and_one_without_are_compared_by_the_attacks_of_both(
    model: nn.Module, tmp_path: Path
) -> None:
    split = grey_split(model)
    weak = "fgsm(rel_step_size=0.1)"
    plain = evaluate(tmp_path / "plain", model, split, attacks=weak)
    curved = evaluate(tmp_path / "curved", model, split, attacks=weak, curve=True)
    assert curved.results.robust.value < plain.results.robust.value, "its searches break more images"
    for one, two in ((plain, curved), (curved, plain)):
        found = robustlab.compare(one, two)
        assert (found.gained, found.lost, found.other_settings) == (0, 0, [])
        assert found.first == found.second == plain.results.robust
        assert found.curve_left_out == curved.results.title
        assert robustlab.gate(two, baseline=one).passed
    both = robustlab.compare(curved, curved)
    assert (both.first, both.curve_left_out) == (curved.results.robust, "")


def test_an_attack_like_a_search_of_the_curve_counts(model: nn.Module, tmp_path: Path) -> None:
    split = grey_split(model)
    plain = evaluate(tmp_path / "plain", model, split, attacks="fmn(steps=75)")
    curved = evaluate(tmp_path / "curved", model, split, attacks="fmn(steps=75)", curve=True)
    found = robustlab.compare(plain, curved)
    assert (found.gained, found.lost, found.other_settings) == (0, 0, [])
    assert found.first == found.second == plain.results.robust
    assert found.first.value < plain.results.clean.value


def test_images_are_the_same_by_their_hash(model: nn.Module, tmp_path: Path) -> None:
    split = grey_split(model)
    one = evaluate(tmp_path / "one", model, split, attacks="fgsm")
    renamed = evaluate(tmp_path / "two", model, replace(split, name="another name"), attacks="fgsm")
    assert renamed.results.images.name != one.results.images.name
    assert robustlab.compare(one, renamed).n == 60
    labels = split.labels.roll(1)
    namesake = evaluate(tmp_path / "three", model, replace(split, labels=labels), attacks="fgsm")
    assert namesake.results.images.name == one.results.images.name
    with pytest.raises(RunError, match="different images"):
        robustlab.compare(one, namesake)


def test_paired_difference_of_newcombe() -> None:
    # Newcombe 1998, method 10, of the cells 36, 12, 2, 0.
    assert paired_difference(36, 12, 2, 0) == pytest.approx((0.2, 0.0569, 0.3404), abs=5e-5)


@given(st.tuples(*[st.integers(0, 40)] * 4).filter(any))
def test_paired_difference_is_a_fair_interval(cells: tuple[int, int, int, int]) -> None:
    both, gained, lost, neither = cells
    difference, low, high = paired_difference(both, gained, lost, neither)
    assert -1 <= low <= difference <= high <= 1
    assert paired_difference(both, lost, gained, neither) == pytest.approx((-difference, -high, -low))
    narrower = paired_difference(*[4 * cell for cell in cells])
    assert narrower[2] - narrower[1] < high - low


def test_a_decimal_of_an_older_robustlab_is_the_same_eps(model: nn.Module, tmp_path: Path) -> None:
    split = grey_split(model)
    runs = [
        evaluate(tmp_path / name, model, split, attacks="fgsm", threat="linf(eps=8/255)")
        for name in ("older", "newer")
    ]
    assert runs[0].results.threat == "linf(eps=8/255)"
    assert runs[0].results.title.endswith("under linf(eps=8/255)")
    older = replace(
        runs[0], results=runs[0].results.model_copy(update={"threat": "linf(eps=0.03137254901960784)"})
    )
    assert robustlab.compare(older, runs[1]).n == 60


def test_what_cannot_be_compared(model: nn.Module, runs: list[EvaluationFolder], tmp_path: Path) -> None:
    split = grey_split(model)
    wider = evaluate(tmp_path / "wider", model, split, attacks=ATTACKS, threat="linf(eps=0.03)")
    other = split_of(split.tensor() * 0.99, split.labels, split.ids)
    elsewhere = evaluate(tmp_path / "elsewhere", model, other, attacks=ATTACKS)
    with pytest.raises(RunError, match=r"different threat models: linf\(eps=0.02\) and linf\(eps=0.03\)"):
        robustlab.compare(runs[0], wider)
    with pytest.raises(RunError, match="different images"):
        robustlab.compare(runs[0], elsewhere)
    with pytest.raises(RunError, match="holds no finished run"):
        robustlab.compare(runs[0], tmp_path / "nowhere")
    (runs[0].folder / "manifest.json").unlink()
    with pytest.raises(RunError, match="did not end"):
        robustlab.compare(runs[0], runs[1])


@pytest.mark.parametrize("damage", ["", "image_id,label\n1,2\n", "not,a,verdict\n\0"])
def test_damaged_images_file(runs: list[EvaluationFolder], damage: str) -> None:
    path = runs[0].folder / "images.csv"
    path.write_text(path.read_text().replace("broken", "brokken") if damage == "" else damage)
    with pytest.raises(RunError, match=r"images.csv is damaged"):
        robustlab.compare(runs[0], runs[1])
    path.unlink()
    with pytest.raises(RunError, match=r"images.csv not found"):
        robustlab.compare(runs[0], runs[1])


def test_gate_by_figures(runs: list[EvaluationFolder]) -> None:
    robust, clean = runs[0].results.robust, runs[0].results.clean
    assert robustlab.gate(runs[0], min_robust=robust.value, min_clean=clean.value).passed
    assert not robustlab.gate(runs[0], min_robust=robust.value, confident=True).passed
    assert robustlab.gate(runs[0], min_robust=robust.low, confident=True).passed
    found = robustlab.gate(runs[0], min_robust=robust.value + 0.001, min_clean=0.5)
    assert not found.passed
    assert [condition.holds for condition in found.conditions] == [False, True]
    assert not robustlab.gate(runs[0], min_certified=0.0).passed, "no certifier ran"


def test_gate_by_a_baseline(runs: list[EvaluationFolder]) -> None:
    found = robustlab.compare(runs[0], runs[1])
    drop = (found.lost - found.gained) / found.n
    worse, better = (runs[1], runs[0]) if drop > 0 else (runs[0], runs[1])
    assert abs(drop) > 0
    assert robustlab.gate(better, baseline=worse).passed
    assert not robustlab.gate(worse, baseline=better).passed
    assert robustlab.gate(worse, baseline=better, max_drop=abs(drop)).passed
    assert not robustlab.gate(worse, baseline=better, max_drop=abs(drop) - 0.001).passed
    assert robustlab.gate(better, baseline=worse).comparison is not None


def test_a_gate_wants_all_images_of_its_baseline(
    model: nn.Module, runs: list[EvaluationFolder], tmp_path: Path
) -> None:
    split = grey_split(model)
    one, few = (evaluate(tmp_path / str(n), model, split, attacks=ATTACKS, n=n) for n in (1, 20))
    for run, n in ((one, 1), (few, 20)):
        with pytest.raises(RobustlabError, match=rf"it has {n} of 60; .* pass allow_fewer_images"):
            robustlab.gate(run, baseline=runs[0], max_drop=1.0)
        assert robustlab.gate(run, baseline=runs[0], allow_fewer_images=True).passed
        more = robustlab.gate(runs[0], baseline=run)  # more images than the baseline's are no reason
        assert more.passed
        assert more.conditions[0].found.endswith(f"on {n} of the baseline's {n} images")


def test_wrong_gates(model: nn.Module, runs: list[EvaluationFolder], tmp_path: Path) -> None:
    stronger = evaluate(tmp_path / "more", model, grey_split(model), attacks=ATTACKS + ", fgsm")
    for options, expected in (
        ({}, "no condition given"),
        ({"min_robust": 90}, "min_robust must be a share .* 0.9 for 90 %"),
        ({"min_clean": -0.1}, "min_clean must be a share"),
        ({"min_robust": "0.5"}, "min_robust must be a share .* found '0.5'"),
        ({"min_certified": True}, "min_certified must be a share .* found True"),
        ({"max_drop": 0.1}, "needs a baseline"),
        ({"min_robust": 0.1, "max_drop": 0.1}, "needs a baseline"),
        ({"baseline": stronger}, "evaluated otherwise"),
        ({"min_robust": 0.1, "allow_fewer_images": True}, "about the images of a baseline"),
        ({"strict": True, "confident": True}, "confident needs min_robust"),
    ):
        with pytest.raises(RobustlabError, match=expected):
            robustlab.gate(runs[0], **options)


@pytest.mark.parametrize("run", [None, 3, b"runs", "a\0b", "x" * 300, "half \ud800", ["runs"]])
def test_what_is_no_folder_is_refused_in_one_line(run: Any) -> None:
    for call in (lambda: robustlab.compare(run, run), lambda: robustlab.gate(run, min_robust=0.5)):
        with pytest.raises(RobustlabError, match=r"^run (must|is)"):
            call()
    for read in (robustlab.load_run, robustlab.write_report):
        with pytest.raises(RobustlabError, match=r"^folder (must|is)"):
            read(run)


def test_a_run_is_read_back(runs: list[EvaluationFolder]) -> None:
    read = robustlab.load_run(runs[0].folder)
    assert isinstance(read, EvaluationFolder)
    assert read.results == runs[0].results


def test_files_that_disagree_are_refused(runs: list[EvaluationFolder]) -> None:
    path = runs[1].folder / "images.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if ",broken," not in line))
    with pytest.raises(RunError, match="do not agree"):
        robustlab.compare(runs[0], runs[1])


def test_no_check_is_no_clean_bill(runs: list[EvaluationFolder]) -> None:
    decision = robustlab.gate(runs[0], strict=True)
    assert not decision.passed
    assert decision.conditions[0].found == "no check was computed"


def test_images_of_one_id_are_refused(model: nn.Module, tmp_path: Path) -> None:
    split = grey_split(model)
    twins = Split(images=split.images, labels=split.labels, ids=torch.zeros_like(split.ids), name=split.name)
    with pytest.raises(DataError, match="two images have the same id"):
        evaluate(tmp_path, model, twins)
