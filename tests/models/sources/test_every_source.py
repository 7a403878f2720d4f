"""Laws of all sources: the library's own logits, gradients, and an evaluation that runs to its report."""

from pathlib import Path

import pytest
import torch
from source_models import CASES, Case, quiet

import robustlab
from robustlab.defenses.loading import source
from robustlab.evaluation.subject import load_classifier
from robustlab.models.sources import Source

pytestmark = pytest.mark.filterwarnings("ignore")  # of the other libraries


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    return CASES[request.param](tmp_path)


def test_every_source(case: Case, tmp_path: Path) -> None:
    with quiet():
        subject = load_classifier(case.text)
        again = load_classifier(case.text)
    images = torch.rand(4, *case.shape, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected = case.logits(images)
        logits = subject.model(images)
    assert torch.allclose(logits, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert (subject.code, subject.sha256()) == (again.code, again.sha256()), "loaded twice, it is the same"

    points = images.clone().requires_grad_()
    answer = subject.model(points)
    assert answer.requires_grad is case.gradient
    if case.gradient:
        (slope,) = torch.autograd.grad(answer[:, 0].sum(), points)
        assert (slope.abs().flatten(1).sum(dim=1) > 0).all()
    else:
        assert any("without gradients" in remark for remark in subject.remarks)

    labels = expected.argmax(dim=1)
    run = robustlab.evaluate(
        case.text,
        images=images,
        labels=labels,
        attacks="fgsm" if case.gradient else "square(queries=5)",
        threat="linf(eps=0.05)",
        checks=False,
        certify=False,
        out=tmp_path / "run",
    )
    assert run.results.clean.value == 1.0
    assert (run.folder / "report.html").is_file()
    assert isinstance(source(run.results.subject.source), Source), "the report names it by a text"
