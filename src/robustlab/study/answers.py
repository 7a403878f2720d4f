"""Repeats what depends on a classifier from elsewhere that answers otherwise, though its hash is the same."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from robustlab.evaluation.coordinator.kept import answers_changed, answers_of
from robustlab.runs.ledger import StageRecord
from robustlab.runs.store import RunStore
from robustlab.study.plan import Plan
from robustlab.study.stages import StudyStage
from robustlab.study.workspace import Question, Workspace


def forget_other_answers(plan: Plan, workspace: Workspace) -> list[str]:
    """Drop the rows of an earlier run that depend on a classifier whose answers have changed.

    A network of the study needs no such comparison: its weights and its code are known. All of them must be
    trained, since a classifier from elsewhere may be composed with them.

    Returns:
        The keys of the answers' records, which belong to the run.
    """
    store, records, changed = workspace.store, dict[str, StageRecord](), dict[str, str]()
    for model, question in _about_others(plan, workspace):
        with workspace.asked(question, workspace.dataset.test) as asked:
            key = asked.context.classifier_key
            if key in records:
                continue
            # No measurement of the classifier is older than its record.
            now = answers_of(asked.context, key)
            before = store.stage(now.key)
            records[key] = now if before is None else before
            if before is not None and answers_changed(asked.context, store, before, now):
                records[key], changed[model] = now, asked.request.subject.name
    if changed:
        store.reopen()
        store.keep_only(kept_keys((s for s in plan.stages if changed.keys().isdisjoint(s.inputs)), store))
    for name in dict.fromkeys(changed.values()):
        workspace.progress.note(
            f"{name} answers the same images otherwise than in the earlier run: all that depends on it is "
            "done again"
        )
    for record in records.values():
        if store.stage(record.key) is None:
            store.finish_stage(record)
    return list(records)


def kept_keys(stages: Iterable[StudyStage], store: RunStore) -> Iterator[str]:
    """Yield the keys of the records and the evaluations of stages."""
    for stage in stages:
        record = store.stage(stage.key)
        yield stage.key
        yield from record.payload.get("problems", ()) if record else ()


def _about_others(plan: Plan, workspace: Workspace) -> Iterator[tuple[str, Question]]:
    """Yield each classifier that is not a network of the study: its key, and a question about it alone."""
    models, seen = workspace.models, set()
    for question in (question for stage in plan.stages for question in stage.questions):
        for text in (question.model, *question.surrogates):
            if models.from_elsewhere(text, question.choice):
                key = models.key(text, question.choice)
                # An ensemble may decide how often a random classifier is asked about a point.
                known = (key, question.attacks, repr(question.settings))
                if known not in seen:
                    seen.add(known)
                    yield key, replace(question, model=text, surrogates=())
