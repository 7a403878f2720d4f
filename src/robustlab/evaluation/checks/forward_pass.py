"""Does the classifier optimise something, or change, while it answers?"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch

from robustlab.evaluation.checks.base import Experiment, Finding
from robustlab.evaluation.checks.context import Context, Sample
from robustlab.evaluation.checks.lab import Lab

MOST = 4
_AUTOGRAD = (torch.autograd.grad.__code__, torch.autograd.backward.__code__)


@contextmanager
def _watched() -> Iterator[list[str]]:
    """Note the calls of autograd inside the block, by whatever name the caller knows it."""
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


class ForwardPass(Experiment):
    """Watches a forward pass for gradients inside it, and the weights for changes by it."""

    id = "optimisation-at-inference"
    title = "A forward pass computes the answer and nothing else"
    expected = "no call of autograd inside, and no parameter or buffer changed"
    meaning = (
        "The classifier adapts itself or its input while it answers. The gradient that the attacks "
        "follow does not account for that; an attack made for this defense is needed (Croce et al. "
        "2022, arXiv:2202.13711)."
    )

    def sample(self, context: Context) -> Sample:
        return context.any_images(MOST)

    def look(self, lab: Lab, sample: Sample) -> Finding:
        block = sample.images
        before = {name: value.clone() for name, value in lab.model.state_dict().items()}
        with _watched() as calls:
            lab.logits(block.pixels(slice(None)))
        after = lab.model.state_dict()
        changed = [name for name, value in before.items() if not _same(value, after[name])]
        parts = []
        if calls:
            parts.append(f"{len(calls)} calls of autograd ({', '.join(sorted(set(calls)))}) in one pass")
        if changed:
            parts.append(f"{len(changed)} parameters or buffers changed, {changed[0]} among them")
        found = " and ".join(parts) or "no call of autograd, nothing changed"
        return Finding(grade="fail" if parts else "pass", found=found, n=len(block))


def _same(first: torch.Tensor, second: torch.Tensor) -> bool:
    if first.is_floating_point() or first.is_complex():
        return torch.allclose(first, second, rtol=0.0, atol=0.0, equal_nan=True)
    return torch.equal(first, second)
