"""An evaluation of images that are read as they are needed is that of the same images in memory."""

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation_runs import Notes, evaluate, states, table
from torch import nn

import robustlab
from conftest import MadeImages, linear_classifier
from robustlab.core.errors import DataError
from robustlab.data import Split
from robustlab.evaluation.coordinator import measured
from robustlab.evaluation.images import load_images

SMALL = (3, 8, 8)
BOUND = (1 << 24) // (3 * 64 * 64)
CASES: dict[str, dict[str, Any]] = {
    "all": {"attacks": "fgsm, pgd(steps=3), square(queries=10)", "checks": True, "certify": True},
    "8-bit": {"attacks": "pgd(steps=3)", "eight_bit": True, "checks": True},
    "curve": {"attacks": "fgsm", "curve": True},
    "test-set": {"attacks": "fgsm", "mode": "test-set", "checks": True},
    "preprocessing": {"attacks": "fgsm", "mean": (0.4,), "std": (0.3,)},
}


def model_of(shape: tuple[int, int, int]) -> nn.Module:
    return linear_classifier(classes=4, shape=shape, scale=0.5, seed=2)


def known(source: MadeImages, first: int, ids: int = 0) -> Split:
    """Return a split whose first images the model classifies correctly."""
    split = source.split(torch.arange(source.shape[0]) % 4)
    model = model_of((source.shape[1], source.shape[2], source.shape[3]))
    split.labels[:first] = model(split.pixels(slice(first))).argmax(dim=1)
    split.labels[0] = (split.labels[0] + 1) % 4
    source.asked.clear()
    return replace(split, ids=split.ids + ids)


def results(folder: Path) -> Any:
    """Return the content of results.json without times and memory."""

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            dropped = {"seconds", "created", "peak_memory_mb", "command"}
            return {key: timeless(part) for key, part in value.items() if key not in dropped}
        return [timeless(part) for part in value] if isinstance(value, list) else value

    return timeless(json.loads((folder / "results.json").read_text()))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("case", CASES)
def test_it_gives_the_same_bit_for_bit(tmp_path: Path, dtype: torch.dtype, case: str) -> None:
    source = MadeImages((300, *SMALL), dtype)
    lazy, model = known(source, 60, ids=100), model_of(SMALL)
    whole = source.in_memory(lazy)
    options: dict[str, Any] = {"threat": "linf(eps=0.01)", "n": 40} | CASES[case]
    first = evaluate(tmp_path / "memory", model, whole, **options)
    second = evaluate(tmp_path / "files", model, lazy, **options)
    assert results(tmp_path / "files") == results(tmp_path / "memory")
    for name in ("images.csv", first.results.pictures or "images.csv"):
        other = second.results.pictures if name != "images.csv" else name
        assert (tmp_path / "files" / str(other)).read_bytes() == (tmp_path / "memory" / name).read_bytes()
    assert set(states(first).values()) >= {"broken", "misclassified"}
    notes = Notes()
    evaluate(tmp_path / "memory", model, lazy, notes, **options)
    assert "running" not in {state for _, state in notes.states}


@pytest.mark.parametrize("hash_", ["", "of the files"])
def test_only_what_is_needed_is_read_in_blocks(tmp_path: Path, hash_: str) -> None:
    source = MadeImages((50_000, 3, 64, 64), hash_=hash_)
    split = known(source, 500)
    options: dict[str, Any] = {"n": 40, "checks": True, "certify": True, "threat": "linf(eps=0.002)"}
    attacks = "fgsm, pgd(steps=3), square(queries=10)"
    run = evaluate(tmp_path, model_of((3, 64, 64)), split, attacks=attacks, **options)
    assert run.results.images.n == 40
    assert all("crashed" not in check.found for check in run.results.checks)
    hashing = [call for call in source.asked if len(call) > 400]
    assert [place for call in hashing for place in call] == ([] if hash_ else list(range(50_000)))
    assert source.most <= BOUND
    others = [call for call in source.asked if len(call) <= 400]
    beyond = [call for call in others if max(call) >= 40]
    # The check of the preprocessing alone looks at others, and the ledger's kept answers at none.
    assert [len(call) for call in beyond] == [400]
    assert max(len(call) for call in others if call not in beyond) <= 40
    assert sum(map(len, others)) <= 400 + 40 * 30


def test_a_mask_reads_no_more_at_once(tmp_path: Path) -> None:
    source = MadeImages((3000, *SMALL), hash_="of the files")
    options: dict[str, Any] = {"n": 3000, "checks": True, "batch_size": 100, "attacks": "fgsm"}
    threat = "masked(threat=linf(eps=0.01), fixed=(0, 1))"
    run = evaluate(tmp_path, model_of(SMALL), known(source, 3000), threat=threat, **options)
    assert next(check for check in run.results.checks if check.id == "zero-distance").grade == "pass"
    assert source.most <= 2000  # of a sample of the checks


@pytest.mark.parametrize("hash_", ["", "of the files"])
def test_a_file_that_cannot_be_decoded_is_named_and_nothing_is_lost(tmp_path: Path, hash_: str) -> None:
    source = MadeImages((300, *SMALL), hash_=hash_)
    split, model = known(source, 60, ids=100), model_of(SMALL)
    options: dict[str, Any] = {"threat": "linf(eps=0.01)", "n": 40, "batch_size": 8, "attacks": "fgsm"}
    whole = evaluate(tmp_path / "whole", model, split, **options)
    source.broken = 29
    with pytest.raises(DataError, match=r"^image 129 can't be used: .*OSError: .*'photos/29\.png'") as caught:
        evaluate(tmp_path / "run", model, split, **options)
    assert "\n" not in str(caught.value)
    if hash_:
        assert len(table(tmp_path / "run", "outcomes")) == 24
        source.broken = -1
        source.asked.clear()
        again = evaluate(tmp_path / "run", model, split, **options)
        assert states(again) == states(whole)
        classified = [call for call in source.asked if len(call) == 8]
        assert classified[0] == list(range(24, 32))


def test_a_check_that_cannot_read_its_images_says_which(tmp_path: Path) -> None:
    source = MadeImages((300, *SMALL), hash_="of the files")
    split = known(source, 60)
    source.broken = 250
    run = evaluate(tmp_path, model_of(SMALL), split, n=40, attacks="fgsm", checks=True)
    (check,) = [check for check in run.results.checks if check.id == "preprocessing"]
    assert check.grade == "warn"
    assert "image 250 can't be used" in check.found


def test_an_unreadable_image_is_not_taken_for_a_refusal_of_bf16(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "fast_bf16", lambda _: True)
    source = MadeImages((60, *SMALL), hash_="of the files")
    split = known(source, 60)
    source.broken = 30
    with pytest.raises(DataError, match=r"^image 30 can't be used"):
        evaluate(tmp_path, model_of(SMALL), split, precision="auto", attacks="fgsm", batch_size=60)
    assert table(tmp_path, "stages", "name") == []
    source.broken = -1
    source.asked.clear()
    run = evaluate(tmp_path, model_of(SMALL), split, precision="auto", attacks="fgsm", batch_size=60)
    assert run.results.compute.pass_time is not None
    assert sum(len(call) == 60 for call in source.asked) <= 4


def test_values_that_are_no_8_bit_images_are_named(tmp_path: Path) -> None:
    class Between(MadeImages):
        def rows(self, places: torch.Tensor) -> torch.Tensor:
            images = super().rows(places)
            images[places == 17] = 0.5
            return images

    source = Between((60, *SMALL), torch.float32, hash_="of the files")
    with pytest.raises(DataError, match=r"^image 17 can't be used: the clean images are not 8-bit images"):
        evaluate(tmp_path, model_of(SMALL), known(source, 60), attacks="fgsm", eight_bit=True)


def test_a_function_of_a_file_may_return_a_source(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(
        "import torch\n"
        "from robustlab.data import ImageSource\n"
        "class Images(ImageSource):\n"
        "    shape = (12, 1, 2, 2)\n"
        "    def rows(self, places):\n"
        "        if 5 in places: raise ValueError('no image in five.png')\n"
        "        return torch.zeros(len(places), 1, 2, 2, dtype=torch.uint8)\n"
        "def images():\n"
        "    return Images(), range(12)\n"
        "def few():\n"
        "    return Images(), [0]\n"
    )
    split = load_images(f"{tmp_path}/my.py:images", data_root=None, n=5).images
    assert split.pixels(slice(None)).shape == (5, 1, 2, 2)
    with pytest.raises(DataError, match=r"image 5 can't be used: .*no image in five\.png \(my\.py, line 6\)"):
        load_images(f"{tmp_path}/my.py:images", data_root=None, n=12).images.tensor()
    with pytest.raises(DataError, match=r"labels must be integers of shape \(12,\)"):
        load_images(f"{tmp_path}/my.py:few", data_root=None, n=5)


def test_the_argument_images_may_be_a_source(tmp_path: Path) -> None:
    images: Any = MadeImages((20, *SMALL), hash_="one")
    labels = known(images, 20).labels
    run = robustlab.evaluate(
        model_of(SMALL), images=images, labels=labels, attacks="fgsm", checks=False, out=tmp_path
    )
    assert run.results.images.n == 20


def test_it_travels_to_another_process() -> None:
    source = MadeImages((60, *SMALL))
    split = known(source, 60)
    copy = pickle.loads(pickle.dumps(split))
    assert copy.sha256() == split.sha256()
    assert torch.equal(copy.to("cpu").pixels(slice(5)), split.pixels(slice(5)))
