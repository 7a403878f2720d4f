"""What a page shows of large images, of many classes, and of classes with names."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from html_page import Page, read
from PIL import Image
from sample_evaluations import broken, evaluation, flips, write_evaluation

from robustlab.report.pictures import perturbation_uri, smaller, smaller_change
from robustlab.runs.evaluation import Evaluation

CLASSES = 1000
NAMES = [f"animal {number}" for number in range(CLASSES)]


def photos(shape: tuple[int, int, int] = (3, 224, 224), **changes: Any) -> dict[str, Any]:
    """Return an evaluation of large images in 1,000 classes."""
    described = {"classes": CLASSES, "class_names": NAMES, "shape": list(shape)}
    return evaluation(
        images=evaluation()["images"] | described,
        broken=broken([7 * label for label in range(40)], CLASSES),
        flips=flips(9948 - 9281, 200),
        **changes,
    )


def pictures(page: Page) -> list[tuple[str, Image.Image]]:
    """Return the format and the picture of each image of a page."""
    found = []
    for tag, attributes in page.attributes:
        if tag == "img":
            kind, _, content = str(attributes["src"]).partition(";base64,")
            found.append((kind, Image.open(io.BytesIO(base64.b64decode(content)))))
    return found


def test_photos_are_small_files_in_full_size(tmp_path: Path) -> None:
    html, page = read(write_evaluation(tmp_path, photos()))
    shown = pictures(page)
    assert {(kind, picture.size) for kind, picture in shown} == {("data:image/jpeg", (224, 224))}
    assert len(shown) > 2 * 6, "the strip, and some in the gallery"
    assert len(html) < 2_500_000
    assert "drawn as JPEG" in page.text


def test_larger_photos_are_drawn_smaller(tmp_path: Path) -> None:
    _, page = read(write_evaluation(tmp_path, photos((3, 300, 514)) | {"broken": broken([1, 2], CLASSES)}))
    assert {picture.size for _, picture in pictures(page)} == {(172, 100)}
    assert "one pixel stands for 3×3 of them" in page.text


def test_small_images_stay_as_they_are(tmp_path: Path) -> None:
    _, page = read(write_evaluation(tmp_path, photos((3, 64, 64))))
    assert {(kind, picture.size) for kind, picture in pictures(page)} == {("data:image/png", (64, 64))}
    assert "JPEG" not in page.text


def test_a_smaller_picture_keeps_the_noise() -> None:
    signs = np.where(np.random.default_rng(0).random((3, 5, 7)) < 0.5, -1, 1)
    noise = (signs * np.float32(0.02)).astype(np.float32)
    noise[:, 0, 0] = -0.5
    drawn = smaller_change(noise, 3)
    assert drawn.shape == (3, 2, 3)
    assert np.abs(drawn).min() == np.float32(0.02)
    assert (drawn[:, 0, 0] == -0.5).all()
    grey = np.full((1, 4, 4), 0.25, dtype=np.float32)
    grey[0, 0, 0] = 0.75
    assert smaller(grey, 2).tolist() == [[[0.375, 0.25], [0.25, 0.25]]]
    assert np.array_equal(smaller(grey, 1), grey)
    assert "image/jpeg" in perturbation_uri(noise, 0.5, photo=True)


def test_of_1000_classes_the_most_frequent_pairs_are_shown(tmp_path: Path) -> None:
    folder = write_evaluation(tmp_path, photos())
    _, page = read(folder)
    assert "What they were taken for 15 of 600 pairs of classes, the most frequent first" in page.text
    assert not (folder / "figures" / "flips.svg").exists()
    assert "animal 0 animal 1" in page.text


def test_the_page_names_the_classes(tmp_path: Path) -> None:
    names = ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "crane<b>|truck"]
    images = evaluation()["images"] | {"class_names": names}
    folder = write_evaluation(tmp_path, evaluation(images=images))
    _, page = read(folder)
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    drawn = (folder / "figures" / "flips.svg").read_text(encoding="utf-8")
    for name in names[:9]:
        assert f"of class {name} broken" in page.text
        assert f">{name}<" in drawn
        assert name in markdown
    assert "crane<b>|truck" in page.text
    assert "crane<b>|truck" not in markdown
    assert {a["alt"] for tag, a in page.attributes if tag == "img"} >= {"clean image of class cat"}


def test_a_name_of_two_classes_comes_with_the_number(tmp_path: Path) -> None:
    images = evaluation()["images"] | {"class_names": ["crane", "crane", "fox"]}
    _, page = read(write_evaluation(tmp_path, evaluation(images=images)))
    for name in ("crane (0)", "crane (1)", "fox", "9"):
        assert f"of class {name} broken" in page.text


def test_more_names_than_classes_are_refused() -> None:
    results = evaluation(images=evaluation()["images"] | {"class_names": [*"0123456789", "more"]})
    with pytest.raises(ValueError, match="at most one name for each class"):
        Evaluation.model_validate(results)
