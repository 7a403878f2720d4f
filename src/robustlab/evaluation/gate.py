"""Decides whether an evaluation is good enough: for continuous integration."""

from pathlib import Path

from robustlab.core.arguments import as_path, as_typed, check_share, checked_names
from robustlab.core.errors import RobustlabError
from robustlab.evaluation.compare import compare
from robustlab.evaluation.finished import read_finished
from robustlab.runs.comparison import Comparison
from robustlab.runs.condition import Condition
from robustlab.runs.records import Figure, Record
from robustlab.runs.run import EvaluationFolder


class GateResult(Record):
    """The result of a gate; it passes if all conditions hold."""

    passed: bool
    conditions: list[Condition]
    comparison: Comparison | None


@checked_names
def gate(
    run: str | Path | EvaluationFolder,
    *,
    min_robust: float | None = None,
    min_clean: float | None = None,
    min_certified: float | None = None,
    confident: bool = False,
    baseline: str | Path | EvaluationFolder | None = None,
    max_drop: float | None = None,
    allow_fewer_images: bool = False,
    strict: bool = False,
) -> GateResult:
    """Check an evaluation against conditions.

    Args:
        run: an evaluation's folder, or what `robustlab.evaluate` returned.
        min_robust: the smallest accepted robust accuracy, in [0, 1].
        min_clean: the smallest accepted accuracy on the clean images, in [0, 1].
        min_certified: the smallest accepted certified accuracy, in [0, 1].
        confident: compare the lower end of the 95 % interval with these, instead of the figure itself.
        baseline: an earlier evaluation of the same images under the same threat model.
        max_drop: how far robust accuracy may be below the baseline's, in [0, 1]; default 0.
        allow_fewer_images: whether the run may lack some of the baseline's images; then the others decide.
        strict: whether the gate fails if a check failed, or if the evaluation has no checks.

    Raises:
        RobustlabError: no condition is given, ``confident`` is given without a minimum, a number lies outside
            [0, 1], or a folder has no finished evaluation. Also if the baseline can't be compared, or
            attacked images that the run did not.
    """
    least = {"robust": min_robust, "clean": min_clean, "certified": min_certified}
    for name, value in {**{f"min_{k}": v for k, v in least.items()}, "max_drop": max_drop}.items():
        if value is not None:
            check_share(name, value)
    if max_drop is not None and baseline is None:
        raise RobustlabError(f"{as_typed('max_drop')} needs a baseline; give {as_typed('baseline')}, too")
    if allow_fewer_images and baseline is None:
        named = as_typed("allow_fewer_images")
        raise RobustlabError(f"{named} is about the images of a baseline; give {as_typed('baseline')}, too")
    if baseline is None and not strict and not any(v is not None for v in least.values()):
        raise RobustlabError(
            f"no condition given: pass {as_typed('min_robust')}, {as_typed('baseline')} or "
            f"{as_typed('strict')}"
        )
    if confident and all(value is None for value in least.values()):
        raise RobustlabError(
            f"{as_typed('confident')} needs {as_typed('min_robust')}, {as_typed('min_clean')} or "
            f"{as_typed('min_certified')}"
        )
    if baseline is not None and not isinstance(baseline, EvaluationFolder):
        baseline = as_path("baseline", baseline)
    results = read_finished(run).results
    attacked = None if results.proofs_only else results.robust
    figures = {"robust": attacked, "clean": results.clean, "certified": results.certified}
    conditions = [
        _at_least(name, figures[name], value, confident=confident)
        for name, value in least.items()
        if value is not None
    ]
    comparison = None
    if baseline is not None:
        comparison = compare(baseline, run)
        if comparison.other_settings:
            raise RobustlabError(
                "the baseline was evaluated otherwise; evaluate both in the same way first. They differ in "
                + "; ".join(comparison.other_settings)
            )
        if comparison.n < comparison.first_n and not allow_fewer_images:
            raise RobustlabError(
                f"the run lacks images of the baseline: it has {comparison.n} of {comparison.first_n}; "
                f"evaluate all of them, or pass {as_typed('allow_fewer_images')}"
            )
        conditions.append(_small_drop(comparison, max_drop or 0.0))
    if strict:
        flags = ", ".join(check.title for check in results.red_flags)
        found = flags or ("none" if results.checks else "no check was computed")
        conditions.append(Condition(asked="no failed check", found=found, holds=found == "none"))
    return GateResult(
        passed=all(condition.holds for condition in conditions), conditions=conditions, comparison=comparison
    )


def _at_least(name: str, figure: Figure | None, least: float, *, confident: bool) -> Condition:
    asked = f"{name} accuracy of at least {least:.2%}" + (" with 95 % confidence" if confident else "")
    if figure is None:
        return Condition(asked=asked, found="it was not computed", holds=False)
    reached = figure.low if confident else figure.value
    return Condition(asked=asked, found=str(figure), holds=reached >= least)


def _small_drop(comparison: Comparison, most: float) -> Condition:
    return Condition(
        asked=f"robust accuracy at most {most:.2%} below the baseline's",
        found=f"{comparison.second} after {comparison.first}, on {comparison.n} of the baseline's "
        f"{comparison.first_n} images"
        + (", without the searches of the only curve" if comparison.curve_left_out else ""),
        # The figures are shares of n images; they are compared as counts, without rounding errors.
        holds=comparison.lost - comparison.gained <= most * comparison.n + 1e-9,
    )
