"""`robustlab train` works on every dataset that has training images."""

from pathlib import Path

import pytest
from official_files import FILE_DATASETS, IDX, make_up

import robustlab
from robustlab.data.files import FileDataset

SMALL = [unit for unit in FILE_DATASETS if unit not in IDX]


@pytest.mark.parametrize("unit", SMALL, ids=lambda unit: unit.name)
def test_a_training_on_a_dataset_gives_a_network_with_its_classes(
    unit: type[FileDataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_up(unit, tmp_path, monkeypatch)
    run = robustlab.train(
        "pgd_training(eps=2/255, attack=pgd(steps=1))",
        architecture="strided_cnn(hidden=8)",
        dataset=unit.name,
        data_root=tmp_path,
        epochs=1,
        batch_size=8,
        validation_fraction=0.25,
        attack_images=4,
        device="cpu",
        out=tmp_path / "run",
    )
    network = robustlab.load_network(run.file)
    data = robustlab.load_dataset(unit.name, data_root=tmp_path)
    assert network(data.test.pixels(slice(2))).shape == (2, len(data.class_names))
    assert run.card["dataset"]["name"] == unit.name
    again = robustlab.evaluate(
        f"run('{run.folder}', network)",
        dataset=unit.name,
        data_root=tmp_path,
        attacks="fgsm",
        threat="linf(eps=2/255)",
        checks=False,
        out=tmp_path / "evaluation",
    )
    assert again.results.images.n == len(data.test)
