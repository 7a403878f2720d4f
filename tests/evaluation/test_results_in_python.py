"""What a finished evaluation offers in Python: data frames, adversarial images, figures, the command."""

import csv
import shlex
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from evaluation_runs import SHAPE, evaluate, grey_split, verdicts
from PIL import Image
from torch import nn

import robustlab
from robustlab.attacks import FGSM
from robustlab.core.errors import OutputError, RunError, SetupError, SpecError
from robustlab.core.spec import register
from robustlab.data import Split

EPS = 8 / 255


@pytest.fixture(scope="module")
def model(make_linear: Callable[..., nn.Module]) -> nn.Module:
    return make_linear(classes=4, shape=SHAPE, seed=2)


@pytest.fixture(scope="module")
def split(model: nn.Module) -> Split:
    return grey_split(model)


def run_of(folder: Path, model: nn.Module, split: Split, **options: Any) -> robustlab.EvaluationRun:
    given = {"attacks": "fgsm, pgd(steps=5)", "threat": "linf(eps=8/255)"} | options
    evaluate(folder, model, split, **given)
    run = robustlab.load_run(folder)
    assert isinstance(run, robustlab.EvaluationRun)
    return run


@pytest.fixture(scope="module")
def run(model: nn.Module, split: Split, tmp_path_factory: pytest.TempPathFactory) -> robustlab.EvaluationRun:
    return run_of(tmp_path_factory.mktemp("runs") / "run", model, split)


def listed(folder: Path) -> list[dict[str, str]]:
    with (folder / "adversarial.csv").open() as file:
        return list(csv.DictReader(file))


def test_data_frames(run: robustlab.EvaluationRun) -> None:
    pandas = pytest.importorskip("pandas")
    attacks, images = run.frame(), run.images_frame()
    assert attacks.attack.tolist() == [row.attack for row in run.results.rows]
    assert attacks.robust.iloc[-1] == run.results.robust.value
    assert attacks.accuracy.isna().all()
    assert images.image_id.tolist() == list(verdicts(run))
    assert isinstance(images.state.dtype, pandas.CategoricalDtype)
    assert images.label.dtype == images.restart.dtype == "int64"
    assert images.distance.dtype == "float64"
    assert (images.state == "broken").sum() == attacks.broken.sum() > 0


def test_without_pandas_it_says_what_to_install(
    run: robustlab.EvaluationRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    for method in (run.frame, run.images_frame):
        with pytest.raises(SetupError, match="pip install pandas"):
            method()


def test_adversarial_images_are_those_that_were_measured(
    run: robustlab.EvaluationRun, model: nn.Module, split: Split
) -> None:
    images, labels, predictions, ids = run.adversarial()
    broken = {number: row for number, row in verdicts(run).items() if row["state"] == "broken"}
    assert ids.tolist() == list(broken)
    assert images.shape == (len(broken), *SHAPE)
    assert images.dtype == torch.float32
    assert torch.equal(model(images).argmax(dim=1), predictions)
    assert (predictions != labels).all()
    place = {number: row for row, number in enumerate(split.ids.tolist())}
    clean = split.pixels(torch.tensor([place[number] for number in ids.tolist()]))
    moved = (images - clean).abs().flatten(1).amax(dim=1)
    assert moved.tolist() == pytest.approx([float(row["distance"]) for row in broken.values()])


def test_npz_keeps_every_bit(run: robustlab.EvaluationRun, tmp_path: Path) -> None:
    assert run.save_images("npz", tmp_path / "a" / "b") == tmp_path / "a" / "b"
    found = np.load(tmp_path / "a" / "b" / "adversarial.npz")
    for name, value in run.adversarial()._asdict().items():
        assert np.array_equal(found[name], value.numpy()), name


def test_png_files_stay_within_eps_and_say_what_was_measured(run: robustlab.EvaluationRun) -> None:
    folder = run.save_images("png")
    assert folder == run.folder / "adversarial"
    rows = listed(folder)
    assert [int(row["image_id"]) for row in rows] == run.adversarial().ids.tolist()
    for row, image in zip(rows, run.adversarial().images, strict=True):
        stored = np.asarray(Image.open(folder / row["file"]), dtype=np.float32)[None] / 255
        assert abs(stored - image.numpy()).max() <= 0.5 / 255 + 1e-6
        assert float(row["saved_distance"]) <= EPS + 0.5 / 255 + 1e-6
        assert row["within_eps"] == str(float(row["saved_distance"]) <= EPS * (1 + 1e-5))
        assert row["measured"] == "False", "the clean images have other values than a file of 8 bits"
    assert robustlab.load_run(run.folder).results == run.results, "the run is still complete"


def test_images_of_eight_bit_are_exactly_the_files(model: nn.Module, split: Split, tmp_path: Path) -> None:
    images = split.pixels(slice(None)).mul(255).round().to(torch.uint8)
    labels = model(images / 255).argmax(dim=1)
    found = run_of(
        tmp_path / "run", model, Split.of(images, labels, name="test"), eight_bit=True, attacks="pgd(steps=5)"
    )
    rows = listed(found.save_images("png", tmp_path / "png"))
    assert rows
    assert {(row["within_eps"], row["measured"]) for row in rows} == {("True", "True")}


def test_files_of_ones_own_images_stay_within_eps(model: nn.Module, split: Split, tmp_path: Path) -> None:
    images = split.pixels(slice(None)).mul(255).round().to(torch.uint8)
    own = Split.of(images, model(images / 255).argmax(dim=1), name="test")
    given: dict[str, Any] = {"attacks": "pgd(steps=5)", "certify": False, "checks": False, "out": tmp_path}
    found = robustlab.evaluate(model, dataset=own, threat="linf(eps=3.4/255)", **given)
    for file in (tmp_path / "arrays").glob("*"):
        file.unlink()  # as if there were more broken images than the page shows
    rows = listed(found.save_images())
    assert len(rows) > 5
    assert {row["within_eps"] for row in rows} == {"True"}
    loaded = robustlab.load_run(tmp_path)
    assert isinstance(loaded, robustlab.EvaluationRun)
    assert {row["within_eps"] for row in listed(loaded.save_images())} == {""}


def test_clean_images_of_a_dataset_are_read_again(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    found = run_of(tmp_path, model, "digits", n=60, threat="linf(eps=0.5)")  # type: ignore[arg-type]
    for file in (tmp_path / "arrays").glob("*"):
        file.unlink()
    rows = listed(found.save_images())
    assert {row["within_eps"] for row in rows} == {"True"}


def test_no_broken_image_gives_no_image(model: nn.Module, split: Split, tmp_path: Path) -> None:
    found = run_of(tmp_path, model, split, threat="linf(eps=0)", attacks="fgsm")
    assert found.adversarial().images.shape == (0, *SHAPE)
    assert listed(found.save_images()) == []
    with pytest.raises(SpecError, match="no data for the figure 'distances'"):
        found.figure("distances")


def test_what_is_refused(model: nn.Module, split: Split, tmp_path: Path) -> None:
    found = run_of(tmp_path / "run", model, split)
    for name in ("jpg", None, "PNG"):
        with pytest.raises(SpecError, match="kind must be one of png, npz"):
            found.save_images(name)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="folder"):
        found.save_images("png", 3)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="name must be one of curve, attacks"):
        found.figure("curves")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=r"evaluate with curve=True"):
        found.figure()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        found.save_images("png", tmp_path / "file")
    db = sqlite3.connect(found.folder / "ledger.sqlite")
    with db:
        db.execute("UPDATE examples SET image = zeroblob(9)")
    db.close()
    with pytest.raises(RunError, match="is damaged"):
        found.adversarial()
    (found.folder / "ledger.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(RunError, match="is damaged"):
        found.adversarial()
    (found.folder / "ledger.sqlite").unlink()
    with pytest.raises(RunError, match="not found"):
        found.save_images()


def test_figures(run: robustlab.EvaluationRun) -> None:
    for name in ("attacks", "flips", "distances"):
        figure: Any = run.figure(name)
        assert figure._repr_png_().startswith(b"\x89PNG")
        assert figure.axes


def test_a_run_says_what_matters_in_a_few_lines(run: robustlab.EvaluationRun) -> None:
    lines = repr(run).splitlines()
    assert lines[0] == run.results.title
    assert [line.split("  ")[1] for line in lines[1:]] == [
        "robust accuracy", "clean accuracy", "threat model", "folder",
    ]  # fmt: skip
    assert run._repr_html_().count("<tr>") == 4 + 1 + len(run.results.rows)


def evaluated(model: Any, folder: Path, **options: Any) -> str:
    given: dict[str, Any] = {"n": 2, "dataset": "data.py:make", "attacks": "fgsm", "certify": False}
    return robustlab.evaluate(model, out=folder, checks=False, **(given | options)).results.command


@pytest.mark.usefixtures("own_registry")
def test_the_command_names_a_network_that_robustlab_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @register("of_a_notebook")
    class OfANotebook(FGSM):
        pass

    monkeypatch.chdir(tmp_path)
    Path("data.py").write_text("import torch\ndef make(): return torch.rand(2, 1, 28, 28), [0, 1]\n")
    model = robustlab.load_from_zoo("mnist_cnn")
    words = shlex.split(evaluated(model, tmp_path / "a", surrogates=[model]))
    assert words[:4] == ["robustlab", "evaluate", "--model", "mnist_cnn"]
    assert words[words.index("--surrogate") + 1] == "mnist_cnn"
    with torch.no_grad():
        next(model.parameters()).mul_(1.5)
    assert evaluated(model, tmp_path / "b") == "", "its weights have changed"
    assert evaluated("mnist_cnn", tmp_path / "c", attacks=[OfANotebook()]) == "", "code of a user"
