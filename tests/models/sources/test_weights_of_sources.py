"""Weights of one's own in a network of a library."""

from pathlib import Path

import pytest
import torch
from source_models import quiet

from robustlab.evaluation.subject import load_classifier

TEXTS = ["torchvision(mobilenet_v3_small, classes=4)", "timm(test_resnet, pretrained=False, classes=4)"]


@pytest.mark.filterwarnings("ignore")  # of timm
@pytest.mark.parametrize("text", TEXTS)
def test_weights_are_loaded_into_it(text: str, tmp_path: Path) -> None:
    if text.startswith("timm"):
        pytest.importorskip("timm")
    with quiet():
        network = load_classifier(text).network
    torch.manual_seed(5)
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.add_(0.1 * torch.rand(value.shape))
    torch.save({"state_dict": network.state_dict()}, tmp_path / "w.pt")
    with quiet():
        subject = load_classifier(text, weights=tmp_path / "w.pt")
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(subject.network(image), network(image))
        assert subject.model(image).shape == (1, 4)
