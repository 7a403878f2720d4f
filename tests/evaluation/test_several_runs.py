"""Any number of evaluations side by side: the figures, what differs, and the tables and the page."""

import csv
import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation_runs import SHAPE, evaluate, grey_split, states
from torch import nn
from typer.testing import CliRunner

import robustlab
from robustlab.cli.main import app
from robustlab.core.errors import RunError, SetupError
from robustlab.evaluation import side_by_side
from robustlab.evaluation.metrics import proportion
from robustlab.report.comparison import tables
from robustlab.report.comparison.page import page
from robustlab.runs.comparison import SideBySide

WEAK = "pgd(steps=1, rel_step_size=0.001, start=clean)"
Folders = dict[str, Path]


@pytest.fixture(scope="module")
def folders(make_linear: Callable[..., nn.Module], tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Runs of two models with two eps, of fewer images, another norm, other images, and of proofs alone."""
    model = make_linear(classes=4, shape=SHAPE, seed=2)
    split, place = grey_split(model), tmp_path_factory.mktemp("runs")
    other = make_linear(classes=4, shape=SHAPE, seed=2)
    with torch.no_grad():
        other.get_submodule("1").get_parameter("weight")[1] *= 0.9
    wanted: dict[str, tuple[nn.Module, dict[str, Any]]] = {
        "a-small": (model, {"threat": "linf(eps=0.01)"}),
        "a-large": (model, {"threat": "linf(eps=0.03)"}),
        "b-large": (other, {"threat": "linf(eps=0.03)", "name": "<b>_&"}),
        "few": (model, {"threat": "linf(eps=0.03)", "n": 20, "curve": True}),
        "l2": (model, {"threat": "l2(eps=0.05)"}),
        "weak": (model, {"threat": "linf(eps=0.04)", "attacks": WEAK}),
        "roll": (model, {"dataset": split.take(torch.arange(10, 40))}),
    }
    for name, (network, options) in wanted.items():
        evaluate(place / name, network, split, **({"attacks": "pgd(steps=5)"} | options))
    robustlab.certify_model(model, dataset=split, threat="linf(eps=0.03)", out=place / "proofs")
    return {path.name: path for path in place.iterdir()}


def compared(folders: Folders, *names: str) -> SideBySide:
    return side_by_side(*(folders[name] for name in names))


def test_figures_are_those_of_the_runs(folders: Folders) -> None:
    found = compared(folders, "a-small", "a-large", "b-large", "proofs")
    for run in found.runs:
        loaded = robustlab.load_run(run.folder)
        assert isinstance(loaded, robustlab.EvaluationRun)
        results = loaded.results
        assert (run.clean, run.eps, run.threat) == (results.clean, results.eps, results.threat)
        assert run.passes == pytest.approx((results.forwards + results.backwards) / 60)
    assert [run.robust is None for run in found.runs] == [False, False, False, True]
    assert [run.line for run in found.runs] == [0, 0, 1, 0]
    assert [difference.name for difference in found.differences] == ["threat model", "attacks", "certifier"]
    assert found.differences[0].values == [run.threat for run in found.runs]
    assert any("no attack ran" in note for note in found.notes)


def test_pairs_are_compared_image_by_image(folders: Folders) -> None:
    found = compared(folders, "a-small", "a-large", "b-large", "few")
    expected = [robustlab.compare(folders["a-large"], folders[name]) for name in ("b-large", "few")]
    # Of more runs more have a folder in their name.
    assert [(pair.first_name, pair.second_name) for pair in found.pairs] == [
        ("Sequential (a-large) under linf(eps=0.03)", "<b>_& under linf(eps=0.03)"),
        ("Sequential (a-large) under linf(eps=0.03)", "Sequential (few) under linf(eps=0.03)"),
    ]
    for pair, alone in zip(found.pairs, expected, strict=True):
        names = {"first_name": alone.first_name, "second_name": alone.second_name}
        assert pair.model_copy(update=names) == alone
    assert robustlab.compare(*(folders[name] for name in ("a-small", "a-large", "b-large", "few"))) == found


def test_fewer_images_are_compared_on_the_common_ones(folders: Folders) -> None:
    found = compared(folders, "a-large", "few")
    few = robustlab.load_run(folders["few"])
    assert isinstance(few, robustlab.EvaluationRun)
    ids = states(few)
    whole = states(robustlab.load_run(folders["a-large"]))  # type: ignore[arg-type]
    robust = sum(whole[number] == "robust" for number in ids)
    assert found.runs[0].common == proportion(robust, 20)
    assert found.runs[1].common == few.results.robust
    assert "on common images" in tables.heads(found)
    assert compared(folders, "a-large", "b-large").runs[0].common is None


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("a-large", "roll"), "different images"),
        (("a-large", "l2"), r"eps of different norms \(l2, linf\)"),
        (("a-large", "a-small"), "threat models differ"),
        (("a-large", "weak"), "attacks at the larger eps were too weak"),
        (("weak", "a-large"), "attacks at the larger eps were too weak"),
        (("few", "a-large"), "numbers of images"),
        (("few", "a-large"), r"other settings: attacks\."),
    ],
)
def test_it_says_what_can_be_compared(folders: Folders, names: tuple[str, ...], said: str) -> None:

    assert any(re.search(said, note) for note in compared(folders, *names).notes)


def test_equal_runs_differ_in_nothing(folders: Folders) -> None:
    found = compared(folders, "a-large", "a-large")
    assert (found.differences, found.notes) == ([], [])
    assert [run.label for run in found.runs] == ["Sequential (a-large)"] * 2
    assert compared(folders, "a-large", "a-small").runs[0].label == "Sequential"


def test_tables(folders: Folders) -> None:
    found = compared(folders, "a-large", "b-large", "proofs")
    rows = list(csv.DictReader(io.StringIO(tables.comma_separated(found))))
    assert float(rows[1]["robust"]) == found.runs[1].robust.value  # type: ignore[union-attr]
    assert (rows[2]["robust"], rows[2]["model"]) == ("", "Sequential")
    assert r"<b>\_\&" in tables.latex(found).replace(r"\textless{}", "<").replace(r"\textgreater{}", ">")
    assert tables.latex(found).count(r"\\") == 1 + 3
    lines = tables.markdown(found).splitlines()
    assert lines[3].startswith(r"| \<b\>_& | linf(eps=0.03) | 60 |")
    assert {line.count(" | ") for line in lines[:5]} == {7}


def test_the_page_is_complete_and_escaped(folders: Folders) -> None:
    html = page(compared(folders, "a-small", "a-large", "b-large", "few", "l2", "proofs"))
    assert "<b>_" not in html
    assert "&lt;b&gt;_&amp;" in html
    assert html.count('<figure class="chart">') == 3, "two norms and the cost"
    for section in ("figures", "charts", "pairs", "differences"):
        assert f'<section id="{section}">' in html
        assert f'href="#{section}"' in html
    assert "http" not in html.replace("http-equiv", "").replace("http://www.w3.org", "")
    assert "<title>6 evaluations: Sequential, &lt;b&gt;_&amp;</title>" in html


def test_a_data_frame(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas")
    found = compared(folders, "a-large", "proofs")
    assert found.frame().robust.isna().tolist() == [False, True]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(SetupError, match="pip install pandas"):
        found.frame()


def test_fewer_than_two_runs_are_refused(folders: Folders) -> None:
    for runs in ((), (folders["few"],)):
        with pytest.raises(RunError, match=f"at least two runs; found {len(runs)}"):
            robustlab.compare(*runs)


def test_on_the_command_line(folders: Folders, tmp_path: Path) -> None:
    def call(*words: object) -> str:
        result = CliRunner().invoke(app, ["compare", *map(str, words)])
        assert result.exit_code == 0, result.output
        return result.stdout

    def refused(*words: object) -> str:
        result = CliRunner().invoke(app, ["compare", *map(str, words)])
        assert (result.exit_code, result.stdout) == (2, "")
        return result.stderr

    one, two = folders["a-small"], folders["a-large"]
    shown = call(one, two, folders["few"], "--html", tmp_path / "x.html", "--csv", tmp_path / "x.csv")
    assert "passes" in shown
    assert "gained" in shown
    found = compared(folders, "a-small", "a-large", "few")
    assert (tmp_path / "x.html").read_text() == page(found)
    assert (tmp_path / "x.csv").read_text() == tables.comma_separated(found)
    assert call(one, two, "--markdown") == tables.markdown(compared(folders, "a-small", "a-large"))
    assert call(one, two, "--latex") == tables.latex(compared(folders, "a-small", "a-large"))
    assert len(json.loads(call(one, two, "--json"))["runs"]) == 2
    assert json.loads(call(two, folders["few"], "--json"))["n"] == 20
    assert "at least two runs" in refused(one)
    assert "only one of" in refused(one, two, "--json", "--latex")
    assert "its folder does not exist" in refused(one, two, "--html", tmp_path / "nowhere" / "x")
    assert "it is a folder" in refused(one, two, "--csv", tmp_path)
