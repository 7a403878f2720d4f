"""Precision and batch size follow from passes that are measured, and the choice of the precision is kept."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation_runs import SHAPE, evaluate, grey_split, states, table
from torch import Tensor, nn
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from robustlab.core import capacity
from robustlab.core.errors import RobustlabError
from robustlab.evaluation.coordinator import measured


@pytest.fixture(autouse=True)
def bf16_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "fast_bf16", lambda kind: kind == "cpu")


@pytest.fixture
def model(make_linear: Callable[..., nn.Module]) -> nn.Module:
    return make_linear(classes=4, shape=SHAPE, seed=2)


class Uneven(nn.Module):
    """A classifier that works harder in one precision, whichever the processor is faster in."""

    slow: torch.dtype = torch.bfloat16

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images)
        if logits.dtype == Uneven.slow:
            square = torch.ones(300, 300)
            for _ in range(20):
                square = square @ square.clamp(max=1e-3)
        return logits


@pytest.mark.parametrize(("slow", "chosen"), [(torch.bfloat16, "fp32"), (torch.float32, "bf16")])
def test_the_faster_precision_is_chosen_and_recorded(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: torch.dtype, chosen: str
) -> None:
    monkeypatch.setattr(Uneven, "slow", slow)
    found = evaluate(tmp_path, Uneven(model).eval(), grey_split(model), precision="auto", batch_size=None)
    compute = found.results.compute
    assert compute.training_precision == chosen
    assert compute.pass_time is not None
    assert (compute.pass_time.bf16 < compute.pass_time.fp32) == (chosen == "bf16")
    assert 2 <= compute.pass_time.images <= 60
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["resolved"]["compute"]["pass_time"] == compute.pass_time.model_dump()


def test_the_same_command_goes_on_in_the_same_precision(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split, network = grey_split(model), Uneven(model).eval()
    first = evaluate(tmp_path, network, split, precision="auto", n=20)
    assert first.results.compute.training_precision == "fp32"
    rows = table(tmp_path, "outcomes")
    # The clock says the opposite from now on.
    monkeypatch.setattr(Uneven, "slow", torch.float32)
    monkeypatch.setattr("robustlab.evaluation.subject.LoadedClassifier.sha256", lambda _: "the same weights")
    again = evaluate(tmp_path / "other", network, split, precision="auto", n=20)
    assert again.results.compute.training_precision == "bf16"
    monkeypatch.undo()
    monkeypatch.setattr(measured, "fast_bf16", lambda _: True)
    more = evaluate(tmp_path, network, split, precision="auto")
    assert more.results.compute.pass_time == first.results.compute.pass_time
    assert set(rows) <= set(table(tmp_path, "outcomes"))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_precision_that_is_asked_for_is_not_timed(model: nn.Module, tmp_path: Path, precision: str) -> None:
    compute = evaluate(tmp_path, model, grey_split(model), precision=precision).results.compute
    assert (compute.training_precision, compute.pass_time) == (precision, None)


def test_a_small_difference_is_not_enough(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = {False: 1.0, True: 0.95}

    def timed(clock: Any, count: int) -> float:
        clock.finite = torch.ones(count, 5, dtype=torch.bool)
        seconds = clock.best = times[clock._bf16]
        return seconds

    monkeypatch.setattr("robustlab.evaluation.coordinator.measured._Clock.timed", timed)
    close = evaluate(tmp_path / "close", model, grey_split(model), precision="auto")
    assert close.results.compute.training_precision == "fp32"
    times[True] = 0.85
    clear = evaluate(tmp_path / "clear", model, grey_split(model), precision="auto")
    assert clear.results.compute.training_precision == "bf16"


class Overflowing(nn.Module):
    """A classifier that has no answer in bf16."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images)
        return logits / 0.0 if logits.dtype == torch.bfloat16 else logits


def test_a_model_without_an_answer_in_bf16_is_searched_in_fp32(model: nn.Module, tmp_path: Path) -> None:
    found = evaluate(tmp_path, Overflowing(model).eval(), grey_split(model), precision="auto")
    assert found.results.compute.training_precision == "fp32"


class Leaving(nn.Module):
    """A classifier that ends the program, in bf16 alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images)
        if logits.dtype == torch.bfloat16:
            raise SystemExit(0)
        return logits


def test_a_model_that_ends_the_program_when_it_is_timed(model: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(RobustlabError, match="the model failed on images of shape"):
        evaluate(tmp_path, Leaving(model).eval(), grey_split(model), precision="auto")


class Wide(nn.Module):
    """A classifier whose activations take a MB an image, which its backward pass needs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        wide = images.flatten(1).repeat(1, (1 << 18) // 20).exp()
        logits: Tensor = self.model(images)
        return logits + 0.0 * wide.mean(dim=1, keepdim=True)


@pytest.mark.parametrize(
    ("free", "least", "most"), [(1 << 40, 250, 250), (100 << 20, 8, 33), (1, 1, 1), (None, 250, 250)]
)
def test_the_batch_follows_from_the_memory_of_a_pass(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int | None, least: int, most: int
) -> None:
    monkeypatch.setattr(measured, "available_memory", lambda _: free)
    split = grey_split(model)
    run = evaluate(tmp_path / "run", Wide(model).eval(), split, batch_size=None, attacks="fgsm")
    assert run.results.compute.batch_size is not None
    assert least <= run.results.compute.batch_size <= most
    own = evaluate(tmp_path / "own", Wide(model).eval(), split, batch_size=7, attacks="fgsm")
    assert own.results.compute.batch_size == 7
    assert states(run) == states(own)


@pytest.mark.parametrize("grad", [True, False])
def test_the_tensors_of_a_computation(grad: bool) -> None:
    points = torch.ones(1 << 20, requires_grad=grad)
    with capacity.TensorMemory() as memory:
        first = points.exp()  # kept for the backward pass, or freed by the next line
        second = first.exp()
        del first
        third = second + 1
        del second, third
    assert memory.most == (3 if grad else 2) << 22
    with memory:
        torch.ones(1 << 10).view(32, 32).t()
    assert memory.most == (3 if grad else 2) << 22


class Unwatchable(nn.Module):
    """A classifier that fails while its operations are watched."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        if is_in_torch_dispatch_mode():
            raise RuntimeError("no dispatch mode, please")
        logits: Tensor = self.model(images)
        return logits


def test_a_model_whose_memory_cannot_be_watched(model: nn.Module, tmp_path: Path) -> None:
    network = Unwatchable(model).eval()
    run = evaluate(tmp_path, network, grey_split(model), batch_size=None, attacks="fgsm")
    assert run.results.compute.batch_size == 250
