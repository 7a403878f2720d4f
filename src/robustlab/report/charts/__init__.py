"""The charts of the reports, each an SVG that is both a file and a part of the page."""

from robustlab.report.charts.canvas import Chart

__all__ = ["Chart"]
