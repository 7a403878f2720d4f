"""How many images each check gets: on small images all that it asks for."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from toy_defenses import evaluated

from robustlab.attacks import Attack, RandomPoints, RotationTranslation
from robustlab.data import Split
from robustlab.evaluation.checks import ActiveCheck, all_checks
from robustlab.evaluation.checks.allowance import LARGE, allowed
from robustlab.threats import L1, Linf, ThreatModel, Unbounded


class Firm(nn.Module):
    """Never changes its answer, and has gradients that disagree."""

    def forward(self, images: Tensor) -> Tensor:
        wave = 0.01 * torch.sin(500 * images).mean(dim=(2, 3))
        return wave + torch.tensor([9.0, 0.0, 0.0])


def noise(n: int, size: int) -> Split:
    pixels = torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0))
    return Split.of(pixels, torch.zeros(n, dtype=torch.int64), name="test")


def test_small_images_get_every_check_in_full() -> None:
    side = int((LARGE // 3) ** 0.5)
    for size, limited in ((side, False), (side + 1, True)):
        context = evaluated(Firm().eval(), noise(8, size), Linf(eps=0.01), [RandomPoints(count=2)], classes=3)
        context = replace(context, found=replace(context.found, correct=frozenset(range(8)), broken={}))
        contexts = allowed(all_checks(), context, attacks=0).values()
        assert any(each is not context for each in contexts) == limited


@pytest.mark.parametrize("threat", [Linf(eps=2 / 255), L1(eps=0.3), Unbounded()], ids=repr)
def test_no_check_takes_more_passes_than_it_says(threat: ThreatModel) -> None:
    split = noise(3, 6)
    attacks: list[Attack] = [RandomPoints(count=2)] if threat.bounded else [RotationTranslation()]
    context = evaluated(Firm().eval(), split, threat, attacks, classes=3, surrogates=(Firm().eval(),))
    for certified in (None, frozenset(split.ids.tolist())):
        found = replace(context.found, correct=frozenset(split.ids.tolist()), certified=certified, broken={})
        for check in all_checks():
            record = check.run(replace(context, found=found, surrogates=("hash",)))
            if isinstance(check, ActiveCheck) and check.passes and record.n:
                assert record.forwards + record.backwards <= check.passes * record.n, check.id
