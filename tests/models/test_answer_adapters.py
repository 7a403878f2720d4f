"""Models with one output per image, that fail on a single image, or whose answer is no tensor."""

from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import robustlab
from robustlab.core.errors import RobustlabError
from robustlab.core.logits import no_tensor
from robustlab.core.progress import Progress
from robustlab.models.adapters import adapted
from robustlab.models.preprocessing import Preprocessed, Preprocessing


class Notes(Progress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


class Binary(nn.Module):
    """One logit per image; ``squeeze``: without axes of length 1; ``pairs``: it refuses a single image."""

    def __init__(self, *, squeeze: bool = False, pairs: bool = False, classes: int = 1) -> None:
        super().__init__()
        self.squeeze, self.pairs, self.layer = squeeze, pairs, nn.Linear(4, classes)
        nn.init.normal_(self.layer.weight, generator=torch.Generator().manual_seed(1))
        nn.init.zeros_(self.layer.bias)

    def forward(self, images: Tensor) -> Tensor:
        if self.pairs and len(images) == 1:
            raise ValueError("Expected more than 1 value per channel")
        logits: Tensor = self.layer(images.flatten(1) - 0.5)
        return logits.squeeze() if self.squeeze else logits


IMAGES = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(0))

FORMS: list[tuple[dict[str, Any], int]] = [
    ({}, 1),
    ({"squeeze": True}, 1),
    ({"pairs": True}, 2),
    ({"squeeze": True, "pairs": True}, 2),
    ({"squeeze": True, "classes": 3}, 1),
    ({"pairs": True, "classes": 3}, 1),
    ({"classes": 3}, 0),
]


@pytest.mark.parametrize("front", [False, True])
@pytest.mark.parametrize(("form", "changes"), FORMS, ids=range(len(FORMS)))
def test_it_becomes_a_classifier(form: dict[str, Any], changes: int, tmp_path: Path, *, front: bool) -> None:
    plain = Binary(classes=form.get("classes", 1)).eval()
    model = Binary(**form).eval()
    logits = plain(IMAGES) if "classes" in form else torch.cat([torch.zeros(5, 1), plain(IMAGES)], dim=1)
    steps = Preprocessing(scale=1.0, mean=(0.0,), std=(1.0,), crop=2)
    given = Preprocessed(model, steps) if front else model
    found, said = adapted(given, IMAGES[:1])
    assert len(said) == changes
    assert isinstance(found, Preprocessed) is front
    for part in (IMAGES, IMAGES[:1], IMAGES[:2]):
        assert torch.allclose(found(part), logits[: len(part)], atol=1e-6)

    notes = Notes()
    more: dict[str, Any] = {"crop": 2} if front else {}
    run = robustlab.evaluate(
        model, images=IMAGES, labels=logits.argmax(dim=1), threat="linf(eps=0.3)", attacks="pgd(steps=3)",
        batch_size=4, out=tmp_path / "run", progress=notes, **more,
    )  # fmt: skip
    assert run.results.clean.value == 1.0, "also the last block, of one image"
    for change in said:
        assert any(change in note for note in notes.notes)
        assert change in run.results.remarks


def test_a_model_that_always_fails_keeps_its_own_error(tmp_path: Path) -> None:
    class Fails(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise ValueError(f"no weights for {len(images)} images")

    with pytest.raises(RobustlabError, match="no weights for 1 images"):
        robustlab.evaluate(Fails(), images=IMAGES, labels=torch.zeros(5).long(), out=tmp_path)


MATRIX = torch.zeros(2, 3)
Pair = namedtuple("Pair", ["features", "scores"])

ANSWERS: list[tuple[object, str]] = [
    ({"loss": MATRIX[0], "logits": MATRIX}, "output['logits']"),
    ({"features": MATRIX, "logits": MATRIX}, "output['logits']"),
    ((torch.zeros(2, 3, 4), MATRIX), "output[1]"),
    ([MATRIX, MATRIX], "output[0]"),
    (Pair(torch.zeros(2), MATRIX), "output.scores"),
    (SimpleNamespace(aux=MATRIX, logits=MATRIX), "output.logits"),
    ({"boxes": 3}, "such as output.logits or output[0]"),
    ("text", "such as output.logits or output[0]"),
]


@pytest.mark.parametrize(("answer", "place"), ANSWERS, ids=range(len(ANSWERS)))
def test_the_hint_names_the_field_with_the_logits(answer: object, place: str) -> None:
    assert no_tensor(answer).endswith(f"whose forward returns them, {place}")
