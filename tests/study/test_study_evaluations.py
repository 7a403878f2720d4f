"""Every row of a study is an evaluation, with files of its own that say the same as the row."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from small_studies import HEAD, SCALE, Stages, evaluation, files, outcomes, started, write
from typer.testing import CliRunner

import robustlab
from robustlab.cli.main import app
from robustlab.core.errors import RunError
from robustlab.runs.ledger import Outcome
from robustlab.runs.results import Row

SPECS: dict[str, dict[str, str | int]] = {
    "clean": {},
    "fgsm": {"attacks": "fgsm", "threat": "linf(eps=0.1*scale)", "mode": "test-set"},
    "pgd": {"attacks": "pgd(steps=3)", "threat": "linf(eps=0.1*scale)", "certifier": "crown_ibp"},
    "two": {
        "attacks": "fgsm, pgd(steps=2)",
        "threat": "l2(eps=0.5)",
        "mode": "max-loss",
        "eot_samples": 2,
    },
    "next": {"attacks": "pgd(steps=3)", "threat": "linf(eps=0.2)", "target": "next", "eight_bit": True},
    "noise": {"attacks": "gaussian_noise(std=0.3)", "mode": "test-set", "checks": "none"},
}
NAMES = ("clean", "fgsm-study", "fgsm-pixel", "pgd-study", "pgd-pixel", "two", "next", "noise")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [evaluation(name, **fields) for name, fields in SPECS.items()]
    return write(tmp_path_factory.mktemp("recipes"), HEAD, SCALE, *rows)


@pytest.fixture(scope="module")
def run(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> robustlab.Run:
    return robustlab.run_study(recipe, out=tmp_path_factory.mktemp("runs") / "small", quick=True)


@pytest.fixture
def copy(run: robustlab.Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run.folder, tmp_path / "run"))


@pytest.fixture(scope="module")
def rows(run: robustlab.Run) -> dict[str, Row]:
    return {row.folder.removeprefix("evaluations/"): row for row in run.results.rows}


def loaded(folder: Path) -> robustlab.EvaluationRun:
    found = robustlab.load_run(folder)
    assert isinstance(found, robustlab.EvaluationRun)
    return found


def verdicts(folder: Path) -> list[dict[str, str]]:
    with (folder / "images.csv").open() as file:
        return list(csv.DictReader(file))


def test_an_option_of_an_evaluation_means_the_same_in_a_recipe(run: robustlab.Run) -> None:
    results = loaded(run.folder / "evaluations" / "next").results
    assert results.goal == "the class after the label"
    assert results.eight_bit
    assert 0 < results.robust.value < results.clean.value


def test_the_baseline_is_worth_attacking(rows: dict[str, Row]) -> None:
    assert 0.5 < rows["clean"].accuracy.value < 1, "or the laws below say nothing"
    assert 0 < rows["pgd-pixel"].accuracy.value < rows["clean"].accuracy.value


@pytest.mark.parametrize("name", NAMES)
def test_each_is_a_finished_evaluation(run: robustlab.Run, rows: dict[str, Row], name: str) -> None:
    folder, row = run.folder / "evaluations" / name, rows[name]
    assert {path.name for path in folder.iterdir()} >= {"results.json", "images.csv", "manifest.json"}
    results = loaded(folder).results
    assert results.mode == row.mode
    assert results.checks == row.checks
    assert results.images.n == row.accuracy.n == 60
    assert results.clean == rows["clean"].accuracy
    assert ", ".join(part.attack for part in results.rows) == (row.attacks or "")
    page = robustlab.write_report(folder)
    assert page.is_file()
    assert robustlab.gate(folder, min_robust=results.robust.value).passed
    assert not robustlab.gate(folder, min_robust=min(1.0, results.robust.value + 0.01)).passed
    same = robustlab.compare(folder, folder)
    assert (same.n, same.gained, same.lost) == (60, 0, 0)


def test_a_row_takes_the_options_of_an_evaluation(run: robustlab.Run) -> None:
    results = {name: loaded(run.folder / "evaluations" / name).results for name in NAMES}
    assert {name: found.samples for name, found in results.items()} == {**dict.fromkeys(NAMES, 1), "two": 2}


def test_the_command_line_takes_them(copy: Path) -> None:
    one, other = (str(copy / "evaluations" / name) for name in ("fgsm-pixel", "pgd-pixel"))
    for arguments in (
        ["report", one],
        ["compare", one, other],
        ["gate", one, "--min-robust", "0"],
    ):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
    assert (Path(one) / "report.html").is_file()


@pytest.mark.parametrize("name", NAMES)
def test_the_accuracy_is_that_of_the_verdicts(run: robustlab.Run, rows: dict[str, Row], name: str) -> None:
    row, found = rows[name], verdicts(run.folder / "evaluations" / name)
    assert len(found) == row.accuracy.n
    standing = sum(image["state"] in {"robust", "certified", "undecided"} for image in found) / len(found)
    if row.mode != "test-set":
        assert row.accuracy.value == pytest.approx(standing)
        return
    (attack,) = (part.attack for part in loaded(run.folder / row.folder).results.rows)
    outcomes = left_by(run, row, attack)
    assert len(outcomes) == row.accuracy.n
    assert row.accuracy.value == pytest.approx(sum(o.prediction == o.label for o in outcomes) / len(outcomes))
    # An attack may make an image right; such an image counts here, and is not robust.
    assert row.accuracy.value >= standing
    assert row.distance == pytest.approx(sum(o.distance for o in outcomes) / len(outcomes))
    assert row.max_distance == max(o.distance for o in outcomes)
    counts = [[0] * 10 for _ in range(10)]
    for outcome in outcomes:
        counts[outcome.label][outcome.prediction] += 1
    assert row.confusion == counts


def left_by(run: robustlab.Run, row: Row, attack: str) -> list[Outcome]:
    """Return how an attack left the images, from the ledger."""
    manifest = json.loads((run.folder / row.folder / "manifest.json").read_text())
    return outcomes(run.folder, f"{manifest['resolved']['problem']}/{attack}")


@pytest.mark.parametrize("name", ["fgsm-pixel", "pgd-pixel", "two", "noise"])
def test_robustlab_evaluate_finds_the_same(
    run: robustlab.Run, rows: dict[str, Row], name: str, tmp_path: Path
) -> None:
    row = rows[name]
    again = robustlab.evaluate(
        run.folder,
        network="baseline",
        dataset=robustlab.load_dataset("digits").limited(1000, 40, 60).test,
        attacks=str(row.attacks),
        threat=str(row.threat),
        mode=row.mode,  # type: ignore[arg-type]
        precision="fp32",
        certify=False,
        checks=False,
        curve=False,
        out=tmp_path / "again",
    )
    same = {image["image_id"]: image["clean_prediction"] for image in verdicts(again.folder)}
    assert same == {i["image_id"]: i["clean_prediction"] for i in verdicts(run.folder / "evaluations/clean")}
    assert verdicts(again.folder) == verdicts(run.folder / row.folder)
    figure = again.results.rows[0].accuracy if row.mode == "test-set" else again.results.robust
    assert figure == row.accuracy


def remove(path: Path) -> None:
    path.unlink()


def change(path: Path) -> None:
    text = path.read_text()
    path.write_text(text.replace("0", "1", 1) if path.suffix == ".csv" else text.replace('"', '"x', 1))


def empty(path: Path) -> None:
    path.write_text("{}")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *(
            (name, how)
            for name in ("results.json", "images.csv", "manifest.json")
            for how in (remove, change)
        ),
        ("manifest.json", empty),
        ("arrays/*.safetensors", remove),
        ("arrays/*.safetensors", cut),
    ],
)
def test_a_damaged_file_is_restored_and_nothing_else(
    copy: Path, recipe: Path, run: robustlab.Run, name: str, damage: Callable[[Path], None]
) -> None:
    before, begun = files(copy / "evaluations"), started(copy)
    (path,) = (copy / "evaluations" / "pgd-pixel").glob(name)
    damage(path)
    stages = Stages()
    again = robustlab.run_study(recipe, out=copy, quick=True, progress=stages)
    assert stages.done == ["evaluate pgd (pixel units)"]
    assert started(copy)[len(begun) :] == stages.done, "the ledger had all that was needed"
    assert again.results.rows == run.results.rows
    after = files(copy / "evaluations")
    # A report that was made of it is an old one now.
    assert after.keys() == before.keys() - {f"pgd-pixel/{file}" for file in ("report.html", "report.md")}
    # These two hold the time at which they were written.
    timed = {f"pgd-pixel/{file}" for file in ("results.json", "manifest.json")}
    assert {name for name in after if after[name] != before[name]} <= timed
    restored = loaded(copy / "evaluations" / "pgd-pixel").results
    untouched = loaded(run.folder / "evaluations" / "pgd-pixel").results
    clock = {"created", "seconds", "peak_memory_mb"}
    assert restored.model_dump(exclude=clock) == untouched.model_dump(exclude=clock)


def test_an_evaluation_that_a_recipe_no_longer_has_is_not_in_the_results(copy: Path, recipe: Path) -> None:
    text = recipe.read_text()
    try:
        recipe.write_text(text.replace(evaluation("two", **SPECS["two"]), ""))
        stages = Stages()
        results = robustlab.run_study(recipe, out=copy, quick=True, progress=stages).results
    finally:
        recipe.write_text(text)
    assert stages.done == []
    assert "two" not in {row.id for row in results.rows}


def test_results_of_an_older_version_are_refused(copy: Path, recipe: Path) -> None:
    path = copy / "results.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"schema_version": 2}))
    for read in (robustlab.load_run, robustlab.write_report):
        with pytest.raises(RunError, match=r"older robustlab: its schema_version is 2.*same command again"):
            read(copy)
    stages = Stages()
    again = robustlab.run_study(recipe, out=copy, quick=True, progress=stages)
    assert stages.done == [], "what it says is what is to be done, and it costs nothing"
    assert robustlab.load_run(copy) == again


def test_an_evaluation_that_the_recipe_no_longer_has_goes(copy: Path, recipe: Path) -> None:
    folder = copy / "evaluations"
    (folder / "two" / "mine.txt").write_text("mine")
    (folder / "notes").mkdir()
    text = recipe.read_text()
    rows = [evaluation(name, **fields) for name, fields in SPECS.items() if name not in {"two", "pgd"}]
    try:
        write(recipe.parent, HEAD, SCALE, *rows)
        robustlab.run_study(recipe, out=copy, quick=True)
    finally:
        recipe.write_text(text)
    gone = {path.name for path in folder.iterdir()} - {"clean", "fgsm-study", "fgsm-pixel", "next", "noise"}
    assert "two" in gone
    for name in gone:
        left = {path.name for path in (folder / name).iterdir()}
        assert not left & {"results.json", "images.csv", "manifest.json", "arrays", "report.html"}, name
    assert (folder / "two" / "mine.txt").read_text() == "mine"


def test_no_link_leads_an_evaluation_out_of_its_folder(copy: Path, recipe: Path, tmp_path: Path) -> None:
    away, evaluations = tmp_path / "away", copy / "evaluations"
    (evaluations / "two" / "results.json").unlink()  # so that it is made again
    shutil.copytree(evaluations / "two", away)
    before = files(away)
    for number, path in enumerate([evaluations / "two", evaluations / "two" / "arrays", evaluations]):
        kept = path.rename(tmp_path / f"kept-{number}")
        path.symlink_to(away)
        with pytest.raises(RunError, match="is a link"):
            robustlab.run_study(recipe, out=copy, quick=True)
        assert files(away) == before
        path.unlink()
        kept.rename(path)
    assert robustlab.run_study(recipe, out=copy, quick=True).results.rows
