"""Evaluations side by side as Markdown, LaTeX and comma-separated values."""

import csv
import io

from robustlab.report import text
from robustlab.report.markdown import plain, table
from robustlab.runs.comparison import ComparedRun, SideBySide
from robustlab.runs.records import Figure

_DASH = "–"

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    text.NBSP: "~",
    _DASH: "--",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def heads(found: SideBySide) -> list[str]:
    """Return the heads of the table's columns."""
    shared = ["on common images"] if any(run.common for run in found.runs) else []
    return ["run", "threat model", "images", "clean", "robust", *shared, "proven", "passes per image", "time"]


def cells(run: ComparedRun, found: SideBySide) -> list[str]:
    """Return a row of the table as plain text."""
    shared = [figure(run.common)] if any(other.common for other in found.runs) else []
    return [
        run.label,
        text.spec(run.threat),
        text.count(run.n),
        figure(run.clean),
        figure(run.robust) + (" (a check failed)" if run.failed else ""),
        *shared,
        figure(run.certified),
        text.count(run.passes),
        text.duration(run.seconds),
    ]


def figure(value: Figure | None) -> str:
    """Return an accuracy with its interval, or a dash."""
    return _DASH if value is None else f"{text.share(value)} ({text.interval(value)})"


def markdown(found: SideBySide) -> str:
    """Return the table, the notes and the differences in Markdown."""
    blocks = [
        table(heads(found), (list(map(plain, cells(run, found))) for run in found.runs)),
        "Accuracies with their 95 % intervals.",
        "\n".join(f"- {plain(note)}" for note in found.notes),
    ]
    if found.differences:
        labels = ["", *(f"{plain(run.label)}, {plain(text.spec(run.threat))}" for run in found.runs)]
        rows = [
            [entry.name, *(plain(text.spec(value)) for value in entry.values)] for entry in found.differences
        ]
        blocks += ["The runs differ in:", table(labels, rows)]
    return "\n\n".join(filter(None, blocks)) + "\n"


def latex(found: SideBySide) -> str:
    """Return the table in LaTeX, for the package booktabs."""
    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{tabular}{ll" + "r" * (len(heads(found)) - 2) + "}",
        r"\toprule",
        _line(heads(found)),
        r"\midrule",
        *(_line(cells(run, found)) for run in found.runs),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _line(parts: list[str]) -> str:
    escaped = ("".join(_LATEX.get(sign, sign) for sign in part.replace("\n", " ")) for part in parts)
    return " & ".join(escaped) + r" \\"


def comma_separated(found: SideBySide) -> str:
    """Return the figures of each run as comma-separated values; what is not known is empty."""
    buffer = io.StringIO()
    records = found.records()
    writer = csv.DictWriter(buffer, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return buffer.getvalue()
