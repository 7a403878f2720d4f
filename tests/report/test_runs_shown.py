"""How runs show themselves: a few lines as text, and HTML for a notebook."""

from pathlib import Path

from html_page import Page
from sample_evaluations import flagged, write_evaluation
from sample_results import write_run

import robustlab

STRANGE = "<script>alert(1)</script>\x1b[31m"


def html_of(run: robustlab.Run | robustlab.EvaluationRun) -> Page:
    page = Page(run._repr_html_())
    assert "\x1b" not in run._repr_html_()
    assert page.references == []
    assert "script" not in {tag for tag, _ in page.tags}
    return page


def test_a_study_in_a_few_lines(tmp_path: Path) -> None:
    run = robustlab.load_run(write_run(tmp_path / "run", title=STRANGE))
    assert isinstance(run, robustlab.Run)
    lines = repr(run).splitlines()
    assert len(lines) == 4
    assert "\x1b" not in repr(run)
    assert f"{len(run.results.rows)}, 0 of which failed a check" in lines[2]
    assert str(run.folder) in lines[3]
    text = " ".join(html_of(run).words)
    assert STRANGE.split("\x1b")[0] in text
    assert all(row.title in text for row in run.results.rows)


def test_an_evaluation_says_that_a_check_failed(tmp_path: Path) -> None:
    run = robustlab.load_run(write_evaluation(tmp_path / "run", flagged(), title=STRANGE))
    assert isinstance(run, robustlab.EvaluationRun)
    flag = run.results.red_flags[0]
    assert flag.title in repr(run)
    assert "not to be believed" in repr(run)
    assert "\x1b" not in repr(run)
    text = " ".join(html_of(run).words)
    assert flag.title in text
    assert str(run.results.robust) in text
