"""The identity of models as other libraries leave them: bounded, and the same in every process."""

import ast
import subprocess
import sys
import time
import uuid
import warnings
import weakref
from array import array
from collections import deque
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import robustlab
from robustlab.core.errors import RunError
from robustlab.core.progress import Progress
from robustlab.evaluation.identity import describe
from robustlab.evaluation.subject import load_classifier


class Trainer:
    """Holds the module, as Lightning's does, and what is another one in every process."""

    def __init__(self, model: nn.Module) -> None:
        self.session, self.started = uuid.uuid4(), time.time()
        self.loops = [{"model": model, "optimized": list(model.parameters())}]


class Node:
    def __init__(self, number: int, parent: Any) -> None:
        self.number, self.parent, self.children = number, parent, [object()]


class Net(nn.Module):
    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.layer, self.scale = nn.Linear(4, 3), scale
        nn.init.ones_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(images.flatten(1)) * self.scale
        return logits


def with_trainer(scale: float = 1.0) -> nn.Module:
    model = Net(scale)
    trainer = Trainer(model)
    model.trainer, model.borrowed = trainer, weakref.proxy(model)  # type: ignore[assignment]
    return model


def with_registry(scale: float = 1.0) -> nn.Module:
    model, node = Net(scale), Node(0, None)
    everything: dict[int, Any] = {}
    for number in range(30_000):
        node = everything[number] = Node(number, [node, everything])
    model.registry, model.node = everything, node  # type: ignore[assignment]
    return model


def with_session(scale: float = 1.0) -> nn.Module:
    model = Net(scale)
    model.session, model.tag = uuid.uuid4().hex, str(uuid.uuid4())  # type: ignore[assignment]
    model.nodes = {f"{id(model)}_ib-0", f"{id(model.layer)}_ib-1"}  # type: ignore[assignment]
    model.order = {"b", "a", "c"}  # type: ignore[assignment]
    return model


def with_itself(scale: float = 1.0) -> nn.Module:
    model, loop = Net(scale), []  # type: ignore[var-annotated]
    loop += [loop, loop, model]
    model.loop = loop  # type: ignore[assignment]
    return model


KINDS = [with_trainer, with_registry, with_session, with_itself]


@pytest.mark.parametrize("make", KINDS)
def test_what_surrounds_a_model_does_not_belong_to_it(make: Any) -> None:
    model, started = make(), time.perf_counter()
    text = describe(model)
    assert time.perf_counter() - started < 5  # under one on a quiet machine
    assert len(text) < 10**6
    assert describe(make()) == text
    assert describe(make(2.0)) != text


def test_the_identity_is_the_same_in_every_process() -> None:
    here, kinds = Path(__file__).parent, [with_trainer, with_session, with_itself, Helped]
    names = ", ".join(kind.__name__ for kind in kinds)
    other = subprocess.run(
        [sys.executable, "-c", f"from {__name__} import *; print([describe(kind()) for kind in [{names}]])"],
        env={"PYTHONHASHSEED": "7", "PYTHONPATH": ":".join([str(here), *sys.path])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ast.literal_eval(other.stdout) == [describe(kind()) for kind in kinds]


class Helper:
    """The user's own object, of which a method is called."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def scaled(self, images: Tensor) -> Tensor:
        return images * self.factor + OFFSET


OFFSET = 1.0


class Helped(nn.Module):
    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.helper = Helper(factor)

    def forward(self, images: Tensor) -> Tensor:
        return self.helper.scaled(images).flatten(1)


class Decorated(Helped):
    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        return images * OFFSET


class Partly(Helped):
    @property
    def shift(self) -> float:
        return OFFSET

    def forward(self, images: Tensor) -> Tensor:
        return images * self.shift


@pytest.mark.parametrize("kind", [Helped, Decorated, Partly])
def test_what_a_forward_pass_reaches_decides_the_identity(
    kind: type[Helped], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_classifier(kind()).code
    assert load_classifier(kind()).code == first != load_classifier(kind(2.0)).code
    monkeypatch.setitem(globals(), "OFFSET", 2.0)
    changed = load_classifier(kind()).code
    assert changed != first
    monkeypatch.setattr(Helper, "scaled", lambda self, images: images - self.factor)
    assert load_classifier(kind()).code != changed


def test_the_order_of_parts_in_a_list_decides_the_identity() -> None:
    def code(*order: int) -> str:
        model = nn.Sequential(nn.ReLU(), nn.ReLU())
        model.order = [model[place] for place in order]  # type: ignore[assignment]
        return load_classifier(model).code

    assert code(0, 1) == code(0, 1) != code(1, 0)


def test_constants_of_a_script_decide_its_identity(tmp_path: Path) -> None:
    def code(scale: float) -> str:
        class Scaled(nn.Module):
            def forward(self, images: Tensor) -> Tensor:
                return images.flatten(1) * torch.tensor([scale, 1.0])

        traced: Any = torch.jit.trace(Scaled(), torch.rand(1, 1, 1, 2))  # type: ignore[no-untyped-call]
        traced.save(str(tmp_path / "net.pt"))
        return load_classifier(str(tmp_path / "net.pt")).code

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather export
        assert code(1.0) == code(1.0) != code(2.0)


class Hidden(nn.Module):
    """Goes by something that no look into it shows: an attribute of an object that holds it."""

    def __init__(self) -> None:
        super().__init__()
        self.owner: Any = Node(0, self)

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        logits: Tensor = torch.stack([flat.mean(1), flat.amax(1) - 0.5], dim=1) * self.owner.number
        return logits


class OfTheBatch(nn.Module):
    """A classifier that judges an image by the others of its batch."""

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1).mean(1)
        return torch.stack([flat - flat.mean(), torch.zeros_like(flat)], dim=1) * 50


@pytest.mark.parametrize("seed", [4, 7, 9, 10])
def test_a_model_of_the_batch_resumes(seed: int, tmp_path: Path) -> None:
    torch.manual_seed(seed)  # with the first three some successes are not confirmed
    images, labels = torch.rand(12, 1, 3, 3), torch.zeros(12).long()
    notes: list[str] = []
    progress = Progress()
    progress.note = notes.append  # type: ignore[method-assign, assignment]
    for _ in range(2):
        robustlab.evaluate(
            OfTheBatch().eval(),
            images=images,
            labels=labels,
            attacks="random_points(count=1)",
            checks=False,
            progress=progress,
            out=tmp_path,
        )
    assert not any("otherwise" in note for note in notes)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (array("d", [1.0]), array("d", [-1.0])),
        (bytearray(b"a"), bytearray(b"b")),
        (deque([1]), deque([2])),
        (123456789012345, 987654321012345),
        ("0f343b0931126a20f133d67c2b018a3b", "0f343b0931126a20f133d67c2b018a3c"),
    ],
    ids=["array", "bytearray", "deque", "15 digits", "md5"],
)
def test_a_changed_setting_of_any_kind_is_another_model(one: Any, other: Any) -> None:
    def code(value: Any) -> str:
        model = OfTheBatch()
        model.setting = value
        return load_classifier(model).code

    assert code(one) == code(one) != code(other)


def test_a_model_that_answers_otherwise_is_evaluated_again(tmp_path: Path) -> None:
    images, labels = torch.rand(12, 1, 3, 3), torch.zeros(12).long()
    notes: list[str] = []
    progress = Progress()
    progress.note = notes.append  # type: ignore[method-assign, assignment]

    def evaluated(number: int, *, overwrite: bool = False) -> tuple[str, int]:
        model = Hidden()
        model.owner.number = number
        given: dict[str, Any] = {
            "images": images,
            "labels": labels,
            "attacks": "fgsm",
            "checks": False,
            "certify": False,
        }
        found = robustlab.evaluate(
            model, out=tmp_path / "run", progress=progress, overwrite=overwrite, **given
        )
        return load_classifier(model).code, round(12 * found.results.clean.value)

    first, again = evaluated(1), evaluated(1)
    assert first == again
    assert notes == []
    with pytest.raises(RunError, match=r"answers the same images otherwise.*--overwrite"):
        evaluated(-1)
    assert evaluated(1) == first, "nothing was lost"
    code, right = evaluated(-1, overwrite=True)
    assert code == first[0]
    assert right == 12 - first[1]
    assert notes == ["the model answers the same images otherwise than in the earlier run: all is done again"]


class Sneaky(Hidden):
    """Answers always alike; what hides in the owner changes the gradient alone, or the logits by 1 %."""

    def __init__(self, *, of_gradient: bool) -> None:
        super().__init__()
        self.of_gradient = of_gradient

    def forward(self, images: Tensor) -> Tensor:
        sure = torch.stack([images.flatten(1).mean(1), images.flatten(1).amax(1) + 100], dim=1)
        moved: Tensor = (sure - sure.detach() if self.of_gradient else sure) * self.owner.number
        return sure.detach() + moved if self.of_gradient else moved


@pytest.mark.parametrize("of_gradient", [True, False])
def test_a_model_with_other_gradients_or_slightly_other_logits_is_another_one(
    of_gradient: bool, tmp_path: Path
) -> None:
    def evaluated(number: float) -> None:
        model = Sneaky(of_gradient=of_gradient)
        model.owner.number = number
        given: dict[str, Any] = {
            "attacks": "fgsm",
            "checks": False,
            "certify": False,
            "out": tmp_path / "run",
        }
        robustlab.evaluate(model, images=torch.rand(6, 1, 2, 2), labels=torch.ones(6).long(), **given)

    torch.manual_seed(0)
    evaluated(1)
    torch.manual_seed(0)
    evaluated(1)
    torch.manual_seed(0)
    with pytest.raises(RunError, match="answers the same images otherwise, or has other gradients"):
        evaluated(1.02)
