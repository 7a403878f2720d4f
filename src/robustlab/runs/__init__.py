"""The run on disk: the folder's owner, the store, the ledger, the manifest, and the results' schemas."""

from robustlab.core.lazy import lazy

TYPE_CHECKING = False  # as in robustlab/__init__.py
if TYPE_CHECKING:
    from robustlab.runs.evaluation import CheckRecord, Evaluation
    from robustlab.runs.images_csv import ImageVerdict, read_verdicts
    from robustlab.runs.records import Figure
    from robustlab.runs.results import Results
    from robustlab.runs.run import EvaluationRun, Run, TrainingRun, load_run
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "CheckRecord": "robustlab.runs.evaluation",
            "Evaluation": "robustlab.runs.evaluation",
            "EvaluationRun": "robustlab.runs.run",
            "Figure": "robustlab.runs.records",
            "ImageVerdict": "robustlab.runs.images_csv",
            "Results": "robustlab.runs.results",
            "Run": "robustlab.runs.run",
            "TrainingRun": "robustlab.runs.run",
            "load_run": "robustlab.runs.run",
            "read_verdicts": "robustlab.runs.images_csv",
        },
    )

__all__ = [
    "CheckRecord",
    "Evaluation",
    "EvaluationRun",
    "Figure",
    "ImageVerdict",
    "Results",
    "Run",
    "TrainingRun",
    "load_run",
    "read_verdicts",
]
