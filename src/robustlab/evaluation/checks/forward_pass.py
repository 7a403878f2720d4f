"""Does the classifier optimise something in its forward pass, or change in it?"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from types import FrameType

import torch
from torch import nn

from robustlab.core.spec import register
from robustlab.evaluation.checked_model import unguarded
from robustlab.evaluation.checks.attack_runner import AttackRunner
from robustlab.evaluation.checks.base import ActiveCheck, CheckResult
from robustlab.evaluation.checks.context import Context, Sample
from robustlab.runs.evaluation import Grade

MAX_IMAGES = 4
_AUTOGRAD = (torch.autograd.grad.__code__, torch.autograd.backward.__code__)


@contextmanager
def _watched() -> Iterator[list[str]]:
    """Record the calls of autograd inside the block, under each of its names."""
    calls: list[str] = []

    def note(frame: FrameType, event: str, argument: object) -> None:
        del argument
        if event == "call" and frame.f_code in _AUTOGRAD:
            calls.append(frame.f_code.co_name)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(before)


@register("optimisation_at_inference")
class ForwardPass(ActiveCheck):
    """Watches a forward pass for gradients inside it."""

    skips_black_box = True
    cheap = True
    doubts = "attacks"
    passes = 1
    title = "A forward pass optimises nothing"
    expected = "no call of autograd inside"
    meaning = (
        "The classifier adapts itself or its input while it answers. The gradient that the attacks "
        "follow does not account for that; an attack made for this defense is needed (Croce et al. "
        "2022, arXiv:2202.13711). Give the adapting step the gradient of a stand-in (BPDA)."
    )

    def sample(self, context: Context) -> Sample:
        return context.any_images(MAX_IMAGES)

    def look(self, runner: AttackRunner, sample: Sample) -> CheckResult:
        with _watched() as calls:
            runner.logits(sample.images.pixels(slice(None)))
        found = f"{len(calls)} calls of autograd ({', '.join(sorted(set(calls)))}) in one pass"
        found = found if calls else "no call of autograd"
        return CheckResult(grade="fail" if calls else "pass", found=found, n=len(sample.images))


@register("state_changes")
class FixedState(ActiveCheck):
    """Compares the weights before and after a forward pass."""

    skips_black_box = True
    cheap = True
    passes = 1
    title = "A forward pass changes nothing"
    expected = "every parameter and every buffer as before"
    meaning = (
        "The classifier is another one after each answer: what was found of it depends on all that it was "
        "asked before, and may not be found again."
    )

    def sample(self, context: Context) -> Sample:
        return context.any_images(MAX_IMAGES)

    def look(self, runner: AttackRunner, sample: Sample) -> CheckResult:
        model = unguarded(runner.model)
        before = {name: value.detach().clone() for name, value in _state(model).items()}
        runner.logits(sample.images.pixels(slice(None)))
        after = _state(model)
        changed = [name for name in before | after if not _same(before.get(name), after.get(name))]
        found = f"{len(changed)} parameters or buffers changed, {changed[0]} among them" if changed else ""
        grade: Grade = "fail" if changed else "pass"
        return CheckResult(grade=grade, found=found or "nothing changed", n=len(sample.images))


def _state(model: nn.Module) -> dict[str, torch.Tensor]:
    # A state_dict does not contain buffers that are not saved.
    return dict(chain(model.named_parameters(), model.named_buffers()))


def _same(first: torch.Tensor | None, second: torch.Tensor | None) -> bool:
    if first is None or second is None or first.shape != second.shape or first.dtype != second.dtype:
        return False
    if first.is_floating_point() or first.is_complex():
        return torch.allclose(first, second, rtol=0.0, atol=0.0, equal_nan=True)
    return torch.equal(first, second)
