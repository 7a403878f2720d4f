"""A whole study on the embedded digits: its figures, its resumption, and what a changed option redoes."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import robustlab
from robustlab.core.errors import ModelFileError, RobustlabError
from robustlab.core.progress import Progress
from robustlab.models.files import load_tensors, save_tensors

TINY = Path(__file__).parents[1] / "recipes" / "tiny.toml"


class Stages(Progress):
    """Collects what happened to each stage."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.kept: list[str] = []

    def stage(self, name: str, state: str, seconds: float = 0.0, remark: str = "") -> None:
        del seconds, remark
        if state != "running":
            {"done": self.done, "kept": self.kept}[state].append(name)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copy(TINY, tmp_path_factory.mktemp("recipes")))


@pytest.fixture(scope="module")
def run(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> robustlab.Run:
    return robustlab.run_study(recipe, out=tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture
def copy(run: robustlab.Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run.folder, tmp_path / "run"))


@pytest.fixture
def change(recipe: Path) -> Iterator[Callable[[str, str], Path]]:
    """A function that changes the recipe's file until the test ends."""
    text = recipe.read_text()

    def write(old: str, new: str) -> Path:
        assert old in text
        recipe.write_text(text.replace(old, new))
        return recipe

    yield write
    recipe.write_text(text)


def test_every_figure_is_there(run: robustlab.Run) -> None:
    results = run.results
    assert [(row.id, row.unit) for row in results.rows] == [
        ("clean", None),
        ("fgsm", "study"),
        ("fgsm", "pixel"),
        ("adversarial", "study"),
        ("adversarial", "pixel"),
        ("purified", "study"),
        ("purified", "pixel"),
    ]
    assert [network.id for network in results.networks] == [
        "baseline",
        "adversarial-study",
        "adversarial-pixel",
        "vae",
        "gan",
    ]
    assert [(d.id, d.unit) for d in results.detections] == [("detection", "study"), ("detection", "pixel")]
    assert len(results.curves[0].series[0].accuracy) == 3
    assert [verdict.unit for verdict in results.claims[0].verdicts] == ["study", "pixel"]
    for name in ("run.json", "manifest.json", "results.json", "report.html", "report.md", "ledger.sqlite"):
        assert (run.folder / name).is_file(), name


def test_figures_agree_with_each_other(run: robustlab.Run) -> None:
    rows = {(row.id, row.unit): row for row in run.results.rows}
    for row in rows.values():
        total = sum(map(sum, row.confusion))
        assert total == row.accuracy.n == run.results.dataset.test
        right = sum(row.confusion[c][c] for c in range(10))
        assert row.accuracy.value == pytest.approx(right / total)
        assert row.accuracy.low <= row.accuracy.value <= row.accuracy.high
    assert rows["clean", None].accuracy.value > 0.6, "the baseline learnt nothing"
    assert rows["fgsm", "pixel"].accuracy.value < rows["clean", None].accuracy.value
    assert rows["fgsm", "study"].max_distance == pytest.approx(0.125, abs=1e-6)
    assert rows["fgsm", "pixel"].max_distance == pytest.approx(0.25, abs=1e-6)
    curve = [figure.value for figure in run.results.curves[0].series[0].accuracy]
    assert curve == sorted(curve, reverse=True), "a stronger attack left more images standing"


def test_ledger_holds_every_image(run: robustlab.Run) -> None:
    from robustlab.core.store import RunStore

    manifest = json.loads((run.folder / "manifest.json").read_text())
    with RunStore(run.folder, "tiny") as store:
        key = manifest["resolved"]["stages"]["measure fgsm (pixel units)"]
        outcomes = store.outcomes(key)
    row = next(row for row in run.results.rows if (row.id, row.unit) == ("fgsm", "pixel"))
    assert len(outcomes) == row.accuracy.n
    assert sum(o.prediction == o.label for o in outcomes) == round(row.accuracy.value * row.accuracy.n)
    assert sum(o.forwards for o in outcomes) == row.forwards


def test_manifest_says_what_was_asked_and_resolved(run: robustlab.Run) -> None:
    manifest = json.loads((run.folder / "manifest.json").read_text())
    assert manifest["asked"]["precision"] == "auto"
    assert manifest["resolved"]["compute"]["training_precision"] in {"fp32", "bf16"}
    assert manifest["resolved"]["recipe"]["networks"]["vae"]["objective"] == "reconstruction(kl_weight=0.5)"


def test_same_command_again_does_nothing(copy: Path, run: robustlab.Run, recipe: Path) -> None:
    stages = Stages()
    again = robustlab.run_study(recipe, out=copy, progress=stages)
    assert stages.done == []
    assert again.results.rows == run.results.rows
    assert again.results.cost == run.results.cost


def test_changed_option_redoes_only_what_depends_on_it(
    copy: Path, change: Callable[[str, str], Path]
) -> None:
    stages = Stages()
    robustlab.run_study(change("gan(hidden=64)", "gan(hidden=32)"), out=copy, progress=stages)
    assert stages.done == [
        "train gan",
        "detect detection (study units)",
        "detect detection (pixel units)",
        "samples of gan",
    ]


def test_new_title_redoes_nothing(copy: Path, change: Callable[[str, str], Path]) -> None:
    stages = Stages()
    run = robustlab.run_study(change('"A tiny study"', '"Another title"'), out=copy, progress=stages)
    assert stages.done == []
    assert run.results.title == "Another title"


def test_lost_files_are_made_again(copy: Path, run: robustlab.Run, recipe: Path) -> None:
    (copy / "models" / "gan.safetensors").unlink()
    (copy / run.results.samples[0].file).unlink()
    stages = Stages()
    robustlab.run_study(recipe, out=copy, progress=stages)
    assert stages.done == ["train gan", "samples of vae"]


def test_corrupt_model_is_reported_and_nothing_is_lost(copy: Path, recipe: Path) -> None:
    path = copy / "models" / "vae.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    before = sorted(p.name for p in copy.rglob("*") if p.is_file())
    with pytest.raises(ModelFileError, match=r"vae\.safetensors.*remove it"):
        robustlab.run_study(recipe, out=copy)
    assert sorted(p.name for p in copy.rglob("*") if p.is_file()) == before


def test_model_of_another_shape_is_reported(copy: Path, recipe: Path) -> None:
    path = copy / "models" / "vae.safetensors"
    _, header = load_tensors(path)
    tensors, _ = load_tensors(copy / "models" / "gan.safetensors")
    save_tensors(path, tensors, header)
    with pytest.raises(ModelFileError, match=r"holds another network.*remove it"):
        robustlab.run_study(recipe, out=copy)


def test_strangers_model_is_not_overwritten(copy: Path, recipe: Path) -> None:
    path = copy / "models" / "vae.safetensors"
    tensors, header = load_tensors(path)
    del header["stage"]
    save_tensors(path, tensors, header)
    content = path.read_bytes()
    with pytest.raises(ModelFileError, match="something else"):
        robustlab.run_study(recipe, out=copy)
    assert path.read_bytes() == content


def test_seed_changes_the_figures_and_repeats(tmp_path: Path, run: robustlab.Run) -> None:
    other = robustlab.run_study(TINY, out=tmp_path / "seed", seed=1)
    assert other.results.rows != run.results.rows


def test_folder_of_another_study_is_refused(copy: Path) -> None:
    with pytest.raises(RobustlabError, match="belongs to study 'tiny', not to study 'mnist'"):
        robustlab.run_study("mnist", out=copy)
