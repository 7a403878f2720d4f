"""The gate's decision as Markdown, JUnit XML and a page."""

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from evaluation_runs import SHAPE, evaluate, grey_split
from torch import nn
from typer.testing import CliRunner, Result

from robustlab.cli.main import app
from robustlab.report import JUnitCase, gate_page, junit_xml
from robustlab.runs.condition import Condition
from robustlab.runs.run import EvaluationFolder

TITLE = 'a <b>|& "model"'


@pytest.fixture(scope="module")
def run(make_linear: Callable[..., nn.Module], tmp_path_factory: pytest.TempPathFactory) -> EvaluationFolder:
    model = make_linear(classes=4, shape=SHAPE, seed=2)
    folder = tmp_path_factory.mktemp("gated") / "run"
    return evaluate(folder, model, grey_split(model), name=TITLE)


def gate(run: EvaluationFolder, *words: object) -> Result:
    return CliRunner().invoke(app, ["gate", str(run.folder), *map(str, words)])


def test_markdown_on_standard_output_is_all_there(run: EvaluationFolder) -> None:
    result = gate(run, "--min-robust", "1", "--min-clean", "0.5", "--markdown", "-")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0] == "## robustlab gate: failed"
    assert r"a \<b\>\|& " in lines[2]
    assert [line[:3] for line in lines if line.startswith("| ")][2:] == ["| ✗", "| ✓"]
    assert any("threat model: `linf(eps=0.02)`" in line for line in lines)


def test_all_forms_are_written(run: EvaluationFolder, tmp_path: Path) -> None:
    markdown, xml, page = (tmp_path / name for name in ("gate.md", "gate.xml", "gate.html"))
    options = ("--min-robust", "0", "--min-certified", "0.5")
    result = gate(run, *options, "--markdown", markdown, "--junit", xml, "--html", page)
    assert result.exit_code == 1
    assert "failed" in result.stdout, "the decision is printed as usual"
    assert "| ✗ | certified accuracy of at least 50.00% | it was not computed |" in markdown.read_text()
    suite = ElementTree.parse(xml).getroot()[0]
    assert suite.get("name", "").startswith(TITLE)
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    passed, failed = suite.findall("testcase")
    assert passed.find("failure") is None
    failure = failed.find("failure")
    assert failure is not None
    assert failure.get("message") == "it was not computed"
    text = page.read_text()
    assert text.count("fails</span>") == text.count("holds</span>") == 1
    assert "a &lt;b&gt;|&amp; " in text
    assert "<b>|" not in text


def test_a_page_says_that_the_gate_is_passed(run: EvaluationFolder) -> None:
    conditions = [Condition(asked="a condition", found="a value", holds=True)]
    assert '<h1 class="plain">robustlab gate: passed</h1>' in gate_page(run.results, conditions)


def test_junit_holds_no_character_that_xml_forbids() -> None:
    hostile = "\0\x1b[31m \ufffe \ud800 <&> ]]> \u202e é \U0001f600"
    cases = [JUnitCase(hostile, hostile, outcome, hostile) for outcome in ("passed", "failed", "skipped")]
    text = junit_xml(hostile, cases, created=hostile, seconds=1.5, properties={"x": hostile})
    suite = ElementTree.fromstring(text.encode())[0]
    assert [len(test.findall("*")) for test in suite.findall("testcase")] == [1, 1, 1]
    assert {suite.get(name) for name in ("tests", "failures", "skipped")} == {"3", "1"}
    assert suite.get("name") == "\\x00\\x1b[31m \\ufffe \\ud800 <&> ]]> \\u202e é \U0001f600"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--markdown", "-", "--junit", "-"], "leave out one of --markdown - and --junit -"),
        (["--markdown", "-", "--json"], "leave out one of --json and --markdown -"),
        (["--markdown", "x", "--html", "x"], "two results can't be in one file; found 'x' and 'x'"),
        (["--junit", ""], "--junit must not be empty"),
        (["--html", "nowhere/gate.html"], "cannot write nowhere/gate.html: its folder does not exist"),
        (["--html", "."], "cannot write .: "),
    ],
)
def test_wrong_files(
    run: EvaluationFolder, words: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = gate(run, "--min-robust", "0", *words)
    assert result.exit_code == 2
    assert expected in result.stderr
    assert not result.stdout, "there is no decision"
    assert not list(tmp_path.iterdir())
