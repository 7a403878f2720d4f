"""Image processors of transformers: what is put in front is what they do, or a remark says it is not."""

from pathlib import Path
from typing import Any

import pytest

from robustlab.models.sources.hf import _preprocessing

transformers = pytest.importorskip("transformers")

SQUARE = {"height": 64, "width": 64}
UNDERSTOOD: dict[str, tuple[str, dict[str, Any]]] = {
    "ViT": ("ViTImageProcessor", {"size": SQUARE}),
    "ViT, nearest": ("ViTImageProcessor", {"size": SQUARE, "resample": 0}),
    "ViT, bicubic": ("ViTImageProcessor", {"size": SQUARE, "resample": 3}),
    "CLIP": ("CLIPImageProcessor", {"size": {"shortest_edge": 72}, "crop_size": SQUARE}),
    "ConvNeXt": ("ConvNextImageProcessor", {"size": {"shortest_edge": 64}, "crop_pct": 0.875}),
}
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "EfficientNet": (
        "EfficientNetImageProcessor",
        {"size": SQUARE, "include_top": True, "image_std": [0.47853944, 0.4732864, 0.47434163]},
    ),
    "MobileViT": ("MobileViTImageProcessor", {"size": {"shortest_edge": 72}, "crop_size": SQUARE}),
    "LeViT": ("LevitImageProcessor", {"size": {"shortest_edge": 64}, "crop_size": SQUARE}),
}


def remarks_on(case: tuple[str, dict[str, Any]], folder: Path) -> tuple[str, ...]:
    name, options = case
    getattr(transformers, name)(**options).save_pretrained(folder)
    return _preprocessing(transformers, str(folder))[1]


@pytest.mark.parametrize("name", UNDERSTOOD)
def test_what_is_understood_has_no_remark(name: str, tmp_path: Path) -> None:
    assert remarks_on(UNDERSTOOD[name], tmp_path) == ()


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not_understood_is_said(name: str, tmp_path: Path) -> None:
    assert any("does more, or other things" in remark for remark in remarks_on(OTHERS[name], tmp_path))
