"""``robustlab certify``: proofs without attacks, image by image."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import robustlab
from robustlab.certify import AutoCertifier
from robustlab.cli.main import app
from robustlab.core import seeding
from robustlab.core.errors import RobustlabError
from robustlab.threats import Linf

IMAGES, LABELS = seeding.uniform(4, torch.arange(40), (1, 4, 4)), torch.arange(40) % 3
THREAT = "linf(eps=0.02)"


class Sorted(nn.Module):
    """A classifier with a layer that no certifier can bound."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(16, 3)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(images.flatten(1).sort(dim=1).values)
        return logits


@pytest.fixture
def model(make_linear: Callable[..., nn.Module]) -> nn.Module:
    return make_linear(classes=3, shape=(1, 4, 4), seed=1)


def certify(model: nn.Module, folder: Path, **given: Any) -> robustlab.EvaluationRun:
    with torch.no_grad():
        labels = torch.where(torch.arange(40) < 36, model(IMAGES).argmax(dim=1), (LABELS + 1) % 3)
    options: dict[str, Any] = {"images": IMAGES, "labels": labels, "threat": THREAT} | given
    return robustlab.certify_model(model, out=folder, **options)


def states(run: robustlab.EvaluationRun) -> dict[int, str]:
    with (run.folder / "images.csv").open() as file:
        return {int(row["image_id"]): row["state"] for row in csv.DictReader(file)}


def test_each_image_is_certified_undecided_or_misclassified(model: nn.Module, tmp_path: Path) -> None:
    run = certify(model, tmp_path / "run")
    results, found = run.results, states(run)
    with torch.no_grad():
        labels = model(IMAGES).argmax(dim=1)
    proven = AutoCertifier().certify(model, IMAGES[:36], labels[:36], Linf(eps=0.02)).tolist()
    assert 0 < sum(proven) < 36, "both answers occur"
    assert [found[i] == "certified" for i in range(36)] == proven
    assert {found[i] for i in range(36) if not proven[i]} == {"undecided"}
    assert results.rows == []
    assert results.proofs_only
    assert results.certified is not None
    assert round(results.certified.value * 40) == list(found.values()).count("certified")
    assert results.robust == results.clean
    assert results.certificates is not None
    assert results.certificates.images == 40 - list(found.values()).count("misclassified")
    assert results.certificates.forwards >= 2 * results.certificates.images
    page = (run.folder / "report.html").read_text()
    assert "Certified accuracy" in page
    assert "Robust accuracy, worst case" not in page
    assert "is proven to be at least" in results.verdict


def test_a_resumed_run_keeps_its_proofs_and_more_images_need_only_the_new_ones(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = states(certify(model, tmp_path / "run", n=20))
    looked: list[int] = []
    before = AutoCertifier.prove

    def prove(self: Any, model: nn.Module, images: Tensor, labels: Tensor, threat: Any) -> Any:
        if threat.eps > 0:
            looked.extend(range(len(images)))
        return before(self, model, images, labels, threat)

    monkeypatch.setattr(AutoCertifier, "prove", prove)
    whole = certify(model, tmp_path / "run", n=40)
    assert {i: state for i, state in states(whole).items() if i < 20} == first
    once = 2  # the first image is looked at before the folder is opened, and when the work begins
    assert len(looked) - once <= 20


def test_an_evaluation_does_not_replace_the_proofs(model: nn.Module, tmp_path: Path) -> None:
    certify(model, tmp_path / "run")
    with torch.no_grad():
        labels = model(IMAGES).argmax(dim=1)
    with pytest.raises(RobustlabError, match="certificates of"):
        robustlab.evaluate(
            model, images=IMAGES, labels=labels, threat=THREAT, out=tmp_path / "run", overwrite=True
        )


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "layer Sorted: sort has no interval rule"),
        ({"certifier": "crown"}, "layer Sorted: sort has no interval rule"),
        ({"threat": "unbounded"}, "auto proves within linf, l2, l1, l0"),
        ({"certifier": "crown", "threat": "l2(eps=1)"}, "crown proves within linf; the threat model is l2"),
    ],
)
def test_what_can_not_be_certified_is_an_error_that_leaves_no_folder(
    given: dict[str, str], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(RobustlabError, match=reason):
        certify(Sorted().eval(), tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


def test_a_random_classifier_has_no_proof(model: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(RobustlabError, match="the model draws random numbers"):
        certify(nn.Sequential(Noise(), model).eval(), tmp_path / "run")


class Noise(nn.Module):
    """Adds noise."""

    def forward(self, images: Tensor) -> Tensor:
        return images + 0.1 * torch.randn_like(images)


def test_the_command_line_shows_each_share_and_the_cost(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\nfrom torch import nn\n\ndef make():\n    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))\n\n"
        "def data():\n    return torch.rand(9, 1, 4, 4), torch.arange(9) % 3\n"
    )
    words = ["certify", f"{tmp_path}/mine.py:make", "--dataset", f"{tmp_path}/mine.py:data"]
    done = CliRunner().invoke(app, [*words, "--threat", THREAT, "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    for part in ("certified", "undecided", "misclassified", "s an image", "images.csv"):
        assert part in done.output
    again = CliRunner().invoke(
        app, [*words, *("--norm", "linf", "--eps", "0.02"), "--out", str(tmp_path / "run")]
    )
    assert again.exit_code == 0, again.output
    half = CliRunner().invoke(app, [*words, "--norm", "linf", "--out", str(tmp_path / "other")])
    assert half.exit_code == 2
    assert "--norm needs eps" in half.output
    wrong = CliRunner().invoke(app, [*words, "--threat", "unbounded", "--out", str(tmp_path / "other")])
    assert wrong.exit_code == 2
    assert "error: nothing can be proven about" in wrong.output


def test_without_an_attack_no_robust_accuracy_passes_and_nothing_is_compared(
    model: nn.Module, tmp_path: Path
) -> None:
    run = certify(model, tmp_path / "run")
    assert run.results.certified is not None
    share = run.results.certified.value
    assert robustlab.gate(run, min_certified=share).passed
    assert not robustlab.gate(run, min_robust=0.0).passed
    with pytest.raises(RobustlabError, match="no attack ran"):
        robustlab.compare(run, run)
    with pytest.raises(RobustlabError, match="no attack ran"):
        robustlab.gate(run, baseline=run.folder, max_drop=1.0)
