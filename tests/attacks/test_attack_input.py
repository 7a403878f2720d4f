"""Bad input to an attack is refused, and an image without an answer is reported."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from attack_cases import every_attack, made_for, with_mistakes
from small_networks import mlp
from torch import Tensor, nn

from robustlab.attacks import FGSM, Attack, Corruption, FGSMLiteralClamp, GaussianNoise, RotationTranslation
from robustlab.core.errors import RobustlabError
from robustlab.core.threat import L0, L1, L2, Linf, Unbounded


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return mlp()


@pytest.fixture
def batch(model: nn.Module, make_batch: Callable[..., Any]) -> Any:
    return with_mistakes(make_batch(40), model)


def refused(message: str, model: nn.Module, batch: Any, **changes: Any) -> None:
    changed = {"images": batch.images, "labels": batch.labels, "ids": batch.ids, **changes}
    with pytest.raises(RobustlabError, match=message):
        FGSM().run(model, changed["images"], changed["labels"], Linf(eps=0.1), ids=changed["ids"])


def test_bad_images_are_refused(model: nn.Module, batch: Any) -> None:
    def put(value: float) -> Tensor:
        images: Tensor = batch.images.clone()
        images[3, 0, 1, 2] = value
        return images

    refused(r"must lie in \[0, 1\].* found .* to 1\.01; do not normalise", model, batch, images=put(1.01))
    refused(r"must lie in \[0, 1\].* found -0\.01 to", model, batch, images=put(-0.01))
    refused(r"must lie in \[0, 1\] and be free of NaN", model, batch, images=put(float("nan")))
    refused(r"must lie in \[0, 1\]", model, batch, images=put(float("inf")))
    refused(
        r"must be float32 of shape \(N, C, H, W\), found torch.float64",
        model,
        batch,
        images=batch.images.double(),
    )
    refused(r"found torch.uint8", model, batch, images=(batch.images * 255).to(torch.uint8))
    refused(r"found torch.float32 of shape \(40, 16\)", model, batch, images=batch.images.flatten(1))


def test_bad_labels_and_ids_are_refused(model: nn.Module, batch: Any) -> None:
    refused(r"labels must be int64 of shape \(40,\), found .*\(39,\)", model, batch, labels=batch.labels[1:])
    refused(r"labels must be int64 .* found torch.float32", model, batch, labels=batch.labels.float())
    refused(r"labels must be int64 .* found torch.int32", model, batch, labels=batch.labels.int())
    refused(r"labels must be .*\(40, 3\)", model, batch, labels=F.one_hot(batch.labels, 3))
    refused("labels must not be negative, found -1", model, batch, labels=batch.labels - 1)
    refused("tells 3 classes apart, but a label or a target is 3", model, batch, labels=batch.labels + 1)
    refused(r"ids must be int64 of shape \(40,\), found .*\(41,\)", model, batch, ids=torch.arange(41))
    refused(r"ids must be int64 .* found torch.float32", model, batch, ids=batch.ids.float())


def test_a_model_in_train_mode_is_refused(batch: Any) -> None:
    refused("train mode; call model.eval", mlp().train(), batch)
    partly = mlp()
    partly.get_submodule("3").train()  # its dropout alone
    refused("train mode", partly, batch)


def test_logits_that_are_none_are_refused(model: nn.Module, batch: Any) -> None:
    class Wrapped(nn.Module):
        def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
            super().__init__()
            self.change = change

        def forward(self, x: Tensor) -> Tensor:
            return self.change(model(x))

    refused(r"logits of shape \(N, K\), found \(40,\)", Wrapped(lambda x: x[:, 0]).eval(), batch)
    refused(r"logits of shape \(N, K\), found \(39, 3\)", Wrapped(lambda x: x[1:]).eval(), batch)


class Blind(nn.Module):
    """Has no answer to images without a bright pixel."""

    def __init__(self, inner: nn.Module, value: float) -> None:
        super().__init__()
        self.inner, self.value = inner, value

    def forward(self, x: Tensor) -> Tensor:
        dark = x.flatten(1).amax(dim=1) < 0.4
        return self.inner(x).masked_fill(dark[:, None], self.value)  # type: ignore[no-any-return]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@every_attack
def test_an_image_without_an_answer_is_reported_and_the_rest_go_on(
    attack: Attack, value: float, model: nn.Module, batch: Any
) -> None:
    threats = (Linf(eps=0.2), L2(eps=0.3), L1(eps=0.3), L0(eps=1), Unbounded())
    threat = next(t for t in threats if made_for(attack, t))
    images = batch.images.clone()
    images[:, 0, 0, 0] = 1.0  # bright enough, whatever the attack does within such an eps
    images[7] *= 0.05
    blind, dark = Blind(model, value).eval(), torch.arange(40) == 7
    result = attack.run(blind, images, batch.labels, threat, ids=batch.ids)
    assert result.predictions[7] == -1
    assert result.confidences[7] == 0
    assert result.successes[7]
    others = attack.run(model, images[~dark], batch.labels[~dark], threat, ids=batch.ids[~dark])
    spatial = isinstance(attack, RotationTranslation | Corruption | FGSMLiteralClamp | GaussianNoise)
    if not spatial:
        assert torch.equal(result.successes[~dark], others.successes)
        assert torch.allclose(result.images[~dark], others.images, atol=1e-5)
