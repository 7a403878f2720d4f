"""What the stages of one run share: the data, the trained networks, perturbed images, the store."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from robustlab.attacks import Attack, AttackResult, Mode
from robustlab.core.device import Compute
from robustlab.core.errors import ModelFileError
from robustlab.core.progress import Progress
from robustlab.data import Split, Splits
from robustlab.defenses import ComposedDefense, PurifiedClassifier
from robustlab.evaluation import classify
from robustlab.evaluation.checks import AttackRunner
from robustlab.models import Shape, load_network
from robustlab.models.files import load_tensors
from robustlab.runs.store import RunStore
from robustlab.threats import ThreatModel

BLOCK = 1000
"""Images per transaction of the ledger, and per entry of the cache of perturbed images."""

_CACHED_BLOCKS = 50


@dataclass(kw_only=True)
class Workspace:
    """Everything a stage works with.

    Attributes:
        dataset: the three splits, cut down already in a quick run.
        compute: device and precision.
        seed: the run's seed.
        store: the run on disk.
        progress: where progress is shown.
        composed: the composed classifiers by name.
    """

    dataset: Splits
    compute: Compute
    seed: int
    store: RunStore
    progress: Progress
    composed: dict[str, ComposedDefense]
    _networks: dict[str, nn.Module] = field(default_factory=dict)
    _right: dict[tuple[str, str, int], dict[int, bool]] = field(default_factory=dict)
    _fixed_sets: OrderedDict[tuple[object, ...], AttackResult] = field(default_factory=OrderedDict)

    @property
    def shape(self) -> Shape:
        """The shape that networks are built for."""
        _, channels, height, width = self.dataset.train.images.shape
        return Shape(channels, height, width, self.dataset.classes)

    def network(self, name: str) -> nn.Module:
        """Return a trained network, in eval mode on the device."""
        if name not in self._networks:
            self._networks[name] = load_network(self.store.model_path(name), self.compute.device)
        return self._networks[name]

    def classifier(self, name: str) -> nn.Module:
        """Return a trained or composed classifier, in eval mode on the device."""
        if name in self.composed:
            defense = self.composed[name]
            return defense.compose({part: self.network(part) for part in defense.networks})
        return self.network(name)

    def has_arrays(self, key: str) -> bool:
        """Tell whether a stage's file of arrays is there, and whole."""
        try:
            load_tensors(self.store.array_path(key))
        except ModelFileError:
            return False
        return True

    def blocks(self, split: Split) -> Iterator[Split]:
        """Cut a split into blocks, on the device."""
        for rows in torch.split(torch.arange(len(split)), BLOCK):
            yield split.take(rows).to(self.compute.device)

    def perturb(self, block: Split, attack: Attack, threat: ThreatModel, on: str, mode: Mode) -> AttackResult:
        """Return a block's perturbed images; fixed sets are made once for all the stages that use them."""
        known = (block.name, tuple(block.ids.tolist()), repr(attack), repr(threat), on)
        if known in self._fixed_sets:
            self._fixed_sets.move_to_end(known)
            return self._fixed_sets[known]
        model, images = self.classifier(on), block.pixels(slice(None))
        result = attack.run(model, images, block.labels, threat, ids=block.ids, seed=self.seed, mode=mode)
        if mode == "max-loss":  # a verdict's images depend on what withstood, and serve nobody else
            self._fixed_sets[known] = result
        while len(self._fixed_sets) > _CACHED_BLOCKS:
            self._fixed_sets.popitem(last=False)
        return result

    def right(self, name: str, split: Split) -> dict[int, bool]:
        """Return by image id whether a classifier is right on the clean image; asked once for all stages."""
        known = (name, split.name, len(split))
        if known not in self._right:
            model = self.classifier(name)
            right: dict[int, bool] = {}
            for block in self.blocks(split):
                predictions, _ = classify(model, block.pixels(slice(None)))
                right |= zip(block.ids.tolist(), (predictions == block.labels).tolist(), strict=True)
            self._right[known] = right
        return self._right[known]

    def lab(self, name: str, threat: ThreatModel) -> AttackRunner:
        """Return what asks a classifier as checks do."""
        return AttackRunner(
            model=self.classifier(name),
            classes=self.dataset.classes,
            threat=threat,
            seed=self.seed,
            device=self.compute.device,
        )

    def seen_by_classifier(self, name: str, images: Tensor) -> Tensor:
        """Return what reaches a classifier's last part: the purified images, or the images themselves."""
        model = self.classifier(name)
        if not isinstance(model, PurifiedClassifier):
            return images
        with torch.no_grad():
            purified: Tensor = model.purifier(images)
        return purified
