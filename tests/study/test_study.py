"""A whole study on the embedded digits: its figures, its resumption, and what a changed option redoes."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from small_studies import Stages, outcomes

import robustlab
from robustlab.attacks import FGSM
from robustlab.core.errors import ModelFileError, RobustlabError, RunError
from robustlab.core.files import part_of
from robustlab.core.progress import Progress
from robustlab.models.files import load_tensors, save_tensors

TINY = Path(__file__).parents[1] / "recipes" / "tiny.toml"


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
    assert [(row.id, row.variant) for row in results.rows] == [
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
    assert [(d.id, d.variant) for d in results.detections] == [("detection", "study"), ("detection", "pixel")]
    assert len(results.curves[0].series[0].accuracy) == 3
    assert [verdict.variant for verdict in results.claims[0].verdicts] == ["study", "pixel"]
    for name in ("run.json", "manifest.json", "results.json", "report.html", "report.md", "ledger.sqlite"):
        assert (run.folder / name).is_file(), name


def test_figures_agree_with_each_other(run: robustlab.Run) -> None:
    rows = {(row.id, row.variant): row for row in run.results.rows}
    for row in rows.values():
        total = sum(map(sum, row.confusion))
        assert total == row.accuracy.n == run.results.dataset.test
        right = sum(row.confusion[c][c] for c in range(10))
        if row.mode == "test-set" or row.attacks is None:
            assert row.accuracy.value == pytest.approx(right / total)
        else:  # an image that was misclassified stays so, whatever an attack made of it
            assert row.accuracy.value <= right / total + 1e-9
        assert row.accuracy.low <= row.accuracy.value <= row.accuracy.high
    assert rows["clean", None].accuracy.value > 0.6, "the baseline learnt nothing"
    assert rows["fgsm", "pixel"].accuracy.value < rows["clean", None].accuracy.value
    assert rows["fgsm", "study"].max_distance == pytest.approx(0.125, abs=1e-6)
    assert rows["fgsm", "pixel"].max_distance == pytest.approx(0.25, abs=1e-6)
    curve = [figure.value for figure in run.results.curves[0].series[0].accuracy]
    assert curve == sorted(curve, reverse=True), "a stronger attack left more images standing"


def test_ledger_holds_every_image(run: robustlab.Run) -> None:
    row = next(row for row in run.results.rows if (row.id, row.variant) == ("fgsm", "pixel"))
    manifest = json.loads((run.folder / str(row.folder) / "manifest.json").read_text())
    rows = outcomes(run.folder, f"{manifest['resolved']['problem']}/{FGSM()!r}")
    assert len(rows) == row.accuracy.n
    assert sum(o.prediction == o.label for o in rows) == round(row.accuracy.value * row.accuracy.n)
    assert sum(o.forwards for o in rows) == row.forwards


def test_manifest_says_what_was_asked_and_resolved(run: robustlab.Run) -> None:
    manifest = json.loads((run.folder / "manifest.json").read_text())
    assert manifest["asked"]["precision"] == "auto"
    assert manifest["resolved"]["compute"]["training_precision"] in {"fp32", "bf16"}
    assert manifest["resolved"]["recipe"]["networks"]["vae"]["objective"] == "vae_loss(kl_weight=0.5)"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_same_command_again_does_nothing(copy: Path, run: robustlab.Run, recipe: Path) -> None:
    stages = Stages()
    again = robustlab.run_study(recipe, out=copy, progress=stages)
    assert stages.done == []
    assert again.results.rows == run.results.rows
    assert again.results.cost == run.results.cost
    assert files(copy / "evaluations") == files(run.folder / "evaluations")


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


def stopping_at(name: str) -> Progress:
    """Return a progress that stops the study, as a kill would, when work on a stage begins."""

    class Killer(Progress):
        def stage(self, found: str, state: str, seconds: float = 0.0, remark: str = "") -> None:
            del seconds, remark
            if (found, state) == (name, "running"):
                raise KeyboardInterrupt

    return Killer()


def test_another_seed_is_another_study(
    copy: Path, run: robustlab.Run, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match=r"a study of other settings: seed 0, not 1; .*--overwrite"):
        robustlab.run_study(recipe, out=copy, seed=1)
    assert robustlab.load_run(copy).results == run.results
    with pytest.raises(KeyboardInterrupt):
        robustlab.run_study(
            recipe, out=copy, seed=1, overwrite=True, progress=stopping_at("train adversarial-study")
        )
    # Its networks may be of two seeds now, and nothing of it passes for a finished study.
    assert not (copy / "report.html").exists()
    for read in (robustlab.load_run, robustlab.write_report):
        with pytest.raises(RunError, match=r"a study that did not end|holds no finished run"):
            read(copy)
    with pytest.raises(RobustlabError, match="a run that did not end"):
        robustlab.evaluate(copy, network="vae", dataset="digits")
    with pytest.raises(RunError, match="seed 1, not 0"):
        robustlab.run_study(recipe, out=copy)
    stages = Stages()
    other = robustlab.run_study(recipe, out=copy, seed=1, progress=stages)
    assert stages.kept == ["train baseline"]
    assert other.results.seed == 1
    assert other.results.rows != run.results.rows
    assert robustlab.load_run(copy) == other


def test_a_changed_recipe_that_was_killed_does_not_pass_for_finished(
    copy: Path, change: Callable[[str, str], Path]
) -> None:
    changed = change("gan(hidden=64)", "gan(hidden=32)")
    with pytest.raises(KeyboardInterrupt):
        robustlab.run_study(changed, out=copy, progress=stopping_at("train gan"))
    assert not (copy / "report.html").exists()
    for read in (robustlab.load_run, robustlab.write_report):
        with pytest.raises(RunError, match="a study that did not end; run the same command again"):
            read(copy)


def test_networks_that_a_study_no_longer_has_go(copy: Path, recipe: Path, tmp_path: Path) -> None:
    other = Path(shutil.copy(recipe, tmp_path / "other.toml"))
    other.write_text(
        recipe.read_text()
        .replace("networks.adversarial]", "networks.hardened]")
        .replace('model = "adversarial"', 'model = "hardened"')
    )
    for name in ("mine.safetensors", "mine.json"):  # of another study's folder
        shutil.copy(copy / "models" / name.replace("mine", "vae"), copy / "models" / name)
    tensors, header = load_tensors(copy / "models" / "mine.safetensors")
    save_tensors(copy / "models" / "mine.safetensors", tensors, header | {"stage": "of another folder"})
    (copy / "models" / "damaged.safetensors").write_bytes(b"no network")
    with pytest.raises(KeyboardInterrupt):
        robustlab.run_study(other, out=copy, overwrite=True, progress=stopping_at("train hardened-study"))
    assert (copy / "models" / "adversarial-study.safetensors").exists()
    robustlab.run_study(other, out=copy, overwrite=True)
    left = {path.name for path in (copy / "models").iterdir()}
    names = ("baseline", "hardened-study", "hardened-pixel", "vae", "gan", "mine")
    assert left == {
        "damaged.safetensors",
        *(f"{name}{end}" for name in names for end in (".json", ".safetensors")),
    }


def test_another_file_of_the_same_name_is_another_study(
    copy: Path, run: robustlab.Run, recipe: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copy(recipe, tmp_path / "other.toml"))
    with pytest.raises(
        RunError, match=r"other settings: recipe .*tiny\.toml, not .*other\.toml; .*--overwrite"
    ):
        robustlab.run_study(other, out=copy)
    assert robustlab.load_run(copy).results == run.results
    stages = Stages()
    robustlab.run_study(other, out=copy, overwrite=True, progress=stages)
    assert stages.done == [], "what both have in common is kept"


def test_default_folders_keep_studies_apart(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = []
    for options in ({}, {"quick": True}, {"seed": 3}, {"quick": True, "seed": 3}):
        with pytest.raises(KeyboardInterrupt):
            robustlab.run_study(recipe, progress=stopping_at("train baseline"), **options)
        found.append(sorted(path.name for path in Path("runs").iterdir()))
    assert found[0] == ["tiny"]
    assert found[1] == ["tiny", "tiny-quick"]
    assert found[2] == ["tiny", "tiny-quick", "tiny-seed-3"]
    assert found[3] == ["tiny", "tiny-quick", "tiny-quick-seed-3", "tiny-seed-3"]
    other = Path(shutil.copy(recipe, tmp_path / "auto.toml"))
    other.write_text(other.read_text().replace('dataset = "digits"', 'dataset = "auto"'))
    with pytest.raises(KeyboardInterrupt):
        robustlab.run_study(other, dataset="digits", progress=stopping_at("train baseline"))
    assert Path("runs/tiny-digits/run.json").exists()


def test_no_link_leads_a_study_out_of_its_folder(copy: Path, recipe: Path, tmp_path: Path) -> None:
    foreign, away = b"a file that robustlab has nothing to do with", tmp_path / "away"
    away.mkdir()
    for name in ("models", "arrays", "figures"):
        (copy / name).rename(tmp_path / name)
        (copy / name).symlink_to(away)
        with pytest.raises(RunError, match=f"{name} is a link"):
            robustlab.run_study(recipe, out=copy)
        assert list(away.iterdir()) == []
        (copy / name).unlink()
        (tmp_path / name).rename(copy / name)
    (copy / "models" / "mine.safetensors").write_bytes(foreign)
    files = sorted(path for folder in ("models", "arrays") for path in (copy / folder).iterdir())
    parts = [part_of(path) for path in files if path.stem != "mine"]
    links = [*parts, copy / "models" / "baseline.checkpoint", copy / "models" / "baseline.json"]
    for number, link in enumerate(links):
        link.unlink(missing_ok=True)
        (away / str(number)).write_bytes(foreign)
        link.symlink_to(away / str(number))
    arrays = sorted((copy / "arrays").glob("*.safetensors"))
    assert len(arrays) == 3
    arrays[0].write_bytes(arrays[0].read_bytes()[:1000])  # and what is damaged is made again
    for path in arrays[1:]:
        path.unlink()
        path.symlink_to(away / "0")
    (copy / "models" / "baseline.safetensors").unlink()
    robustlab.run_study(recipe, out=copy)
    assert all(path.read_bytes() == foreign for path in away.iterdir())
    assert (copy / "models" / "mine.safetensors").read_bytes() == foreign
    assert not any(path.is_symlink() for path in (copy / "models" / "baseline.json", *arrays))


def test_folder_of_another_study_is_refused(copy: Path) -> None:
    with pytest.raises(RobustlabError, match="belongs to study 'tiny', not to study 'mnist'"):
        robustlab.run_study("mnist", out=copy)
