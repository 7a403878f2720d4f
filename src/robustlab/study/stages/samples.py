"""Draws images from a generative network, and reconstructs test images if it can."""

from dataclasses import dataclass
from typing import Any, cast

import torch

from robustlab.core import seeding
from robustlab.models import GANNetwork, VariationalAutoencoder
from robustlab.models.files import save_tensors
from robustlab.study.stages.base import StudyStage
from robustlab.study.stages.gallery import to_bytes
from robustlab.study.workspace import Workspace

DRAWN = 40
RECONSTRUCTED = 20


@dataclass(frozen=True, kw_only=True)
class SamplesStage(StudyStage):
    """Images drawn from a standard normal code; for a VAE also test images and their reconstructions."""

    network: str
    seed: int

    def identity(self) -> dict[str, Any]:
        return {"network": self.network, "seed": self.seed}

    def intact(self, workspace: Workspace) -> bool:
        return workspace.has_arrays(self.key)

    @torch.no_grad()
    def run(self, workspace: Workspace) -> dict[str, Any]:
        network = cast("VariationalAutoencoder | GANNetwork", workspace.models.network(self.network))
        ids = torch.arange(DRAWN, device=workspace.compute.device)
        code = seeding.normal(seeding.derive(self.seed, "samples", self.network), ids, (network.latent,))
        arrays = {"drawn": to_bytes(network.generate(code))}
        if isinstance(network, VariationalAutoencoder):
            images = workspace.dataset.test.pixels(slice(RECONSTRUCTED)).to(workspace.compute.device)
            arrays |= {"originals": to_bytes(images), "reconstructions": to_bytes(network(images))}
        path = workspace.store.array_path(self.key)
        save_tensors(path, arrays, {"stage": self.key})
        return {"arrays": sorted(arrays), "file": str(path.relative_to(workspace.store.folder))}
