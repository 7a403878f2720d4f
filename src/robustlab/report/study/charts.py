"""All charts of a study's report, by the section that shows them."""

from dataclasses import dataclass

from robustlab.report.charts.canvas import Chart
from robustlab.report.charts.confusion import MAX_CLASSES, confusion_chart
from robustlab.report.charts.curves import classifier_places, curve_chart
from robustlab.report.charts.detection import histogram_chart, roc_chart
from robustlab.report.charts.training import training_chart
from robustlab.report.study.view import StudyView, by_id
from robustlab.report.text import slug
from robustlab.runs.results import Curve, Detection, Network, Row


@dataclass(frozen=True, kw_only=True)
class StudyCharts:
    """The charts, grouped by what they show."""

    curves: list[tuple[Curve, Chart]]
    training: list[tuple[Network, Chart]]
    histograms: list[list[tuple[Detection, Chart]]]
    rocs: list[Chart]
    confusions: list[tuple[Row, Chart]]

    def all(self) -> list[Chart]:
        """Return every chart once."""
        histograms = [chart for group in self.histograms for _, chart in group]
        pairs = [*self.curves, *self.training, *self.confusions]
        return [*(chart for _, chart in pairs), *histograms, *self.rocs]


def draw_charts(view: StudyView) -> StudyCharts:
    """Draw every chart of the results."""
    results = view.results
    places = classifier_places(results.curves)
    detections = by_id(results.detections)
    summary = [row for row in results.rows if row.group == "summary" and len(row.confusion) <= MAX_CLASSES]
    most = max((_most_errors(row) for row in summary), default=0)
    return StudyCharts(
        curves=[(curve, curve_chart(curve, places)) for curve in results.curves],
        training=[(network, training_chart(network)) for network in results.networks if network.epochs],
        histograms=[[(part, histogram_chart(part, view)) for part in group] for group in detections],
        rocs=[roc_chart(group, view) for group in detections],
        confusions=[(row, _confusion_chart(row, most, view)) for row in summary],
    )


def _confusion_chart(row: Row, most: int, view: StudyView) -> Chart:
    name = f"confusion-{slug(row.id)}-{slug(row.variant or 'all')}"
    title = f"Confusion matrix: {row.title} {view.variant(row.variant)}".strip()
    return confusion_chart(name, title, row.confusion, most, view.results.dataset.class_names)


def _most_errors(row: Row) -> int:
    errors = [
        max([*counts[:true], *counts[true + 1 :]], default=0) for true, counts in enumerate(row.confusion)
    ]
    return max(errors, default=0)
