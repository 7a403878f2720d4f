"""Two public networks and real photos for them, for `robustlab evaluate`; weights and photos come from PyPI.

    pip install -e ".[keras]" foolbox
    pip install --no-deps facenet-pytorch cifar-10-model scikit-image lazy_loader
    cd benchmarks
    robustlab evaluate real_models.py:face_network --dataset real_models.py:faces \\
        --threat "linf(eps=2/255)" --mean 0.5 --std 0.5
    robustlab evaluate $(python real_models.py) --dataset real_models.py:cifar \\
        --threat "linf(eps=1/255)" --scale 255

The first network says whether an image of 24x24 pixels shows a face (the second network of MTCNN, Zhang et
al. 2016, arXiv:1604.02878). Its photos are 100 faces and 100 other patches of LFW, which scikit-image ships
for tests. The second network is a Keras model for CIFAR-10 that takes values in 0..255. Its 20 photos come
with Foolbox. Without ``--scale 255`` the check `preprocessing` fails, and names this option.
"""

import importlib.util
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn


def face_network() -> nn.Module:
    """Return the network: images (N, 3, 24, 24), normalised to [-1, 1], to logits (N, 2): no face, face."""
    from facenet_pytorch.models.mtcnn import RNet

    return _Logits(RNet()).eval()


class _Logits(nn.Module):
    """The logits of a network that returns the offsets of a box, and probabilities."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.network.softmax5_1 = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)[1]
        return logits


def faces() -> tuple[Tensor, Tensor]:
    """Return the photos (200, 3, 24, 24), grey in three equal channels, and whether each shows a face."""
    from skimage import data

    photos = torch.from_numpy(data.lfw_subset()).float()[:, None, :24, :24].repeat(1, 3, 1, 1)
    return photos, (torch.arange(200) < 100).long()


def cifar() -> tuple[Tensor, Tensor]:
    """Return the photos (20, 3, 32, 32) uint8 and their classes, which their names hold."""
    files = sorted((_folder("foolbox") / "data").glob("cifar10_*.png"))
    pictures = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    labels = torch.tensor([int(file.stem.rpartition("_")[2]) for file in files])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous(), labels


def _folder(package: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"install {package}")
    return Path(found.origin).parent


if __name__ == "__main__":
    print(_folder("cifar_10_model") / "trained_models" / "cnn_model.h5")
