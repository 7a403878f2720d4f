"""Bad input to an attack is refused, and an image without an answer is reported."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from attack_cases import every_attack, made_for, with_mistakes
from small_networks import mlp
from torch import Tensor, nn

from robustlab.attacks import (
    FGSM,
    PGD,
    Attack,
    Corruption,
    FGSMLiteralClamp,
    GaussianNoise,
    RotationTranslation,
)
from robustlab.core.errors import RobustlabError
from robustlab.threats import L0, L1, L2, Linf, Unbounded


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

    for value in (1.01, -0.01, float("nan"), float("inf")):
        refused("images must lie in", model, batch, images=put(value))
    refused("images must lie in .* normalise inside the model", model, batch, images=put(-0.01))
    refused("images must lie in .* divide by 255", model, batch, images=batch.images * 255)
    refused("images must lie in .* NaN: images 3$", model, batch, images=put(float("nan")))
    for images in (batch.images.flatten(1), batch.images.int(), batch.images + 0j, batch.images > 0.5):
        refused("images must be", model, batch, images=images)
    for images in (batch.images.to_sparse(), batch.images.to("meta"), batch.images.tolist(), None, "mnist"):
        refused("images must", model, batch, images=images)


def test_bad_labels_and_ids_are_refused(model: nn.Module, batch: Any) -> None:
    labels = batch.labels
    for name in ("labels", "ids"):
        for numbers in (
            labels[1:],
            labels.float(),
            labels + 0j,
            labels > 1,
            F.one_hot(labels, 3),
            "3",
            [[1]],
            None,
        ):
            if numbers is not None or name == "labels":
                refused(f"^{name} must be", model, batch, **{name: numbers})
    refused("labels must not be negative, found -1", model, batch, labels=labels - 1)
    refused("outputs 3 logits, but labels and targets go up to 3", model, batch, labels=labels + 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"threat": 0.3},
        {"threat": "linf(0.3)"},
        {"threat": None},
        {"threat": True},
        {"targets": "3"},
        {"targets": 1.0},
        {"eps": "0.3"},
        {"eps": [0.1]},
        {"eps": -0.1},
        {"eps": float("nan")},
        {"eps": [1e39] * 40},
        {"seed": "x"},
        {"seed": True},
        {"seed": -1},
        {"batch_size": 0},
        {"batch_size": 10**29},
        {"batch_size": 2.5},
        {"eot_samples": True},
        {"eot_samples": 10**7},
        {"surrogates": 3},
        {"surrogates": "mnist_cnn"},
        {"early_stop": "fast"},
        {"early_stop": 1},
    ],
    ids=repr,
)
def test_the_argument_that_is_wrong_is_named(changes: dict[str, Any], model: nn.Module, batch: Any) -> None:
    threat = changes.pop("threat", Linf(eps=0.1))
    (name,) = changes or ("threat|linf",)
    with pytest.raises(RobustlabError, match=f"^({name}) ") as caught:
        FGSM().run(model, batch.images, batch.labels, threat, **changes)
    assert "\n" not in str(caught.value)


def test_what_an_evaluation_takes_is_taken(model: nn.Module, batch: Any) -> None:
    levels = (batch.images * 255).round().to(torch.uint8)
    images, labels = levels.float() / 255, batch.labels
    attack, threat = PGD(steps=3), Linf(eps=0.1)
    usual = attack.run(model, images, labels, threat)
    edge = torch.where(images == 0, -2.98e-8, images)
    for same in (
        levels,
        levels.numpy(),
        images.numpy()[:],
        images.double(),
        images.numpy().astype("float64"),
        edge,
    ):
        found = attack.run(model, same, labels, "linf(eps=0.1)")
        assert found.images.dtype == torch.float32
        assert torch.equal(found.images, usual.images)
    for numbers in (
        labels.int(),
        labels.to(torch.uint8),
        labels.tolist(),
        labels.numpy()[::1],
        labels.numpy().astype("int32"),
    ):
        assert torch.equal(attack.run(model, images, numbers, threat).images, usual.images)
    assert attack.run(model, images.half(), labels, threat).images.dtype == torch.float32


def test_one_number_serves_all_images(model: nn.Module, batch: Any) -> None:
    attack, threat, n = PGD(steps=3), Linf(eps=0.1), len(batch.labels)
    each = attack.run(model, batch.images, batch.labels, threat, targets=torch.full((n,), 2), eps=[0.2] * n)
    assert torch.equal(
        each.images, attack.run(model, batch.images, batch.labels, threat, targets=2, eps=0.2).images
    )
    assert torch.equal(
        each.images, attack.run(model, batch.images, batch.labels, Linf(eps=0.2), targets=2).images
    )


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
