"""The table of docs/models.md: the rows of `benchmarks/model_sources.py`, each a whole evaluation."""

import re
from pathlib import Path

import pytest
import torch

import model_sources
import robustlab
from robustlab.evaluation.subject import load_classifier

ROOT = Path(__file__).parents[3]
SMALL = ("scikit-learn, random forest", "a function", "an HTTP server")
"""The rows whose libraries load fast; `test_every_source` has smaller models of the others."""

pytestmark = pytest.mark.filterwarnings("ignore")  # of the other libraries


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", SMALL)
def test_a_row_is_evaluated_up_to_its_report(name: str, folder: Path) -> None:
    row = model_sources.ROWS[name](folder)
    try:
        run = robustlab.evaluate(
            row.model,
            **model_sources.given(row, folder),
            threat="linf(eps=0.05)",
            attacks="square(queries=5)",
            checks=False,
            certify=False,
            out=folder / "run",
        )
    finally:
        row.close()
    assert run.results.clean.value == 1.0
    assert run.results.subject.black_box == "scores"
    assert (run.folder / "report.html").is_file()
    assert model_sources.line(name, row, run.results).startswith(f"| {name} | `{row.shown}` |")


def test_the_manual_has_every_row() -> None:
    manual = (ROOT / "docs" / "models.md").read_text()
    assert [name for name in model_sources.ROWS if f"| {name} | `" not in manual] == []
    files = re.findall(r"`((?:tests|benchmarks)/[\w/.]+)`", manual)
    assert [file for file in files if not (ROOT / file).is_file()] == []


def test_a_wide_residual_network_has_the_published_size() -> None:
    import wide_resnet

    network = wide_resnet.network()
    assert sum(weight.numel() for weight in network.parameters()) == 36_479_194
    small = wide_resnet.WideResNet(depth=10, width=1).eval()
    assert small(torch.rand(2, 3, 32, 32)).shape == (2, 10)


def test_a_lightning_module_is_evaluated_after_fit(folder: Path) -> None:
    pytest.importorskip("lightning")
    row = model_sources.ROWS["Lightning, after fit"](folder)
    module = row.model.train()  # as some versions of Lightning leave it
    module.trainer.save_checkpoint(folder / "last.ckpt")
    options = model_sources.given(row, folder) | {"attacks": "pgd(steps=5)", "threat": "linf(eps=0.2)"}
    run = robustlab.evaluate(module, **options, checks=False, out=folder / "run")
    assert module.training, "it can be trained further"
    assert run.results.clean.value == 1.0 > run.results.robust.value
    assert run.results.command == "", "the command line can't name an object"
    # Its checkpoint has the same weights, for the class in a file.
    again = load_classifier(type(module)(), weights=folder / "last.ckpt")
    assert again.sha256() == load_classifier(module).sha256() == run.results.subject.sha256
