"""The numbers in the chart of the accuracy left against passes."""

import pytest

from robustlab.report.charts.cascade import cascade_chart
from robustlab.runs.records import Figure


@pytest.mark.parametrize(
    ("passes", "values", "labels"),
    [
        ([1, 10, 100], [0.9, 0.5, 0.1], ["1", "2"]),
        ([1, 10, 100, 1000], [0.9, 0.5, 0.5, 0.1], ["1", "3"]),
        ([1, 10, 10.1, 1000], [0.9, 0.5, 0.49, 0.1], ["1, 2", "3"]),
        ([1, 10, 10.1, 10.2, 1000], [0.9, 0.5, 0.49, 0.48, 0.1], ["1\N{EN DASH}3", "4"]),
        ([1, 10, 10.1, 10.2, 1000], [0.9, 0.5, 0.5, 0.48, 0.1], ["1, 3", "4"]),
        ([1, 10, 10.1, 1000], [0.9, 0.5, 0.1, 0.05], ["1", "2", "3"]),
    ],
)
def test_numbers_that_would_overlap_share_a_label(
    passes: list[float], values: list[float], labels: list[str]
) -> None:
    figures = [Figure(value=v, low=v, high=v, n=100) for v in values]
    axes = cascade_chart(passes, figures).figure.axes[0]
    assert [text.get_text() for text in axes.texts] == labels
