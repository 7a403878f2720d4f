"""A notebook, executed as a user's: what an evaluation shows in it."""

import os
import re
from typing import Any

import pytest

pytest.importorskip("ipykernel")
nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("pandas")

CELLS = {
    "evaluate": """
import torch, robustlab
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
images = torch.rand(10, 1, 4, 4)
labels = model(images).argmax(dim=1)
run = robustlab.evaluate(
    model, images=images, labels=labels, threat="linf(eps=0.3)", attacks="fgsm, pgd(steps=5)", curve=True,
    checks=False, certify=False, name="<b>mine</b>", out="run",
)
""",
    "html": "run",
    "text": "print(repr(run))",
    "frame": "run.frame()",
    "images": "run.images_frame()",
    "adversarial": "print(tuple(run.adversarial().images.shape), run.results.clean.count)",
    "figure": "run.figure('curve')",
    "quiet": """
from robustlab.core.progress import Progress
robustlab.evaluate("mnist_cnn", images=torch.rand(2, 1, 28, 28), labels=[0, 1], attacks="fgsm", checks=False,
    certify=False, out="quiet", progress=Progress()).results.command
""",
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Return the outputs of each cell."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS.values()])
    before = os.environ.get("IPYTHONDIR")
    os.environ["IPYTHONDIR"] = str(folder / "ipython")
    try:
        client = nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}})
        client.execute()
    finally:
        del os.environ["IPYTHONDIR"]
        if before is not None:
            os.environ["IPYTHONDIR"] = before
    nbformat.validate(notebook)
    return {name: cell.outputs for name, cell in zip(CELLS, notebook.cells, strict=True)}


def text_of(outputs: list[Any]) -> str:
    parts = [output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in outputs]
    return re.sub(r"\x1b\[[\d;]*m", "", "\n".join(parts))


def test_progress_is_shown_below_the_cell(outputs: dict[str, list[Any]]) -> None:
    shown = text_of(outputs["evaluate"])
    assert "✓ fgsm()" in shown
    assert "✓ pgd(steps=5)" in shown
    assert "Traceback" not in shown
    assert "ipywidgets" not in shown
    assert text_of(outputs["quiet"]) == "''"


def test_a_run_shows_itself(outputs: dict[str, list[Any]]) -> None:
    (output,) = outputs["html"]
    html = output["data"]["text/html"]
    assert "&lt;b&gt;mine&lt;/b&gt; under linf(eps=0.3)" in html
    assert "<b>mine" not in html
    assert "fgsm" in html
    assert not any(part in html for part in ("http", "src=", "color"))
    lines = text_of(outputs["text"]).strip().splitlines()
    assert lines[0] == "<b>mine</b> under linf(eps=0.3)"
    assert "robust accuracy" in lines[1]
    assert "of 10 images" in lines[1]
    assert len(lines) < 8


def test_data_frames_and_images(outputs: dict[str, list[Any]]) -> None:
    assert "pgd(steps=5" in outputs["frame"][0]["data"]["text/html"]
    assert "clean_confidence" in outputs["images"][0]["data"]["text/html"]
    shape, clean = text_of(outputs["adversarial"]).strip().rsplit(" ", 1)
    assert shape.endswith(", 1, 4, 4)")
    assert clean == "10"


def test_a_figure_is_a_picture(outputs: dict[str, list[Any]]) -> None:
    pictures = [output for output in outputs["figure"] if "image/png" in output.get("data", {})]
    assert len(pictures) == 1
