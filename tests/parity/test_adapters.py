"""The adapters to other libraries leave nothing behind, and the benchmark beside them counts every pass."""

import json
import random
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import peers
from peer_adapters import MODULES, ensemble, guest
from robustlab.attacks import FGSM, PGD, Attack
from robustlab.core import seeding
from robustlab.data import Splits
from robustlab.evaluation.ensembles import Ensemble
from robustlab.models import CNN, Shape
from robustlab.models.files import save_network
from robustlab.threats import L2, Linf, ThreatModel


def states() -> list[object]:
    return [
        torch.get_rng_state().tolist(),
        np.random.get_state(legacy=False)["state"]["key"].tolist(),
        random.getstate(),
    ]


def draws() -> list[float]:
    return [torch.rand(1).item(), float(np.random.rand()), random.random()]


def test_a_guest_works_unheard_and_leaves_nothing_behind(
    small_cnn: nn.Module, capsys: pytest.CaptureFixture[str]
) -> None:
    trace, before = sys.gettrace(), states()
    numbers = []
    for _ in range(2):
        with guest(small_cnn):
            assert not any(parameter.requires_grad for parameter in small_cnn.parameters())
            numbers.append(draws())
            sys.stdout.write("a print")
            warnings.warn("a warning", stacklevel=1)
            sys.settrace(None)
    assert numbers[0] == numbers[1]
    assert states() == before
    assert sys.gettrace() is trace
    assert capsys.readouterr().out == ""
    assert all(parameter.requires_grad for parameter in small_cnn.parameters())


def test_a_warning_from_robustlab_is_an_error_in_a_guest_too(small_cnn: nn.Module) -> None:
    with guest(small_cnn), pytest.raises(UserWarning, match="ours"):
        warnings.warn_explicit("ours", UserWarning, "cnn.py", 1, module="robustlab.models.cnn")


class FirstThenSecond(Ensemble):
    """A weak attack and a stronger one."""

    def stages(self, threat: ThreatModel, classes: int) -> tuple[Attack, ...]:  # noqa: ARG002
        return PGD(steps=1), FGSM()


def test_an_ensemble_breaks_what_its_attacks_break_on_their_own(small_cnn: nn.Module, digits: Splits) -> None:
    threat, images = Linf(eps=0.02), digits.test.pixels(slice(60))
    with torch.no_grad():
        labels = small_cnn(images).argmax(dim=1)
    weak, strong = (
        attack.run(small_cnn, images, labels, threat) for attack in FirstThenSecond().stages(threat, 10)
    )
    found = ensemble(FirstThenSecond(), threat)(small_cnn, images, labels, 25)
    broken = ~peers.correct(small_cnn, found, labels)
    assert 0 < weak.successes.sum() < broken.sum() < len(images)
    assert torch.equal(broken, weak.successes | strong.successes)
    assert torch.equal(found[weak.successes], weak.images[weak.successes])


@pytest.mark.parametrize("task", peers.TASKS)
def test_every_task_knows_robustlab_and_the_tools_beside_it(task: str, tmp_path: Path) -> None:
    threat = L2(eps=1.0)
    setting = peers.Setting(threat=threat, limit=threat, steps=2, step=0.1, autoattack=tmp_path, bf16=False)
    calls = peers.TASKS[task](setting)
    assert next(iter(calls)) == "robustlab"
    assert "torchattacks" in calls
    assert calls.keys() <= {"robustlab", "robustlab-pgd", "autoattack", *MODULES}


@pytest.mark.parametrize("threat", [Linf(eps=0.05), L2(eps=0.5)], ids=repr)
def test_the_benchmark_counts_what_an_attack_says_it_spent(
    threat: ThreatModel, small_cnn: nn.Module, digits: Splits
) -> None:
    images, labels = digits.test.pixels(slice(40)), digits.test.labels[:40]
    counted = peers.Counted(small_cnn).eval()
    found = PGD(steps=3).run(counted, images, labels, threat, batch_size=16)
    assert counted.forwards == int(found.forwards.sum())
    assert counted.backwards == int(found.backwards.sum())


def test_gradients_that_are_computed_together_are_counted_one_by_one(small_cnn: nn.Module) -> None:
    counted = peers.Counted(small_cnn).eval()
    images = torch.rand(5, 1, 28, 28, requires_grad=True)
    directions = torch.eye(10)[:7, None, :].expand(7, 5, 10)
    torch.autograd.grad(counted(images), images, directions, is_grads_batched=True)
    assert (counted.forwards, counted.backwards) == (5, 35)


def test_an_image_outside_the_ball_or_the_box_breaks_nothing(small_cnn: nn.Module) -> None:
    images = torch.full((4, 1, 28, 28), 0.5)
    with torch.no_grad():
        labels = small_cnn(images).argmax(dim=1)
    found = images.clone()
    found[0, 0, 0, 0] += 0.1
    found[1, 0, 0, 0] += 0.1001
    found[2, 0, 0, 0] = 0.6 + 5e-7
    assert peers.inside(found, images, Linf(eps=0.1)).tolist() == [True, False, True, True]
    assert peers.inside(torch.full_like(images, 1.01), images, Linf(eps=1.0)).tolist() == [False] * 4

    def cheat(*_: object) -> torch.Tensor:
        return torch.rand_like(images) * 100

    threat = Linf(eps=0.1)
    setting = peers.Setting(threat=threat, limit=threat, steps=1, step=1.0, autoattack=None, bf16=False)
    row = peers.measure("cheat", cheat, peers.Counted(small_cnn).eval(), images, labels, setting, 4)
    assert (row.accuracy, row.outside) == (1.0, 4)


def test_the_benchmark_writes_what_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shape = Shape(1, 28, 28, 10)
    with seeding.isolated(3):
        network = CNN().build(shape)
    save_network(tmp_path / "network.safetensors", network, CNN(), shape, {})
    peers.main(
        [
            *("--model", str(tmp_path / "network.safetensors"), "--data", "digits", "-n", "30"),
            *("--steps", "2", "--batches", "10", "30", "--repeats", "2", "--task", "pgd-max-loss"),
            *("--tools", "robustlab", "--json", str(tmp_path / "out.json")),
        ]
    )
    (row,) = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert (row["tool"], row["backwards"], row["outside"]) == ("robustlab", 60, 0)
    assert f"{100 * row['accuracy']:.2f} %" in capsys.readouterr().out


def test_a_tool_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        SystemExit, match="advertorch: not installed, or not in this task; there are robustlab"
    ):
        peers.main(["--model", str(tmp_path), "--tools", "advertorch"])
