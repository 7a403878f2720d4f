"""Evaluation: classifiers on perturbed images, image by image, and their figures."""

from robustlab.core.lazy import lazy

TYPE_CHECKING = False  # as in robustlab/__init__.py
if TYPE_CHECKING:
    from robustlab.evaluation.comparison_table import side_by_side
    from robustlab.evaluation.gate import GateResult
    from robustlab.evaluation.metrics import proportion
    from robustlab.evaluation.subject import load_classifier
    from robustlab.runs.comparison import Comparison, SideBySide
    from robustlab.runs.condition import Condition
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "robustlab.runs.comparison": ["Comparison", "SideBySide"],
            "robustlab.evaluation.comparison_table": ["side_by_side"],
            "robustlab.evaluation.gate": ["GateResult"],
            "robustlab.evaluation.metrics": ["proportion"],
            "robustlab.evaluation.subject": ["load_classifier"],
            "robustlab.runs.condition": ["Condition"],
        },
    )

__all__ = [
    "Comparison",
    "Condition",
    "GateResult",
    "SideBySide",
    "load_classifier",
    "proportion",
    "side_by_side",
]
