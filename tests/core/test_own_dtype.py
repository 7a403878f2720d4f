"""Models whose weights are not float32 get their images in the type that they take."""

import pytest
import torch
from torch import Tensor, nn

from robustlab.core.calling import UserCodeError
from robustlab.core.own_dtype import InOwnDtype, dtype_of, in_own_dtype, short_name

IMAGES = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
TYPES = [torch.float64, torch.float16, torch.bfloat16]


def linear() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 3)).eval()


class Recorded(nn.Module):
    """Remembers the types that it is given."""

    def __init__(self, inner: nn.Module, own: torch.dtype | None = None) -> None:
        super().__init__()
        self.inner, self.own = inner, own
        self.seen: list[torch.dtype] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images.dtype)
        logits: Tensor = self.inner(images if self.own is None else images.to(self.own))
        return logits


def test_a_float32_model_is_not_asked() -> None:
    for model in (Recorded(linear()), Recorded(nn.Flatten())):
        assert in_own_dtype(model, IMAGES) is model
        assert model.seen == []
        assert short_name(dtype_of(model)) == "fp32"


@pytest.mark.parametrize(
    ("dtype", "name"), [(torch.float64, "fp64"), (torch.float16, "fp16"), (torch.bfloat16, "bf16")]
)
def test_the_type_of_the_weights(dtype: torch.dtype, name: str) -> None:
    recorded = Recorded(linear().to(dtype)).eval()
    model = in_own_dtype(recorded, IMAGES)
    assert dtype_of(model) == dtype
    assert short_name(dtype_of(model)) == name
    assert not any(module.training for module in model.modules())
    assert torch.equal(model(IMAGES), recorded.inner(IMAGES.to(dtype)).to(model(IMAGES).dtype))
    assert recorded.seen[-1] == dtype
    assert in_own_dtype(model, IMAGES) is model


@pytest.mark.parametrize("dtype", TYPES)
def test_a_model_that_casts_by_itself_sees_every_bit(dtype: torch.dtype) -> None:
    model = Recorded(linear().to(dtype), own=dtype).eval()
    assert in_own_dtype(model, IMAGES) is model
    assert model.seen == [torch.float32]


def test_mixed_types() -> None:
    class Mixed(nn.Module):
        """Its last layer comes first, in float32."""

        def __init__(self) -> None:
            super().__init__()
            self.last, self.first = nn.Linear(5, 3), nn.Linear(16, 5).double()

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.last(self.first(images.flatten(1)).float())
            return logits

    assert dtype_of(in_own_dtype(Mixed().eval(), IMAGES)) == torch.float64
    frozen = nn.Flatten()
    frozen.register_buffer("mean", torch.zeros(1, dtype=torch.float64))
    assert in_own_dtype(frozen, IMAGES) is frozen


def test_float64_is_the_default_in_a_float64_model() -> None:
    class Made(nn.Module):
        """Makes a tensor on its way, as code of someone does who has made float64 the default."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = linear().double()

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.inner(images)
            return logits @ torch.eye(3)

    model = in_own_dtype(Made().eval(), IMAGES)
    assert model(IMAGES).dtype == torch.float64
    assert torch.get_default_dtype() == torch.float32


def test_a_model_that_takes_nothing_or_quits() -> None:
    class Refusing(nn.Module):
        def __init__(self, error: BaseException) -> None:
            super().__init__()
            self.error, self.weight = error, nn.Parameter(torch.zeros(1).half())

        def forward(self, images: Tensor) -> Tensor:
            del images
            raise self.error

    model = Refusing(ValueError("no")).eval()
    assert in_own_dtype(model, IMAGES) is model
    with pytest.raises(UserCodeError, match="SystemExit: 0"):
        in_own_dtype(Refusing(SystemExit(0)).eval(), IMAGES)


@pytest.mark.parametrize("margin", [1.0, 30.0])
def test_the_gradient_of_a_confident_answer_in_float16(margin: float) -> None:
    net = linear()
    with torch.no_grad():
        net[3].weight.mul_(margin)  # type: ignore[index]

    def gradient(model: nn.Module) -> Tensor:
        leaf = IMAGES.clone().requires_grad_()
        logits = model(leaf).float()
        loss = nn.functional.cross_entropy(logits, logits.argmax(dim=1), reduction="sum")
        (found,) = torch.autograd.grad(loss, leaf)
        return found

    exact = gradient(net)
    found = gradient(InOwnDtype(net.half(), torch.float16))
    assert found.dtype == torch.float32
    assert (exact != 0).any()
    scale = exact.abs().flatten(1).amax(dim=1).view(-1, 1, 1, 1)
    # The probability itself changes with the logits' last bits.
    direction = found / found.abs().flatten(1).amax(dim=1).view(-1, 1, 1, 1)
    assert torch.allclose(direction, exact / scale, atol=0.02)
