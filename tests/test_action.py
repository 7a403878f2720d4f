"""The GitHub Action: its parts fit together, and its scripts do what they say, in a real shell."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import robustlab

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = ACTION["runs"]["steps"]
SCRIPTS = {step["name"]: step for step in STEPS if "run" in step}

NET = """
import torch
from torch import nn

def make():
    layer = nn.Linear(16, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[-1.0], [1.0]]).expand(2, 16))
        layer.bias.copy_(torch.tensor([8.0, -8.0]))
    return nn.Sequential(nn.Flatten(), layer).eval()

def data():
    levels = torch.linspace(0.2, 0.8, 20)
    return levels.view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous(), (levels > 0.5).long()
"""


def test_every_input_is_described_and_used() -> None:
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    assert {*re.findall(r"\binputs\.([\w-]+)", text)} == ACTION["inputs"].keys()
    for name, given in ACTION["inputs"].items():
        assert given["description"].endswith("."), name
        assert given.get("required") or isinstance(given["default"], str), name
    for step in STEPS:
        assert "run" in step or re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", step["uses"])
        assert "${{" not in step.get("run", ""), "an input would be run as a part of the script"
        assert "run" not in step or step["shell"] == "bash"


def test_the_workflow_in_the_manual_gives_inputs_that_exist() -> None:
    manual = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    workflows = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", manual, re.DOTALL)]
    used = [
        step
        for workflow in workflows
        for job in workflow["jobs"].values()
        for step in job["steps"]
        if step.get("uses", "").startswith("robustlab/robustlab@")
    ]
    assert used
    for step in used:
        assert step["with"].keys() <= ACTION["inputs"].keys()
        assert "model" in step["with"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkout with a model, and programs `python` and `robustlab`; `pip` only notes its words."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "net.py").write_text(NET)
    programs = folder / "bin"
    programs.mkdir()
    interpreter = shlex.quote(sys.executable)
    pip = f'if [ "$2" = pip ]; then printf "%s\\n" "$@" > {shlex.quote(str(folder))}/pip.txt; exit; fi'
    for name, lines in {
        "python": [pip, f'exec {interpreter} "$@"'],
        "robustlab": [f'exec {interpreter} -m robustlab "$@"'],
    }.items():
        (programs / name).write_text("\n".join(["#!/bin/sh", *lines, ""]))
        (programs / name).chmod(0o755)
    return folder


def run_step(folder: Path, name: str, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run a script of the action as a runner does, with these inputs and the defaults of the others."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    values = {key: given.get("default", "") for key, given in ACTION["inputs"].items()}
    values |= {key.replace("_", "-"): value for key, value in inputs.items()}
    paths = [str(Path(robustlab.__file__).parents[1]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    environment["PATH"] = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
    for key, value in SCRIPTS[name]["env"].items():
        (given,) = re.findall(r"^\$\{\{ inputs\.([\w-]+)( \|\| github\.action_path)? \}\}$", value)
        environment[key] = values[given[0]] or ("/the/action" if given[1] else "")
    for key in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"):
        environment[key] = str(folder / key)
        (folder / key).write_text("")
    command = [bash, "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", SCRIPTS[name]["run"]]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def decide(folder: Path, **inputs: str) -> tuple[int, str, str]:
    """Evaluate the model and decide; return the exit code, the step's summary and its outputs."""
    given: dict[str, Any] = {"model": "net.py:make", "dataset": "net.py:data", "attacks": "fgsm"}
    given |= {"threat": "linf(eps=0.1)", "images": "20", "out": "runs/a b"}
    given["evaluate_options"] = "--no-checks --no-certify --name 'my net' --precision fp32"
    done = run_step(folder, "Evaluate and decide", **given | inputs)
    summary, outputs = ((folder / key).read_text() for key in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"))
    return done.returncode, summary, outputs or done.stderr


def test_robustlab_is_installed_as_asked(folder: Path) -> None:
    assert run_step(folder, "Install robustlab").returncode == 0
    own = ["-m", "pip", "install", "--quiet", "--extra-index-url", "https://download.pytorch.org/whl/cpu"]
    assert (folder / "pip.txt").read_text().splitlines() == [*own, "/the/action"]
    assert run_step(folder, "Install robustlab", package="robustlab==0.1", torch_index="").returncode == 0
    assert (folder / "pip.txt").read_text().splitlines() == [*own[:4], "robustlab==0.1"]


def test_an_error_is_no_decision(folder: Path) -> None:
    code, summary, said = decide(folder, model="nowhere.py:make", out="runs/other")
    assert (code, summary) == (2, "")
    assert "nowhere.py" in said
    marked = folder / "injected"
    code, _, said = decide(folder, model=f"$(touch {marked})", evaluate_options="`touch injected`; 'x")
    assert code != 0
    assert not marked.exists()
    assert "No closing quotation" in said


def test_a_gate_that_fails_fails_the_step_and_says_why(folder: Path) -> None:
    code, summary, outputs = decide(folder, gate_options="--min-robust 0.9 --min-clean 0.9")
    assert code == 1, outputs
    assert summary.startswith("## robustlab gate: failed\n\nmy net under linf(eps=0.1)")
    assert "| ✗ | robust accuracy of at least 90.00% |" in summary
    assert "| ✓ | clean accuracy of at least 90.00% |" in summary
    assert outputs == "passed=false\n"
    run = folder / "runs" / "a b"
    assert {"report.html", "results.json", "gate.html", "gate.md"} <= {path.name for path in run.iterdir()}
    assert ElementTree.parse(run / "gate.xml").getroot().get("failures") == "1"
    gate = folder / "bin" / "robustlab"  # the evaluation is there
    gate.write_text(gate.read_text().replace("\n", '\nif [ "$1" = evaluate ]; then exit; fi\n', 1))
    code, summary, outputs = decide(folder, gate_options="", baseline="runs/a b")
    assert (code, outputs) == (0, "passed=true\n")
    assert "robust accuracy at most 0.00% below the baseline's" in summary
