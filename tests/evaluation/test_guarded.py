"""A classifier that fails somewhere in the middle: one clear line, and nothing that was finished is lost."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation_runs import SHAPE, evaluate, grey_split, states, table
from torch import Tensor, nn
from typer.testing import CliRunner

from robustlab.cli.main import app
from robustlab.core.errors import RobustlabError

Answer = Callable[[Tensor], Any]

TROUBLE: Any = threading.local()
TROUBLE.answer = None
"""What goes wrong at present: in a form that no identity follows, so its repair leaves the model the same."""


class Troubled(nn.Module):
    """Answers wrongly to every batch that holds more than the two images it is tried on."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Any:
        logits = self.model(images)
        answer = TROUBLE.answer
        return logits if answer is None or len(images) <= 2 else answer(logits)


@pytest.fixture
def model(make_linear: Callable[..., nn.Module], monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    monkeypatch.setattr(TROUBLE, "answer", None)
    return Troubled(make_linear(classes=4, shape=SHAPE, seed=2)).eval()


def fail(error: BaseException) -> Answer:
    def answer(logits: Tensor) -> Any:
        del logits
        raise error

    return answer


BAD: dict[str, tuple[Answer, str]] = {
    "exception": (fail(ValueError("out of\norder")), "ValueError: out of order (test_guarded.py, line "),
    "key": (fail(KeyError("x")), "failed on images of shape (16, 1, 4, 5) (N, C, H, W): KeyError: 'x'"),
    "exit": (fail(SystemExit(3)), "SystemExit: 3"),
    "list": (lambda logits: logits.tolist(), "found a list; wrap it in a module whose forward returns them"),
    "rows": (lambda logits: logits[1:], "logits of shape (16, 4); found (15, 4)"),
    "classes": (lambda logits: logits[:, :3], "logits of shape (16, 4); found (16, 3)"),
    "flat": (lambda logits: logits[:, 0], "logits of shape (16, 4); found (16,)"),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("moment", ["clean images", "attack"])
def test_a_failure_is_one_line_and_the_same_command_goes_on(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, moment: str
) -> None:
    split, (answer, expected) = grey_split(model), BAD[kind]

    def later(logits: Tensor) -> Any:
        return answer(logits) if torch.is_grad_enabled() else logits

    monkeypatch.setattr(TROUBLE, "answer", answer if moment == "clean images" else later)
    with pytest.raises(RobustlabError) as caught:
        evaluate(tmp_path, model, split)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "manifest.json").exists()
    kept = table(tmp_path, "outcomes")
    # One that quits does so when it is first asked for a gradient, before anything else.
    assert len(kept) == (0 if moment == "clean images" or kind == "exit" else 60)
    monkeypatch.setattr(TROUBLE, "answer", None)
    repaired = evaluate(tmp_path, model, split)
    assert set(kept) <= set(table(tmp_path, "outcomes")), "what was finished is done again"
    assert states(repaired) == states(evaluate(tmp_path / "other", model, split))


def test_ctrl_c_passes(model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TROUBLE, "answer", fail(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        evaluate(tmp_path, model, grey_split(model))


class _Backward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        del ctx
        return images.clone()

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        del ctx, slopes
        raise ValueError("no way back")


class OneWay(nn.Module):
    """Has a backward pass that fails."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = self.model(_Backward.apply(images))
        return answer


def test_a_backward_pass_that_fails(model: nn.Module, tmp_path: Path) -> None:
    split = grey_split(model)
    with pytest.raises(
        RobustlabError, match=r"the model failed in its backward pass: ValueError: no way back"
    ):
        evaluate(tmp_path, OneWay(model).eval(), split)
    assert evaluate(tmp_path, OneWay(model).eval(), split, attacks="square(queries=5)").results.robust.n == 60


class InPlace(nn.Module):
    """Normalises the images it is given, and not a copy of them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = self.model(images.sub_(0.1))
        return answer


def test_a_model_that_changes_its_images_is_refused(model: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(RobustlabError, match="the model changes the images it is given"):
        evaluate(tmp_path / "run", InPlace(model).eval(), grey_split(model))


class Single(nn.Module):
    """Answers for the first image alone, whatever the number."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = self.model(images[:1])
        return answer


def test_surrogates_are_guarded_too(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split, good = grey_split(model), model.get_submodule("model")
    with pytest.raises(RobustlabError, match=r"logits of shape \(2, K\), K at least 2; found \(1, 4\)"):
        evaluate(tmp_path, good, split, surrogates=[Single(good).eval()])
    monkeypatch.setattr(TROUBLE, "answer", BAD["rows"][0])
    with pytest.raises(RobustlabError, match=r"logits of shape \(16, 4\); found \(15, 4\)"):
        evaluate(tmp_path, good, split, surrogates=[model], attacks="mi_fgsm(steps=2, gradient=surrogates)")


NET = """
import torch
from torch import nn

class Net(nn.Module):
    def forward(self, images):
        if len(images) > 2:
            raise ValueError("too many")
        return images.flatten(1)[:, :10]

MODEL = Net()
"""


def test_the_command_line_says_it_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    options = ["--model", f"{tmp_path / 'net.py'}:MODEL", "--dataset", "digits", "-n", "20"]
    options += ["--attacks", "fgsm", "--no-checks", "--out", str(tmp_path / "run"), "--quiet"]
    result = CliRunner().invoke(app, ["evaluate", *options])
    assert result.exit_code == 2, result.output
    assert "ValueError: too many (net.py, line 8)" in result.stderr
    assert "Traceback" not in result.output
