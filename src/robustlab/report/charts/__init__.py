"""The charts of the report, each an SVG that is both a file and a part of the page."""

from robustlab.report.charts.canvas import Chart
from robustlab.report.charts.collection import Charts, draw_charts

__all__ = ["Chart", "Charts", "draw_charts"]
