"""Networks of a study that are trained at the same time, each in a process of its own."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from small_studies import HEAD, SCALE, Stages, evaluation, files, write

import robustlab
from robustlab.core.errors import RobustlabError
from robustlab.training import side_by_side

MORE = """
[networks.other]
title = "Other"
model = "strided_cnn(hidden=8)"
objective = "cross_entropy"
epochs = 3

[networks.adversarial]
title = "Adversarial"
model = "strided_cnn(hidden=16)"
objective = "cross_entropy"
defense = "adversarial_training(attack=fgsm, threat=linf(eps=0.2*scale), source=baseline)"
epochs = 2
"""
NETWORKS = {"baseline", "other", "adversarial-study", "adversarial-pixel"}


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two, for processes that are started however short the trainings are."""
    monkeypatch.setattr(side_by_side, "_WORTH_IT", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def weights(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in files(folder / "models").items() if name.endswith(".safetensors")}


def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every network be trained in this process."""
    monkeypatch.setattr(sys, "executable", "")


@pytest.mark.usefixtures("cores")
def test_the_weights_are_those_of_trainings_in_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write(tmp_path, HEAD, SCALE, MORE, evaluation("clean"))
    stages = Stages()
    run = robustlab.run_study(recipe, out=tmp_path / "beside", progress=stages)
    assert {name.removeprefix("train ") for name in stages.done[:4]} == NETWORKS
    here(monkeypatch)
    alone = robustlab.run_study(recipe, out=tmp_path / "alone")
    assert weights(run.folder) == weights(alone.folder)
    assert len(weights(run.folder)) == 4
    assert run.results.rows == alone.results.rows


@pytest.mark.usefixtures("cores")
def test_what_another_process_can_not_do_is_done_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write(tmp_path, HEAD, SCALE, MORE, evaluation("clean"))
    monkeypatch.setattr(side_by_side, "_WORKER", "no.such.module")
    stages = Stages()
    robustlab.run_study(recipe, out=tmp_path / "run", progress=stages)
    assert [name.removeprefix("train ") for name in stages.done[:4]] == [
        "baseline",
        "other",
        "adversarial-study",
        "adversarial-pixel",
    ]


@pytest.mark.usefixtures("cores")
def test_an_error_in_a_training_is_the_study_s(tmp_path: Path) -> None:
    diverging = MORE.replace("epochs = 3", "epochs = 3\nlr = 1e30")
    recipe = write(tmp_path, HEAD, SCALE, diverging, evaluation("clean"))
    with pytest.raises(RobustlabError, match=r"training diverged in epoch 1.* learning rate of"):
        robustlab.run_study(recipe, out=tmp_path / "run")


def children(process: int) -> list[int]:
    listed = subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True, check=False)
    return [int(line) for line in listed.stdout.split()]


def alive(process: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(process, 0)
        return "Z" not in Path(f"/proc/{process}/stat").read_text().split(")")[1].split()[0]
    return False


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_trainings_end_with_the_study_and_go_on_with_it(tmp_path: Path, number: signal.Signals) -> None:
    slow = MORE.replace("epochs = 3", "epochs = 400")
    recipe = write(tmp_path, HEAD, SCALE, slow.replace("hidden=8", "hidden=2000"), evaluation("clean"))
    program = f"""
        import signal, torch, robustlab
        from robustlab.training import side_by_side
        signal.signal(signal.SIGINT, signal.default_int_handler)
        torch.set_num_threads(2)
        side_by_side._WORTH_IT = 0
        robustlab.run_study({str(recipe)!r}, out={str(tmp_path / "run")!r})
    """
    checkpoint = tmp_path / "run" / "models" / "other.checkpoint"
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stderr=subprocess.PIPE) as study:
        until = time.monotonic() + 120
        while not checkpoint.exists() and study.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        workers = children(study.pid)
        study.send_signal(number)
        study.wait(30)
        assert len(workers) == 2
        until = time.monotonic() + 30
        while any(map(alive, workers)) and time.monotonic() < until:
            time.sleep(0.02)
        assert not any(map(alive, workers))
    assert checkpoint.exists()


@pytest.mark.parametrize(
    ("threads", "epochs", "expected"), [(1, 10, 1), (2, 10, 1), (8, 10, 4), (9, 10, 4), (8, 1, 8)]
)
def test_threads_follow_from_the_plan(threads: int, epochs: int, expected: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        after = [(), (0,), (1,), ()]
        assert side_by_side.threads_per_training([epochs] * 4, after, 25_000) == expected
    finally:
        torch.set_num_threads(before)
