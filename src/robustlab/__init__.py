"""robustlab measures how robust an image classifier is, and makes it more robust.

    import robustlab

    run = robustlab.run_study("mnist", quick=True)
    for row in run.results.rows:
        print(row.title, row.variant, row.accuracy)

Importing this package is cheap: torch is loaded when something that needs it is first used.
"""

import os

from robustlab.core.lazy import lazy

__version__ = "0.1.0"  # pyproject.toml takes it from here

# Before torch is loaded: its threads wait for each other in a busy loop, by default for a long time. A
# training was measured to take at least seven times as long when another process needs a core too. A short
# wait costs nothing on an idle machine (LOG.md, "Threads that wait by spinning").
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

TYPE_CHECKING = False  # instead of typing's, which loads slowly: Ctrl-C during that time would not be handled
if TYPE_CHECKING:
    from robustlab.api import certify_model, evaluate, run_study, train, write_report
    from robustlab.core.errors import RobustlabError
    from robustlab.data import load_dataset
    from robustlab.evaluation.compare import compare
    from robustlab.evaluation.gate import gate
    from robustlab.evaluation_run import EvaluationRun, load_run
    from robustlab.evaluations import Evaluations, evaluate_many
    from robustlab.exporters import export
    from robustlab.models import load_from_zoo, load_network
    from robustlab.runs.run import Run, TrainingRun
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "robustlab.api": ["certify_model", "evaluate", "run_study", "train", "write_report"],
            "robustlab.core.errors": ["RobustlabError"],
            "robustlab.data": ["load_dataset"],
            "robustlab.evaluations": ["Evaluations", "evaluate_many"],
            "robustlab.evaluation.compare": ["compare"],
            "robustlab.evaluation.gate": ["gate"],
            "robustlab.evaluation_run": ["EvaluationRun", "load_run"],
            "robustlab.exporters": ["export"],
            "robustlab.models": ["load_from_zoo", "load_network"],
            "robustlab.runs.run": ["Run", "TrainingRun"],
        },
    )

__all__ = [
    "EvaluationRun",
    "Evaluations",
    "RobustlabError",
    "Run",
    "TrainingRun",
    "certify_model",
    "compare",
    "evaluate",
    "evaluate_many",
    "export",
    "gate",
    "load_dataset",
    "load_from_zoo",
    "load_network",
    "load_run",
    "run_study",
    "train",
    "write_report",
]
