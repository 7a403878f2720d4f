"""Engines and jobs: a job is pure data, any order gives the same evaluation, the coordinator alone writes."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation_runs import SHAPE, Notes, evaluate, grey_split, table, verdicts
from torch import nn

from robustlab.attacks.progress_reporter import OnPass
from robustlab.core.errors import RobustlabError, SpecError
from robustlab.core.spec import register
from robustlab.evaluation.engines import Engine, as_engine
from robustlab.evaluation.jobs.context import EvaluationContext
from robustlab.evaluation.jobs.job import Job, JobResult, perform

WORKER: subprocess.Popen[bytes]

ATTACKS = "pgd(steps=1), apgd(steps=10), square(queries=20)"


@register("backwards")
class Backwards(Engine):
    """Does the last job first; of each two that are done it gives the second back first."""

    def run(
        self, context: EvaluationContext, jobs: Iterator[Job], watch: Callable[[Job], OnPass]
    ) -> Iterator[JobResult]:
        done = [perform(job, context, watch(job)) for job in reversed(list(jobs))]
        yield from done[1::2]
        yield from done[0::2]


@register("elsewhere")
class Elsewhere(Engine):
    """Does every job in another process, to which the context and the jobs travel as bytes."""

    def run(
        self, context: EvaluationContext, jobs: Iterator[Job], watch: Callable[[Job], OnPass]
    ) -> Iterator[JobResult]:
        todo = list(jobs)
        for job in todo:
            watch(job)
        assert WORKER.stdin is not None
        assert WORKER.stdout is not None
        pickle.dump((context, todo), WORKER.stdin)
        WORKER.stdin.flush()
        yield from pickle.load(WORKER.stdout)


@pytest.fixture(scope="module")
def worker() -> Iterator[None]:
    """The other process; it ends when its input does."""
    global WORKER  # an engine is hyper-parameters alone
    script = (
        "import pickle, sys; from robustlab.evaluation.jobs.job import perform\n"
        "while sys.stdin.buffer.peek(1):\n"
        "    context, jobs = pickle.load(sys.stdin.buffer)\n"
        "    done = [perform(job, context, lambda *_: None) for job in jobs]\n"
        "    pickle.dump(done, sys.stdout.buffer); sys.stdout.buffer.flush()"
    )
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    pipe = subprocess.PIPE
    environment = os.environ | {"PYTHONPATH": path}
    with subprocess.Popen([sys.executable, "-c", script], env=environment, stdin=pipe, stdout=pipe) as WORKER:
        yield


@pytest.mark.parametrize("engine", ["backwards", Elsewhere()])
@pytest.mark.parametrize("more", [{}, {"curve": True, "certify": True}, {"eight_bit": True}], ids=str)
@pytest.mark.usefixtures("worker")
def test_any_engine_gives_the_same_evaluation(
    engine: str | Engine, more: dict[str, Any], make_linear: Callable[..., nn.Module], tmp_path: Path
) -> None:
    model = make_linear(classes=4, shape=SHAPE, seed=2)
    split = grey_split(model)
    if "eight_bit" in more:
        split = replace(split, images=split.tensor().mul(255).round().div(255))
    serial = evaluate(tmp_path / "serial", model, split, attacks=ATTACKS, batch_size=7, **more)
    other = evaluate(tmp_path / "other", model, split, attacks=ATTACKS, batch_size=7, engine=engine, **more)
    assert len({row["attack"] for row in verdicts(serial).values()}) >= 3, "one attack did it all"
    assert (other.folder / "images.csv").read_bytes() == (serial.folder / "images.csv").read_bytes()
    for name, columns in (("outcomes", "*"), ("examples", "*")):
        assert table(other.folder, name, columns) == table(serial.folder, name, columns)


def test_another_engine_goes_on_where_one_was_stopped(
    make_linear: Callable[..., nn.Module], tmp_path: Path
) -> None:
    model = make_linear(classes=4, shape=SHAPE, seed=2)
    split, progress = grey_split(model), Notes()
    first = evaluate(tmp_path, model, split, attacks=ATTACKS)
    rows = table(tmp_path, "outcomes")
    again = evaluate(tmp_path, model, split, progress, attacks=ATTACKS, engine="backwards")
    assert {state for _, state in progress.states} == {"kept"}
    assert table(tmp_path, "outcomes") == rows
    assert again.results.robust == first.results.robust


def test_a_job_says_what_to_do_in_a_few_bytes(make_linear: Callable[..., nn.Module], tmp_path: Path) -> None:
    seen: list[Job] = []

    @register("listening")
    class Listening(Engine):
        """Remembers the jobs that it does."""

        def run(
            self, context: EvaluationContext, jobs: Iterator[Job], watch: Callable[[Job], OnPass]
        ) -> Iterator[JobResult]:
            for job in jobs:
                seen.append(job)
                yield perform(job, context, watch(job))

    model = make_linear(classes=4, shape=SHAPE, seed=2)
    split = grey_split(model)
    evaluate(tmp_path, model, split, attacks=ATTACKS, batch_size=25, engine=Listening())
    image = torch.zeros(SHAPE).numel() * 4
    assert {job.stage.name for job in seen} >= {"clean images", "pgd(steps=1, rel_step_size=0.1)"} or len(
        seen
    ) > 4
    for job in seen:
        again = pickle.loads(pickle.dumps(job))
        assert (again.stage, again.ids, dict(again.stored)) == (job.stage, job.ids, dict(job.stored))
        assert len(pickle.dumps(job)) < 2000 + len(job.stored) * (image + 50)
    assert any(job.stored for job in seen), "no success was measured again"


@pytest.mark.usefixtures("own_registry")
def test_an_engine_need_not_watch_but_must_do_all_jobs(
    make_linear: Callable[..., nn.Module], tmp_path: Path
) -> None:
    @register("silent")
    class Silent(Engine):
        """Does the jobs from one on, and does not say how far it is."""

        first: int = 0

        def run(
            self, context: EvaluationContext, jobs: Iterator[Job], watch: Callable[[Job], OnPass]
        ) -> Iterator[JobResult]:
            del watch
            for job in list(jobs)[self.first :]:
                yield perform(job, context, lambda *_: None)

    model = make_linear(classes=4, shape=SHAPE, seed=2)
    split = grey_split(model)
    serial = evaluate(tmp_path / "serial", model, split, attacks=ATTACKS)
    silent = evaluate(tmp_path / "silent", model, split, attacks=ATTACKS, engine=Silent())
    assert (silent.folder / "images.csv").read_bytes() == (serial.folder / "images.csv").read_bytes()
    with pytest.raises(RobustlabError, match=r"the engine silent returned no result of .* for 16 of"):
        evaluate(tmp_path / "lost", model, split, attacks=ATTACKS, engine=Silent(first=1))
    resumed = evaluate(tmp_path / "lost", model, split, attacks=ATTACKS)
    assert (resumed.folder / "images.csv").read_bytes() == (serial.folder / "images.csv").read_bytes()


def test_an_engine_is_given_by_its_spec_or_itself() -> None:
    assert as_engine("serial") == as_engine(as_engine("serial"))
    for wrong in ("seriall", 3, None):
        with pytest.raises(SpecError, match="engine"):
            as_engine(wrong)  # type: ignore[arg-type]
