"""Does a model still answer as it did? Its answers show what no look into a model finds."""

from robustlab.core.progress import Progress
from robustlab.core.store import RunStore
from robustlab.evaluation.engine.problem import Problem
from robustlab.evaluation.engine.stages import Clean, key_of

_ASKED = 8
_TOLERANCE = 0.01
"""Of a confidence: far above what threads and processors change, far below what another model does."""


def forget_other_answers(problem: Problem, store: RunStore, progress: Progress) -> None:
    """Drop the rows of an earlier run if the model answers its first clean images otherwise now.

    A model that answers the same images differently twice, as a random one does, says nothing here.
    """
    kept = {row.image_id: row for row in store.outcomes(key_of(problem, Clean()))}
    images = problem.images.take(slice(_ASKED)).to(problem.device)
    if not kept or not set(images.ids.tolist()) <= kept.keys():
        return
    asked = [problem.predict(images.pixels(slice(None)), purpose) for purpose in ("clean", "again")]
    (classes, confidences), (classes_again, confidences_again) = asked
    if not classes.equal(classes_again) or not confidences.equal(confidences_again):
        return
    rows = [kept[number] for number in images.ids.tolist()]
    same = classes.tolist() == [row.prediction for row in rows] and all(
        abs(now - row.confidence) <= _TOLERANCE for now, row in zip(confidences.tolist(), rows, strict=True)
    )
    if not same:
        store.keep_only([problem.measured_key])
        progress.note(
            "the model answers the same images otherwise than in the earlier run: all is done again"
        )
