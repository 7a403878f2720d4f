"""An evaluation asks every registered certifier: robustlab's first, then those of other packages."""

import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustlab.api import evaluate
from robustlab.certify import Certifier, NoRuleError
from robustlab.core.calling import UserCodeError
from robustlab.core.errors import RobustlabError, SpecError
from robustlab.core.progress import Progress
from robustlab.core.spec import register
from robustlab.threats import L2, Linf, ThreatModel

N, EPS = 40, 0.1
SLACK = 1e-6
IMAGES = torch.linspace(0.2, 0.8, N)[:, None, None, None].expand(N, 1, 4, 5).contiguous()


class Sorted(nn.Module):
    """Classifies by the mean of the sorted pixels, which interval bounds do not know."""

    def forward(self, images: Tensor) -> Tensor:
        middle = images.flatten(1).sort(dim=1).values.mean(dim=1) - 0.5
        return torch.stack([middle, -middle], dim=1)


class Notes(Progress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


pytestmark = pytest.mark.usefixtures("own_registry")


def mean_margin(model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> Tensor:
    """Return (N,) how far the mean is from the border, beyond eps: it moves by at most eps within Linf."""
    if not isinstance(getattr(model, "inner", model), Sorted):
        raise NoRuleError("this is not a Sorted")
    del labels
    return (images.flatten(1).mean(dim=1) - 0.5).abs() - threat.eps - SLACK


def mean_certifier() -> type[Certifier]:
    @register("mean")
    class Mean(Certifier):
        """Knows one model alone."""

        norms = ("linf",)

        def prove(self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> Tensor:
            return mean_margin(model, images, labels, threat) > 0

    return Mean


def run(folder: Path, model: nn.Module, **options: Any) -> tuple[Any, list[str]]:
    notes = Notes()
    given: dict[str, Any] = {"attacks": "pgd(steps=2)", "checks": False, "precision": "fp32"}
    given |= {"threat": f"linf(eps={EPS})", "progress": notes, "out": folder}
    labels = model(IMAGES).argmax(dim=1)
    return evaluate(model, images=IMAGES, labels=labels, **given | options).results, notes.notes


def certified(results: Any) -> int | None:
    return None if results.certified is None else round(results.certified.value * N)


def test_a_certifier_of_another_package_proves_what_intervals_can_not(tmp_path: Path) -> None:
    results, _ = run(tmp_path / "before", Sorted().eval())
    assert results.certified is None
    mean_certifier()
    results, notes = run(tmp_path / "after", Sorted().eval())
    far = int(((torch.linspace(0.2, 0.8, N) - 0.5).abs() > EPS + 1e-5).sum())
    assert certified(results) == far
    assert 0 < far < N
    assert results.rows[0].attacked == N - far, "a proven image needs no attack"
    assert not [note for note in notes if "certifier" in note]
    other, _ = run(tmp_path / "l2", Sorted().eval(), threat="l2(eps=0.1)")
    assert other.certified is None, "it does not know this threat model"


def test_robustlabs_own_is_asked_first(tmp_path: Path) -> None:
    asked: list[str] = []

    @register("aaa")
    class First(Certifier):
        """Would be the first by name."""

        norms = ("linf",)

        def prove(self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> Tensor:
            asked.append("aaa")
            del model, labels, threat
            return torch.zeros(len(images), dtype=torch.bool)

    linear = nn.Sequential(nn.Flatten(), nn.Linear(20, 2)).eval()
    results, _ = run(tmp_path, linear)
    assert results.certified is not None
    assert asked == []


def test_the_certifier_that_was_chosen_is_used(tmp_path: Path) -> None:
    first, second = nn.Linear(20, 8), nn.Linear(8, 2)
    layers = nn.Sequential(nn.Flatten(), first, nn.ReLU(), second).eval()
    with torch.no_grad():
        for layer in (first, second):
            layer.weight.copy_(torch.linspace(-1, 1.3, layer.weight.numel()).view_as(layer.weight))
            layer.bias.copy_(-layer.weight.sum(dim=1) / 2)
    found, crown = (run(tmp_path / name, layers, certifier=name)[0] for name in ("ibp", "crown"))
    assert (certified(found) or 0) <= (certified(crown) or 0)
    assert certified(crown)
    # Ways back are counted, and a stage of another certifier is not taken from the ledger.
    again, notes = run(tmp_path / "ibp", layers, certifier="crown")
    assert certified(again) == certified(crown)
    assert not notes or not [note for note in notes if "certifier" in note]
    with pytest.raises(RobustlabError, match="certifier crown proves within linf; the threat model is l2"):
        run(tmp_path / "l2", layers, certifier="crown", threat="l2(eps=0.1)")
    with pytest.raises(SpecError, match="crwon"):
        run(tmp_path / "typo", layers, certifier="crwon")


def test_one_that_was_chosen_and_can_not_bound_the_model_says_why(tmp_path: Path) -> None:
    mean_certifier()
    results, notes = run(tmp_path, Sorted().eval(), certifier="crown")
    assert results.certified is None
    (note,) = (note for note in notes if "certifier" in note)
    assert note == "the certifier crown can prove nothing: layer Sorted: sort has no interval rule"


def failing(name: str, result: Any) -> None:
    @register(name)
    class Failing(Certifier):
        """Fails."""

        norms = ("linf",)

        def prove(self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> Tensor:
            del model, images, labels, threat
            if isinstance(result, BaseException):
                raise result
            return result  # type: ignore[no-any-return]


FAILURES: dict[str, tuple[Any, str]] = {
    "an error": (ValueError("no luck"), "ValueError: no luck"),
    "margins": (torch.tensor([-1.0]), r"prove must return bool \(1,\), found torch.float32 \(1,\)"),
    "another shape": (torch.tensor([[True]]), r"found torch.bool \(1, 1\)"),
    "nothing": (None, "found a NoneType|found None|found a none"),
}


@pytest.mark.parametrize(("result", "said"), FAILURES.values(), ids=FAILURES)
def test_one_that_fails_is_left_out_and_named(result: Any, said: str, tmp_path: Path) -> None:
    failing("broken", result)
    mean_certifier()
    results, notes = run(tmp_path, Sorted().eval())
    (note,) = (note for note in notes if "certifier" in note)
    assert note.startswith("the certifier broken is left out: ")
    assert re.search(said, note), note
    assert certified(results), "the next one proved"


def test_one_that_does_not_know_the_model_says_nothing(tmp_path: Path) -> None:
    failing("modest", NoRuleError("unknown"))
    results, notes = run(tmp_path, Sorted().eval())
    assert results.certified is None
    assert not [note for note in notes if "certifier" in note]


def test_one_that_quits_ends_the_evaluation(tmp_path: Path) -> None:
    failing("quitting", SystemExit(3))
    with pytest.raises(UserCodeError, match="quitting failed: SystemExit: 3"):
        run(tmp_path, Sorted().eval())


def test_one_that_can_not_be_made_is_left_out(tmp_path: Path) -> None:
    @register("needy")
    class Needy(Certifier):
        """Needs an argument."""

        norms = ("linf",)
        bound: float

        def prove(self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> Tensor:
            raise NotImplementedError

    _, notes = run(tmp_path, Sorted().eval())
    assert "the certifier needy is left out: needy needs bound: needy(bound=...)" in notes


def test_proofs_are_kept_until_the_code_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def started() -> int:
        db = sqlite3.connect(tmp_path / "ledger.sqlite")
        try:
            names = [name for (name,) in db.execute("SELECT name FROM events WHERE event = 'started'")]
        finally:
            db.close()
        return sum(name.startswith("mean() of") for name in names)

    mean_certifier()
    before, _ = run(tmp_path, Sorted().eval())
    run(tmp_path, Sorted().eval())
    assert started() == 1

    monkeypatch.setitem(globals(), "SLACK", 1.0)
    changed, _ = run(tmp_path, Sorted().eval())
    assert started() == 2
    assert certified(before)
    assert certified(changed) == 0


def test_the_look_at_a_model_is_within_the_certifiers_own_norm() -> None:
    seen: list[ThreatModel] = []

    @register("euclidean")
    class Euclidean(Certifier):
        """For L2."""

        norms = ("l2",)

        def prove(self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> Tensor:
            del model, images
            seen.append(threat)
            return torch.ones_like(labels, dtype=torch.bool)

    model = Sorted().eval()
    assert Euclidean().explain(model, IMAGES) is None
    assert seen == [L2(eps=0.0)]
    labels = model(IMAGES).argmax(dim=1)
    assert Euclidean().certify(model, IMAGES, labels, L2(eps=0.1)).all()
    with pytest.raises(RobustlabError, match="euclidean proves within l2"):
        Euclidean().certify(model, IMAGES, labels, Linf(eps=0.1))
