"""A job: one stage on some images. It is pure data, so it can be done anywhere, and in any order."""

import time
from dataclasses import dataclass, field

import torch

from robustlab.attacks.progress_reporter import OnPass
from robustlab.core.calling import blaming
from robustlab.core.threads import begin_work, measured_threads
from robustlab.evaluation.jobs.context import EvaluationContext
from robustlab.evaluation.jobs.stages import EvaluationStage, Stored
from robustlab.runs.ledger import Outcome


@dataclass(frozen=True, kw_only=True)
class Job:
    """A stage on some images.

    Attributes:
        ids: of the images, in their order.
        stored: the adversarial images to measure again; only for `Verify`.
    """

    stage: EvaluationStage
    ids: tuple[int, ...]
    stored: Stored = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """The result of a job: the rows of its images, and the adversarial images to keep, by image id."""

    job: Job
    outcomes: list[Outcome]
    examples: dict[int, bytes]
    seconds: float


def perform(job: Job, context: EvaluationContext, report: OnPass) -> JobResult:
    """Do a job.

    Args:
        job, context: the rows depend only on these two.
        report: called now and then with the finished share, in [0, 1], and the number of broken images.

    Raises:
        RobustlabError: the classifier fails; see `robustlab.core.errors`.
    """
    started = time.perf_counter()
    chosen = torch.isin(context.images.ids, torch.tensor(job.ids))
    images = context.images.take(chosen).to(context.device)
    with blaming(job.stage.title), measured_threads():
        begin_work(images.labels, job.stage.name)
        block = job.stage.run(context, images, job.stored, report)
    seconds = time.perf_counter() - started
    return JobResult(job=job, outcomes=block.outcomes, examples=block.examples, seconds=seconds)
