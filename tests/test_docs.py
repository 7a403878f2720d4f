"""The documents are true: their code runs, their schema is the code's, their links lead somewhere."""

import json
import re
from pathlib import Path

import pytest

import robustlab
from robustlab.runs.evaluation import Evaluation
from robustlab.runs.results import Results

ROOT = Path(__file__).parents[1]


def python_blocks(document: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), flags=re.DOTALL)


def test_readme_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, code = python_blocks("README.md")
    assert 'robustlab.run_study("mnist", quick=True)' in code
    # The same calls on a study of a few seconds, which needs no MNIST.
    monkeypatch.chdir(tmp_path)
    tiny = ROOT / "tests" / "recipes" / "tiny.toml"
    code = code.replace('run_study("mnist", quick=True)', f"run_study({str(tiny)!r}, quick=True)")
    code = code.replace('load_dataset("mnist")', 'load_dataset("digits")')
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "runs" / "tiny-quick" / "report.html").is_file()


def test_readme_code_on_ones_own_model_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _ = python_blocks("README.md")
    monkeypatch.chdir(tmp_path)
    # The same calls on images that need no download, and fewer of them.
    code = code.replace('dataset="mnist"', 'dataset="digits"').replace("n=200", "n=4")
    exec(compile(code, "README.md", "exec"), {})
    (folder,) = (tmp_path / "runs").glob("evaluate-*-digits-linf-0.1-*")
    assert (folder / "report.html").is_file()


def test_schema_document_is_the_codes() -> None:
    # Renewed by: python -c "import json; from robustlab.runs.results import Results; \
    #   print(json.dumps(Results.model_json_schema(), indent=2))" > docs/results.schema.json
    document = json.loads((ROOT / "docs" / "results.schema.json").read_text())
    assert document == Results.model_json_schema()


def test_schema_document_of_evaluations_is_the_codes() -> None:
    # Renewed by: python -c "import json; from robustlab.runs.evaluation import Evaluation; \
    #   print(json.dumps(Evaluation.model_json_schema(), indent=2))" > docs/evaluation.schema.json
    document = json.loads((ROOT / "docs" / "evaluation.schema.json").read_text())
    assert document == Evaluation.model_json_schema()


def test_public_names_are_pinned() -> None:
    assert robustlab.__all__ == [
        "EvaluationRun",
        "Evaluations",
        "RobustlabError",
        "Run",
        "TrainingRun",
        "certify_model",
        "compare",
        "evaluate",
        "evaluate_many",
        "export",
        "gate",
        "load_dataset",
        "load_from_zoo",
        "load_network",
        "load_run",
        "run_study",
        "train",
        "write_report",
    ]
    for name in robustlab.__all__:
        assert callable(getattr(robustlab, name))


@pytest.mark.parametrize("path", [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")], ids=lambda p: p.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), f"{path.name} links to {target}"
