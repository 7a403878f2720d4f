"""Models that are not quite ordinary modules: loaded where that is possible, and refused in one line."""

import warnings
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

import robustlab
from robustlab.attacks import PGD
from robustlab.core.errors import RobustlabError
from robustlab.core.progress import Progress
from robustlab.evaluation.subject import load_classifier
from robustlab.threats import Linf

IMAGES, LABELS = torch.randint(256, (6, 1, 2, 2)) / 255, torch.zeros(6).long()


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.dropout = nn.Linear(4, 3), nn.Dropout(0.5)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(self.dropout(images).flatten(1))
        return logits


class Stubborn(Net):
    def train(self, mode: bool = True) -> "Stubborn":  # noqa: ARG002
        return self


def exported() -> Any:
    batch = torch.export.Dim("batch", min=1, max=1000)
    program = torch.export.export(Net().eval(), (IMAGES,), dynamic_shapes=({0: batch},))
    return program.module()


class Attributes(Net):
    """Has what arrays and splits have, too; Lightning's modules and those of transformers have a dtype."""

    dtype, shape = torch.float32, None

    def take(self) -> None: ...


class Notes(Progress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def evaluated(model: Any, out: Path, **more: Any) -> list[str]:
    progress = Notes()
    options: dict[str, Any] = {"images": IMAGES, "labels": LABELS, "attacks": "fgsm", "checks": False} | more
    found = robustlab.evaluate(model, out=out, progress=progress, **options)
    assert found.results.robust.n == 6
    return progress.notes


@pytest.mark.filterwarnings("ignore")  # torch's own, in the export
@pytest.mark.parametrize("eight_bit", [False, True])
@pytest.mark.parametrize("make", [Stubborn, exported])
def test_a_model_whose_eval_does_nothing_or_raises_is_evaluated(
    make: Any, tmp_path: Path, *, eight_bit: bool
) -> None:
    notes = evaluated(make(), tmp_path / "run", eight_bit=eight_bit)
    assert any("does not put all of it into eval mode" in note for note in notes)
    assert not any("eval mode" in note for note in evaluated(Net(), tmp_path / "other"))


def test_a_models_attributes_do_not_make_it_an_array(tmp_path: Path) -> None:
    evaluated(Attributes(), tmp_path / "run")


@pytest.mark.parametrize("freeze", [False, True])
def test_a_torchscript_file_is_a_model(tmp_path: Path, *, freeze: bool) -> None:
    path = tmp_path / "net.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather export
        script: Any = torch.jit.trace(Net().eval(), IMAGES)  # type: ignore[no-untyped-call]
        (torch.jit.freeze(script) if freeze else script).save(str(path))
    evaluated(str(path), tmp_path / "run")
    assert load_classifier(str(path)).name == "net"
    with pytest.raises(RobustlabError, match="is a TorchScript file, network and weights in one"):
        load_classifier(Net(), weights=str(path))
    path.write_bytes(path.read_bytes()[:-200] + bytes(100) + path.read_bytes()[-100:])
    with pytest.raises(RobustlabError):
        load_classifier(str(path))


@pytest.mark.filterwarnings("ignore")
def test_an_exported_program_is_no_file_of_weights(tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(Net().eval(), (IMAGES,)), path)
    with pytest.raises(RobustlabError, match=r"is a torch.export program.* give it as the model"):
        load_classifier(Net(), weights=str(path))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (Net().forward, r"model must be a torch.nn.Module; found a method; .*BlackBox\(function\)"),
        (lambda images: images, "found a function; of a function that predicts make one"),
        (Net, "found the class Net: call it"),
        (7, "found an int"),
    ],
)
def test_what_is_not_a_module_is_refused_in_one_line(model: Any, expected: str) -> None:
    with pytest.raises(RobustlabError, match=expected):
        PGD(steps=1).run(model, IMAGES, LABELS, Linf(eps=0.1))
    if isinstance(model, type | int):  # an evaluation takes a function that predicts
        with pytest.raises(RobustlabError, match=expected):
            robustlab.evaluate(cast("Any", model), images=IMAGES, labels=LABELS)


def test_the_part_in_train_mode_is_named() -> None:
    model = Net().eval()
    model.dropout.train()
    with pytest.raises(RobustlabError, match=r"train mode \(its part 'dropout'\).*set training = False"):
        PGD(steps=1).run(model, IMAGES, LABELS, Linf(eps=0.1))
