"""Predictions in batches."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustlab.core.errors import RobustlabError
from robustlab.evaluation.classify import classify


@pytest.mark.parametrize("batch_size", [1, 7, 30, 500])
def test_batches_do_not_matter(
    make_linear: Callable[..., nn.Module], make_batch: Callable[..., Any], batch_size: int
) -> None:
    model, images = make_linear(), make_batch(30).images
    classes, confidences = classify(model, images, batch_size)
    with torch.no_grad():
        odds = torch.exp(model(images).double())
    shares = odds / odds.sum(dim=1, keepdim=True)
    assert torch.equal(classes, shares.argmax(dim=1))
    assert torch.allclose(confidences.double(), shares.amax(dim=1), atol=1e-6)
    assert classes.dtype == torch.int64
    assert not confidences.requires_grad


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_are_an_error(make_linear: Callable[..., nn.Module], value: float) -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return make_linear()(x).index_fill(0, torch.tensor([1]), value)  # type: ignore[no-any-return]

    with pytest.raises(RobustlabError, match="NaN or infinity"):
        classify(Broken(), torch.rand(3, 1, 4, 4))
