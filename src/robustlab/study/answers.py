"""Repeats what depends on a classifier from elsewhere that answers otherwise, though its hash is the same."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from robustlab.evaluation.coordinator.kept import answers_changed, answers_of
from robustlab.runs.store import RunStore
from robustlab.study.plan import Plan
from robustlab.study.stages import StudyStage
from robustlab.study.workspace import Question, Workspace
from robustlab.threats import Unbounded


def forget_other_answers(plan: Plan, workspace: Workspace) -> list[str]:
    """Drop the rows of an earlier run that depend on a classifier whose answers have changed.

    A network of the study needs no such comparison: its weights and its code are known.

    Returns:
        The keys of the records of answers; they belong to the run.
    """
    store, compared, new, changed = workspace.store, [], [], set()
    for key, question in _about_others(plan, workspace).items():
        with workspace.asked(question, workspace.dataset.test) as asked:
            problem, name = asked.problem, asked.request.subject.name
            now = answers_of(problem, problem.classifier_key)
            before = store.stage(now.key)
            differs = before is not None and answers_changed(problem, store, before, now)
        if differs:
            changed.add(key[0])
            workspace.progress.note(
                f"{name} answers the same images otherwise than in the earlier run: all that depends on it "
                "is done again"
            )
        if differs or before is None:
            new.append(now)
        compared.append(problem.classifier_key)
    if changed:
        unaffected = [stage for stage in plan.stages if changed.isdisjoint(stage.inputs)]
        store.reopen()
        store.keep_only({*kept_keys(unaffected, store)})
    for record in new:
        store.finish_stage(record)
    return compared


def kept_keys(stages: Iterable[StudyStage], store: RunStore) -> Iterator[str]:
    """Yield the keys of stages, and of their evaluations."""
    for stage in stages:
        yield stage.key
        record = store.stage(stage.key)
        yield from record.payload.get("problems", ()) if record else ()


def _about_others(plan: Plan, workspace: Workspace) -> dict[tuple[str, str], Question]:
    """Return a question without attacks about each classifier that the study did not train."""
    models, found = workspace.models, {}
    for question in (question for stage in plan.stages for question in stage.questions):
        for text in (question.model, *question.surrogates):
            if models.from_elsewhere(text, question.choice):
                alone = replace(question, model=text, attacks=None, threat=Unbounded(), surrogates=())
                found[models.key(text, question.choice), repr(question.settings)] = alone
    return found
