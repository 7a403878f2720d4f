"""A classifier of torchvision."""

from robustlab.core import seeding
from robustlab.core.errors import SetupError
from robustlab.core.options import PositiveInt
from robustlab.core.spec import BareText, register
from robustlab.models.preprocessing import Preprocessing
from robustlab.models.sources.base import Loaded, Note, Source
from robustlab.models.sources.library import known, loading


@register("torchvision")
class FromTorchvision(Source):
    """A classifier of torchvision, with the preprocessing that its weights state."""

    network: BareText
    """The name of the network, such as ``resnet50``."""
    weights: BareText | None = None
    """Such as ``IMAGENET1K_V2``, or ``DEFAULT``; default: random weights."""
    classes: PositiveInt | None = None
    """The number of classes, for weights of your own (``--weights``); default: the library's."""

    def load(self, note: Note) -> Loaded:
        del note
        from torchvision import models
        from torchvision.transforms import InterpolationMode

        known("classifier of torchvision", self.network, models.list_models(module=models))
        if self.weights is None:
            more = {} if self.classes is None else {"num_classes": self.classes}
            with loading(repr(self)), seeding.isolated(0):
                network = models.get_model(self.network, weights=None, **more).eval()
            remark = "the weights are random: give --weights FILE, or torchvision(NAME, weights=DEFAULT)"
            return Loaded(network=network, name=self.network, origin=self.brief(), remarks=(remark,))
        if self.classes is not None:
            raise SetupError("torchvision: weights of the library have their own classes; leave out classes")
        offered = models.get_model_weights(self.network)
        word = self.weights.rpartition(".")[2]  # ResNet50_Weights.IMAGENET1K_V2 means the same
        chosen = offered[known(f"weights of {self.network}", word, offered.__members__)]
        with loading(f"{self.network} with {word}", f"its file is {chosen.url}"):
            network = models.get_model(self.network, weights=chosen).eval()
        steps = chosen.transforms()
        return Loaded(
            network=network,
            name=f"{self.network}-{chosen.name}",
            origin=self.brief(),
            preprocessing=Preprocessing(
                mean=tuple(steps.mean),
                std=tuple(steps.std),
                resize=_side(steps.resize_size),
                crop=_side(steps.crop_size),
                interpolation={InterpolationMode.BICUBIC: "bicubic"}.get(steps.interpolation, "bilinear"),
                origin=f"torchvision's {chosen}",
            ),
            class_names=tuple(chosen.meta.get("categories", ())),
        )


def _side(size: list[int]) -> int | tuple[int, int]:
    return size[0] if len(size) == 1 else (size[0], size[1])
