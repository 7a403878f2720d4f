"""Writes the report of a finished run: the page, the Markdown and the charts."""

import hashlib
from pathlib import Path

from robustlab.core.files import write_bytes, write_json, write_text, writing
from robustlab.core.untrusted import read_json
from robustlab.report.arrays import Arrays
from robustlab.report.evaluation.report import report as evaluation_report
from robustlab.report.rendering import CARD
from robustlab.report.study.report import report as study_report
from robustlab.runs.evaluation import Evaluation
from robustlab.runs.owner import refuse_links
from robustlab.runs.run import load_results

_RECORD = ".figures.json"
"""The file with the names and hashes of written figures; only these are ever removed from their folder."""


def write_report(folder: Path) -> Path:
    """Write report.html, report.md and figures/* into a run's folder and return the page's path.

    Reads only results.json and the arrays it names; the same run gives the same bytes.

    Raises:
        RunError: results.json or an array is missing or damaged, or a newer robustlab wrote it; or the folder
            of the figures is a link.
        OutputError: a file could not be written.
    """
    folder = Path(folder)
    refuse_links(folder)
    results, arrays = load_results(folder), Arrays(folder)
    if isinstance(results, Evaluation):
        report = evaluation_report(results, arrays)
    else:
        report = study_report(results, arrays)
    figures = {f"{chart.name}.svg": chart.file.encode() for chart in report.charts}
    if report.card is not None:
        figures[Path(CARD).name] = report.card
    _write_figures(folder, figures)
    write_text(folder / "report.md", report.markdown)
    path = folder / "report.html"
    write_text(path, report.page)
    return path


def _write_figures(folder: Path, drawn: dict[str, bytes]) -> None:
    """Write the figures, by name, and remove those of an earlier report that are no longer drawn."""
    before = recorded_figures(folder)
    now = {name: [_hash(content)] for name, content in drawn.items()}
    # Until all are written, a figure may have its old or its new content.
    write_json(folder / _RECORD, {name: before.get(name, []) + now.get(name, []) for name in before | now})
    with writing(folder / "figures"):
        (folder / "figures").mkdir(exist_ok=True)
        for stale in before.keys() - drawn.keys():
            path = folder / "figures" / stale
            if path.is_file() and _hash(path.read_bytes()) in before[stale]:
                path.unlink()
    for name, content in drawn.items():
        write_bytes(folder / "figures" / name, content)
    write_json(folder / _RECORD, dict(sorted(now.items())))


def recorded_figures(folder: Path) -> dict[str, list[str]]:
    """Return the hashes, by name, of the figures that reports in a folder wrote; empty if unknown."""
    try:
        record = read_json(folder / _RECORD)
    except (OSError, ValueError):
        record = None
    if not isinstance(record, dict):
        return {}
    return {
        name: [hash_ for hash_ in hashes if isinstance(hash_, str)]
        for name, hashes in record.items()
        if isinstance(hashes, list) and name.endswith((".svg", ".png")) and Path(name).name == name
    }


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
