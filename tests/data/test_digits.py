"""The embedded digits, brought to MNIST's shape."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

from robustlab.core.errors import DataError
from robustlab.data import Splits, load_dataset

PARTS = ("train", "validation", "test")


def test_the_parts(digits: Splits) -> None:
    assert [len(digits.split(part)) for part in PARTS] == [1150, 288, 359]
    ids = torch.cat([digits.split(part).ids for part in PARTS])
    assert sorted(ids.tolist()) == list(range(1797))
    assert digits.classes == 10
    assert digits.name == "digits"
    assert digits.fallback == ""
    for part in PARTS:
        split = digits.split(part)
        assert split.images.shape == (len(split), 1, 28, 28)
        assert split.images.dtype == torch.uint8
        assert split.labels.dtype == split.ids.dtype == torch.int64
        assert split.name == part
        assert set(split.labels.tolist()) == set(range(10))


def test_the_images_are_those_of_scikit_learn(digits: Splits) -> None:
    bunch = load_digits()
    for part in PARTS:
        split = digits.split(part)
        assert np.array_equal(split.labels.numpy(), bunch.target[split.ids.numpy()])
        assert split.tensor().max() == 255
        pixels = split.pixels(slice(None))
        small = F.avg_pool2d(pixels[:, :, 2:-2, 2:-2], 3).squeeze(1).numpy()
        original = bunch.images[split.ids.numpy()] / 16
        assert np.corrcoef(small.ravel(), original.ravel())[0, 1] > 0.98
        # Like MNIST's digits, they do not touch the border.
        assert not torch.cat([pixels[:, :, :2], pixels[:, :, -2:]]).any()
        assert not torch.cat([pixels[..., :2], pixels[..., -2:]]).any()


def test_the_test_set_does_not_depend_on_the_seed(digits: Splits) -> None:
    other = load_dataset("digits", seed=1, validation_fraction=0.5)
    assert other.test.sha256() == digits.test.sha256()
    assert other.validation.sha256() != digits.validation.sha256()
    assert len(other.validation) == 719
    assert load_dataset("digits").train.sha256() == digits.train.sha256()


FROZEN_TEST_IDS = [1, 16, 17, 22, 25]
FROZEN_VALIDATION_IDS = [4, 11, 19, 21, 29]


def test_the_data_stays_the_same(digits: Splits) -> None:
    # An interpolation's last bit may differ on another machine, so that only the choice is frozen.
    assert digits.test.ids[:5].tolist() == FROZEN_TEST_IDS
    assert digits.validation.ids[:5].tolist() == FROZEN_VALIDATION_IDS


def test_mistakes_are_named() -> None:
    with pytest.raises(
        DataError, match=r"unknown dataset 'mnst' \(did you mean 'mnist'\?\); accepted: auto, "
    ):
        load_dataset("mnst")
    with pytest.raises(DataError, match="validation_fraction"):
        load_dataset("digits", validation_fraction=1.0)
