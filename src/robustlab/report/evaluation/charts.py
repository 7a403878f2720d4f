"""All charts of an evaluation's report, by the section that shows them."""

from dataclasses import dataclass
from typing import Literal

from matplotlib.figure import Figure

from robustlab.core.arguments import check_choice
from robustlab.core.errors import SpecError
from robustlab.report.charts import Chart
from robustlab.report.charts.cascade import cascade_chart
from robustlab.report.charts.confusion import MAX_CLASSES, confusion_chart
from robustlab.report.charts.distances import distance_chart
from robustlab.report.charts.robust_curve import robust_curve_chart
from robustlab.report.evaluation.view import EvaluationView
from robustlab.runs.evaluation import Evaluation

FigureName = Literal["curve", "attacks", "flips", "distances"]

_ABSENT = {
    "curve": "the run searched no curve; evaluate with curve=True",
    "attacks": "no attack ran",
    "flips": f"no image is broken, or there are more than {MAX_CLASSES} classes",
    "distances": "no image is broken, or the threat model bounds no distance",
}


@dataclass(frozen=True, kw_only=True)
class EvaluationCharts:
    """The charts; None without data."""

    cascade: Chart | None
    curve: Chart | None
    flips: Chart | None
    distances: Chart | None

    def all(self) -> list[Chart]:
        """Return every chart."""
        return [chart for chart in (self.cascade, self.curve, self.flips, self.distances) if chart]


def draw_charts(view: EvaluationView) -> EvaluationCharts:
    """Draw every chart of the results."""
    results = view.results
    curve = results.curve if results.curve and results.curve.eps else None
    return EvaluationCharts(
        cascade=_cascade(view) if results.rows else None,
        curve=robust_curve_chart(curve, results.norm, results.eps, results.robust) if curve else None,
        flips=_flips(view) if results.flips and results.images.classes <= MAX_CLASSES else None,
        distances=(
            distance_chart(results.distances, results.norm, results.eps) if results.distances else None
        ),
    )


def figure_of(results: Evaluation, name: FigureName) -> Figure:
    """Return a chart as a matplotlib figure, which a notebook shows.

    Raises:
        SpecError: the name is unknown, or the run has no data for the chart.
    """
    check_choice("name", name, tuple(_ABSENT))
    charts = draw_charts(EvaluationView(results))
    drawn = charts.cascade if name == "attacks" else getattr(charts, name)
    if drawn is None:
        raise SpecError(f"the run has no data for the figure {name!r}: {_ABSENT[name]}")
    figure: Figure = drawn.figure
    return figure


def _cascade(view: EvaluationView) -> Chart:
    accuracies = [step.row.robust if step.row else view.results.clean for step in view.steps]
    return cascade_chart([step.passes for step in view.steps], accuracies, queries=view.queries)


def _flips(view: EvaluationView) -> Chart:
    most = max(max(counts) for counts in view.confusion)
    title = "Which class the broken images were taken for"
    return confusion_chart("flips", title, view.confusion, most, view.results.images.class_names)
