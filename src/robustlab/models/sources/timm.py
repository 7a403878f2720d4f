"""A classifier of timm."""

from contextlib import suppress
from typing import Any

from robustlab.core import seeding
from robustlab.core.options import PositiveInt
from robustlab.core.spec import BareText, register
from robustlab.models.preprocessing import Preprocessing, Size
from robustlab.models.sources.base import Loaded, Note, Source
from robustlab.models.sources.library import imported, known, loading


@register("timm")
class FromTimm(Source):
    """A classifier of timm, with the preprocessing of its configuration."""

    network: BareText
    """Its name, with or without a tag of the weights, such as ``resnet50.a1_in1k``."""
    pretrained: bool = True
    """Whether to load the library's weights; otherwise they are random."""
    classes: PositiveInt | None = None
    """The number of classes, for weights of your own (``--weights``); default: the library's."""

    def load(self, note: Note) -> Loaded:
        del note
        timm = imported("timm", "timm")
        if not self.network.startswith(("hf-hub:", "hf_hub:", "local-dir:")):
            tagged = timm.list_models(pretrained=True)
            names = [*timm.list_models(), *(tagged if "." in self.network or self.pretrained else ())]
            known("classifier of timm", self.network, names)
        more = {} if self.classes is None else {"num_classes": self.classes}
        with loading(self.network, "timm takes its weights from huggingface.co"), seeding.isolated(0):
            network = timm.create_model(self.network, pretrained=self.pretrained, **more).eval()
            steps = timm.data.resolve_data_config({}, model=network)
        remark = "the weights are random: give --weights FILE, or leave out pretrained=False"
        return Loaded(
            network=network,
            name=self.network,
            origin=self.brief(),
            preprocessing=_preprocessing(steps),
            class_names=_class_names(timm, network),
            remarks=() if self.pretrained else (remark,),
        )


def _preprocessing(steps: dict[str, Any]) -> Preprocessing:
    """Return the steps of timm's own transform for an evaluation."""
    _, height, width = steps["input_size"]
    larger = int(height / steps["crop_pct"]), int(width / steps["crop_pct"])
    resize: Size = larger if steps["crop_mode"] == "squash" else larger[0]
    if steps["crop_mode"] != "squash" and larger[0] != larger[1]:
        resize = min(larger)
    return Preprocessing(
        mean=tuple(steps["mean"]),
        std=tuple(steps["std"]),
        resize=resize,
        crop=(height, width) if height != width else height,
        interpolation="bicubic" if steps["interpolation"] == "bicubic" else "bilinear",
        origin="timm's pretrained_cfg",
    )


def _class_names(timm: Any, network: Any) -> tuple[str, ...]:
    names = network.pretrained_cfg.get("label_names")
    if names is None:
        with suppress(Exception):  # not a set of classes that timm knows
            subset = timm.data.infer_imagenet_subset(network)
            names = timm.data.ImageNetInfo(subset).label_descriptions() if subset else None
    return tuple(names) if names and len(names) == network.num_classes else ()
