"""A finished run is given to other programs, which read the same figures back."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from sample_evaluations import ODD, evaluation, flagged, write_evaluation
from sample_results import bare_results, full_results, write_run

import robustlab
from robustlab.core.errors import OutputError, RobustlabError, RunError, SetupError, SpecError
from robustlab.core.spec import units
from robustlab.exporters import Exporter, summary_of

python: Any = robustlab


@pytest.fixture
def evaluated(tmp_path: Path) -> Path:
    return write_evaluation(tmp_path / "evaluated", evaluation())


@pytest.fixture
def studied(tmp_path: Path) -> Path:
    return write_run(tmp_path / "studied", full_results())


def metadata(card: str) -> Any:
    yaml = pytest.importorskip("yaml")
    assert card.startswith("---\n")
    return yaml.safe_load(card.split("---\n")[1])["model-index"]


def test_a_card_of_an_evaluation_states_its_figures(evaluated: Path) -> None:
    card = robustlab.export(evaluated, to="hf-card")
    (model,) = metadata(card)
    (result,) = model["results"]
    assert model["name"] == "TRADES small CNN"
    assert result["task"]["type"] == "image-classification"
    assert result["dataset"] == {"type": "mnist", "name": "mnist", "split": "test"}
    assert [(metric["name"], metric["value"]) for metric in result["metrics"]] == [
        ("Accuracy", 0.9948),
        ("Robust accuracy, linf(eps=0.3)", 0.9281),
        ("Certified accuracy, linf(eps=0.3)", 0.012),
    ]
    assert "robustlab evaluate --model trades.py:make_model" in card


def test_the_hub_reads_the_card(evaluated: Path, studied: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    for folder, n in ((evaluated, 3), (studied, len(full_results()["rows"]))):
        found = hub.ModelCard(robustlab.export(folder, to="hf-card")).data
        entries = found.to_dict()["model-index"]
        metrics = [m for entry in entries for result in entry["results"] for m in result["metrics"]]
        assert len(metrics) >= n
        assert all(0 <= metric["value"] <= 1 for metric in metrics)
    results = hub.ModelCard(robustlab.export(evaluated, to="hf-card")).data.eval_results
    assert [result.metric_value for result in results] == [0.9948, 0.9281, 0.012]


def test_a_doubtful_figure_is_marked_in_the_card(tmp_path: Path) -> None:
    card = robustlab.export(write_evaluation(tmp_path / "run", flagged()), to="hf-card")
    assert metadata(card)[0]["results"][0]["metrics"][1]["name"].endswith(
        "not to be believed: a check failed)"
    )
    assert "Do not believe the robust accuracy" in card


@pytest.mark.parametrize("title", ['"a": b # c', "- x", "{{7*7}} | *y* \\", "é \U0001f600 'q'", "null"])
def test_any_name_survives_the_metadata(tmp_path: Path, title: str) -> None:
    subject = evaluation()["subject"] | {"name": title}
    card = robustlab.export(write_evaluation(tmp_path / "run", evaluation(subject=subject)), to="hf-card")
    assert metadata(card)[0]["name"] == title


def test_junit_has_a_test_for_each_check_and_claim(evaluated: Path, studied: Path, tmp_path: Path) -> None:
    suite = ElementTree.fromstring(robustlab.export(evaluated, to="junit").encode())[0]
    assert [suite.get(name) for name in ("tests", "failures", "skipped")] == ["4", "0", "1"]
    doubtful = write_evaluation(tmp_path / "flagged", flagged())
    file = tmp_path / "checks.xml"
    assert robustlab.export(doubtful, to="junit", out=file) == str(file)
    failures = [test for test in ElementTree.parse(file).iter("testcase") if test.find("failure") is not None]
    assert [test.get("name") for test in failures] == ["Zero gradients", "More restarts"]
    root = ElementTree.fromstring(robustlab.export(studied, to="junit").encode())
    claims = [test for test in root.iter("testcase") if test.get("classname") == "robustlab.claims"]
    assert len(claims) == sum(len(claim["verdicts"]) for claim in full_results()["claims"])


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("to", ["hf-card", "junit"])
def test_odd_evaluations_are_exported(tmp_path: Path, name: str, to: str) -> None:
    run = robustlab.load_run(write_evaluation(tmp_path / "run", ODD[name]()))
    text = robustlab.export(run, to)
    assert run.results.title.split(" under")[0] in text
    assert summary_of(run).metrics["clean_accuracy"] == run.results.clean.value  # type: ignore[union-attr]


def test_a_study_of_one_row_is_exported(tmp_path: Path) -> None:
    run = robustlab.load_run(write_run(tmp_path / "run", bare_results()))
    assert "model-index" in robustlab.export(run, "hf-card")
    assert ElementTree.fromstring(robustlab.export(run, "junit").encode()).get("failures") is not None


def test_a_summary_has_names_that_every_program_takes(evaluated: Path, studied: Path) -> None:
    for folder in (evaluated, studied):
        summary = summary_of(robustlab.load_run(folder))
        names = [*summary.metrics, *summary.curves]
        assert len(names) == len(set(names))
        assert all(set(name) <= {*"_./ -", *filter(str.isalnum, name)} and name.isascii() for name in names)
    assert summary.curves
    assert all(epochs == sorted(epochs) for epochs in ([*dict(curve)] for curve in summary.curves.values()))


def test_tensorboard_reads_the_figures_back(evaluated: Path, studied: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for folder, out in ((evaluated, None), (studied, tmp_path / "logs")):
        for _ in range(2):  # the second time replaces the first
            where = robustlab.export(folder, to="tensorboard", out=out)
        assert where == str(out or folder / "tensorboard")
        read = EventAccumulator(where).Reload()
        summary = summary_of(robustlab.load_run(folder))
        assert {*read.Tags()["scalars"]} == {*summary.metrics, *summary.curves}
        for name, value in summary.metrics.items():
            assert [event.value for event in read.Scalars(name)] == pytest.approx([value], rel=1e-6)
        for name, curve in summary.curves.items():
            assert [event.step for event in read.Scalars(name)] == [epoch for epoch, _ in curve]
        (text,) = read.Tensors("summary")
        assert summary.title.split()[0] in text.tensor_proto.string_val[0].decode()


@pytest.mark.filterwarnings("ignore")
def test_mlflow_reads_the_figures_back(
    evaluated: Path, studied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)
    address = (tmp_path / "store").as_uri()
    client = mlflow.MlflowClient(tracking_uri=address)
    for folder in (evaluated, studied):
        where = robustlab.export(folder, to=f"mlflow(experiment=of_{folder.name})", out=address)
        experiment = client.get_experiment_by_name(f"of_{folder.name}")
        (run,) = client.search_runs([experiment.experiment_id])
        summary = summary_of(robustlab.load_run(folder))
        assert run.info.run_id in where
        assert run.info.status == "FINISHED"
        assert run.info.run_name == summary.title
        curves = {name: curve[-1][1] for name, curve in summary.curves.items()}
        assert run.data.metrics == pytest.approx(summary.metrics | curves)
        assert run.data.params == {name: value for name, value in summary.settings.items() if value}
        assert run.data.tags["robustlab.kind"] == summary.tags["kind"]
        files = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert {"results.json"} <= files == {path.name for path in summary.files}


@pytest.mark.filterwarnings("ignore")
def test_wandb_works_without_a_network(
    studied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    try:
        where = Path(robustlab.export(studied, to="wandb(project=mine)", out=tmp_path))
    finally:
        wandb.teardown()
    assert where.is_relative_to(tmp_path)
    summary = summary_of(robustlab.load_run(studied))
    (log,) = where.glob("*.wandb")
    content = log.read_bytes()
    for name in (*list(summary.metrics)[:3], *summary.curves, summary.title):
        assert name.encode() in content
    copy = where / "files" / "results.json"
    assert copy.read_bytes() == (studied / "results.json").read_bytes()
    assert not copy.is_symlink()


@pytest.mark.parametrize(
    ("to", "name", "out"),
    [("mlflow", "mlflow", "http://x"), ("tensorboard", "tensorboard", None), ("wandb", "wandb", None)],
)
def test_a_missing_package_is_named_with_its_extra(
    evaluated: Path, monkeypatch: pytest.MonkeyPatch, to: str, name: str, out: str | None
) -> None:
    before = [module for module in sys.modules if module == name or module.startswith(f"{name}.")]
    for module in [*before, name]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SetupError, match=rf"type: pip install 'robustlab\[{name}\]'"):
        robustlab.export(evaluated, to, out)


@pytest.mark.parametrize(
    ("call", "error", "expected"),
    [
        ({"to": "mlflw"}, SpecError, "unknown exporter 'mlflw' .did you mean 'mlflow'"),
        ({"to": "hf-crad"}, SpecError, "did you mean 'hf_card'"),
        ({"to": "HF-Card"}, SpecError, "can't parse exporter 'HF-Card' .did you mean|can't parse exporter"),
        ({"to": ""}, SpecError, "can't parse exporter ''"),
        ({"to": 3}, SpecError, "to must be an exporter or its spec, such as mlflow; found an int"),
        ({"to": "mlflow(run=x)"}, SpecError, "mlflow has no argument 'run'"),
        ({"to": "junit(x"}, SpecError, "can't parse exporter"),
        ({"to": "mlflow", "out": "mlruns"}, SpecError, "out must be a tracking URI, .* found 'mlruns'"),
        (
            {"to": "junit", "out": "nowhere/x.xml"},
            OutputError,
            "its folder does not exist .*name another file",
        ),
        ({"to": "junit", "out": 3}, SpecError, "out must be a text or a path; found an int"),
        ({"to": "junit", "out": ""}, SpecError, "out must not be empty"),
        ({"to": "junit", "run": "nowhere"}, RunError, "holds no finished run"),
        ({"to": "junit", "run": 3}, SpecError, "run must be a text or a path; found an int"),
        ({"to": "my.py:Missing"}, SetupError, "my.py"),
    ],
)
def test_wrong_calls(
    evaluated: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    call: dict[str, Any],
    error: type[RobustlabError],
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=expected):
        python.export(**{"run": evaluated} | call)


@pytest.mark.usefixtures("own_registry")
def test_an_exporter_of_a_users_file(
    evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    manual = Path(__file__).parents[2] / "docs" / "export.md"
    (code,) = re.findall(r"```python\n(.*?@register.*?)```", manual.read_text(), re.DOTALL)
    Path("own.py").write_text(code[code.index("import json") :])
    found = json.loads(robustlab.export(evaluated, to="own.py:FiguresOnly"))
    assert found["robust_accuracy"] == 0.9281


def test_only_results_json_is_needed_and_torch_is_not(evaluated: Path, studied: Path) -> None:
    code = (
        "import sys; from robustlab.cli.main import app\n"
        "try: app()\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'matplotlib', 'rich'} & sys.modules.keys()\n"
    )
    kept = {"results.json", "manifest.json"}
    for folder in (evaluated, studied):
        for path in folder.iterdir():
            if path.is_file() and path.name not in kept:
                path.unlink()
        for words in (["--help"], [str(folder), "--to", "hf-card"], [str(folder), "--to", "junit"]):
            command = [sys.executable, "-c", code, "export", *words]
            done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})
            assert done.returncode == 0, done.stderr
            assert len(done.stdout) > 200


def test_every_exporter_says_what_it_takes() -> None:
    assert {"hf_card", "junit", "mlflow", "tensorboard", "wandb"} <= units(Exporter).keys()
