"""The page of evaluations side by side."""

from robustlab.report.charts import Chart
from robustlab.report.charts.comparison import accuracy_chart, cost_chart
from robustlab.report.comparison.tables import heads
from robustlab.report.rendering import render
from robustlab.runs.comparison import ComparedRun, SideBySide


def page(found: SideBySide) -> str:
    """Return the page: the table, the charts, the images that changed, and how the runs differ."""
    models = dict.fromkeys(run.model for run in found.runs)
    return render(
        "comparison/report.html.j2",
        r=found,
        title=f"{len(found.runs)} evaluations: {', '.join(models)}",
        heads=heads(found),
        accuracies=_accuracies(found.runs),
        cost=cost_chart(found.runs),
    )


def _accuracies(runs: list[ComparedRun]) -> list[Chart]:
    """Return a chart for each norm; the eps of two norms can't be compared."""
    drawn = [run for run in runs if run.bounded and (run.robust or run.certified)]
    norms = dict.fromkeys(run.norm for run in drawn)
    return [
        accuracy_chart(number, norm, [run for run in drawn if run.norm == norm])
        for number, norm in enumerate(norms)
    ]
