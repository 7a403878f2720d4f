"""An image classifier of transformers: of the Hugging Face Hub, or a local folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robustlab.core.spec import BareText, register
from robustlab.models.preprocessing import Preprocessed, Preprocessing, Size
from robustlab.models.sources.base import Loaded, Note, Source
from robustlab.models.sources.library import imported, loading

_INTERPOLATION = {0: "nearest", 3: "bicubic"}
"""Pillow's numbers; Lanczos and the rest are bilinear here."""
_GAP = 0.05
"""Of the mean difference between a processor's image and ours; their roundings differ by less."""
_LARGEST_CROPPED = 384
"""ConvNeXt's processor crops only below this size."""


class OnlyLogits(nn.Module):
    """A model of transformers, as a function from images to logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = model.training

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, K)."""
        logits: Tensor = self.model(pixel_values=images).logits
        return logits


@register("hf")
class FromTransformers(Source):
    """An image classifier of transformers, with the preprocessing of its folder."""

    place: BareText
    """``owner/name`` on the Hugging Face Hub, or a folder that ``save_pretrained`` wrote."""

    def load(self, note: Note) -> Loaded:
        del note
        transformers = imported("transformers", "hf")
        advice = "give owner/name of an image classifier on huggingface.co, or a folder of save_pretrained"
        with loading(f"hf({self.place})", advice), _without_bars(transformers, self.place):
            model = transformers.AutoModelForImageClassification.from_pretrained(self.place).eval()
        names = getattr(model.config, "id2label", None) or {}
        steps, remarks = _preprocessing(transformers, self.place)
        return Loaded(
            network=OnlyLogits(model),
            name=self.place.rstrip("/").rpartition("/")[2],
            origin=self.brief(),
            preprocessing=steps,
            class_names=tuple(str(names[place]) for place in sorted(names)),
            remarks=remarks,
        )


@contextmanager
def _without_bars(transformers: Any, place: str) -> Iterator[None]:
    """Show no progress of transformers while it reads a local folder, which is fast."""
    bars = transformers.utils.logging
    hidden = Path(place).is_dir() and bars.is_progress_bar_enabled()
    if hidden:
        bars.disable_progress_bar()
    try:
        yield
    finally:
        if hidden:
            bars.enable_progress_bar()


def _preprocessing(transformers: Any, place: str) -> tuple[Preprocessing | None, tuple[str, ...]]:
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(place)
    except (OSError, ValueError, KeyError):
        return None, (f"{place} has no preprocessor_config.json: its images get no preprocessing",)
    (resize, crop), resample = _sizes(processor), _of(processor, "resample")
    steps = Preprocessing(
        resize=resize,
        crop=crop,
        interpolation=_INTERPOLATION.get(2 if resample is None else int(resample), "bilinear"),
        origin=f"{type(processor).__name__} of {place}",
    )
    factor = _of(processor, "rescale_factor") if _of(processor, "do_rescale") else 1.0
    more: dict[str, Any] = {"scale": round(255 * (factor or 1 / 255), 9)}
    if _of(processor, "do_normalize") and _of(processor, "image_mean"):
        more |= {"mean": tuple(processor.image_mean), "std": tuple(processor.image_std)}
    steps = Preprocessing(**vars(steps) | more)
    remark = (
        f"{type(processor).__name__} does more, or other things, than what robustlab puts in front of the "
        "network; compare the clean accuracy with the one that you know"
    )
    remarks = () if _does_no_more(processor, steps) else (remark,)
    return (None if steps == Preprocessing() else steps), remarks


def _does_no_more(processor: Any, steps: Preprocessing) -> bool:
    """Return whether an image processor does to a smooth image what the steps do."""
    slopes = torch.linspace(0, 1, 300)[:, None] * torch.linspace(1, 0, 400)
    image = torch.stack([slopes, slopes.flip(1), 1 - slopes]).mul(255).round().to(torch.uint8)
    try:
        theirs = torch.as_tensor(processor(image, return_tensors="pt")["pixel_values"])
    except Exception:  # some take only pictures of other kinds
        return True
    ours = Preprocessed(nn.Identity(), steps)(image[None] / 255)
    return theirs.shape == ours.shape and bool((theirs - ours).abs().mean() < _GAP)


def _sizes(processor: Any) -> tuple[Size | None, Size | None]:
    """Return what an image processor resizes to, and what it crops."""
    size, crop = _of(processor, "size") or {}, _of(processor, "crop_size") or {}
    resize: Size | None = None
    if _of(processor, "do_resize"):
        shortest = size.get("shortest_edge")
        resize = shortest or ((size["height"], size["width"]) if "height" in size else None)
        share = _of(processor, "crop_pct")
        if shortest and share:
            whole = shortest >= _LARGEST_CROPPED
            return ((shortest, shortest), None) if whole else (int(shortest / share), shortest)
    if not _of(processor, "do_center_crop") or "height" not in crop:
        return resize, None
    return resize, (crop["height"], crop["width"])


def _of(processor: Any, name: str) -> Any:
    value: Any = getattr(processor, name, None)
    return dict(value) if hasattr(value, "items") else value
