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
            "Comparison": "robustlab.evaluation.compare",
            "Condition": "robustlab.evaluation.gate",
            "GateResult": "robustlab.evaluation.gate",
            "load_classifier": "robustlab.evaluation.subject",
            "proportion": "robustlab.evaluation.metrics",
        },
    )

__all__ = [
    "Comparison",
    "Condition",
    "GateResult",
    "load_classifier",
    "proportion",
]
