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
            "EvaluationContext": "robustlab.evaluation.jobs.context",
            "Job": "robustlab.evaluation.jobs.job",
            "JobResult": "robustlab.evaluation.jobs.job",
            "perform": "robustlab.evaluation.jobs.job",
        },
    )

__all__ = [
    "EvaluationContext",
    "Job",
    "JobResult",
    "perform",
]
