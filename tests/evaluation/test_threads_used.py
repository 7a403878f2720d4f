"""What a run records of the number of threads that it used."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from evaluation_runs import SHAPE, evaluate, grey_split
from torch import nn

import robustlab
from robustlab.core import threads
from robustlab.report.text import machine
from robustlab.runs.records import ComputeRecord
from robustlab.runs.run import load_run


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(threads.VARIABLE, "measured")
    monkeypatch.setattr(threads._own, "chooser", threads.ThreadChooser())
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def check(compute: ComputeRecord) -> None:
    assert compute.threads == 2
    assert set(compute.threads_used) == {1, 2}
    assert sum(compute.threads_used.values()) == pytest.approx(1)


def test_an_evaluation_adds_up_all_its_runs(
    make_linear: Callable[..., nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_linear(classes=4, shape=SHAPE, seed=2)
    split = grey_split(model)
    check(evaluate(tmp_path, model, split, n=20, attacks="pgd(steps=20)").results.compute)
    monkeypatch.setenv(threads.VARIABLE, "fixed")
    more = evaluate(tmp_path, model, split, n=40, attacks="pgd(steps=20)")
    check(more.results.compute)
    assert load_run(tmp_path).results.compute == more.results.compute
    fixed = evaluate(tmp_path / "fixed", model, split, attacks="pgd(steps=20)").results.compute
    assert fixed.threads_used == {2: 1.0}
    assert "threads, instruction" in machine(fixed)


def test_a_training_records_it_too(tmp_path: Path) -> None:
    run = robustlab.train(
        "cross_entropy",
        architecture="strided_cnn(hidden=8)",
        dataset="digits",
        train=1_000,
        validation=100,
        attack_images=0,
        device="cpu",
        out=tmp_path / "run",
    )
    check(run.results.compute)


def test_a_record_of_an_older_version_is_read(make_linear: Callable[..., nn.Module], tmp_path: Path) -> None:
    model = make_linear(classes=4, shape=SHAPE, seed=2)
    compute = evaluate(tmp_path, model, grey_split(model)).results.compute
    older = json.loads(compute.model_dump_json(exclude={"threads_used"}))
    assert "threads, instruction" in machine(ComputeRecord.model_validate(older))
    newer = ComputeRecord.model_validate(older | {"threads_used": {"1": 0.9, "2": 0.1}})
    assert "threads at most (1: 90" in machine(newer)
