"""The shipped study on a slice of real MNIST."""

import subprocess
import sys
from pathlib import Path

import pytest

import robustlab
from robustlab.study import find_recipe, load_recipe


@pytest.fixture(scope="module")
def quick(mnist_root: Path, tmp_path_factory: pytest.TempPathFactory) -> robustlab.Run:
    folder = tmp_path_factory.mktemp("runs") / "mnist"
    # In a process of its own, whose peak memory is the study's alone.
    command = [sys.executable, "-m", "robustlab", "study", "mnist", "--quick", "--quiet"]
    command += ["--dataset", "mnist", "--data-root", str(mnist_root), "--out", str(folder)]
    subprocess.run(command, check=True, timeout=600)
    run = robustlab.load_run(folder)
    assert isinstance(run, robustlab.Run)
    return run


@pytest.mark.mnist
def test_quick_study_finds_what_the_study_found(quick: robustlab.Run) -> None:
    assert quick.results.dataset.name == "mnist"
    assert quick.results.dataset.fallback == ""
    accuracy = {(row.id, row.variant): row.accuracy.value for row in quick.results.rows}
    assert accuracy["clean", None] > 0.9
    for scale in ("study", "pixel"):
        # Mild noise changes a thousand images too little to tell: it may even mend a few.
        assert accuracy["clean", None] + 0.01 > accuracy["noise", scale] > accuracy["fgsm", scale]
        assert accuracy["adversarial_transfer", scale] > accuracy["fgsm", scale]
        # Through the VAE the attacker does far better than on images made for the bare baseline.
        assert accuracy["vae_pgd", scale] < accuracy["vae_transfer", scale]
        # More steps find more.
        assert accuracy["fgsm_pgd", scale] <= accuracy["fgsm", scale]
    assert accuracy["fgsm", "study"] > accuracy["fgsm", "pixel"] + 0.2, "the units are mixed up"
    # The clamp lifts black to mid-grey.
    clamped = [row.max_distance for row in quick.results.rows if row.group == "footnote"]
    assert clamped == pytest.approx([0.5])


@pytest.mark.mnist
def test_the_quick_study_judges_the_claims_as_the_whole_one(quick: robustlab.Run) -> None:
    """docs/study.md holds the verdicts of the whole study."""
    document = (Path(__file__).parents[2] / "docs" / "study.md").read_text(encoding="utf-8")
    table = document.partition("| claim | reading |")[2].partition("\n\n")[0]
    rows = [[cell.strip(" *") for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    states = {"holds": "holds", "refuted": "refuted", "not shown": "open"}
    whole = {
        (claim, reading, variant): states[verdict]
        for claim, reading, *verdicts in rows
        for variant, verdict in zip(("study", "pixel"), verdicts, strict=True)
    }
    found = {
        (claim.text, verdict.reading, verdict.variant): verdict.state
        for claim in quick.results.claims
        for verdict in claim.verdicts
    }
    assert len(whole) == 22
    # Bytes differ between processors: a claim may be open there, but never come out the other way.
    assert {key: state for key, state in found.items() if state != "open"}.items() <= whole.items()
    assert sum(state == "open" for state in found.values()) <= 4


@pytest.mark.mnist
def test_every_row_of_the_recipe_was_measured(quick: robustlab.Run) -> None:
    recipe = load_recipe(find_recipe("mnist"))
    assert {row.id for row in quick.results.rows} == {part.id for part in recipe.evaluations}
    assert {d.id for d in quick.results.detections} == {d.id for d in recipe.detections}
    assert [claim.id for claim in quick.results.claims] == [claim.id for claim in recipe.claims]
    assert quick.results.peak_memory_mb < 2000


@pytest.mark.mnist
def test_detectors_are_calibrated_on_validation_images(quick: robustlab.Run) -> None:
    for detection in quick.results.detections:
        rate = detection.calibrated.false_positive_rate
        assert rate.low <= 0.08, "far more false positives on the test images than asked for"
    grey = next(d for d in quick.results.detections if (d.id, d.variant) == ("grey_fgsm", "pixel"))
    assert grey.auroc.value > 0.99
