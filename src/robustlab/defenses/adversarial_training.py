"""Adversarial training on a fixed mixture of clean images and examples made on another classifier.

The scheme of Goodfellow, Shlens & Szegedy 2015 (arXiv:1412.6572) with examples that are made once, on a
trained source network, instead of at each step on the network in training.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from robustlab.attacks import Attack
from robustlab.core import seeding
from robustlab.core.progress import Progress
from robustlab.core.spec import register
from robustlab.data import Split
from robustlab.data.source import ImageSource, LazyImages
from robustlab.defenses.base import TrainedDefense
from robustlab.threats import ThreatModel

_AT_ONCE = 2000
"""Images per attack, an attack takes several times their memory."""


@register("adversarial_training")
class AdversarialTraining(TrainedDefense):
    """Replace a fraction of the training images by adversarial examples made on the source network."""

    network_kinds: ClassVar[Mapping[str, str]] = {"source": "classifier"}
    attack: Attack
    threat: ThreatModel
    source: str
    """The name of the trained network whose adversarial examples are used."""
    fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 0.3
    """The share of adversarial images in training."""

    def __post_init__(self) -> None:
        if not self.attack.supports(self.threat):
            inner = self.attack.inner
            raise ValueError(f"{inner.name} supports {inner.supported_norms}, not {self.threat!r}")

    def training_set(
        self, split: Split, networks: Mapping[str, nn.Module], *, seed: int, progress: Progress
    ) -> Split:
        key = seeding.derive(seed, self.name, split.name)
        draws = seeding.uniform(key, split.ids, (1,)).squeeze(1)
        chosen = draws.argsort()[: round(self.fraction * len(split))].sort().values
        model = networks[self.source]
        device = next(model.parameters()).device
        with progress.track(f"{self.attack.name} on the {split.name} images", len(chosen)) as bar:
            adversarial = [
                self.attack.run(
                    model,
                    split.pixels(rows).to(device),
                    split.labels[rows].to(device),
                    self.threat,
                    ids=split.ids[rows],
                    seed=key,
                    early_stop=False,
                    on_batch=bar.advance,
                ).images.cpu()
                for rows in torch.split(chosen, _AT_ONCE)
            ]
        mixture = LazyImages.of(_Mixture(split, chosen, torch.cat(adversarial)))
        return Split(images=mixture, labels=split.labels, ids=split.ids, name=split.name)


class _Mixture(ImageSource):
    """A split with some images replaced; the others stay uint8, a quarter of the memory of floats."""

    dtype = torch.float32

    def __init__(self, split: Split, replaced: Tensor, images: Tensor) -> None:
        self.split, self.images, self.shape = split, images, tuple(split.images.shape)
        self.place = torch.full((len(split),), -1)
        self.place[replaced] = torch.arange(len(replaced))

    def rows(self, places: Tensor) -> Tensor:
        images, among = self.split.pixels(places), self.place[places]
        images[among >= 0] = self.images[among[among >= 0]]
        return images
