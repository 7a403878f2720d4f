"""Writes the report of a finished run: the page, the Markdown and the charts."""

from pathlib import Path

from robustlab.core.files import write_text, writing
from robustlab.core.run import load_run
from robustlab.report.arrays import Arrays
from robustlab.report.charts import draw_charts
from robustlab.report.markdown import markdown
from robustlab.report.page import page
from robustlab.report.view import View


def write_report(folder: Path) -> Path:
    """Write report.html, report.md and figures/*.svg into a run's folder and return the page's path.

    Reads only results.json and the arrays it names; the same run gives the same bytes.

    Raises:
        RunError: results.json or an array is missing or damaged, or a newer robustlab wrote it.
        OutputError: a file could not be written.
    """
    folder = Path(folder)
    view = View(load_run(folder).results)
    charts = draw_charts(view)
    rendered = page(view, charts, Arrays(folder))
    for chart in charts.all():
        write_text(folder / "figures" / f"{chart.name}.svg", chart.file)
    drawn = {f"{chart.name}.svg" for chart in charts.all()}
    for stale in (folder / "figures").glob("*.svg"):
        if stale.name not in drawn:
            with writing(stale):
                stale.unlink()
    write_text(folder / "report.md", markdown(view, charts))
    path = folder / "report.html"
    write_text(path, rendered)
    return path
