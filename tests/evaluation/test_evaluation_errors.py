"""Wrong input to an evaluation: each mistake gets a message that names it, and nothing is computed."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation_runs import SHAPE, Notes, evaluate, grey_split, split_of
from torch import nn

import robustlab
from robustlab.attacks import PGD
from robustlab.core import seeding
from robustlab.core.errors import RobustlabError
from robustlab.data.own import own_images
from robustlab.evaluation.coordinator import EvaluationOptions, execute
from robustlab.evaluation.images import load_images


@pytest.fixture
def model(make_linear: Callable[..., nn.Module]) -> nn.Module:
    return make_linear(classes=4, shape=SHAPE, seed=2)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"attacks": "pgdd"}, "unknown attack or ensemble 'pgdd' (did you mean 'pgd'?)"),
        ({"attacks": "standart"}, "did you mean 'standard'?"),
        ({"attacks": "pgd(stepz=3)"}, "has no argument 'stepz' (did you mean"),
        ({"attacks": "pgd(steps=0)"}, "steps"),
        ({"attacks": "pgd(steps=3"}, "can't parse attacks"),
        ({"attacks": "1 + 2"}, "can't parse attack"),
        ({"attacks": ""}, "attacks names no attack"),
        ({"attacks": []}, "attacks names no attack"),
        ({"attacks": [3]}, "found an int"),
        ({"attacks": "sigma_zero"}, "sigma_zero supports l0, not linf"),
        ({"threat": "linf(eps=3)"}, "eps"),
        ({"threat": "lin(eps=0.3)"}, "did you mean 'linf'?"),
        ({"threat": "linf(eps=1/0)"}, "is not a fraction"),
        ({"n": 0}, "n must be a whole number, at least 1; found 0"),
        ({"n": True}, "n must be a whole number, at least 1; found True"),
        ({"out": ""}, "out must not be empty"),
        ({"weights": ""}, "weights must not be empty"),
        ({"eot_samples": 0}, "samples must be a whole number, at least 1; found 0"),
        ({"eot_samples": 10**18}, "samples must be at most 1,000,000; found 1000000000000000000"),
        ({"batch_size": -1}, "batch_size must be a whole number, at least 1; found -1"),
        ({"seed": -1}, "seed must be a whole number, at least 0; found -1"),
        ({"seed": None}, "seed must be a whole number, at least 0; found None"),
        ({"n": 1.5}, "n must be a whole number, at least 1; found 1.5"),
        (
            {"mode": "verdikt"},
            "mode must be one of verdict, max-loss, test-set; found 'verdikt' (did you mean 'verdict'?)",
        ),
        ({"precision": "fp16"}, "precision must be one of auto, fp32, bf16; found 'fp16'"),
        ({"device": "tpu"}, "device must be one of auto, cpu, cuda, mps; found 'tpu'"),
        ({"device": torch.device("cpu")}, "device must be one of auto, cpu, cuda, mps; found device("),
        ({"curve": "yes"}, "curve must be True or False; found a str"),
        ({"threat": 0.3}, "threat must be a threat model or a spec such as 'linf(eps=0.3)', found 0.3"),
        ({"attacks": 3}, "attacks must be specs, attacks or ensembles; found an int"),
        ({"attacks": PGD}, "attacks must be specs, attacks or ensembles; found the class PGD"),
        ({"dataset": (1, 2)}, "images must be a torch.Tensor or a NumPy array, found an int"),
        ({"dataset": 3}, "a torch Dataset or a DataLoader; found an int"),
        ({"surrogates": "abc"}, "surrogates must be a list of models; found a str"),
        ({"surrogates": [3]}, "a surrogate must be a torch.nn.Module"),
        ({"out": 3}, "out must be a text or a path; found an int"),
        ({"out": "x" * 300}, "out is too long"),
        ({"out": "a\0b"}, "out must not hold a NUL"),
        ({"name": "half \ud800"}, "name must be text in UTF-8, found 'half \\ud800'"),
        ({"surrogates": ["x" * 1_000_000]}, "a surrogate is too long"),
        ({"weights": "w\ud800.pt"}, "weights must be text in UTF-8"),
        ({"surrogates": ["a\0b"]}, "a surrogate must not hold a NUL"),
        ({"batch_size": 10**29}, "batch_size must be below 2^63"),
        ({"threat": "l2(eps=1e39)"}, "l2: eps must be at most 3.4e+38"),
        ({"attacks": "x" * 1_000_000}, "can't parse attacks 'xxx"),
        ({"network": "baseline"}, "only be named with the folder"),
        ({"images": torch.zeros(2, 1, 4, 5)}, "given together"),
        ({"eight_bit": True}, "not 8-bit images"),
        ({"surrogates": ["nothing"]}, "no model 'nothing'"),
    ],
)
def test_options(model: nn.Module, tmp_path: Path, options: dict[str, Any], expected: str) -> None:
    with pytest.raises(RobustlabError) as caught:
        evaluate(tmp_path / "run", model, grey_split(model), **options)
    assert expected in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("images", "labels", "expected"),
    [
        (torch.zeros(2, 4, 5), torch.zeros(2).long(), "(N, C, H, W)"),
        (torch.zeros(2, 1, 0, 0), torch.zeros(2).long(), "found torch.float32 of shape (2, 1, 0, 0)"),
        (torch.zeros(2, 1, 4, 5).int(), torch.zeros(2).long(), "uint8 or floating"),
        (torch.zeros(2, 4, 5), torch.zeros(2).long(), "(2, 4, 5); write images[:, None] for one"),
        (torch.zeros(2, 1, 4, 5), torch.zeros(3).long(), "labels must be integers of shape (2,)"),
        (torch.zeros(2, 1, 4, 5), torch.zeros(2), "labels must be integers"),
        (torch.full((2, 1, 4, 5), 1.5), torch.zeros(2).long(), "normalise inside the model"),
        (torch.full((2, 1, 4, 5), torch.nan), torch.zeros(2).long(), "contain NaN"),
        (torch.zeros(2, 1, 4, 5), torch.tensor([0, -1]), "labels must not be negative, found -1"),
        ([1, 2], torch.zeros(2).long(), "images must be a torch.Tensor or a NumPy array"),
        (torch.zeros(2, 1, 4, 5).to_sparse(), torch.zeros(2).long(), "images must be a plain, dense tensor"),
        (torch.zeros(2, 1, 4, 5), torch.zeros(2).long().to_sparse(), "labels must be a plain, dense tensor"),
        (
            torch.zeros(2, 1, 4, 5, device="meta"),
            torch.zeros(2).long(),
            "images must be a plain, dense",
        ),
    ],
)
def test_own_images(images: Any, labels: Any, expected: str) -> None:
    with pytest.raises(RobustlabError) as caught:
        own_images(images, labels)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"images": torch.full((2, 1, 4, 5), 3.0)}, "divide by 255"),
        ({"labels": torch.zeros(2)}, "labels must be integers"),
        ({"labels": torch.tensor([0, -1])}, "labels must not be negative"),
        ({"ids": torch.arange(3)}, "ids must be an int64 torch.Tensor of shape (2,)"),
        ({"ids": [0, 1]}, "ids must be an int64 torch.Tensor of shape (2,)"),
    ],
)
def test_own_splits(change: dict[str, Any], expected: str) -> None:
    split = split_of(torch.zeros(2, 1, 4, 5), torch.zeros(2).long())
    with pytest.raises(RobustlabError) as caught:
        load_images(replace(split, **change))
    assert expected in str(caught.value)


@pytest.mark.parametrize("precision", ["auto", "fp32", "bf16"])
def test_a_model_that_refuses_bf16_is_searched_in_fp32(
    precision: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Sparse(nn.Module):
        weight: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(20, 4)
            self.register_buffer("weight", torch.eye(4).to_sparse())

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = torch.sparse.mm(self.weight, self.layer(images.flatten(1)).T).T
            return logits

    monkeypatch.setattr("robustlab.evaluation.coordinator.measured.fast_bf16", lambda _: True)
    with seeding.isolated(0):
        model, images = Sparse(), torch.rand(6, 1, 4, 5)
    options = EvaluationOptions(
        model=model,
        images=images,
        labels=model(images).argmax(dim=1),
        attacks="fgsm",
        checks=False,
        precision=precision,
        out=str(tmp_path / "run"),
    )
    if precision == "bf16":
        with pytest.raises(RobustlabError, match=r"BFloat16"):
            execute(options)
    else:
        assert execute(options).results.compute.training_precision == "fp32"


def test_no_images_at_all() -> None:
    with pytest.raises(RobustlabError, match="at least one image"):
        load_images(own_images(torch.zeros(0, 1, 4, 5), torch.zeros(0).long()))


def test_unknown_dataset(model: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(RobustlabError, match="did you mean 'mnist'"):
        evaluate(tmp_path / "run", model, grey_split(model), dataset="mnits")


class Other(nn.Module):
    """Returns what a classifier does not."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, images: torch.Tensor) -> Any:
        return self.answer(images)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda images: images.sum(dim=(1, 2, 3)), "logits of shape (1, K), K at least 2; found (1,)"),
        (lambda images: images.sum(dim=(2, 3)), "K at least 2"),
        (lambda images: {"logits": images}, "found a dict"),
        (lambda images: nn.Conv2d(3, 2, 1)(images), "the model failed on images of shape (1, 1, 4, 5)"),
        (lambda images: images.flatten(1)[:, :3], "outputs 3 logits, but labels go up to 3"),
    ],
)
def test_what_is_no_classifier(model: nn.Module, tmp_path: Path, answer: Any, expected: str) -> None:
    split = grey_split(model)
    assert split.labels.max() == 3
    with pytest.raises(RobustlabError) as caught:
        evaluate(tmp_path / "run", Other(answer).eval(), split)
    assert expected in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_surrogate_of_other_classes(make_linear: Callable[..., nn.Module], tmp_path: Path) -> None:
    model, other = make_linear(classes=4, shape=SHAPE), make_linear(classes=3, shape=SHAPE)
    with pytest.raises(RobustlabError, match="outputs 4 logits, and the surrogate Sequential 3"):
        evaluate(tmp_path / "run", model, grey_split(model), surrogates=[other])


def test_five_channels_fit_into_no_png(make_linear: Callable[..., nn.Module], tmp_path: Path) -> None:
    model = make_linear(classes=3, shape=(5, 2, 2))
    split = split_of(torch.zeros(4, 5, 2, 2, dtype=torch.uint8), torch.zeros(4).long())
    with pytest.raises(RobustlabError, match="need 1 to 4 channels, found 5"):
        evaluate(tmp_path / "run", model, split, eight_bit=True)


def test_a_folder_of_another_classifier(model: nn.Module, tmp_path: Path) -> None:
    split = grey_split(model)
    evaluate(tmp_path / "run", model, split, name="one")
    with pytest.raises(RobustlabError, match="to an evaluation of 'one', not to an evaluation of 'two'"):
        evaluate(tmp_path / "run", model, split, name="two")


def test_more_images_than_there_are(model: nn.Module, tmp_path: Path) -> None:
    progress = Notes()
    assert evaluate(tmp_path, model, grey_split(model), progress, n=1000).results.images.n == 60
    assert "there are only 60 images, not 1000" in progress.notes[0]


@pytest.mark.parametrize(
    ("threat", "whole"), [("l2(eps=500)", True), ("l2(eps=4.4)", False), ("l0(eps=20)", True)]
)
def test_a_threat_model_that_allows_every_image_is_remarked(
    model: nn.Module, tmp_path: Path, threat: str, whole: bool
) -> None:
    progress = Notes()
    run = evaluate(
        tmp_path, model, grey_split(model), progress, threat=threat, attacks="random_points(count=1)"
    )
    said = [remark for remark in run.results.remarks if "allows every image" in remark]
    assert bool(said) == whole
    assert [note for note in progress.notes if "allows every image" in note] == said
    page = robustlab.write_report(tmp_path).read_text()
    assert (
        ("allows every image" in page)
        == whole
        == ("allows every image" in (tmp_path / "report.md").read_text())
    )


def test_default_folder_names_what_was_evaluated(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = EvaluationOptions(
        model=model, dataset=grey_split(model), attacks="fgsm", threat="l2(eps=1/2)", name="my net: v1"
    )
    folder = execute(options).folder
    assert folder.parent == Path("runs").absolute()
    assert re.fullmatch("evaluate-my-net-v1-test-l2-0.5-[0-9a-f]{8}", folder.name)
