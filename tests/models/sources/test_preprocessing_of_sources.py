"""What a source states on its images is put in front of the network, printed, and overridden by options."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from source_models import quiet
from torch import nn
from torchvision import models
from torchvision.transforms.v2 import functional as transforms

import robustlab
from robustlab.core.errors import RobustlabError, SetupError, SpecError
from robustlab.core.progress import Progress
from robustlab.core.spec import register
from robustlab.evaluation.preprocessing import asked
from robustlab.evaluation.subject import load_classifier
from robustlab.models.preprocessing import Preprocessed, Preprocessing
from robustlab.models.sources import Loaded, Note, Source

STATED = Preprocessing(mean=(0.4,), std=(0.2,), resize=10, crop=8, interpolation="bicubic", origin="the card")


class Notes(Progress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def sums() -> nn.Module:
    """The six logits are means over parts of what the network sees."""
    return nn.Sequential(nn.AdaptiveAvgPool2d((2, 1)), nn.Flatten()).eval()


@pytest.fixture
def stated(own_registry: None) -> str:
    """The text of a source that states a preprocessing and class names."""
    del own_registry

    @register("stated")
    class Stated(Source):
        def load(self, note: Note) -> Loaded:
            del note
            return Loaded(
                network=sums(), name="sums", origin="stated()", preprocessing=STATED,
                class_names=("cat, tabby", "dog", "cow", "owl", "ant", "bee"),
            )  # fmt: skip

    return "stated()"


def run(model: str, out: Path, notes: Notes | None = None, **more: Any) -> Any:
    images = torch.rand(3, 3, 20, 16, generator=torch.Generator().manual_seed(0))
    options: dict[str, Any] = {"attacks": "fgsm", "threat": "linf(eps=0.1)", "checks": False}
    options |= {"overwrite": True, "precision": "fp32", **more}
    labels = torch.tensor([0, 1, 2])
    return robustlab.evaluate(
        model, images=images, labels=labels, out=out, progress=notes, **options
    ).results.subject


def test_it_is_in_front_and_printed(stated: str, tmp_path: Path) -> None:
    notes = Notes()
    subject = run(stated, tmp_path, notes)
    assert subject.preprocessing == "resize 10 (bicubic), crop 8, mean 0.4, std 0.2"
    assert subject.preprocessing_from == "the card"
    assert f"in front of sums, as the card states: {subject.preprocessing}" in notes.notes
    assert "the 6 classes of the model, in order: cat, dog, cow, owl, ant, ..." in notes.notes
    page = (tmp_path / "report.html").read_text()
    assert "crop 8, mean 0.4, std 0.2, as the card states" in page


OVERRIDES: list[tuple[dict[str, Any], str]] = [
    ({"mean": 0.5, "std": 0.5}, "resize 10 (bicubic), crop 8, mean 0.5, std 0.5"),
    ({"mean": 0, "std": 1}, "resize 10 (bicubic), crop 8"),
    ({"scale": 255}, "resize 10 (bicubic), crop 8, times 255, mean 0.4, std 0.2"),
    ({"resize": 8}, "resize 8 (bicubic), crop 8, mean 0.4, std 0.2"),
    ({"resize": 0}, "crop 8, mean 0.4, std 0.2"),
]


@pytest.mark.parametrize(("options", "expected"), OVERRIDES, ids=range(len(OVERRIDES)))
def test_options_override_its_parts(
    options: dict[str, Any], expected: str, stated: str, tmp_path: Path
) -> None:
    notes = Notes()
    subject = run(stated, tmp_path, notes, **options)
    assert (subject.preprocessing, subject.preprocessing_from) == (expected, "")
    assert f"in front of sums, as the options ask: {expected}" in notes.notes


def test_it_is_a_part_of_the_identity(stated: str, tmp_path: Path) -> None:
    keys = set()
    for more in ({}, {"resize": 10}, {"resize": 9}, {"resize": 9, "crop": 8}, {"mean": 0.4, "std": 0.2}):
        run(stated, tmp_path, **more)
        keys.add((tmp_path / "manifest.json").read_text().split('"problem": "')[1].split('"')[0])
    assert len(keys) == 2, "an option that repeats what the source states changes nothing"


def test_parts_of_a_composition_and_surrogates_keep_theirs(stated: str, tmp_path: Path) -> None:
    notes = Notes()
    subject = run(f"bit_depth(classifier={stated!r})", tmp_path, notes, surrogates=[stated])
    assert subject.preprocessing == "", "it is inside the composition"
    assert sum("in front of sums, as the card states" in note for note in notes.notes) == 2


SIZES: list[tuple[Any, Any, tuple[int, int]]] = [
    (10, 8, (20, 16)),
    (32, 24, (17, 9)),
    ((12, 9), None, (20, 16)),
    (None, (7, 4), (20, 15)),
    (8, 12, (20, 16)),
    (None, 11, (8, 15)),
    (16, None, (20, 16)),
]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("resize", "crop", "shape"), SIZES, ids=range(len(SIZES)))
def test_resize_and_crop_are_torchvisions(
    resize: Any, crop: Any, shape: tuple[int, int], interpolation: str
) -> None:
    steps = Preprocessing(resize=resize, crop=crop, interpolation=interpolation)
    images = torch.rand(2, 3, *shape, requires_grad=True)
    found = Preprocessed(nn.Identity(), steps)(images)
    mode = transforms.InterpolationMode(interpolation)
    expected = images
    if resize is not None:
        expected = transforms.resize(images, [resize] if isinstance(resize, int) else resize, mode)
    if crop is not None:
        expected = transforms.center_crop(expected, [crop] if isinstance(crop, int) else crop)
    assert torch.allclose(found, expected, atol=1e-5)
    (slope,) = torch.autograd.grad(found.sum(), images)
    assert slope.abs().sum() > 0


BAD: list[tuple[dict[str, Any], str]] = [
    ({"resize": -1}, "resize must be a whole number, at least 0"),
    ({"crop": 2.5}, "crop must be a whole number"),
    ({"crop": True}, "crop must be a whole number"),
    ({"resize": 10**9}, "resize must be at most 10,000"),
]


@pytest.mark.parametrize(("options", "message"), BAD, ids=range(len(BAD)))
def test_wrong_sizes_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        asked(None, None, **options)


@pytest.mark.usefixtures("own_registry")
def test_its_channels_must_fit(tmp_path: Path) -> None:
    @register("coloured")
    class Coloured(Source):
        def load(self, note: Note) -> Loaded:
            del note
            steps = Preprocessing(mean=(0.4, 0.5), std=(0.2, 0.3), origin="the card")
            return Loaded(network=sums(), name="sums", origin="coloured()", preprocessing=steps)

    with pytest.raises(RobustlabError, match="mean has 2 values and std 2, as the card states"):
        run("coloured()", tmp_path)


@pytest.fixture
def no_download(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replace torchvision's download by a function."""

    def replaced(answer: Callable[..., Any]) -> None:
        monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", answer)

    return replaced


def test_weights_of_torchvision_state_theirs(no_download: Callable[..., None]) -> None:
    network = models.mobilenet_v3_small().eval()
    no_download(lambda *_, **__: network.state_dict())
    subject = load_classifier("torchvision(mobilenet_v3_small, weights=IMAGENET1K_V1)")
    transform = models.MobileNet_V3_Small_Weights.IMAGENET1K_V1.transforms()
    images = torch.rand(2, 3, 40, 60)
    with torch.no_grad():
        assert torch.allclose(subject.model(images), network(transform(images)), atol=1e-5)
    assert subject.preprocessing is not None
    assert subject.preprocessing.origin == "torchvision's MobileNet_V3_Small_Weights.IMAGENET1K_V1"
    assert subject.class_names[:2] == ("tench", "goldfish")
    assert subject.remarks == ()


def test_a_failed_download_is_one_sentence(no_download: Callable[..., None]) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise OSError("Name or service not known")

    no_download(fails)
    with pytest.raises(SetupError, match=r"resnet18 with DEFAULT could not be loaded: OSError: Name or serv"):
        load_classifier("torchvision(resnet18, weights=DEFAULT)")


def test_a_large_transformer_of_torchvision_at_its_size() -> None:
    with quiet():
        subject = load_classifier("torchvision(vit_b_16)")
    assert any("the weights are random" in remark for remark in subject.remarks)
    with torch.no_grad():
        assert subject.model(torch.rand(1, 3, 224, 224)).shape == (1, 1000)
