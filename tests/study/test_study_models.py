"""The classifiers of a study may come from elsewhere: a user's file, the zoo, compositions of all."""

import re
import shutil
from pathlib import Path

import pytest
from small_studies import HEAD, Stages, evaluation, write
from typer.testing import CliRunner

import robustlab
from robustlab.cli.main import app

MINE = """
import torch
from robustlab import load_from_zoo

class Rounded(torch.nn.Module):
    "Rounds every pixel to one of nine levels: no gradient comes through."

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network((images * LEVELS).round() / LEVELS)

LEVELS = 8

def rounded():
    return Rounded(load_from_zoo("mnist_cnn")).eval()
"""
OTHER = """
from robustlab import load_from_zoo

def make():
    return load_from_zoo("mnist_cnn")
"""
MODELS = """
[networks.vae]
title = "VAE"
model = "vae(hidden=16, latent=4)"
objective = "vae_loss"

[models.guarded]
title = "Guarded"
source = 'purifier(network=vae, classifier="other.py:make")'

[models.doubly]
title = "Doubly guarded"
source = "purifier(network=vae, classifier=guarded)"
"""
FGSM = {"attacks": "fgsm", "threat": "linf(eps=0.1)", "mode": "test-set"}
ROWS = (
    evaluation("zoo", model="mnist_cnn", **FGSM),
    evaluation("rounded", title="Rounding, FGSM", model="mine.py:rounded", **FGSM),
    evaluation("guarded", model="guarded"),
    evaluation("doubly", model="doubly"),
    evaluation("inline", model="purifier(network=vae, classifier=baseline)"),
    evaluation(
        "transfer",
        model="guarded",
        attacks="fgsm(gradient=surrogates)",
        threat="linf(eps=0.1)",
        surrogates='["other.py:make", "mnist_cnn"]',
        mode="test-set",
    ),
)
CURVE = """
[[curves]]
id = "eps"
title = "Eps"
x_label = "eps"
x = [0.0, 0.1]
series = [{ label = "Guarded", model = "guarded", attacks = "fgsm", threat = "linf(eps=x)" }]

[gallery]
evaluations = ["zoo", "transfer"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    (folder / "mine.py").write_text(MINE)
    (folder / "other.py").write_text(OTHER)
    write(folder, HEAD, MODELS, *ROWS, CURVE)
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> robustlab.Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return robustlab.run_study("small.toml", out="run", quick=True)


@pytest.fixture
def copy(run: robustlab.Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    del run
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_they_are_evaluated(run: robustlab.Run) -> None:
    rows = {row.id: row for row in run.results.rows}
    assert rows["zoo"].model == "mnist_cnn"
    assert rows["rounded"].model == "mine.py:rounded"
    assert rows["transfer"].surrogates == ["other.py:make", "mnist_cnn"]
    # A step on the sum of two equal gradients is a step on one.
    assert rows["transfer"].max_distance == pytest.approx(0.1, abs=1e-6)
    assert rows["guarded"].accuracy != rows["zoo"].accuracy


def again(folder: Path) -> list[str]:
    stages = Stages()
    robustlab.run_study("small.toml", out="run", quick=True, overwrite=True, progress=stages)
    assert folder == Path.cwd()
    return stages.done


OF_OTHER = ["evaluate guarded", "evaluate doubly", "evaluate transfer", "curve eps: Guarded", "gallery"]


@pytest.mark.parametrize(
    ("file", "old", "new", "redone"),
    [
        ("mine.py", "LEVELS = 8", "LEVELS = 4", ["evaluate rounded"]),
        ("other.py", 'load_from_zoo("mnist_cnn")', 'load_from_zoo("mnist_single_step")', OF_OTHER),
    ],
)
def test_a_changed_file_redoes_what_depends_on_it(
    copy: Path, file: str, old: str, new: str, redone: list[str]
) -> None:
    # In another folder the recipe is another study's, but what the ledger holds is the same.
    assert again(copy) == []
    (copy / file).write_text((copy / file).read_text().replace(old, new))
    assert again(copy) == redone
    assert again(copy) == []


# A row whose network masks its gradients


def test_a_masked_row_is_in_the_red_flags(run: robustlab.Run) -> None:
    (rounded,) = (row for row in run.results.rows if row.id == "rounded")
    failed = {check.id for check in rounded.failed}
    assert {"zero-gradients", "zero-distance"} <= failed
    flagged = [check.id for title, check in run.results.red_flags if title == "Rounding, FGSM"]
    assert set(flagged) == failed
    (zoo,) = (row for row in run.results.rows if row.id == "zoo")
    assert not {"zero-gradients", "zero-distance", "above-clean"} & {check.id for check in zoo.failed}
    assert robustlab.load_run(run.folder).results == run.results


def test_it_is_on_the_page(run: robustlab.Run) -> None:
    page, markdown = ((run.folder / name).read_text() for name in ("report.html", "report.md"))
    assert re.search(r"Do not believe (one row|\d rows)\.", page)
    assert page.index("Do not believe") < page.index("are the clean ones") < page.index("<h1")
    assert page.count("✗ zero distance") == 2, "in the summary and in the table of all rows"
    assert (
        markdown.index("Do not believe") < markdown.index("are the clean ones") < markdown.index("## Summary")
    )


@pytest.mark.parametrize("option", ["--quiet", "--json", None])
def test_it_is_on_the_terminal(copy: Path, run: robustlab.Run, option: str | None) -> None:
    del copy
    arguments = ["study", "small.toml", "--out", "run", "--quick", "--overwrite"]
    result = CliRunner().invoke(app, [*arguments, *([option] if option else [])])
    assert result.exit_code == 0, result.output
    flags = [line for line in result.stderr.splitlines() if line.startswith("red flag: ")]
    assert [flag.split(": ")[1] for flag in flags] == [title for title, _ in run.results.red_flags]
    assert any(flag.startswith("red flag: Rounding, FGSM: ") for flag in flags)
