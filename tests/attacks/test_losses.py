"""Losses with few classes: DLR from four classes on, the margin with fewer."""

import pytest
import torch

from robustlab.attacks.losses import Loss, dlr, margin, measure


@pytest.mark.parametrize("classes", [2, 3, 4, 5, 100])
@pytest.mark.parametrize("goal", ["away", "target", "rival"])
def test_dlr_is_the_margin_where_there_are_too_few_classes(classes: int, goal: str) -> None:
    logits = torch.randn(7, classes, generator=torch.Generator().manual_seed(classes))
    labels = torch.arange(7) % classes
    other = (labels + 1) % classes
    targets, rivals = (other if goal == name else None for name in ("target", "rival"))
    plain = margin(logits, labels, targets, rivals)
    found = dlr(logits, labels, targets, rivals)
    if classes < 4:
        assert torch.equal(found, plain)
        return
    first, _, third, *more = logits.sort(dim=1, descending=True).values.T
    low = third if goal == "away" else (third + more[0]) / 2
    torch.testing.assert_close(found, plain / (first - low))
    torch.testing.assert_close(dlr(1000 * logits, labels, targets, rivals), found)


@pytest.mark.parametrize("loss", ["cross_entropy", "margin", "dlr"])
@pytest.mark.parametrize("classes", [2, 3, 4, 100])
def test_every_loss_is_finite_and_rises_towards_the_goal(loss: Loss, classes: int) -> None:
    logits = torch.zeros(1, classes)
    label, target = torch.tensor([0]), torch.tensor([1])
    better = logits.clone()
    better[0, 1] = 1.0
    for targets in (None, target):
        before, after = (measure(loss, z, label, targets) for z in (logits, better))
        assert torch.isfinite(before).all()
        assert after > before
