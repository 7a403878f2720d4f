"""The run on disk: the folder's owner, the store, the ledger, the manifest, and the results' schemas."""

from robustlab.core.lazy import lazy

TYPE_CHECKING = False  # as in robustlab/__init__.py
if TYPE_CHECKING:
    from robustlab.runs.evaluation import CheckRecord, Evaluation
    from robustlab.runs.images_csv import ImageVerdict, read_verdicts
    from robustlab.runs.records import Figure
    from robustlab.runs.results import Results
    from robustlab.runs.run import EvaluationFolder, Run, TrainingRun, load_run
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "robustlab.runs.evaluation": ["CheckRecord", "Evaluation"],
            "robustlab.runs.images_csv": ["ImageVerdict", "read_verdicts"],
            "robustlab.runs.records": ["Figure"],
            "robustlab.runs.results": ["Results"],
            "robustlab.runs.run": ["EvaluationFolder", "Run", "TrainingRun", "load_run"],
        },
    )

__all__ = [
    "CheckRecord",
    "Evaluation",
    "EvaluationFolder",
    "Figure",
    "ImageVerdict",
    "Results",
    "Run",
    "TrainingRun",
    "load_run",
    "read_verdicts",
]
