"""A gate's decision as Markdown, as a page and as JUnit XML."""

from collections.abc import Sequence

from robustlab.report.evaluation.facts import facts, settings
from robustlab.report.junit import JUnitCase, junit_xml
from robustlab.report.markdown import plain, table
from robustlab.runs.condition import Condition
from robustlab.runs.evaluation import Evaluation


def gate_markdown(results: Evaluation, conditions: Sequence[Condition]) -> str:
    """Return the decision as Markdown, such as the summary of a step in GitHub Actions."""
    lines = [
        ["✓" if condition.holds else "✗", plain(condition.asked), plain(condition.found)]
        for condition in conditions
    ]
    blocks = [
        f"## {_decision(conditions)}",
        plain(results.title),
        table(["", "Condition", "found"], lines),
        "\n".join(facts(results)),
    ]
    return "\n\n".join(blocks) + "\n"


def gate_page(results: Evaluation, conditions: Sequence[Condition]) -> str:
    """Return the decision as a self-contained page."""
    from robustlab.report.rendering import render  # loads what draws charts

    return render("gate.html.j2", r=results, conditions=conditions, decision=_decision(conditions))


def gate_junit(results: Evaluation, conditions: Sequence[Condition]) -> str:
    """Return the decision as JUnit XML, with a test for each condition."""
    cases = [
        JUnitCase(
            condition.asked, "robustlab.gate", "passed" if condition.holds else "failed", condition.found
        )
        for condition in conditions
    ]
    return junit_xml(
        results.title, cases, created=results.created, seconds=results.seconds, properties=settings(results)
    )


def _decision(conditions: Sequence[Condition]) -> str:
    return "robustlab gate: " + ("passed" if all(condition.holds for condition in conditions) else "failed")
