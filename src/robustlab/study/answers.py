"""Repeats what depends on a classifier from elsewhere that answers otherwise, though its hash is the same."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from robustlab.evaluation.coordinator.kept import answers_changed, answers_of
from robustlab.runs.ledger import digest
from robustlab.runs.store import RunStore
from robustlab.study.plan import Plan
from robustlab.study.stages import StudyStage
from robustlab.study.workspace import Question, Workspace
from robustlab.threats import Unbounded


def forget_other_answers(plan: Plan, workspace: Workspace) -> None:
    """Drop the rows of an earlier run that depend on a classifier whose answers have changed.

    A network of the study needs no such comparison: its weights and its code are known. All of them must be
    trained, since a classifier from elsewhere may be composed with them.
    """
    store, new, changed = workspace.store, [], set()
    for (model, settings), question in _about_others(plan, workspace).items():
        with workspace.asked(question, workspace.dataset.test) as asked:
            now = answers_of(asked.context, f"{model}/{digest(settings)}")
            before = store.stage(now.key)
            if before is not None and not answers_changed(asked.context, store, before, now):
                continue
        new.append(now)
        if before is not None:
            changed.add(model)
            workspace.progress.note(
                f"{asked.request.subject.name} answers the same images otherwise than in the earlier run: "
                "all that depends on it is done again"
            )
    if changed:
        store.reopen()
        store.keep_only(kept_keys((s for s in plan.stages if changed.isdisjoint(s.inputs)), store))
    for record in new:
        store.finish_stage(record)


def kept_keys(stages: Iterable[StudyStage], store: RunStore) -> Iterator[str]:
    """Yield the keys of all that belongs to stages: records, answers of classifiers, evaluations."""
    for stage in stages:
        record = store.stage(stage.key)
        yield stage.key
        yield from stage.inputs
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
