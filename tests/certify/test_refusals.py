"""What bounds can't follow is refused, by every certifier, even if the network catches the error."""

import contextlib
import gc
import threading
from collections.abc import Callable
from operator import methodcaller
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustlab.certify import Certifier, Interval, NoRuleError, both_margin_bounds, margin_bounds
from robustlab.core import seeding
from robustlab.core.errors import RobustlabError
from robustlab.core.spec import units
from robustlab.models import Threshold
from robustlab.threats import Linf
from robustlab.training.objectives.certified import bound_loss
from robustlab.training.step import TrainingStep

BOUNDING = ["alpha_crown", "auto", "branch_and_bound", "crown", "crown_ibp", "ibp", "step_splitting"]
IMAGES = torch.tensor([0.2, 0.45, 0.55, 0.8]).view(4, 1, 1, 1).expand(4, 1, 2, 2).contiguous()

LABELS = torch.zeros(4, dtype=torch.int64)


class Network(nn.Module):
    """A function, then a linear layer; with a threshold in front of it, if it is for `step_splitting`."""

    def __init__(self, function: Callable[[Tensor], Tensor], *, threshold: bool = False) -> None:
        super().__init__()
        self.function, self.fc = function, nn.Linear(4, 2)
        self.threshold = Threshold(at=0.5) if threshold else nn.Identity()
        with torch.no_grad():
            self.fc.weight.copy_(torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]))
            self.fc.bias.copy_(torch.tensor([0.0, 0.5]))
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        logits: Tensor = self.fc(self.function(x) + 0 * self.threshold(x))
        return logits


def answers(model: nn.Module, certifier: str) -> tuple[Tensor, str | None]:
    """Return what a certifier proves about the images' own classes, and why it proves nothing."""
    unit = units(Certifier)[certifier]()
    with torch.no_grad():
        labels = model(IMAGES.clone()).argmax(dim=1)
    certified = unit.certify(model, IMAGES, labels, Linf(eps=0.04))
    return certified, unit.explain(model, IMAGES)


def test_no_certifier_is_left_out() -> None:
    assert set(units(Certifier)) == {*BOUNDING, "nearest_prototype", "smoothing"}


# Casts

LEVELS = torch.zeros(1, dtype=torch.int32)
NARROW = [torch.float16, torch.bfloat16, torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32]
NARROW += [torch.int64, torch.complex64]


def copied_into(buffer: Tensor, x: Tensor) -> Tensor:
    return buffer.copy_(x)


METHODS = ["half", "bfloat16", "bool", "byte", "char", "short", "int", "long", "cfloat"]
CASTS: dict[str, Callable[[Tensor], Any]] = {
    **{f"{name}()": methodcaller(name) for name in METHODS},
    **{f"to({kind})": methodcaller("to", kind) for kind in NARROW},
    **{f"to(tensor of {kind})": methodcaller("to", torch.zeros(1, dtype=kind)) for kind in NARROW},
    **{f"type({kind})": methodcaller("type", kind) for kind in NARROW},
    **{f"type_as({kind})": methodcaller("type_as", torch.zeros(1, dtype=kind)) for kind in NARROW},
    "to(device, dtype)": lambda x: x.to("cpu", torch.int32),
    "type(text)": lambda x: x.type("torch.IntTensor"),
    "type(class)": methodcaller("type", torch.IntTensor),
    "as_tensor": lambda x: torch.as_tensor(x, dtype=torch.int32),
    "asarray": lambda x: torch.asarray(x, dtype=torch.int32),
    "tensor": lambda x: torch.tensor(x, dtype=torch.int32),
    "Tensor": lambda x: torch.Tensor(x),
    "new_tensor": lambda x: LEVELS.new_tensor(x),
    "copy_": lambda x: copied_into(torch.zeros(len(x), 4, dtype=torch.int32), x),
    "copy_ to bool": lambda x: copied_into(torch.zeros(len(x), 4, dtype=torch.bool), x),
    "indices": lambda x: torch.zeros(len(x), 4, dtype=torch.int32).index_copy_(0, torch.arange(len(x)), x),
    "put": lambda x: torch.zeros(len(x), 4, dtype=torch.int32).__setitem__(slice(None), x),
    "masked": lambda x: torch.zeros(len(x), 4, dtype=torch.int32).masked_scatter_(x.new_ones(4).bool(), x),
    "out=": lambda x: torch.add(x, 0, out=torch.zeros(len(x), 4, dtype=torch.float64)),
    "out= of round": lambda x: torch.floor(x, out=torch.zeros(len(x), 4)),
    "sum in integers": lambda x: x.sum(dim=1, keepdim=True, dtype=torch.int32),
    "mean in 16 bits": lambda x: x.mean(dim=1, keepdim=True, dtype=torch.bfloat16),
    "view": lambda x: x.view(torch.int32),
    "view by name": lambda x: x.view(dtype=torch.int16),
    "trunc": torch.trunc,
    "integer division": lambda x: x // 0.25,
    "numpy": lambda x: torch.from_numpy(x.numpy().astype("int32")),
    "a list": lambda x: torch.tensor(x.tolist()),
    "bits": torch.utils.dlpack.from_dlpack,
    "quantized": lambda x: torch.quantize_per_tensor(x, 0.25, 0, torch.quint8).dequantize(),
    "fake quantized": lambda x: torch.fake_quantize_per_tensor_affine(x, 0.25, 0, 0, 4),
}


@pytest.mark.filterwarnings("ignore:To copy construct")
@pytest.mark.parametrize("name", CASTS)
def test_a_cast_that_rounds_is_refused(name: str) -> None:
    x = Interval(torch.zeros(3, 4).double(), torch.ones(3, 4).double())
    with pytest.raises(NoRuleError):
        CASTS[name](x)
    with pytest.raises(NoRuleError):
        margin_bounds(Network(lambda x: CASTS[name](4 * x).float()), LABELS, pixels())


@pytest.mark.parametrize("name", [name for name in CASTS if name[:2] == "to" or name.endswith("()")])
def test_the_error_names_the_cast_and_the_type(name: str) -> None:
    x = Interval(torch.zeros(3, 4).double(), torch.ones(3, 4).double())
    with pytest.raises(NoRuleError, match=rf"^{name.split('(')[0]} .*casts to torch\."):
        CASTS[name](x)


@pytest.mark.parametrize("certifier", BOUNDING)
def test_no_certifier_proves_anything_behind_a_cast(certifier: str) -> None:
    model = Network(lambda x: (4 * x).to(LEVELS).float(), threshold=certifier == "step_splitting")
    certified, reason = answers(model, certifier)
    assert not certified.any()
    assert "to casts to torch.int32" in str(reason)


@pytest.mark.parametrize("like", [torch.zeros(1), torch.zeros(1).double()])
def test_casts_that_do_not_round_change_no_bounds(like: Tensor) -> None:
    x = pixels()
    for same in (x.to(like), x.to(like.dtype), x.type(like.dtype), x.type_as(like), x.to(x), x.to("cpu")):
        assert torch.equal(same.lower, x.lower)  # type: ignore[attr-defined]
        assert torch.equal(same.upper, x.upper)  # type: ignore[attr-defined]


def test_numbers_may_be_cast_to_the_type_of_an_interval() -> None:
    for numbers in (LEVELS.to(pixels()), LEVELS.type_as(pixels())):
        assert type(numbers) is Tensor
        assert numbers.dtype == torch.float32


def pixels(eps: float = 0.04) -> Interval:
    return Interval(IMAGES.double() - eps, IMAGES.double() + eps)


# Errors that the network catches


def by_value(x: Tensor) -> Tensor:
    with contextlib.suppress(Exception):
        if float(x[0].mean()) > 0.5:
            return 1 - x
    return x


def everything_caught(x: Tensor) -> Tensor:
    try:
        return x.erfinv()
    except BaseException:
        return x


def error_of_a_rule(x: Tensor) -> Tensor:
    try:
        return torch.div(x, 0.3, rounding_mode="trunc")
    except (TypeError, NoRuleError):
        return x


def wrong_shape(x: Tensor) -> Tensor:
    with contextlib.suppress(RuntimeError):
        return x + torch.ones(7)
    return x


def other_error(x: Tensor) -> Tensor:
    try:
        return x.sort().values
    except NoRuleError:
        raise ValueError("no answer") from None


def in_a_thread(x: Tensor) -> Tensor:
    found = [x]

    def work() -> None:
        with contextlib.suppress(NoRuleError):
            found.append(x.sin())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return found[-1]


def in_place(x: Tensor) -> Tensor:
    x = x * 1
    with contextlib.suppress(NoRuleError):
        x.exp_()
    return x


def below_torch(x: Tensor) -> Tensor:
    with contextlib.suppress(NoRuleError), torch._C.DisableTorchFunctionSubclass():
        return x + 0.7
    return x


def after_a_list(x: Tensor) -> Tensor:
    with contextlib.suppress(NoRuleError):
        return torch.cat([x[:, :2], x.sin()[:, :2]], dim=1)
    return x


def out_of_range(x: Tensor) -> Tensor:
    with contextlib.suppress(NoRuleError):
        return x * 1e30 * 1e5 * 1e-35
    return x


CATCHING = [by_value, everything_caught, error_of_a_rule, wrong_shape, other_error, in_a_thread, in_place]
CATCHING += [below_torch, after_a_list, out_of_range]


@pytest.mark.parametrize("function", CATCHING, ids=lambda function: function.__name__)
@pytest.mark.parametrize("certifier", BOUNDING)
def test_a_caught_error_counts(certifier: str, function: Callable[[Tensor], Tensor]) -> None:
    model = Network(function, threshold=certifier == "step_splitting")
    certified, reason = answers(model, certifier)
    assert not certified.any()
    assert reason is not None


@pytest.mark.parametrize("bounds", [margin_bounds, both_margin_bounds])
def test_a_caught_error_counts_in_public_bounds(bounds: Callable[..., Any]) -> None:
    labels = LABELS
    with pytest.raises(NoRuleError, match="erfinv"):
        bounds(Network(everything_caught), labels, pixels())
    with pytest.raises(NoRuleError, match="sort"):
        bounds(Network(other_error), labels, pixels())
    bounds(Network(lambda x: x), labels, pixels())


def test_a_caught_error_counts_in_a_training() -> None:
    step = TrainingStep(
        network=Network(everything_caught).train(),
        player="network",
        images=IMAGES,
        labels=LABELS,
        ids=torch.arange(4),
        progress=0.5,
        key=1,
    )
    with pytest.raises(NoRuleError, match="erfinv"):
        bound_loss(step, IMAGES - 0.1, IMAGES + 0.1)


def test_the_layer_that_catches_an_error_is_named() -> None:
    class Careful(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            with contextlib.suppress(NoRuleError):
                x = x.erfinv()
            return super().forward(x)

    model = nn.Sequential(nn.Flatten(), nn.Sequential(Careful(4, 2)))
    _, reason = answers(model.eval(), "ibp")
    assert reason == "layer Careful at 1.0: erfinv has no interval rule"


def test_an_error_stays_in_its_own_pass() -> None:
    x = pixels()
    with pytest.raises(NoRuleError):
        x.sin()
    labels = LABELS
    assert torch.isfinite(margin_bounds(Network(lambda x: x), labels, x)[:, 1]).all()


# Changes in place


def darker(x: Tensor) -> Tensor:
    return x.sub_(0.1)


def behind_autograd(x: Tensor) -> Tensor:
    if type(x) is Tensor:
        x.data.mul_(0.5)
        return x
    return x.mul_(0.5)


def some_images_only(x: Tensor) -> Tensor:
    return x.clamp_(max=0.7)


@pytest.mark.parametrize("function", [darker, behind_autograd, some_images_only])
@pytest.mark.parametrize("certifier", BOUNDING)
def test_a_model_that_changes_its_images_is_refused(
    certifier: str, function: Callable[[Tensor], Tensor]
) -> None:
    model, given = Network(function, threshold=certifier == "step_splitting"), IMAGES.clone()
    with pytest.raises(RobustlabError, match="in place"):
        units(Certifier)[certifier]().certify(model, given, torch.tensor([1, 1, 0, 0]), Linf(eps=0.01))
    assert torch.equal(given, IMAGES)


def test_bounds_of_a_model_that_changes_its_input_leave_the_callers_bounds() -> None:
    x, labels = pixels(), LABELS
    first = margin_bounds(Network(darker), labels, x)
    assert torch.equal(x.lower, pixels().lower)
    assert torch.equal(first, margin_bounds(Network(darker), labels, x))


# Messages


def test_the_error_names_what_the_user_wrote() -> None:
    x = pixels().flatten(1)
    for call, named in (
        (lambda: torch.div(x, 2, rounding_mode="floor"), "div .*rounding_mode='floor'"),
        (lambda: x.T, "^T has"),
        (lambda: x.H, "^H has"),
        (lambda: x.data, "^data has"),
        (lambda: setattr(x, "data", IMAGES), "^data has"),
    ):
        with pytest.raises(NoRuleError, match=named):
            call()


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_torchscript_is_named() -> None:
    model = Network(lambda x: x)
    plain = nn.Sequential(nn.Flatten(), model.fc).eval()
    traced: Any = torch.jit.trace(plain, IMAGES)  # type: ignore[no-untyped-call]
    for scripted in (torch.jit.script(plain), traced):
        _, reason = answers(scripted, "ibp")
        assert "TorchScript" in str(reason)
        assert "0x" not in str(reason)


@pytest.mark.parametrize("alpha", [2, -0.7, 0, 1, 3.5])
@pytest.mark.parametrize("name", ["add", "sub", "rsub", "add_", "sub_"])
def test_a_sum_with_a_factor(name: str, alpha: float) -> None:
    def function(x: Tensor) -> Tensor:
        x = x * 1
        home = Tensor if name.endswith("_") else torch
        result: Tensor = getattr(home, name)(x, F.linear(x, torch.eye(4)) * 0.3, alpha=alpha)
        return result

    points = seeding.uniform(3, torch.arange(4), (50, 1, 2, 2)) * 0.08 - 0.04
    model, labels = Network(function), LABELS
    outputs = torch.stack([model(IMAGES + points[:, k]) for k in range(50)])
    margins = (outputs[..., 0] - outputs[..., 1]).amin(dim=0)
    for bounds in both_margin_bounds(model, labels, pixels()):
        assert (bounds[:, 1] <= margins).all()
        assert (bounds[:, 1] >= margins - 0.5).all()


class Empty(nn.Module):
    """A network with a branch that has no values."""

    def __init__(self, branch: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.branch, self.fc = branch, nn.Linear(4, 2)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        logits: Tensor = self.fc(torch.cat([x, self.branch(x[:, :0])], dim=1))
        return logits


@pytest.mark.parametrize("branch", [torch.tanh, torch.sigmoid, torch.relu, lambda x: 2 * x + 1])
@pytest.mark.parametrize("certifier", [name for name in BOUNDING if name != "step_splitting"])
def test_a_branch_without_values_changes_nothing(certifier: str, branch: Callable[[Tensor], Tensor]) -> None:
    model = Empty(branch)
    found, why = answers(model, certifier)
    expected, _ = answers(nn.Sequential(nn.Flatten(), model.fc).eval(), certifier)
    assert why is None
    assert torch.equal(found, expected)


def test_a_refused_pass_leaves_no_bounds_in_memory() -> None:
    gc.collect()
    gc.disable()
    try:
        before = sum(type(thing) is Interval for thing in gc.get_objects())
        for _ in range(5):
            with contextlib.suppress(NoRuleError):
                margin_bounds(Network(lambda x: x.sort(dim=1).values), LABELS, pixels())
        after = sum(type(thing) is Interval for thing in gc.get_objects())
    finally:
        gc.enable()
    assert after == before
