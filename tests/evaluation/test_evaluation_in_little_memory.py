"""Where memory runs out, batches are halved, whichever part of an evaluation meets it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from evaluation_runs import SHAPE, Notes, evaluate, grey_split, split_of, states, table
from torch import Tensor, nn

from robustlab.core.errors import RobustlabError

FULL = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")


class Greedy(nn.Module):
    """A classifier that has memory for a few images at once, in the forward or the backward pass."""

    def __init__(self, model: nn.Module, most: int, *, backward: bool = False) -> None:
        super().__init__()
        self.model, self.most, self.backward = model, most, backward

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images)
        if len(images) > self.most:
            if not self.backward:
                raise FULL
            if logits.requires_grad:
                logits.register_hook(_fail)  # type: ignore[no-untyped-call]
        return logits


def _fail(gradient: Tensor) -> None:
    del gradient
    raise FULL


@pytest.fixture
def model(make_linear: Callable[..., nn.Module]) -> nn.Module:
    return make_linear(classes=4, shape=SHAPE, seed=2)


OPTIONS: dict[str, dict[str, Any]] = {
    "cascade": {},
    "max-loss": {
        "threat": "l2(eps=0.1)",
        "attacks": "pgd(steps=3), square(queries=30), cw(steps=5, binary_search_steps=1)",
        "mode": "max-loss",
    },
    "proofs": {"attacks": "fgsm", "certify": True},
    "checks": {"attacks": "fgsm", "checks": True},
    "curve": {"attacks": "fgsm", "curve": True},
    "timed": {"precision": "auto"},
    "8-bit": {"precision": "bf16", "eight_bit": True},
}


@pytest.mark.parametrize("case", OPTIONS)
@pytest.mark.parametrize(("most", "batch_size", "backward"), [(1, None, False), (5, 16, True)])
def test_nothing_is_lost(
    model: nn.Module, tmp_path: Path, case: str, most: int, batch_size: int | None, backward: bool
) -> None:
    split, notes = grey_split(model, n=12), Notes()
    if case == "8-bit":
        split = split_of((split.tensor() * 255).byte(), split.labels, split.ids)
    options = {"batch_size": batch_size} | OPTIONS[case]
    greedy = Greedy(model, most, backward=backward)
    found = evaluate(tmp_path / "little", greedy, split, notes, **options)
    plenty = evaluate(tmp_path / "plenty", Greedy(model, 1000), split, **options)
    assert states(found) == states(plenty)
    assert [check.grade for check in found.results.checks] == [check.grade for check in plenty.results.checks]
    assert found.results.robust == plenty.results.robust
    assert found.results.certified == plenty.results.certified
    assert found.results.compute.batch_size is not None
    assert found.results.compute.batch_size <= most
    assert any("memory does not suffice for" in note for note in notes.notes) or batch_size is None


@pytest.mark.parametrize("batch_size", [16, None])
def test_not_even_one_image(model: nn.Module, tmp_path: Path, batch_size: int | None) -> None:
    with pytest.raises(
        RobustlabError, match=r"not enough memory, even for one image at a time; .* kept"
    ) as caught:
        evaluate(tmp_path, Greedy(model, 0), grey_split(model), batch_size=batch_size)
    assert "\n" not in str(caught.value)


def test_what_was_finished_before_memory_ran_out_is_kept(model: nn.Module, tmp_path: Path) -> None:
    greedy, split = Greedy(model, 1000), grey_split(model)
    greedy.register_forward_pre_hook(_exhausted_after(greedy, 12))
    with pytest.raises(RobustlabError, match="not enough memory"):
        evaluate(tmp_path, greedy, split, batch_size=8)
    assert len(table(tmp_path, "outcomes")) >= 8


def _exhausted_after(model: Greedy, calls: int) -> Callable[..., None]:
    seen = []

    def count(*arguments: object) -> None:
        del arguments
        seen.append(1)
        if len(seen) > calls:
            model.most = 0

    return count


LIMITED = """
import resource, sys
import torch
from torch import nn
import robustlab

class Wide(nn.Module):
    # About 170 MB an image, forward and back.
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(16, 4)

    def forward(self, images):
        wide = images.flatten(1).repeat(1, 700_000)
        return self.layer(wide.relu().view(len(images), -1, 16).mean(dim=1))

torch.manual_seed(0)
model, images = Wide().eval(), torch.rand(12, 1, 4, 4)
labels = torch.cat([model(image[None]).argmax(dim=1) for image in images])
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 1_200_000_000, -1))
run = robustlab.evaluate(
    model, images=images, labels=labels, attacks="fgsm", checks=False, certify=False, precision="fp32",
    batch_size=12, out=sys.argv[1],
)
print(run.results.compute.batch_size)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_limit_of_the_system(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 1 <= int(done.stdout) <= 6
