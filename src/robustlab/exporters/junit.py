"""JUnit XML: the checks and the claims of a run as tests."""

from collections.abc import Iterator
from typing import Literal

from robustlab.core.spec import register
from robustlab.exporters.base import FinishedRun, TextExporter
from robustlab.exporters.summary import summary_of, title_of
from robustlab.report.junit import JUnitCase, junit_xml
from robustlab.runs.evaluation import CheckRecord, Evaluation, Grade
from robustlab.runs.results import Results, State

Outcome = Literal["passed", "failed", "skipped"]

_GRADES: dict[Grade, Outcome] = {"pass": "passed", "warn": "passed", "fail": "failed", "skip": "skipped"}
_STATES: dict[State, Outcome] = {"holds": "passed", "refuted": "failed", "open": "skipped"}


@register("junit")
class JUnit(TextExporter):
    """Writes the checks of a run, and the claims of a study, as tests in JUnit XML.

    A failed check and a refuted claim are failures. A check that warned is passed; a claim that is open is
    skipped.
    """

    def text(self, run: FinishedRun) -> str:
        summary, results = summary_of(run), run.results
        cases = (
            [*_of_checks("checks", results.checks)] if isinstance(results, Evaluation) else _of_study(results)
        )
        return junit_xml(
            summary.title,
            cases,
            created=summary.created,
            seconds=summary.metrics["seconds"],
            properties=summary.settings,
        )


def _of_checks(group: str, checks: list[CheckRecord]) -> Iterator[JUnitCase]:
    for check in checks:
        found = f"{check.found}; expected: {check.expected}"
        yield JUnitCase(check.title, f"robustlab.{group}", _GRADES[check.grade], found)


def _of_study(results: Results) -> list[JUnitCase]:
    cases = [case for row in results.rows for case in _of_checks(title_of(results, row), row.checks)]
    for claim in results.claims:
        for verdict in claim.verdicts:
            found = "; ".join(f"{part.text}: {part.state}" for part in verdict.comparisons)
            cases.append(
                JUnitCase(
                    f"{claim.text} ({verdict.reading})", "robustlab.claims", _STATES[verdict.state], found
                )
            )
    return cases
