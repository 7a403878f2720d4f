"""The report of an evaluation: its page, its Markdown and its charts."""

from robustlab.report.arrays import Arrays
from robustlab.report.evaluation import citation, words
from robustlab.report.evaluation.charts import draw_charts
from robustlab.report.evaluation.flags import explanations
from robustlab.report.evaluation.markdown import markdown
from robustlab.report.evaluation.pictures import album
from robustlab.report.evaluation.view import EvaluationView
from robustlab.report.glossary import Glossary
from robustlab.report.rendering import Report, render
from robustlab.runs.evaluation import Evaluation


def report(results: Evaluation, arrays: Arrays) -> Report:
    """Return the report of an evaluation; missing or damaged pictures are a `RunError`."""
    view = EvaluationView(results)
    charts = draw_charts(view)
    page = render(
        "evaluation/report.html.j2",
        r=results,
        view=view,
        charts=charts,
        words=words,
        citation=citation,
        album=album(view, arrays),
        explained=explanations({check.id for check in results.checks}),
        # The meaning of eps depends on the norm, which the headline names.
        terms=Glossary("eps").explain(*(row.attack for row in results.rows)),
    )
    return Report(page, markdown(view, charts), charts.all())
