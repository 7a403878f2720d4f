"""Jobs: work on images as pure data, and everything on which its outcome depends."""

from robustlab.core.lazy import lazy

TYPE_CHECKING = False  # as in robustlab/__init__.py
if TYPE_CHECKING:
    from robustlab.evaluation.jobs.context import EvaluationContext
    from robustlab.evaluation.jobs.job import Job, JobResult, perform
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "robustlab.evaluation.jobs.context": ["EvaluationContext"],
            "robustlab.evaluation.jobs.job": ["Job", "JobResult", "perform"],
        },
    )

__all__ = [
    "EvaluationContext",
    "Job",
    "JobResult",
    "perform",
]
