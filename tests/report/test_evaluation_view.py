"""What the report derives from an evaluation: its parts, its costs, its lengths."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_evaluations import ODD, evaluation, share

from robustlab.core.text import level
from robustlab.report.evaluation.view import EvaluationView
from robustlab.runs.evaluation import Evaluation


@given(st.data())
def test_the_parts_are_all_images(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 300))
    clean = data.draw(st.integers(0, n))
    robust = data.draw(st.integers(0, clean))
    proven = data.draw(st.none() | st.integers(0, robust))
    certified = None if proven is None else share(proven, n)
    accuracies = {"clean": share(clean, n), "robust": share(robust, n), "certified": certified}
    results = ODD["no_attack"]() | accuracies | {"images": evaluation()["images"] | {"n": n}}
    parts = EvaluationView(Evaluation.model_validate(results)).parts
    assert sum(part.images for part in parts) == n
    assert (parts[0].start, parts[-1].end) == (0, 1)
    for left, right in pairwise(parts):
        assert left.end == right.start
    sizes = {part.kind: part.images for part in parts}
    assert sizes.get("certified", 0) == (proven or 0)
    assert sizes.get("robust", 0) == robust - (proven or 0)
    assert sizes.get("broken", 0) == clean - robust


def test_the_costs_add_up() -> None:
    for make in (evaluation, ODD["hundred_classes"]):
        results = Evaluation.model_validate(make())
        spent = EvaluationView(results).spendings
        assert sum(part.forwards for part in spent) == results.forwards
        assert sum(part.backwards for part in spent) == results.backwards


def test_the_clean_images_cost_a_pass_per_sample() -> None:
    results = Evaluation.model_validate(evaluation())
    (once, *_), (often, *_) = (
        EvaluationView(results.model_copy(update={"samples": n})).steps for n in (1, 8)
    )
    assert (once.passes, often.passes) == (1.0, 8.0)


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.3, "0.3"), (8 / 255, "8/255"), (2.0, "2"), (0.2, "0.2"), (0.0123456, "0.01235"), (1500, "1500")],
)
def test_lengths_as_people_write_them(value: float, written: str) -> None:
    assert level(value) == written
