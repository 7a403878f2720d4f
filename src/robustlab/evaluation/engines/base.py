"""The engine kind: takes jobs, and gives their results back as they come."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

from robustlab.attacks.progress_reporter import OnPass
from robustlab.core.errors import SpecError
from robustlab.core.spec import Unit, parse
from robustlab.core.text import a_kind
from robustlab.evaluation.jobs.context import EvaluationContext
from robustlab.evaluation.jobs.job import Job, JobResult


class Engine(Unit, ABC):
    """Where jobs run. No outcome depends on it, so the ledger's keys do not either."""

    kind = "engine"
    example = "serial"

    @abstractmethod
    def run(
        self, context: EvaluationContext, jobs: Iterator[Job], watch: Callable[[Job], OnPass]
    ) -> Iterator[JobResult]:
        """Yield the results of all jobs, in any order; each is in the ledger before the next is asked for.

        Args:
            context: the evaluation that the jobs belong to; `perform` takes both.
            jobs: made when they are asked for, as large as memory suffices at that moment. Ask for them in
                the thread that called, for they are read from the ledger.
            watch: returns the function to which a job reports its progress.
        """


def as_engine(engine: str | Engine) -> Engine:
    """Return an engine, given itself or its spec.

    Raises:
        SpecError: it is neither.
    """
    if isinstance(engine, Engine):
        return engine
    if not isinstance(engine, str):
        raise SpecError(f"engine must be an engine or its spec, such as serial; found {a_kind(engine)}")
    return parse(Engine, engine)
