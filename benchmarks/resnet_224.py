"""A ResNet-18 and twenty photos of 224x224, for `benchmarks/peers.py`; nothing is downloaded.

    cd benchmarks
    python peers.py --model resnet_224.py:network --data resnet_224.py:photos --threat "linf(eps=4/255)" \\
        --task standard -n 20 --batches 20 --repeats 1

The weights are random, so the costs of passes are those of a real ResNet-18, but its accuracy says nothing.
The photos come with Foolbox (``pip install -e ".[peers]"``); their middle squares are resized. The labels are
the network's own answers.
"""

from pathlib import Path

import foolbox
import numpy as np
import torch
import torchvision
from PIL import Image, ImageOps
from torch import Tensor, nn

from robustlab.core import seeding


def network() -> nn.Module:
    """Return the network, with the normalisation of ImageNet in front of it."""
    with seeding.isolated(0):
        normalise = torchvision.transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        return nn.Sequential(normalise, torchvision.models.resnet18()).eval()


def photos() -> tuple[Tensor, Tensor]:
    """Return the photos (20, 3, 224, 224) uint8, and the network's answers."""
    files = sorted((Path(foolbox.__file__).parent / "data").glob("imagenet_*.jpg"))
    pictures = [np.asarray(ImageOps.fit(Image.open(file).convert("RGB"), (224, 224))) for file in files]
    images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
    with torch.no_grad():
        return images, network()(images / 255).argmax(dim=1)
