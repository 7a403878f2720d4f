"""Where an evaluation goes: a result that exists is kept, and foreign files are left alone."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation_runs import SHAPE, evaluate, grey_split, split_of
from torch import nn

import robustlab
from robustlab.core.errors import RobustlabError, RunError, SpecError
from robustlab.core.files import part_of
from robustlab.core.progress import Progress
from robustlab.data import Split
from robustlab.evaluation.coordinator import EvaluationOptions, execute
from robustlab.report import write_report
from robustlab.report.write import recorded_figures
from robustlab.runs.run import EvaluationFolder, load_run
from robustlab.threats import Linf


@pytest.fixture
def model(make_linear: Callable[..., nn.Module]) -> nn.Module:
    return make_linear(classes=4, shape=SHAPE, seed=2)


@pytest.fixture
def split(model: nn.Module) -> Split:
    return grey_split(model, n=20)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory for default folders."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def default(model: nn.Module, data: Split, **options: Any) -> EvaluationFolder:
    """Evaluate into the default folder."""
    settings: dict[str, Any] = {"threat": "linf(eps=0.02)", "attacks": "fgsm", "checks": False}
    return execute(EvaluationOptions(model=model, dataset=data, **(settings | options)))


# Default folders


def test_models_of_one_class_keep_their_results(
    make_linear: Callable[..., nn.Module], split: Split, home: Path
) -> None:
    runs = [default(make_linear(classes=4, shape=SHAPE, seed=seed), split) for seed in (2, 3)]
    assert len(list((home / "runs").iterdir())) == 2
    assert runs[0].results.robust != runs[1].results.robust
    for run in runs:
        assert load_run(run.folder) == run


OTHERS: dict[str, dict[str, Any]] = {
    "seed": {"seed": 1},
    "mode": {"mode": "max-loss"},
    "threat": {"threat": "linf(eps=0.03)"},
    "close eps": {"threat": "linf(eps=0.0200000001)"},
    "samples": {"eot_samples": 2},
    "name": {"name": "other"},
    "long name": {"name": "ü/" * 300},
}


@pytest.mark.parametrize("change", OTHERS)
def test_another_evaluation_has_another_folder(change: str, model: nn.Module, split: Split) -> None:
    first, second = default(model, split), default(model, split, **OTHERS[change])
    assert first.folder != second.folder
    assert first.folder.parent == second.folder.parent == Path("runs").absolute()
    assert load_run(first.folder) == first


def test_other_images_have_another_folder(model: nn.Module, split: Split) -> None:
    darker = split_of(split.tensor() * 0.999, split.labels, split.ids)
    assert default(model, split).folder != default(model, darker).folder
    own = EvaluationOptions(
        model=model, images=split.tensor(), labels=split.labels, attacks="fgsm", checks=False
    )
    named = execute(own)
    assert named.folder.name.startswith("evaluate-Sequential-own-linf-0.3-")


def test_what_extends_an_evaluation_goes_on_in_its_folder(model: nn.Module, split: Split) -> None:
    folder = default(model, split, n=10).folder
    more: list[dict[str, Any]] = [{"n": 20}, {"attacks": "fgsm, pgd(steps=3)"}, {"batch_size": 3}]
    more += [{"precision": "bf16"}, {"precision": "fp32"}, {"curve": True}, {"certify": False}]
    for options in more:
        assert default(model, split, **options).folder == folder


@pytest.mark.parametrize("typed", ["linf(eps=8/255)", "linf(eps=0.03137254901960784)", Linf(eps=8 / 255)])
def test_an_eps_is_the_same_however_it_is_typed(
    typed: str | Linf, model: nn.Module, split: Split, home: Path
) -> None:
    runs = [default(model, split, threat=threat) for threat in ("linf(eps=16/510)", typed)]
    assert runs[0].folder == runs[1].folder
    assert runs[1].results.threat == "linf(eps=8/255)"
    assert runs[1].results.eps == 8 / 255
    assert len(list((home / "runs").iterdir())) == 1


def test_the_folder_of_an_older_robustlab_is_known_again(
    model: nn.Module, split: Split, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    evaluate(folder, model, split, threat="linf(eps=8/255)")
    content = (folder / "run.json").read_text()
    older = content.replace("8/255", "0.03137254901960784")
    assert older != content
    (folder / "run.json").write_text(older)
    evaluate(folder, model, split, threat="linf(eps=8/255)")
    with pytest.raises(RunError, match="other settings"):
        evaluate(folder, model, split, threat="linf(eps=7/255)")


# Named folders


def test_the_command_on_the_page_does_not_overwrite() -> None:
    options = EvaluationOptions(model="mnist_cnn", out="runs/x", overwrite=True)
    assert options.command() == "robustlab evaluate --model mnist_cnn --out runs/x"
    assert options.asked()["overwrite"] is True


def test_overwrite_is_a_switch(model: nn.Module, split: Split, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="overwrite must be True or False"):
        evaluate(tmp_path / "run", model, split, overwrite="yes")


def test_killed_while_it_replaces_another_one(
    model: nn.Module, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report(evaluate(tmp_path, model, split).folder)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("robustlab.evaluation.engines.serial.perform", killed)
        with pytest.raises(KeyboardInterrupt):
            evaluate(tmp_path, model, split, seed=1, overwrite=True)
    for name in ("results.json", "images.csv", "manifest.json", "report.html"):
        assert not (tmp_path / name).exists(), "it looks like the old one, or complete"
    with pytest.raises(RunError, match="other settings: seed 1, not 0"):
        evaluate(tmp_path, model, split)
    assert evaluate(tmp_path, model, split, seed=1).results.seed == 1


def test_an_evaluation_never_replaces_a_study(model: nn.Module, split: Split, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"store_version": 1, "study": "mnist"}')
    with pytest.raises(RunError, match=r"belongs to study 'mnist'.* choose another folder"):
        evaluate(tmp_path, model, split, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_folder_without_an_identity_is_read_but_not_replaced(
    model: nn.Module, split: Split, tmp_path: Path
) -> None:
    first = evaluate(tmp_path, model, split)
    content = json.loads((tmp_path / "run.json").read_text())
    old = {"store_version": 1, "study": content["study"]}
    (tmp_path / "run.json").write_text(json.dumps(old))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    del manifest["sha256"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert load_run(tmp_path) == first
    assert robustlab.compare(tmp_path, tmp_path).n == 20
    assert robustlab.gate(tmp_path, min_robust=0.0).passed
    assert write_report(tmp_path).exists()
    with pytest.raises(RunError, match=r"an earlier robustlab.*--overwrite"):
        evaluate(tmp_path, model, split)
    again = evaluate(tmp_path, model, split, overwrite=True)
    assert again.results.rows == first.results.rows, "what fits is kept, its seconds too"
    assert json.loads((tmp_path / "run.json").read_text()) == content


def test_figures_that_another_command_replaces_are_told(
    model: nn.Module, split: Split, tmp_path: Path
) -> None:
    notes: list[str] = []
    progress = Progress()
    progress.note = notes.append  # type: ignore[method-assign, assignment]

    def again(**options: Any) -> str:
        notes.clear()
        given: dict[str, Any] = {"attacks": "fgsm", "checks": False, "certify": False, "out": tmp_path}
        given |= {"dataset": split, "threat": "linf(eps=0.02)", "progress": progress}
        robustlab.evaluate(model, **given | options)
        return "".join(note for note in notes if "replaces" in note)

    assert again(n=20, checks=True, curve=True) == ""
    whole = again(n=10)
    assert "(20 images, now 10; checks, a curve, now without)" in whole
    assert "that command brings its figures back" in whole
    assert again(n=10) == ""
    assert again(n=20) == ""
    assert "(other attacks)" in again(n=20, attacks="pgd(steps=2)")


def test_a_run_is_found_from_another_working_directory(
    model: nn.Module, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = robustlab.evaluate(model, dataset=split, attacks="fgsm", checks=False)
    read = load_run(Path("runs") / run.folder.name)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert robustlab.gate(run, min_robust=0.0).passed
    assert robustlab.gate(run.folder, min_robust=0.0).passed
    assert load_run(read.folder).results == read.results == run.results


def test_a_refusal_is_one_short_line(model: nn.Module, split: Split, tmp_path: Path) -> None:
    evaluate(tmp_path / "run", model, split)
    others: dict[str, Any] = {
        "seed": 1,
        "mode": "max-loss",
        "eot_samples": 2,
        "threat": "linf(eps=0.1234567890123)",
    }
    with pytest.raises(RunError) as caught:
        evaluate(tmp_path / "run", model, split, **others)
    message = str(caught.value).replace(str(tmp_path), "")
    assert "threat linf(eps=0.02), not linf(eps=0.1234567890123); seed 0, not 1; mode" in message
    assert "and 1 more" in message
    assert len(message) < 300
    assert "\n" not in message


# Foreign files

FOREIGN = b"a file that robustlab has nothing to do with"

IN_PLACE = [".lock", *(f"ledger.sqlite{end}" for end in ("", "-journal", "-shm", "-wal"))]


def run(model: nn.Module, split: Split, folder: Path) -> None:
    write_report(evaluate(folder, model, split).folder)


def put_link(link: Callable[[Path, Path], None], place: Path, target: Path) -> None:
    place.unlink(missing_ok=True)
    target.write_bytes(FOREIGN)
    link(place, target)


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
def test_files_that_are_links_are_replaced_or_refused(
    link: Callable[[Path, Path], None], model: nn.Module, split: Split, tmp_path: Path
) -> None:
    folder, target = tmp_path / "run", tmp_path / "foreign"
    run(model, split, folder)
    written = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {str(path.relative_to(folder)) for path in written}
    assert {"run.json", "results.json", "report.html", "figures/cascade.svg", ".lock"} <= names

    for name in [*IN_PLACE, "run.json"]:
        kept = (folder / name).read_bytes() if (folder / name).exists() else None
        put_link(link, folder / name, target)
        with pytest.raises(RunError, match=r"is a link|can't be read"):
            run(model, split, folder)
        assert target.read_bytes() == FOREIGN, f"{name} was written through"
        (folder / name).unlink()
        if kept is not None:
            (folder / name).write_bytes(kept)

    replaced = [path for path in written if path.name not in {*IN_PLACE, "run.json"}]
    places = [*replaced, *map(part_of, written)]
    targets = [tmp_path / f"foreign-{number}" for number in range(len(places))]
    for place, foreign in zip(places, targets, strict=True):
        put_link(link, place, foreign)
    run(model, split, folder)
    assert all(foreign.read_bytes() == FOREIGN for foreign in targets), "one was written through"
    for place in replaced:
        assert not place.is_symlink()
        assert place.read_bytes() != FOREIGN


@pytest.mark.parametrize("name", ["arrays", "figures", "models"])
def test_folders_that_are_links_are_refused(
    name: str, model: nn.Module, split: Split, tmp_path: Path
) -> None:
    folder, away = tmp_path / "run", tmp_path / "away"
    first = evaluate(folder, model, split)
    away.mkdir()
    (away / "mine.safetensors").write_bytes(FOREIGN)
    (away / "cascade.svg").write_bytes(FOREIGN)
    shutil.rmtree(folder / name, ignore_errors=True)
    (folder / name).symlink_to(away)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with pytest.raises(RunError, match=f"{name} is a link"):
        evaluate(folder, model, split, seed=1, overwrite=True)
    with pytest.raises(RunError, match=f"{name} is a link"):
        write_report(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert all(path.read_bytes() == FOREIGN for path in away.iterdir())
    assert load_run(folder) == first


def test_files_that_a_run_did_not_write_survive(model: nn.Module, split: Split, tmp_path: Path) -> None:
    write_report(evaluate(tmp_path, model, split, curve=True).folder)
    mine = [tmp_path / name for name in ("figures/my_own.svg", "arrays/x.safetensors", "notes.txt")]
    mine += [tmp_path / "arrays" / f"{'a' * 16}.safetensors", tmp_path / "figures" / "cascade (copy).svg"]
    for path in mine:
        path.write_bytes(FOREIGN)
    arrays = set((tmp_path / "arrays").iterdir()) - set(mine)
    drawn = set((tmp_path / "figures").iterdir()) - set(mine)
    evaluate(tmp_path, model, split, seed=1, overwrite=True)
    write_report(tmp_path)
    assert all(path.read_bytes() == FOREIGN for path in mine)
    assert not any(path.exists() for path in arrays), "what the ledger knows is removed"
    assert {path.name for path in drawn if not path.exists()} == {"robust-curve.svg"}, "of the run before"


def test_a_mangled_record_of_figures_removes_nothing(model: nn.Module, split: Split, tmp_path: Path) -> None:
    evaluate(tmp_path, model, split)
    (tmp_path / "figures").mkdir()
    mine = [tmp_path / "notes.svg", tmp_path / "figures" / "mine.svg"]
    for path in mine:
        path.write_bytes(FOREIGN)
    hashes = [hashlib.sha256(FOREIGN).hexdigest()]
    names = ["../notes.svg", "..", "", ".", "gone.svg", "a/../../notes.svg"]
    (tmp_path / ".figures.json").write_text(json.dumps(dict.fromkeys(names, hashes) | {"mine.svg": ["0"]}))
    write_report(tmp_path)
    assert all(path.read_bytes() == FOREIGN for path in mine)
    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    assert json.loads((tmp_path / ".figures.json").read_text()).keys() == drawn - {"mine.svg"}


DAMAGED = [
    "[",
    "3",
    "{}",
    "[3]",
    "null",
    '["a.svg"]',
    '[[3, ["a"]]]',
    '{"a.svg": 3}',
    "[" * 100_000,
    "\ud800",
]


@pytest.mark.parametrize("record", DAMAGED)
def test_a_damaged_record_of_figures_is_empty(record: str, tmp_path: Path) -> None:
    (tmp_path / ".figures.json").write_bytes(record.encode(errors="surrogatepass"))
    assert recorded_figures(tmp_path) == {}


# A folder that changes while a run works in it


@pytest.mark.parametrize("change", ["removed", "moved", "replaced by a file", "replaced by another run"])
def test_a_folder_that_goes_away_is_told(change: str, model: nn.Module, split: Split, tmp_path: Path) -> None:
    folder, calls = tmp_path / "run", []

    class Thief(nn.Module):
        """Removes the folder while it answers."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            calls.append(len(images))
            if len(calls) == 12:
                folder.rename(tmp_path / "moved")
                if change == "removed":
                    shutil.rmtree(tmp_path / "moved")
                elif change == "replaced by a file":
                    folder.write_text("mine")
                elif change == "replaced by another run":
                    evaluate(folder, model, split)
            answer: torch.Tensor = model(images)
            return answer

    with pytest.raises(RobustlabError, match=r"removed|does not exist") as caught:
        evaluate(folder, Thief().eval(), split, batch_size=4)
    assert "disk" not in str(caught.value)
    if change == "replaced by a file":
        assert folder.read_text() == "mine"
    elif change == "replaced by another run":
        assert load_run(folder).folder == folder
    else:
        assert not folder.exists(), "the run came back half empty"
