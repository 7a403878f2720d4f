"""The engine kind: takes jobs, and returns their results in any order."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

from robustlab.attacks.progress_reporter import OnPass
from robustlab.core.errors import SpecError
from robustlab.core.spec import Unit
from robustlab.core.text import a_kind
from robustlab.core.user_units import parse_trusted
from robustlab.evaluation.jobs.context import EvaluationContext
from robustlab.evaluation.jobs.job import Job, JobResult


class Engine(Unit, ABC):
    """Runs jobs. Results do not depend on it, so the ledger's keys do not either."""

    kind = "engine"
    example = "serial"

    @abstractmethod
    def run(
        self, context: EvaluationContext, jobs: Iterator[Job], watch: Callable[[Job], OnPass]
    ) -> Iterator[JobResult]:
        """Yield the results of all jobs, in any order; each is in the ledger before the next is requested.

        Args:
            context: the evaluation of the jobs; `perform` takes both.
            jobs: created on request, as large as the memory allows at that moment. Iterate over them in the
                calling thread, since they are read from the ledger.
            watch: returns the progress function of a job, to be called as it advances; its use is optional.
        """


def as_engine(engine: str | Engine) -> Engine:
    """Return an engine from itself, its spec, or a class in a user's file: ``my.py:MyEngine(workers=2)``.

    Raises:
        SpecError, SetupError: it is none of these, or the spec has a mistake.
    """
    if isinstance(engine, Engine):
        return engine
    if not isinstance(engine, str):
        raise SpecError(f"engine must be an engine or its spec, such as serial; found {a_kind(engine)}")
    return parse_trusted(Engine, engine)
