"""Evaluation: classifiers on perturbed images, image by image, and their figures."""

from robustlab.core.lazy import lazy

TYPE_CHECKING = False  # as in robustlab/__init__.py
if TYPE_CHECKING:
    from robustlab.evaluation.compare import Comparison
    from robustlab.evaluation.gate import Condition, GateResult
    from robustlab.evaluation.metrics import proportion
    from robustlab.evaluation.subject import load_classifier
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "robustlab.evaluation.compare": ["Comparison"],
            "robustlab.evaluation.gate": ["Condition", "GateResult"],
            "robustlab.evaluation.metrics": ["proportion"],
            "robustlab.evaluation.subject": ["load_classifier"],
        },
    )

__all__ = [
    "Comparison",
    "Condition",
    "GateResult",
    "load_classifier",
    "proportion",
]
