"""The page of evaluations side by side."""

from pathlib import Path
from urllib.parse import quote

from robustlab.report.charts import Chart
from robustlab.report.charts.comparison import accuracy_chart, cost_chart
from robustlab.report.comparison.tables import heads
from robustlab.report.rendering import render
from robustlab.runs.comparison import ComparedRun, SideBySide


def page(found: SideBySide, place: Path | None = None) -> str:
    """Return the page: the table, the charts, the images that changed, and how the runs differ.

    Args:
        found: the runs.
        place: the folder of the page; runs in it are links to their reports.
    """
    models = dict.fromkeys(run.model for run in found.runs)
    return render(
        "comparison/report.html.j2",
        r=found,
        title=f"{len(found.runs)} evaluations: {', '.join(models)}",
        heads=heads(found),
        links=[_link(Path(run.folder).absolute(), place.absolute()) if place else "" for run in found.runs],
        accuracies=_accuracies(found.runs),
        cost=cost_chart(found.runs),
    )


def _link(folder: Path, place: Path) -> str:
    """Return the address of a run's report on a page in a folder; empty if the run is elsewhere."""
    if not folder.is_relative_to(place) or folder == place:
        return ""
    return quote((folder.relative_to(place) / "report.html").as_posix())


def _accuracies(runs: list[ComparedRun]) -> list[Chart]:
    """Return a chart for each norm; the eps of two norms can't be compared."""
    by_norm: dict[str, list[ComparedRun]] = {}
    for run in runs:
        if run.bounded and (run.robust or run.certified):
            by_norm.setdefault(run.norm, []).append(run)
    return [accuracy_chart(number, *group) for number, group in enumerate(by_norm.items())]
