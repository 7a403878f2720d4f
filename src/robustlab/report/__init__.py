"""The report of a run: one self-contained page, a Markdown summary and the charts."""

from robustlab.report.write import write_report

__all__ = ["write_report"]
