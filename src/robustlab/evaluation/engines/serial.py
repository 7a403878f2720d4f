"""One job after another, in this process: the default."""

from collections.abc import Callable, Iterator

from robustlab.attacks.progress_reporter import OnPass
from robustlab.core.spec import register
from robustlab.evaluation.engines.base import Engine
from robustlab.evaluation.jobs.context import EvaluationContext
from robustlab.evaluation.jobs.job import Job, JobResult, perform


@register("serial")
class Serial(Engine):
    """Does one job after another, in this process."""

    def run(
        self, context: EvaluationContext, jobs: Iterator[Job], watch: Callable[[Job], OnPass]
    ) -> Iterator[JobResult]:
        for job in jobs:
            yield perform(job, context, watch(job))
