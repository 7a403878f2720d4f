"""The report of a run: one self-contained page, a Markdown summary and the charts; the files of a gate."""

from robustlab.core.lazy import lazy

TYPE_CHECKING = False  # as in robustlab/__init__.py
if TYPE_CHECKING:
    from robustlab.report.gate import gate_junit, gate_markdown, gate_page
    from robustlab.report.junit import JUnitCase, junit_xml
    from robustlab.report.write import write_report
else:
    # The page needs jinja2 and matplotlib, and the other forms of a result need neither.
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "robustlab.report.gate": ["gate_junit", "gate_markdown", "gate_page"],
            "robustlab.report.junit": ["JUnitCase", "junit_xml"],
            "robustlab.report.write": ["write_report"],
        },
    )

__all__ = ["JUnitCase", "gate_junit", "gate_markdown", "gate_page", "junit_xml", "write_report"]
