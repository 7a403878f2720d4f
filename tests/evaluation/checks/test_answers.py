"""Checks of what a classifier is given and gives: preprocessing, outputs, and whether there is a gradient."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy_defenses import WEAK, Detached, Noisy, Probabilities, Rounded, Wrapped, evaluated, look, trained

from robustlab.attacks import APGD, IfMasked, MarginSearch, RandomPoints, Restarts, Square
from robustlab.core import seeding
from robustlab.core.calling import UserCodeError
from robustlab.core.errors import RobustlabError
from robustlab.core.progress import Progress
from robustlab.data import Split, Splits
from robustlab.evaluation.coordinator import EvaluationOptions, execute
from robustlab.evaluation.preprocessing import usual
from robustlab.models.preprocessing import Preprocessed, Preprocessing
from robustlab.runs.evaluation import CheckRecord, Evaluation
from robustlab.threats import L0, Unbounded


@pytest.fixture(scope="module")
def network(digits: Splits) -> nn.Module:
    return trained(digits.train)


@pytest.fixture(scope="module")
def images(digits: Splits) -> Split:
    return digits.test


def asked(name: str, model: nn.Module, images: Split, **changes: Any) -> CheckRecord:
    """One check, without an attack."""
    return look(name, evaluated(model, images, WEAK, changes.pop("attacks", ()), **changes))


# Preprocessing


class Undone(Wrapped):
    """A network that was trained behind a preprocessing: what undoes it comes first in it."""

    def __init__(self, inner: nn.Module, wished: Preprocessing) -> None:
        super().__init__(inner)
        self.wished = wished

    def forward(self, x: Tensor) -> Tensor:
        images = (x * self.wished.std[0] + self.wished.mean[0]) / self.wished.scale
        logits: Tensor = self.inner(images)
        return logits


def test_a_preprocessing_left_outside_is_named(network: nn.Module, images: Split) -> None:
    tried = usual(images.pixels(slice(None)))
    assert len(tried) == 3
    for option, preprocessing in tried.items():
        model = Undone(network, preprocessing).eval()
        check = asked("preprocessing", model, images)
        assert check.grade == "fail", check
        assert check.found.endswith(f"evaluate with {option}")
        mended = Preprocessed(model, preprocessing).eval()
        assert asked("preprocessing", mended, images).grade == "pass"


class Turned(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x.mT)
        return logits


class Coloured(Wrapped):
    """Looks at the first of three channels."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x[:, :1])
        return logits


def test_an_order_left_outside_is_named(network: nn.Module, images: Split) -> None:
    check = asked("preprocessing", Turned(network).eval(), images)
    assert check.grade == "fail"
    assert "images.transpose(2, 3)" in check.found
    dark = torch.zeros_like(images.tensor())
    for order, grade in (((images.tensor(), dark, dark), "pass"), ((dark, dark, images.tensor()), "fail")):
        coloured = replace(images, images=torch.cat(order, dim=1))
        check = asked("preprocessing", Coloured(network).eval(), coloured)
        assert check.grade == grade, check
    assert "images.flip(1)" in check.found


def test_an_option_that_is_wrong_is_taken_back(network: nn.Module, images: Split) -> None:
    check = asked("preprocessing", Preprocessed(network, Preprocessing(scale=255.0)).eval(), images)
    assert check.grade == "fail"
    assert check.found.endswith("leave out --mean, --std and --scale")


def test_images_that_are_not_attacked_are_looked_at_too(network: nn.Module, images: Split) -> None:
    context = replace(evaluated(network, images.take(slice(20)), WEAK, ()), split=images)
    check = look("preprocessing", context)
    assert (check.n, check.grade) == (200, "pass")
    assert check.forwards == 200, "five errors are too few for another preprocessing to be better"


@pytest.mark.parametrize("seed", range(12))
def test_an_untrained_network_raises_no_flag(seed: int, images: Split) -> None:
    with seeding.isolated(seed):
        model = nn.Sequential(
            nn.Conv2d(1, 4, 5, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)
        ).eval()
    assert asked("preprocessing", model, images).grade == "pass"


class Picky(Wrapped):
    """Refuses what is no image."""

    def forward(self, x: Tensor) -> Tensor:
        if x.min() < 0 or x.max() > 1:
            raise RobustlabError("no image")
        logits: Tensor = self.inner(x)
        return logits


def test_a_classifier_may_refuse_other_forms(network: nn.Module, images: Split) -> None:
    check = asked("preprocessing", Picky(network).eval(), images)
    assert check.grade == "pass"
    assert "could not" not in check.found


class NoisyInput(Wrapped):
    """Other noise in each pass."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x + 0.5 * torch.randn_like(x))
        return logits


def test_a_scale_that_only_drowns_noise_is_no_preprocessing(network: nn.Module, images: Split) -> None:
    check = asked("preprocessing", NoisyInput(network).eval(), images)
    assert check.grade == "warn", check
    assert "from pass to pass" in check.found


# Outputs


class Sigmoids(Wrapped):
    def __init__(self, inner: nn.Module, scale: float = 2.0) -> None:
        super().__init__(inner)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x)
        return (self.scale * logits).sigmoid()


class Excluding(Wrapped):
    """Excludes a class, which is no fault."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x)
        return torch.cat([logits, torch.full_like(logits[:, :1], -torch.inf)], dim=1)


OUTPUTS: list[tuple[nn.Module | type[Wrapped], str, str]] = [
    (Sigmoids, "fail", "they look like a sigmoid for each class"),
    (Probabilities, "fail", "they look like a softmax"),
    (Excluding, "pass", "outputs from -inf"),
]


@pytest.mark.parametrize(("defense", "grade", "words"), OUTPUTS)
def test_outputs_are_named(
    defense: type[Wrapped], grade: str, words: str, network: nn.Module, images: Split
) -> None:
    check = asked("softmax-output", defense(network).eval(), images)
    assert (check.grade, words in check.found) == (grade, True), check


def test_scores_that_happen_to_lie_between_0_and_1_are_a_warning(network: nn.Module, images: Split) -> None:
    assert asked("softmax-output", Sigmoids(network, 0.01).eval(), images).grade == "warn"


def test_excluded_classes_raise_no_flag(network: nn.Module, images: Split) -> None:
    few, model = images.take(slice(60)), Excluding(network).eval()
    context = evaluated(model, few, classes=11)
    assert not context.found.no_answer
    for name in ("finite-outputs", "logit-scale", "randomness", "batch-dependence", "zero-gradients"):
        plain, check = look(name, evaluated(network, few)), look(name, context)
        assert check.grade == plain.grade == "pass", check
    noisy = evaluated(Excluding(Noisy(network)).eval(), few, classes=11)
    assert look("randomness", noisy).grade == "fail", "the excluded class hides how the others change"


# A gradient at all


class HardLabel(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            classes: Tensor = self.inner(x).argmax(dim=1)
        return nn.functional.one_hot(classes, 10).float()


class _OneWay(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        del ctx
        return x.clone()


class Stubborn(Wrapped):
    """Its backward pass raises."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(_OneWay.apply(x))
        return logits


class Constant(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return torch.arange(10.0).expand(len(x), 10)


class Flat(Wrapped):
    """A constant that has a path to its input."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x)
        return 0 * logits + torch.arange(10.0)


class Steep(Wrapped):
    """Its cross-entropy underflows everywhere."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x)
        return 1e6 * logits


class Sparse(Wrapped):
    """Dead where the image's first row is dark: on all clean images."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x)
        alive = x[:, :, 0].amax(dim=(1, 2)) > 0.01
        return torch.where(alive[:, None], logits, logits.detach())


GRADIENTS: list[tuple[type[Wrapped], str, str]] = [
    (HardLabel, "fail", "cut off from the input"),
    (Detached, "fail", "cut off from the input"),
    (Rounded, "fail", "zero at all 16 images tried"),
    (Stubborn, "fail", "to ask for one fails"),
    (Constant, "pass", ""),
    (Flat, "pass", ""),
    (Steep, "pass", ""),
    (Noisy, "pass", ""),
    (Probabilities, "pass", ""),
    (Sparse, "pass", ""),
]


@pytest.mark.parametrize(("defense", "grade", "words"), GRADIENTS)
def test_a_missing_gradient_is_told(
    defense: type[Wrapped], grade: str, words: str, network: nn.Module, images: Split
) -> None:
    context = replace(evaluated(defense(network).eval(), images, WEAK, ()), attacks={"apgd()": APGD()})
    check = look("no-gradient", context)
    assert (check.grade, words in check.found) == (grade, True), check
    if grade == "fail":
        assert "apgd() can find nothing" in check.found
        assert "square" in check.found


def test_without_attacks_by_gradient_it_is_a_warning(network: nn.Module, images: Split) -> None:
    context = evaluated(Detached(network).eval(), images, WEAK, ())
    for attack in (Square(), Restarts(attack=RandomPoints()), IfMasked(attack=Square()), MarginSearch()):
        check = look("no-gradient", replace(context, attacks={"": attack}))
        assert check.grade == "warn"
        assert "the attacks asked for need none" in check.found
    unbounded = replace(context, runner=replace(context.runner, threat=Unbounded()))
    assert look("no-gradient", unbounded).grade == "skip"
    few = look("no-gradient", replace(context, runner=replace(context.runner, threat=L0(eps=3))))
    assert "random_points, sparse_rs" in few.found
    assert "square" not in few.found


class Notes(Progress):
    def __init__(self) -> None:
        self.reported: list[str] = []

    def note(self, message: str) -> None:
        self.reported.append(message)

    def stage(self, name: str, state: str, seconds: float = 0.0, remark: str = "") -> None:
        del seconds, remark
        self.reported.append(f"{name} {state}")


@pytest.mark.parametrize("checks", [True, False])
def test_it_is_told_before_anything_else_and_whatever_the_options(
    checks: bool, network: nn.Module, images: Split, tmp_path: Path
) -> None:
    def run(model: nn.Module) -> tuple[Evaluation, list[str]]:
        progress, few = Notes(), images.take(slice(20))
        given: dict[str, Any] = {"attacks": "pgd(steps=2)", "checks": checks, "certify": False}
        options = EvaluationOptions(
            model=model, dataset=few, threat="linf(eps=0.05)", out=str(tmp_path), **given
        )
        return execute(options, progress).results, progress.reported

    model = HardLabel(network).eval()
    results, reported = run(model)
    assert reported[0].startswith("no gradient at all: the output is cut off")
    assert "no-gradient" in {check.id for check in results.red_flags}
    again, reported = run(model)
    assert again.checks == results.checks
    assert reported[0].startswith("no gradient at all"), "a run that goes on says so too"


class Viewing(Wrapped):
    """Takes its pixels by `view`, which needs them in their usual order in memory."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x.mT.contiguous().view(len(x), -1))
        return logits


def test_transposed_images_reach_a_network_that_views_them(images: Split) -> None:
    with seeding.isolated(0):
        linear = nn.Linear(images.tensor()[0].numel(), 10)
    labels = linear(images.pixels(slice(None)).flatten(1)).argmax(dim=1)
    found = asked("preprocessing", Viewing(linear).eval(), replace(images, labels=labels))
    assert found.grade == "fail"
    assert "transposed" in found.found


class QuittingBackward(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad:
            raise SystemExit(0)
        logits: Tensor = self.inner(x)
        return logits


def test_a_model_that_quits_where_a_gradient_is_asked_for(network: nn.Module, images: Split) -> None:
    with pytest.raises(UserCodeError, match="SystemExit"):
        asked("no-gradient", QuittingBackward(network).eval(), images)
