"""An evaluation depends on nothing that is set for the whole process, and survives all that a model does."""

import asyncio
from collections.abc import Callable
from copy import deepcopy
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation_runs import SHAPE, Notes, evaluate, grey_split, states
from torch import Tensor, nn

import robustlab
from hostile_settings import TOGETHER, change_everything, settings
from robustlab.core.calling import UserCodeError
from robustlab.core.errors import RobustlabError
from robustlab.evaluation.coordinator import EvaluationOptions, execute, measured
from robustlab.runs.run import EvaluationFolder

WHOLE: dict[str, Any] = {"attacks": ["apgd(steps=5)", "ddn(steps=5)"], "threat": "l2(eps=0.1)"}


@pytest.fixture
def model(make_linear: Callable[..., nn.Module]) -> nn.Module:
    return make_linear(classes=4, shape=SHAPE, seed=2)


def figures(run: EvaluationFolder) -> dict[str, Any]:
    """Return all that does not depend on the clock and the machine."""
    clock = {"seconds", "created", "peak_memory_mb"}
    results: dict[str, Any] = run.results.model_dump(exclude=clock)
    for row in [*results["rows"], results["certificates"] or {"seconds": 0}]:
        del row["seconds"]
    return results


# What is set for the whole process


@pytest.mark.parametrize("names", TOGETHER.values(), ids=list(TOGETHER))
def test_what_the_caller_has_set_does_not_matter(names: list[str], model: nn.Module, tmp_path: Path) -> None:
    split = grey_split(model, 20)
    plain = evaluate(tmp_path / "plain", model, split, certify=True, **WHOLE)
    with settings(*names):
        inside = evaluate(tmp_path / "inside", model, split, certify=True, **WHOLE)
    assert figures(plain) == figures(inside)
    assert states(plain) == states(inside)


class Careless(nn.Module):
    """Sets all that can be set, and does not put it back."""

    def __init__(self, inner: nn.Module, folder: Path) -> None:
        super().__init__()
        self.inner, self.folder = inner, folder

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.inner(images)
        change_everything(self.folder)
        return logits


def test_what_the_model_sets_does_not_matter(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    split = grey_split(model, 20)
    plain = evaluate(Path("plain"), model, split)
    with settings():
        run = evaluate(Path("careless"), Careless(model, tmp_path / "elsewhere").eval(), split)
    assert states(plain) == states(run)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert run.results.robust == plain.results.robust


FILE = """
import os
import pathlib
import torch
from torch import nn
import robustlab

torch.set_default_dtype(torch.float64)
HERE = pathlib.Path(__file__).parent
os.chdir(HERE / "elsewhere")

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.layer = nn.Linear(784, 10)

    def forward(self, images):
        assert pathlib.Path("notes.txt").read_text() == "found"
        os.chdir(".")
        return self.layer(images.flatten(1)) + torch.zeros(10)

def data():
    os.chdir(HERE / "elsewhere")
    test = robustlab.load_dataset("digits").test
    return test.images[:8], test.labels[:8]
"""


def test_relative_paths_mean_what_they_meant_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "notes.txt").write_text("found")
    (tmp_path / "net.py").write_text(FILE)
    torch.save({"layer.weight": torch.ones(10, 784), "layer.bias": torch.zeros(10)}, "weights.pt")
    notes = Notes()
    with settings():
        run = robustlab.evaluate(
            "net.py:Net",
            weights="weights.pt",
            dataset="net.py:data",
            surrogates=["net.py:Net"],
            attacks="fgsm",
            checks=False,
            out="run",
            progress=notes,
        )
    assert run.folder == tmp_path / "run"
    assert (tmp_path / "run" / "report.html").is_file()
    assert run.results.subject.dtype == "fp64"
    assert run.results.subject.source == "net.py:Net with weights.pt"
    assert [note for note in notes.notes if "computes in fp64" in note]
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["notes.txt"]


# What a model may raise


class Counted(nn.Module):
    """Answers so many times, and then does something else."""

    left = 10**9

    def __init__(self, inner: nn.Module, error: BaseException) -> None:
        super().__init__()
        self.inner, self.error = inner, error

    def forward(self, images: Tensor) -> Tensor:
        Counted.left -= 1
        if Counted.left < 0:
            raise self.error
        logits: Tensor = self.inner(images)
        return logits


def quick(model: Counted, folder: Path) -> EvaluationFolder:
    split = grey_split(model.inner, 6, wrong=1)
    options: dict[str, Any] = {"attacks": "fgsm", "precision": "auto", "checks": True, "certify": True}
    return evaluate(folder, model.eval(), split, **options)


def test_a_model_that_quits_at_any_pass_is_never_a_success(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "fast_bf16", lambda _: True)
    monkeypatch.setattr(Counted, "left", 10**9)
    quick(Counted(model, ValueError()), tmp_path / "whole")
    passes = 10**9 - Counted.left
    assert passes > 50, "in bf16 and in fp32, for proofs, attacks and checks"
    errors = cycle([SystemExit(0), GeneratorExit(), asyncio.CancelledError()])
    for number in sorted({*range(14), *range(14, passes, passes // 8), passes - 1}):
        error = next(errors)
        Counted.left = number
        with pytest.raises(UserCodeError, match=f"^the model failed.*: {type(error).__name__}"):
            quick(Counted(model, error), tmp_path / f"{number}")
        assert not (tmp_path / f"{number}" / "results.json").exists()


class Odd(nn.Module):
    """Fails wherever it is touched."""

    def __init__(self, inner: nn.Module, where: str) -> None:
        super().__init__()
        self.inner, self.where = inner, where

    def _quit(self, where: str) -> None:
        if self.where == where:
            raise SystemExit(0)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.inner(images)
        return logits

    def train(self, mode: bool = True) -> "Odd":
        self._quit("train")
        return super().train(mode)

    def state_dict(self, *arguments: Any, **more: Any) -> Any:
        self._quit("state_dict")
        return super().state_dict(*arguments, **more)

    def named_buffers(self, *arguments: Any, **more: Any) -> Any:
        self._quit("buffers")
        return super().named_buffers(*arguments, **more)

    def named_modules(self, *arguments: Any, **more: Any) -> Any:
        self._quit("modules")
        return super().named_modules(*arguments, **more)

    def parameters(self, *arguments: Any, **more: Any) -> Any:
        self._quit("parameters")
        return super().parameters(*arguments, **more)

    def _apply(self, *arguments: Any, **more: Any) -> Any:
        self._quit("to")
        apply: Any = super()._apply
        return apply(*arguments, **more)

    def __getattr__(self, name: str) -> Any:
        if name == "_orig_mod":
            self._quit("getattr")
        return super().__getattr__(name)


@pytest.mark.parametrize(
    "where", ["train", "state_dict", "buffers", "modules", "parameters", "to", "getattr"]
)
def test_a_model_that_quits_wherever_it_is_touched(model: nn.Module, tmp_path: Path, where: str) -> None:
    split, odd = grey_split(model), Odd(model, "")
    odd.eval()
    odd.where = where
    with pytest.raises(RobustlabError, match=r"the model failed.*: SystemExit: 0"):
        evaluate(tmp_path / "run", odd, split)


def test_a_broken_pipe_of_the_model_is_its_own(model: nn.Module, tmp_path: Path) -> None:
    class Piped(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            del images
            raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(RobustlabError, match=r"^the model failed.*BrokenPipeError: \[Errno 32\]"):
        evaluate(tmp_path, Piped().eval(), grey_split(model))


def test_a_first_pass_that_runs_out_of_memory(model: nn.Module, tmp_path: Path) -> None:
    class Greedy(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            del images
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(RobustlabError, match=r"there is not enough memory, even for one image") as caught:
        evaluate(tmp_path / "run", Greedy().eval(), grey_split(model))
    assert "\n" not in str(caught.value)


# Models in other types than float32


@pytest.mark.parametrize("name", ["fp64", "fp16", "bf16"])
@pytest.mark.parametrize("threat", ["linf(eps=0.03)", "l2(eps=0.1)"])
def test_a_model_is_evaluated_in_its_own_type(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, threat: str
) -> None:
    monkeypatch.setattr(measured, "fast_bf16", lambda _: True)
    dtype = {"fp64": torch.float64, "fp16": torch.float16, "bf16": torch.bfloat16}[name]
    split = grey_split(model)
    options: dict[str, Any] = {"attacks": "apgd(steps=10)", "certify": True, "threat": threat}
    options["precision"] = "auto"
    plain = evaluate(tmp_path / "plain", model, split, **options)
    notes, own = Notes(), deepcopy(model).to(dtype)
    run = evaluate(tmp_path / "own", own, split, notes, **options)
    assert any(f"computes in {name}: the images are cast to it" in note for note in notes.notes)
    assert run.results.subject.dtype == run.results.compute.training_precision == name
    assert plain.results.subject.dtype == "fp32"
    assert run.results.certified is None, "rounding is bounded for float32 alone"
    page = (tmp_path / "own" / "results.json").read_text()
    assert f'"dtype": "{name}"' in page
    # A few images lie at the edge of what the 8 or 11 bits of a weight can tell apart.
    few = {"fp64": 0, "fp16": 1, "bf16": 3}[name]

    def broken(of: EvaluationFolder) -> set[int]:
        return {number for number, state in states(of).items() if state == "broken"}

    assert 10 < len(broken(plain)) < 50
    assert len(broken(plain) ^ broken(run)) <= few
    assert all(parameter.dtype == dtype for parameter in own.parameters())


def test_the_default_folder_of_a_relative_run(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    careless = Careless(model, tmp_path / "elsewhere").eval()
    options = EvaluationOptions(model=careless, dataset=grey_split(model), attacks="fgsm", checks=False)
    run = execute(options)
    assert run.folder.parent == tmp_path / "runs"
    assert (run.folder / "results.json").is_file()
