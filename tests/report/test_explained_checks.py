"""The page says of each check what docs/flags.md says."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sample_evaluations import check, write_evaluation

from robustlab.report import write_report

MakeEvaluation = Callable[..., Path]


@pytest.fixture
def make_evaluation(tmp_path: Path) -> MakeEvaluation:
    """A function that writes an evaluation's folder with results, changed as asked."""

    def make(name: str = "run", **changes: Any) -> Path:
        return write_evaluation(tmp_path / name, None, **changes)

    return make


def test_a_check_is_explained_on_the_page(make_evaluation: MakeEvaluation) -> None:
    text = write_report(
        make_evaluation(checks=[check("more-steps", "pass"), check("targeted-attack", "fail")])
    )
    page = text.read_text()
    details = re.findall(r"<details><summary>What is computed.*?</details>", page, flags=re.DOTALL)
    assert len(details) == 2
    assert "<strong>If it fails.</strong>" in details[0]
    assert "##" not in "".join(details)
    assert "Aiming at single classes finds no more" not in details[0], "the title stands above it"


def test_an_explanation_links_only_to_checks_of_the_page(make_evaluation: MakeEvaluation) -> None:
    one = write_report(make_evaluation("one", checks=[check("undefended-network", "pass")])).read_text()
    assert 'href="#check-extreme-eps"' not in one
    both = [check("undefended-network", "pass"), check("extreme-eps", "pass")]
    assert 'href="#check-extreme-eps"' in write_report(make_evaluation("two", checks=both)).read_text()


def test_a_check_that_nobody_knows_has_no_explanation(make_evaluation: MakeEvaluation) -> None:
    page = write_report(make_evaluation(checks=[check("of-a-later-version", "pass")])).read_text()
    assert "What is computed, and what to do next" not in page
