"""The faster input gradient of convolutions on one channel equals torch's, and leaves no trace."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import frozen

GENERATOR = torch.Generator().manual_seed(3)
IMAGES = torch.rand(9, 1, 15, 13, generator=GENERATOR)

CONVOLUTIONS = [
    nn.Conv2d(1, 6, 3),
    nn.Conv2d(1, 6, 3, padding=1, bias=False),
    nn.Conv2d(1, 5, 4, stride=2, padding=1),
    nn.Conv2d(1, 5, (5, 2), stride=(2, 3), padding=(2, 0)),
    nn.Conv2d(1, 4, 3, dilation=2, padding=2),
    nn.Conv2d(1, 4, 1),
    nn.Conv2d(1, 1, 15, stride=7, padding=7),
]


def slopes(model: nn.Module, images: Tensor) -> Tensor:
    """Return the gradient of a curved function of the answers, so that every answer has another slope."""
    points = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(points).float().sin().sum(), points)
    return gradient


def graph_of(model: nn.Module, images: Tensor) -> str:
    answer: Tensor = model(images.clone().requires_grad_())
    assert answer.grad_fn is not None
    return answer.grad_fn.name()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("conv", CONVOLUTIONS, ids=repr)
def test_answers_are_equal_and_gradients_up_to_rounding(conv: nn.Conv2d, layout: torch.memory_format) -> None:
    conv = copy.deepcopy(conv).to(memory_format=layout)
    images = IMAGES.to(memory_format=layout)
    expected = slopes(conv, images)
    with frozen(conv):
        assert "GrayConvolution" in graph_of(conv, images), "torch's own gradient was used"
        torch.testing.assert_close(slopes(conv, images), expected, rtol=1e-5, atol=1e-6)
        assert torch.equal(conv(images), conv(images.clone().requires_grad_()))


def test_in_bf16_it_is_as_near_to_fp32_as_torchs() -> None:
    conv = copy.deepcopy(CONVOLUTIONS[2])
    exact = slopes(conv, IMAGES)
    with torch.autocast("cpu", torch.bfloat16):
        theirs = slopes(conv, IMAGES)
        with frozen(conv):
            ours = slopes(conv, IMAGES)
    assert ours.dtype == torch.float32
    assert (ours - exact).abs().mean() <= 1.1 * (theirs - exact).abs().mean()


def test_second_derivatives_are_torchs() -> None:
    conv = copy.deepcopy(CONVOLUTIONS[1])

    def second() -> Tensor:
        points = IMAGES.clone().requires_grad_()
        (first,) = torch.autograd.grad(conv(points).sin().sum(), points, create_graph=True)
        (gradient,) = torch.autograd.grad(first.square().sum(), points)
        return gradient

    expected = second()
    with frozen(conv):
        torch.testing.assert_close(second(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("error", [False, True])
def test_the_model_is_as_before_after_the_block(*, error: bool) -> None:
    model = nn.Sequential(copy.deepcopy(CONVOLUTIONS[0]), nn.ReLU())
    before = [set(vars(part)) for part in model.modules()]
    with pytest.raises(ValueError, match="stop") if error else frozen(model), frozen(model), frozen(model):
        if error:
            raise ValueError("stop")
    assert [set(vars(part)) for part in model.modules()] == before
    assert "GrayConvolution" not in graph_of(model[0], IMAGES)
    assert all(parameter.requires_grad for parameter in model.parameters())


class Halved(nn.Conv2d):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) / 2


def replaced() -> nn.Conv2d:
    """A convolution whose forward was replaced on the object."""
    conv = nn.Conv2d(1, 2, 3)
    conv.forward = lambda images: nn.Conv2d.forward(conv, images) / 2  # type: ignore[assignment]
    return conv


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(3, 6, 3),
        nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(1, 2, 3, padding="same"),
        nn.Conv2d(1, 2, 3, dtype=torch.float64),
        Halved(1, 2, 3),
        replaced(),
        torch.nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 2, 3)),
    ],
    ids=["colour", "reflect", "same", "double", "subclass", "replaced", "weight_norm"],
)
def test_other_convolutions_are_left_alone(conv: nn.Conv2d) -> None:
    images = torch.rand(9, conv.in_channels, 8, 8, generator=GENERATOR).to(conv.weight.dtype)
    expected = slopes(conv, images)
    with frozen(conv):
        assert "GrayConvolution" not in graph_of(conv, images)
        assert torch.equal(slopes(conv, images), expected)


def test_hooks_still_run() -> None:
    conv, seen = copy.deepcopy(CONVOLUTIONS[0]), []
    conv.register_forward_hook(lambda *_: seen.append("forward"))
    conv.register_full_backward_hook(lambda *_: seen.append("backward"))
    with frozen(conv):
        slopes(conv, IMAGES)
    assert seen == ["forward", "backward"]


def test_it_works_under_vmap_and_grad_of_torch_func() -> None:
    conv = copy.deepcopy(CONVOLUTIONS[0])
    expected = slopes(conv, IMAGES)
    with frozen(conv):
        whole = torch.func.grad(lambda images: conv(images).sin().sum())(IMAGES)
        each = torch.func.vmap(torch.func.grad(lambda image: conv(image[None]).sin().sum()))(IMAGES)
    torch.testing.assert_close(whole, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(each, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("by", ["copy", "pickle"])
def test_a_copy_that_is_made_inside_answers_with_its_own_weights(by: str) -> None:
    conv = copy.deepcopy(CONVOLUTIONS[0])
    with frozen(conv):
        other: nn.Conv2d = copy.deepcopy(conv) if by == "copy" else pickle.loads(pickle.dumps(conv))
        other.weight.zero_()
        assert torch.equal(other(IMAGES.clone().requires_grad_()), other(IMAGES))
        assert (slopes(other, IMAGES) == 0).all()
    assert (slopes(other, IMAGES) == 0).all()
    assert (slopes(conv, IMAGES) != 0).any()
