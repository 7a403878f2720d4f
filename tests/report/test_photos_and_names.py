"""What a page shows of large images, of many classes, of classes with names, and of corruptions."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from html_page import Page, read
from PIL import Image
from sample_evaluations import bare, broken, evaluation, flips, rows, share, write_evaluation

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
    found: list[tuple[str, Image.Image]] = []
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


def corrupted(mode: str) -> dict[str, Any]:
    """Return an evaluation under two corruptions, one of them at two severities, and a rotation."""
    attacks = [
        ("corruption(effect=shot_noise, severity=1)", 9948, 48, 9948, 0),
        ("corruption(effect=shot_noise, severity=3)", 9900, 100, 9900, 0),
        ("corruption(effect=zigzag, severity=None)", 9800, 300, 9800, 0),
        ("rotation_translation(rotation=30, shift=3)", 9500, 0, 9500, 0),
    ]
    lines = rows(attacks)  # type: ignore[arg-type]
    if mode == "test-set":
        lines = [row | {"accuracy": share(9000 - 100 * place)} for place, row in enumerate(lines)]
    unbounded = {"threat": "unbounded()", "norm": "unbounded", "bounded": False, "eps": 0.0}
    return bare() | unbounded | {"rows": lines, "robust": lines[-1]["robust"], "mode": mode}


def test_corruptions_are_a_table_by_severity(tmp_path: Path) -> None:
    folder = write_evaluation(tmp_path, corrupted("verdict"))
    _, page = read(folder)
    assert "Corruption 1 3 default shot noise 48 of 9,948 100 of 9,900 – zigzag – – 300 of 9,800" in page.text
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    assert "| Corruption | 1 | 3 | default |" in markdown


def test_of_a_test_set_the_table_has_accuracies(tmp_path: Path) -> None:
    _, page = read(write_evaluation(tmp_path, corrupted("test-set")))
    text = page.text.replace("\u00a0", " ")
    assert "shot noise 90.00 % 89.00 % – zigzag – – 88.00 % mean 90.0 % 89.0 % 88.0 %" in text


def test_without_corruptions_there_is_no_table(tmp_path: Path) -> None:
    _, page = read(write_evaluation(tmp_path))
    assert "by severity" not in page.text
