"""What the wrapper promises for every certifier."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_networks import Case, cases
from torch import Tensor, nn

from hostile_settings import TOGETHER, settings
from robustlab.certify import IBP, Certifier
from robustlab.core import seeding
from robustlab.core.calling import UserCodeError
from robustlab.core.errors import RobustlabError
from robustlab.core.spec import parse, units
from robustlab.models import Normalize
from robustlab.threats import L0, L1, L2, Linf, ThreatModel

N = 40
THREATS: list[ThreatModel] = [Linf(eps=0.02), L2(eps=0.1), L1(eps=0.2), L0(eps=1)]


def mlp() -> nn.Module:
    with seeding.isolated(2):
        first, last = nn.Linear(16, 12, bias=False), nn.Linear(12, 3)
    return nn.Sequential(Normalize(), nn.Flatten(), first, nn.Tanh(), nn.Dropout(0.5), last).eval()


@pytest.fixture
def images() -> Tensor:
    return seeding.uniform(4, torch.arange(N), (1, 4, 4))


@pytest.fixture
def labels(images: Tensor) -> Tensor:
    """The classes that the network gives, every fourth one changed."""
    with torch.no_grad():
        right = mlp()(images).argmax(dim=1)
    return torch.where(torch.arange(N) % 4 == 0, (right + 1) % 3, right)


def test_the_unit() -> None:
    assert set(units(Certifier)) == {
        "alpha_crown",
        "auto",
        "branch_and_bound",
        "crown",
        "crown_ibp",
        "ibp",
        "nearest_prototype",
        "smoothing",
        "step_splitting",
    }
    assert repr(parse(Certifier, "ibp")) == "ibp()"


def test_eps_0_proves_what_is_classified_correctly(images: Tensor, labels: Tensor) -> None:
    with torch.no_grad():
        right = mlp()(images).argmax(dim=1) == labels
    for threat in (Linf(eps=0.0), L2(eps=0.0), L1(eps=0.0), L0(eps=0)):
        assert torch.equal(IBP().certify(mlp(), images, labels, threat), right)


@pytest.mark.parametrize("names", TOGETHER.values(), ids=list(TOGETHER))
def test_what_the_caller_has_set_does_not_matter(names: list[str], images: Tensor, labels: Tensor) -> None:
    model = mlp()
    plain = [IBP().certify(model, images, labels, threat, batch_size=7) for threat in THREATS]
    assert plain[0].any()
    assert not plain[0].all()
    with settings(*names):
        inside = [IBP().certify(model, images, labels, threat, batch_size=7) for threat in THREATS]
        assert IBP().explain(model, images) is None
    assert all(torch.equal(one, other) for one, other in zip(plain, inside, strict=True))


@pytest.mark.parametrize("bounded", [False, True])
def test_a_model_that_quits(images: Tensor, labels: Tensor, bounded: bool) -> None:
    class Quitting(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            if bounded == (type(images) is not Tensor):
                raise SystemExit(0)
            return images.flatten(1)[:, :3]

    with pytest.raises(UserCodeError, match=r"the model failed .*SystemExit: 0"):
        IBP().certify(Quitting().eval(), images, labels, THREATS[0])


def test_eps_0_needs_no_allowance() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2)).eval()
    model.load_state_dict({"1.weight": torch.tensor([[1.0], [0.0]]), "1.bias": torch.tensor([0.0, 0.5])})
    image, label = torch.full((1, 1, 1, 1), 0.5 + 2**-20), torch.zeros(1, dtype=torch.int64)
    assert IBP().certify(model, image, label, Linf(eps=0.0)).all()
    assert not IBP().certify(model, image, label, Linf(eps=2**-20)).any()


@given(case=cases(images=8), kind=st.sampled_from([Linf, L2, L1]))
def test_less_is_proven_as_eps_grows(case: Case, kind: Any) -> None:
    before = torch.ones(8, dtype=torch.bool)
    for eps in (0.0, 1e-3, 0.01, 0.1):
        certified = IBP().certify(case.model, case.images, case.labels, kind(eps=eps))
        assert not (certified & ~before).any()
        before = certified


@pytest.mark.parametrize("threat", THREATS, ids=repr)
def test_only_what_is_classified_correctly_is_proven(
    threat: ThreatModel, images: Tensor, labels: Tensor
) -> None:
    with torch.no_grad():
        right = mlp()(images).argmax(dim=1) == labels
    certified = IBP().certify(mlp(), images, labels, threat)
    assert not certified[~right].any()
    assert certified.sum() < right.sum()
    assert certified.any() or threat.name == "l0"  # one of 16 pixels decides all there


@pytest.mark.parametrize("threat", THREATS, ids=repr)
def test_batch_size_and_order_do_not_matter(threat: ThreatModel, images: Tensor, labels: Tensor) -> None:
    model = mlp()
    whole = IBP().certify(model, images, labels, threat)
    for size in (1, 7, 40):
        assert torch.equal(whole, IBP().certify(model, images, labels, threat, batch_size=size))
    order = torch.randperm(N, generator=torch.Generator().manual_seed(1))[:25]
    part = IBP().certify(model, images[order], labels[order], threat, batch_size=10)
    assert torch.equal(whole[order], part)


def test_nothing_but_the_result_changes(images: Tensor, labels: Tensor) -> None:
    model = mlp()
    first, *_ = model.parameters()
    first.requires_grad_(False)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    inputs, state = (images.clone(), labels.clone()), torch.get_rng_state()
    certified = IBP().certify(model, images, labels, Linf(eps=0.003))
    assert certified.shape == (N,)
    assert certified.dtype == torch.bool
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert [p.requires_grad for p in model.parameters()] == [p is not first for p in model.parameters()]
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, torch.ones_like(parameter))
    assert torch.equal(images, inputs[0])
    assert torch.equal(labels, inputs[1])
    assert torch.is_grad_enabled()


def test_progress_is_told_in_images(images: Tensor, labels: Tensor) -> None:
    for model in (mlp(), nn.Sequential(mlp(), nn.Softmax(dim=1)).eval()):
        told: list[int] = []
        IBP().certify(model, images, labels, Linf(eps=0.1), batch_size=15, on_batch=told.append)
        assert told == [15, 15, 10]


def test_no_images_are_no_work() -> None:
    told: list[int] = []
    none = torch.zeros(0, dtype=torch.int64)
    certified = IBP().certify(mlp(), torch.zeros(0, 1, 4, 4), none, Linf(eps=0.1), on_batch=told.append)
    assert certified.shape == (0,)
    assert told == []


# Models that are not understood


def test_an_unknown_layer_proves_nothing_and_is_named(images: Tensor, labels: Tensor) -> None:
    inner = nn.Sequential(nn.Linear(16, 8), nn.GELU(), nn.Linear(8, 3))
    model = nn.Sequential(nn.Flatten(), inner).eval()
    assert not IBP().certify(model, images, labels, Linf(eps=1e-6)).any()
    assert IBP().explain(model, images) == "layer GELU at 1.1: gelu has no interval rule"
    assert IBP().explain(mlp(), images) is None


class Odd(nn.Module):
    """A classifier that works on images and does something peculiar on the way."""

    def __init__(self, peculiar: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.peculiar, self.fc = peculiar, nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.peculiar(x.flatten(1)))
        return logits


def by_value(x: Tensor) -> Tensor:
    return x if x.mean() > 0.5 else -x


def overwritten_view(x: Tensor) -> Tensor:
    x = x * 1
    view = x.view(-1, 4, 4)
    x *= 2
    return view.flatten(1) + x


def into_a_buffer(x: Tensor) -> Tensor:
    buffer = torch.zeros(len(x), 16)
    buffer[:, 1:] = x[:, 1:]
    return buffer


def into_a_result(x: Tensor) -> Tensor:
    buffer = torch.zeros(len(x), 16)
    torch.add(x, 1, out=buffer)
    return buffer


def added_to_numbers(x: Tensor) -> Tensor:
    buffer = torch.zeros(len(x), 16)
    buffer += x
    return buffer


def in_autocast(x: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return (x @ torch.eye(16)).float()


def raises(x: Tensor) -> Tensor:
    if type(x) is not Tensor:
        raise ValueError("what is this?\nsecond line")
    return x


def statistics_of_the_batch(x: Tensor) -> Tensor:
    layer = nn.BatchNorm2d(1, track_running_stats=False).eval()
    normalized: Tensor = layer(x.view(-1, 1, 4, 4))
    return normalized.flatten(1)


def from_a_generator_of_its_own(x: Tensor) -> Tensor:
    return x + torch.rand(16, generator=OWN)


OWN = torch.Generator().manual_seed(0)
ODD: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "control flow on values": (by_value, "gt has"),
    "a view written into": (overwritten_view, "through another view"),
    "a buffer written into": (into_a_buffer, "__setitem__"),
    "out=": (into_a_result, "add"),
    "numbers +=": (added_to_numbers, "writes bounds into a tensor of numbers"),
    "16 bits": (lambda x: x.bfloat16().float(), "bfloat16"),
    "16 bits by to": (lambda x: x.to(torch.float16).float(), "float16"),
    "autocast": (in_autocast, "autocast"),
    "numpy": (lambda x: torch.from_numpy(x.numpy()), "numpy"),
    "data": (lambda x: x.data * 1, "has no interval rule"),
    "softmax": (lambda x: x.softmax(dim=1), "softmax"),
    "bits": (lambda x: x.view(torch.int32).view(torch.float32), "view"),
    "its own error": (raises, "ValueError: what is this?"),
    "a falling activation": (lambda x: nn.functional.leaky_relu(x, -0.5), "leaky_relu is not increasing"),
    "a softplus with a step": (lambda x: nn.functional.softplus(x, 1.0, 1.0), "softplus is not increasing"),
    "a falling sigmoid": (lambda x: nn.functional.celu(x, -1.0), "celu is not increasing"),
    "a weight from the image": (lambda x: x @ x[0].expand(16, 16), "fixed matrices"),
    "a divisor from the image": (lambda x: 1 / (x + 1), "rdiv|reciprocal|div"),
    "batch statistics": (statistics_of_the_batch, "other images of a batch"),
    "decimals": (lambda x: x.round(decimals=1), "round"),
    "a random layer": (nn.functional.dropout, "random"),
    "its own generator": (from_a_generator_of_its_own, "from call to call"),
    "the batch's mean": (lambda x: x - x.mean(dim=0), "other images of a batch"),
    "random numbers": (lambda x: x + torch.randn(16), "random numbers"),
}


@pytest.mark.parametrize("name", ODD)
def test_what_bounds_cannot_follow_is_refused(name: str, images: Tensor, labels: Tensor) -> None:
    peculiar, reason = ODD[name]
    model = Odd(peculiar).eval()
    with torch.no_grad():
        assert model(images).shape == (N, 3)
    assert not IBP().certify(model, images, labels, Linf(eps=1e-6)).any()
    explained = IBP().explain(model, images)
    assert explained is not None
    assert any(part in explained for part in reason.split("|")), explained
    assert "\n" not in explained


def test_a_model_that_refuses_the_negative_of_an_image_is_refused(images: Tensor, labels: Tensor) -> None:
    def dark(x: Tensor) -> Tensor:
        if x.sum() > 4 * len(x):
            raise ValueError("too bright")
        return x

    model = Odd(dark).eval()
    assert not IBP().certify(model, images * 0.1, labels, Linf(eps=1e-6)).any()
    assert IBP().explain(model, images * 0.1) == "layer Odd: ValueError: too bright"


def test_logits_that_do_not_depend_on_the_image_are_refused(images: Tensor) -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.eye(3)[:1].expand(len(x), 3)

    assert "depends on the image" in str(IBP().explain(Constant(), images))


def test_hooks_and_overridden_layers_are_followed(images: Tensor) -> None:
    class Doubled(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002
            return 2 * super().forward(input)

    with seeding.isolated(3):
        plain = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
        doubled = nn.Sequential(nn.Flatten(), Doubled(16, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    doubled.load_state_dict(plain.state_dict())
    with torch.no_grad():
        right = doubled(images).argmax(dim=1)
    expected = IBP().margins(doubled, images, right, Linf(eps=0.01))
    assert not torch.allclose(expected, IBP().margins(plain, images, right, Linf(eps=0.01)))
    handle = plain[1].register_forward_hook(lambda _module, _inputs, output: 2 * output)
    assert torch.allclose(expected, IBP().margins(plain, images, right, Linf(eps=0.01)))
    handle.remove()
    scaled = nn.utils.parametrizations.weight_norm(plain[1])
    with torch.no_grad():
        scaled.parametrizations.weight.original0.mul_(2)
        scaled.bias.mul_(2)
    assert torch.allclose(expected, IBP().margins(plain, images, right, Linf(eps=0.01)), atol=1e-4)


def test_the_last_layers_input_may_be_overwritten_afterwards(images: Tensor) -> None:
    class Careless(nn.Module):
        def __init__(self, *, careless: bool) -> None:
            super().__init__()
            self.fc, self.careless = nn.Linear(16, 3), careless

        def forward(self, x: Tensor) -> Tensor:
            x = x.flatten(1) * 2 - 1
            logits: Tensor = self.fc(x)
            if self.careless:
                x.mul_(0)
            return logits

    careful = Careless(careless=False).eval()
    careless = Careless(careless=True).eval()
    careless.load_state_dict(careful.state_dict())
    labels = torch.arange(N) % 3
    expected = IBP().margins(careful, images, labels, Linf(eps=0.1))
    assert torch.equal(expected, IBP().margins(careless, images, labels, Linf(eps=0.1)))


# Bad input


def refused(message: str, images: Tensor, labels: Tensor, **changes: Any) -> None:
    call: dict[str, Any] = {"model": mlp(), "images": images, "labels": labels, "threat": Linf(eps=0.1)}
    call |= changes
    with pytest.raises(RobustlabError, match=message):
        IBP().certify(**call)


def test_bad_input_is_refused(images: Tensor, labels: Tensor) -> None:
    refused("train mode", images, labels, model=mlp().train())
    refused(r"images must be .* found torch.int64", images.long(), labels)
    refused(r"found torch.float32 of shape \(40, 16\)", images.flatten(1), labels)
    refused(r"images must lie in \[0, 1\], found -0.998 to", images * 2 - 1, labels)
    refused("contain NaN", images.masked_fill(images > 0.9, torch.nan), labels)
    refused(r"labels must be integers of shape \(40,\), found .*\(39,\)", images, labels[1:])
    refused("labels must be integers", images, labels.float())
    refused("labels must not be negative, found -1", images, labels - 1)
    refused("outputs 3 logits, but labels go up to 3", images, labels + 1)
    flat = nn.Identity().eval()
    refused(r"logits of shape \(N, K\), found \(2, 1, 4, 4\)", images, labels, model=flat)


def test_an_unknown_threat_model_is_refused(images: Tensor, labels: Tensor) -> None:
    class Wasserstein(Linf):
        name = "wasserstein"

    with torch.no_grad():
        wrong = (mlp()(images).argmax(dim=1) + 1) % 3
    for some in (labels, wrong):
        refused("ibp proves within linf, l2, l1, l0; ", images, some, threat=Wasserstein(eps=0.1))


def test_logits_that_are_not_finite_prove_nothing(images: Tensor, labels: Tensor) -> None:
    model = mlp()
    with torch.no_grad():
        next(model.parameters())[0, 0] = torch.nan
    assert not IBP().certify(model, images, labels, Linf(eps=0.0)).any()
    assert not IBP().certify(model, images, labels, Linf(eps=0.1)).any()
