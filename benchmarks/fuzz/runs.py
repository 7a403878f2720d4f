"""The files of a finished run, damaged: an evaluation's and a study's."""

import atexit
import random
import shutil
import sqlite3
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import robustlab
from fuzz.damage import damage_ledger, damaged, damaged_csv, damaged_json
from fuzz.registry import Attempt, family
from robustlab.data import Split
from robustlab.evaluation.coordinator import EvaluationOptions, execute
from robustlab.runs.evaluation import Evaluation
from robustlab.runs.ledger import Outcome, StageRecord
from robustlab.runs.run import EvaluationFolder, load_results
from robustlab.runs.store import RunStore
from robustlab.study import StudyOptions
from robustlab.study import execute as execute_study

STUDY = Path(__file__).with_name("study.toml")
IMAGES, CLASSES = 24, 4
NAME = "evaluation of Sequential"


@cache
def _home() -> Path:
    """Return a folder for the runs that are damaged copies' originals; it lives as long as the process."""
    home = Path(tempfile.mkdtemp(prefix="fuzz-runs-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    return home


@cache
def _classifier() -> tuple[nn.Module, Tensor, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, last = nn.Linear(20, 16), nn.Linear(16, CLASSES)
        with torch.no_grad():  # without a bias towards one class
            first.bias.copy_(-first.weight.sum(dim=1) / 2)
            last.bias.zero_()
        model = nn.Sequential(nn.Flatten(), first, nn.ReLU(), last).eval()
        images = torch.rand(IMAGES, 1, 4, 5)
        labels = model(images).argmax(dim=1)
    labels[:3] = (labels[:3] + 1) % CLASSES
    return model, images, labels


def _evaluate(folder: Path) -> EvaluationFolder:
    """Evaluate the classifier, or what a folder still lacks of it."""
    model, images, labels = _classifier()
    split = Split(images=images, labels=labels, ids=torch.arange(IMAGES), name="test")
    return execute(
        EvaluationOptions(
            model=model,
            dataset=split,
            threat="linf(eps=0.03)",
            attacks="fgsm, pgd(steps=5)",
            curve=True,
            checks=False,
            precision="fp32",
            out=str(folder),
        )
    )


@cache
def evaluation() -> EvaluationFolder:
    """Return a finished evaluation: some images misclassified, some broken, some certified, some robust."""
    run = _evaluate(_home() / "evaluation")
    results = run.results
    assert results.certified is not None
    assert 0 < results.certified.value < results.robust.value < results.clean.value < 1
    return run


@cache
def study() -> Path:
    """Return the folder of a finished study."""
    folder = _home() / "study"
    execute_study(StudyOptions(recipe=str(STUDY), out=str(folder), quick=True))
    return folder


def copied(original: Path, folder: Path, *names: str) -> Path:
    """Copy files of a run, or all of it."""
    if not names:
        shutil.copytree(original, folder / "run")
    for name in names:
        (folder / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(original / name, folder / "run" / name)
    return folder / "run"


GATED = ("results.json", "images.csv", "manifest.json")


def unhashed(draw: random.Random, run: Path) -> None:
    """Make it a run of an older version every other time: one whose manifest holds no hashes."""
    if draw.random() < 0.5:
        (run / "manifest.json").write_text("{}")


def never_better(run: Path) -> None:
    """Try to pass the gate with a little more than the run had."""
    true = evaluation().results
    assert true.certified is not None
    least: dict[str, float] = {"robust": true.robust.value, "clean": true.clean.value}
    least |= {"certified": true.certified.value}
    low = {"robust": true.robust.low, "clean": true.clean.low, "certified": true.certified.low}
    for name in least:
        asked: dict[str, Any] = {f"min_{name}": least[name] + 0.001}
        assert not robustlab.gate(run, **asked).passed, f"passes with a better {name} accuracy"
        asked = {f"min_{name}": low[name] + 0.001}
        assert not robustlab.gate(run, confident=True, **asked).passed, f"passes with a better {name} bound"


@family("results.json of an evaluation")
def make_evaluation(draw: random.Random, folder: Path) -> Attempt:
    """results.json that is read, gated and compared."""
    original = evaluation().folder
    run = copied(original, folder, *GATED)
    unhashed(draw, run)
    (run / "results.json").write_bytes(damaged_json(draw, (original / "results.json").read_bytes()))

    def attempt() -> None:
        read = robustlab.load_run(run).results
        assert isinstance(read, Evaluation)
        never_better(run)
        robustlab.compare(original, run)

    return attempt


@family("results.json of a study")
def make_study(draw: random.Random, folder: Path) -> Attempt:
    """results.json that is read."""
    run = copied(study(), folder, "results.json", "manifest.json")
    unhashed(draw, run)
    (run / "results.json").write_bytes(damaged_json(draw, (study() / "results.json").read_bytes()))
    return lambda: robustlab.load_run(run)


@family("images.csv")
def make_images(draw: random.Random, folder: Path) -> Attempt:
    """images.csv that is gated and compared."""
    original = evaluation().folder
    run = copied(original, folder, *GATED)
    unhashed(draw, run)
    (run / "images.csv").write_bytes(damaged_csv(draw, (original / "images.csv").read_bytes()))

    def attempt() -> None:
        never_better(run)
        found = robustlab.compare(original, run)
        assert found.second == evaluation().results.robust

    return attempt


@family("manifest.json and run.json")
def make_manifest(draw: random.Random, folder: Path) -> Attempt:
    """The two small files that say whose a folder is and what is in it."""
    original = evaluation().folder
    run = copied(original, folder, *GATED, "run.json", "ledger.sqlite")
    name = draw.choice(("manifest.json", "run.json"))
    (run / name).write_bytes(damaged_json(draw, (original / name).read_bytes()))

    def attempt() -> None:
        never_better(run)
        _evaluate(run)
        never_better(run)

    return attempt


@family("report")
def make_report(draw: random.Random, folder: Path) -> Attempt:
    """A report of damaged results, or with damaged pictures."""
    original = evaluation().folder if draw.random() < 0.6 else study()
    run = copied(original, folder)
    (run / "manifest.json").write_text("{}")
    pictures = sorted((run / "arrays").glob("*.safetensors"))
    path = draw.choice((run / "results.json", run / "results.json", *pictures))
    damage = damaged_json if path.suffix == ".json" else damaged
    path.write_bytes(damage(draw, path.read_bytes()))
    return lambda: robustlab.write_report(run)


class Ledger(NamedTuple):
    """What a ledger holds: rows by key, perturbed images by key and image, and records by key."""

    rows: dict[str, list[Outcome]]
    examples: dict[tuple[str, int], bytes]
    records: dict[str, StageRecord | None]


@cache
def _ledger() -> Ledger:
    folder = evaluation().folder
    db = sqlite3.connect(folder / "ledger.sqlite")
    rows, records = (
        [key for (key,) in db.execute(f"SELECT DISTINCT key FROM {table}")]
        for table in ("outcomes", "stages")
    )
    examples = {(key, number): image for key, number, image in db.execute("SELECT * FROM examples")}
    db.close()
    with RunStore(folder, NAME) as store:
        found = {key: store.outcomes(key) for key in rows}
        return Ledger(found, examples, {key: store.stage(key) for key in records})


@family("ledger.sqlite")
def make_ledger(draw: random.Random, folder: Path) -> Attempt:
    """A ledger that is read: what it gives back is what was written, or less."""
    written = _ledger()
    run = copied(evaluation().folder, folder, "run.json", "ledger.sqlite")
    damage_ledger(draw, run / "ledger.sqlite")

    def attempt() -> None:
        with RunStore(run, NAME) as store:
            for key, expected in written.rows.items():
                found = store.outcomes(key)
                assert all(row in expected for row in found), "a changed row is taken for a measured one"
                assert 0 <= store.seconds(key) < 1e13
            for key, record in written.records.items():
                assert store.stage(key) in (None, record), "a changed record is taken for a stage's"
            for (key, number), image in written.examples.items():
                assert store.examples(key, [number]) == {number: image}, "a changed image is taken"

    return attempt


@family("resume")
def make_resume(draw: random.Random, folder: Path) -> Attempt:
    """A damaged run that is started again: it ends with the same figures, or not at all."""
    true = evaluation().results
    run = copied(evaluation().folder, folder)
    names = ("ledger.sqlite", "results.json", "images.csv", "manifest.json", "run.json")
    name = draw.choice(("ledger.sqlite", "ledger.sqlite", *names))
    damage = {"ledger.sqlite": damage_ledger}.get(name)
    if damage:
        damage(draw, run / name)
    else:
        (run / name).write_bytes(damaged(draw, (run / name).read_bytes()))

    def attempt() -> None:
        found = _evaluate(run).results
        assert (found.clean, found.robust, found.certified) == (true.clean, true.robust, true.certified)
        assert found.flips == true.flips
        never_better(run)
        assert isinstance(load_results(run), Evaluation)

    return attempt


@family("a study's networks")
def make_networks(draw: random.Random, folder: Path) -> Attempt:
    """A study that goes on from damaged weights, cards and arrays."""
    run = copied(study(), folder)
    path = draw.choice([path for part in ("models", "arrays") for path in sorted((run / part).iterdir())])
    path.write_bytes(damaged(draw, path.read_bytes()))
    again = draw.random() < 0.05  # it costs a second

    def attempt() -> None:
        if again:
            execute_study(StudyOptions(recipe=str(STUDY), out=str(run), quick=True))
        robustlab.load_network(run / "models" / "baseline.safetensors")

    return attempt
