"""MLflow: a run with metrics, parameters, tags and files."""

import os
import time
from typing import Any

from robustlab.core.errors import SpecError
from robustlab.core.spec import register
from robustlab.core.text import shown
from robustlab.exporters.base import Exporter, FinishedRun, explained, package
from robustlab.exporters.summary import RunSummary, summary_of

_PARAMETERS, _METRICS = 100, 1000
"""How many of them MLflow takes at once."""

_LONGEST = 5000
"""Characters of a value; MLflow takes 6,000 of a parameter and 8,000 of a tag."""


@register("mlflow")
class MLflow(Exporter):
    """Writes metrics, parameters, tags and the report to MLflow.

    ``--out`` is the tracking URI, such as http://localhost:5000 or sqlite:///mlflow.db; default
    ``MLFLOW_TRACKING_URI``, else MLflow's own default.
    """

    experiment: str = "robustlab"
    """The experiment that the run belongs to; it is created if it does not exist."""

    def export(self, run: FinishedRun, out: str | None) -> str:
        if out is not None and ":" not in out:
            expected = "such as http://localhost:5000 or sqlite:///mlflow.db"
            raise SpecError(f"out must be a tracking URI, {expected}; found {shown(out)}")
        mlflow, summary = package("mlflow", "entities"), summary_of(run)
        with explained("mlflow"):
            client = mlflow.MlflowClient(tracking_uri=out or os.environ.get("MLFLOW_TRACKING_URI") or None)
            known = client.get_experiment_by_name(self.experiment)
            experiment = known.experiment_id if known else client.create_experiment(self.experiment)
            tags = {f"robustlab.{name}": value[:_LONGEST] for name, value in summary.tags.items()}
            created = client.create_run(experiment, run_name=summary.title[:250], tags=tags).info
            try:
                _log(mlflow, client, created.run_id, summary)
            except BaseException:
                client.set_terminated(created.run_id, status="FAILED")
                raise
            client.set_terminated(created.run_id)
        return f"MLflow run {created.run_id} of the experiment {self.experiment}, at {client.tracking_uri}"


def _log(mlflow: Any, client: Any, run_id: str, summary: RunSummary) -> None:
    entities, now = mlflow.entities, int(1000 * time.time())
    parameters = [entities.Param(name, value[:_LONGEST]) for name, value in summary.settings.items()]
    metrics = [entities.Metric(name, float(value), now, 0) for name, value in summary.metrics.items()]
    for name, curve in summary.curves.items():
        metrics += [entities.Metric(name, value, now, epoch) for epoch, value in curve]
    for start in range(0, len(parameters), _PARAMETERS):
        client.log_batch(run_id, params=parameters[start : start + _PARAMETERS])
    for start in range(0, len(metrics), _METRICS):
        client.log_batch(run_id, metrics=metrics[start : start + _METRICS])
    client.set_tag(run_id, "mlflow.note.content", summary.text[:_LONGEST])
    for path in summary.files:
        client.log_artifact(run_id, str(path))
