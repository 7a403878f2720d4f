"""MI-FGSM: its momentum, its smoothing, its diversity, and what it does with surrogates."""

from collections.abc import Callable

import pytest
import torch
from small_networks import mlp
from torch import Tensor, nn

from robustlab.attacks import FGSM, MIFGSM, SurrogateGradient
from robustlab.attacks.mi_fgsm import _smoothed
from robustlab.core import seeding
from robustlab.core.errors import RobustlabError
from robustlab.threats import L2, Linf, ThreatModel

N = 40


@pytest.fixture
def model() -> nn.Module:
    return mlp(pixels=30, hidden=20, classes=4, scale=1, seed=4)


@pytest.fixture
def images() -> Tensor:
    return seeding.uniform(2, torch.arange(N), (1, 5, 6))


def labels_of(model: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        predictions: Tensor = model(images).argmax(dim=1)
    return predictions


@pytest.mark.parametrize("threat", [Linf(eps=0.1), L2(eps=0.5)], ids=repr)
def test_a_single_step_is_fgsm(threat: ThreatModel, model: nn.Module, images: Tensor) -> None:
    labels = labels_of(model, images)
    one = FGSM().run(model, images, labels, threat)
    other = MIFGSM(steps=1).run(model, images, labels, threat)
    assert torch.allclose(one.images, other.images, atol=1e-6)


def test_momentum_is_that_of_the_paper(model: nn.Module, images: Tensor) -> None:
    labels = labels_of(model, images)
    points, momentum = images, torch.zeros_like(images)
    for _ in range(5):
        leaf = points.clone().requires_grad_()
        loss = nn.functional.cross_entropy(model(leaf), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, leaf)
        momentum = 0.7 * momentum + gradient / gradient.flatten(1).norm(p=1, dim=1).view(-1, 1, 1, 1)
        points = (points + 0.1 / 5 * momentum.sign()).clamp(0, 1)
    attack = MIFGSM(steps=5, decay=0.7, gradient=SurrogateGradient())
    result = attack.run(model, images, labels, Linf(eps=0.1), surrogates=[model], early_stop=False)
    assert torch.allclose(result.images, points, atol=1e-6)


def test_with_the_classifier_as_its_surrogate_nothing_is_lost(
    make_linear: Callable[..., nn.Module], images: Tensor
) -> None:
    # On a linear classifier of two classes the last point is the best one.
    model = make_linear(classes=2, shape=(1, 5, 6), scale=0.3)
    labels = labels_of(model, images)
    white = MIFGSM().run(model, images, labels, Linf(eps=0.05), early_stop=False)
    black = MIFGSM(gradient=SurrogateGradient()).run(
        model, images, labels, Linf(eps=0.05), early_stop=False, surrogates=[model]
    )
    assert torch.allclose(white.images, black.images, atol=1e-6)
    assert 0 < white.successes.sum() < N


def test_only_the_result_is_shown_to_the_classifier(
    make_linear: Callable[..., nn.Module], model: nn.Module, images: Tensor
) -> None:
    labels = labels_of(model, images)
    seen: list[int] = []
    handle = model.register_forward_hook(lambda *a: seen.append(len(a[2])))
    surrogates = [make_linear(classes=4, shape=(1, 5, 6), seed=s) for s in (1, 2, 3)]
    result = MIFGSM(steps=6, gradient=SurrogateGradient()).run(
        model, images, labels, Linf(eps=0.1), surrogates=surrogates, early_stop=False
    )
    handle.remove()
    assert seen == [N, N]  # the proposal and the verdict on it
    assert (result.forwards == 6 * 3 + 2).all()
    assert (result.backwards == 6 * 3).all()


def test_similar_surrogates_transfer(make_linear: Callable[..., nn.Module], images: Tensor) -> None:
    model = make_linear(classes=4, shape=(1, 5, 6))
    labels = labels_of(model, images)
    similar, different = (
        make_linear(classes=4, shape=(1, 5, 6)),
        make_linear(classes=4, shape=(1, 5, 6), seed=9),
    )
    with torch.no_grad():
        for parameter in similar.parameters():
            parameter.add_(0.3 * seeding.normal(1, torch.arange(len(parameter)), tuple(parameter.shape[1:])))
    found = [
        int(
            MIFGSM(gradient=SurrogateGradient())
            .run(model, images, labels, Linf(eps=0.06), surrogates=[s])
            .successes.sum()
        )
        for s in (different, similar, model)
    ]
    assert found[0] < found[1] <= found[2]


def test_without_surrogates_nothing_transfers(model: nn.Module, images: Tensor) -> None:
    with pytest.raises(RobustlabError, match="needs --surrogate, or surrogates="):
        MIFGSM(gradient=SurrogateGradient()).run(model, images, labels_of(model, images), Linf(eps=0.1))


def test_smoothing_is_a_mean_of_neighbours() -> None:
    flat = torch.ones(2, 3, 9, 9)
    assert torch.allclose(_smoothed(flat, 2)[..., 2:-2, 2:-2], torch.tensor(1.0))
    dot = torch.zeros(1, 2, 7, 7)
    dot[0, 1, 3, 3] = 1
    bell = _smoothed(dot, 3)
    assert not bell[0, 0].any()
    assert float(bell.sum()) == pytest.approx(1.0)
    assert torch.allclose(bell, bell.transpose(2, 3))
    # Three standard deviations reach to the rim.
    assert float(bell[0, 1, 3, 0] / bell[0, 1, 3, 3]) == pytest.approx(torch.tensor(-4.5).exp().item())


def test_diversity_looks_at_shrunk_images_and_pulls_the_gradient_back(images: Tensor) -> None:
    # The sum of a shrunk image is a share of the whole; its gradient is spread over the pixels it is made of.
    class Brightness(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.detach())
            total = x.sum(dim=(1, 2, 3))
            return torch.stack([total, -total], dim=1)

    seen: list[Tensor] = []
    labels = torch.zeros(N, dtype=torch.int64)
    flat = torch.full_like(images, 0.5)
    MIFGSM(steps=2, diversity=1.0).run(Brightness().eval(), flat, labels, Linf(eps=0.1), early_stop=False)
    share = seen[0].sum(dim=(1, 2, 3)) / flat.sum(dim=(1, 2, 3))
    assert (share <= 1.0 + 1e-5).all()
    assert (share > 0.75).all()
    assert share.std() > 0.01
    seen.clear()
    result = MIFGSM(steps=4, diversity=0.5).run(Brightness().eval(), flat, labels, Linf(eps=0.1))
    assert torch.allclose(result.images, flat - 0.1, atol=1e-6)
    assert (result.backwards == 4).all()
