"""Writes the report of a finished run: the page, the Markdown and the charts."""

from pathlib import Path

from robustlab.core.evaluation import Evaluation
from robustlab.core.files import write_text, writing
from robustlab.core.run import load_results
from robustlab.report.arrays import Arrays
from robustlab.report.evaluation.report import report as evaluation_report
from robustlab.report.study.report import report as study_report


def write_report(folder: Path) -> Path:
    """Write report.html, report.md and figures/*.svg into a run's folder and return the page's path.

    Reads only results.json and the arrays it names; the same run gives the same bytes.

    Raises:
        RunError: results.json or an array is missing or damaged, or a newer robustlab wrote it.
        OutputError: a file could not be written.
    """
    folder = Path(folder)
    results, arrays = load_results(folder), Arrays(folder)
    if isinstance(results, Evaluation):
        report = evaluation_report(results, arrays)
    else:
        report = study_report(results, arrays)
    for chart in report.charts:
        write_text(folder / "figures" / f"{chart.name}.svg", chart.file)
    drawn = {f"{chart.name}.svg" for chart in report.charts}
    for stale in (folder / "figures").glob("*.svg"):
        if stale.name not in drawn:
            with writing(stale):
                stale.unlink()
    write_text(folder / "report.md", report.markdown)
    path = folder / "report.html"
    write_text(path, report.page)
    return path
