"""images.csv: the verdict on each image, written, and read back with every row checked."""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Literal

import pydantic

from robustlab.core.errors import RunError
from robustlab.core.fields import Answer, Count, Integer, Length, Share, refusal
from robustlab.core.files import write_text
from robustlab.core.text import level, shown
from robustlab.core.tolerance import with_tolerance
from robustlab.core.untrusted import read_bytes
from robustlab.runs.evaluation import Evaluation
from robustlab.runs.manifest import AGAIN

FILE = "images.csv"

State = Literal["misclassified", "broken", "certified", "robust", "undecided"]


@dataclass(frozen=True, kw_only=True)
class ImageVerdict:
    """The worst result for an image.

    Attributes:
        state: ``"misclassified"`` without an attack; ``"broken"`` by an attack; ``"certified"``: proven to
            withstand all attacks; ``"robust"``: it withstood the attacks that ran; ``"undecided"``: not
            proven, and no attack ran.
        clean_prediction: -1 if the classifier gives no valid answer.
        attack: the spec of the attack that broke it first; else empty.
        prediction: of the adversarial image, or else of the clean one; likewise ``confidence``.
        distance: of the adversarial image, in the threat model's norm.
        restart: the restart that found the adversarial image; else -1.
        certificate: the confidence of a statistical certificate (`smoothing`); 0 without one. A proof is the
            state ``"certified"``.
    """

    image_id: Integer
    label: Count
    state: State
    clean_prediction: Answer
    clean_confidence: Share
    attack: str = ""
    prediction: Answer
    confidence: Share
    distance: Length = 0.0
    restart: Answer = -1
    certificate: Share = 0.0

    @property
    def robust(self) -> bool:
        """Whether the image counts as robust: no attack broke it."""
        return self.state in {"certified", "robust", "undecided"}


_COLUMNS = [field.name for field in fields(ImageVerdict)]
_ROW_LIMIT = 10_000
"""The average size of a row in bytes; the spec of the attack is its longest part."""


def write_verdicts(folder: Path, found: Iterable[ImageVerdict]) -> None:
    """Write images.csv into a run's folder."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(astuple(verdict) for verdict in found)
    write_text(folder / FILE, buffer.getvalue())


def read_verdicts(folder: Path, results: Evaluation) -> list[ImageVerdict]:
    """Read images.csv of a run's folder.

    Args:
        folder: of a finished evaluation.
        results: of that evaluation; every row must agree with them.

    Raises:
        RunError: the file is missing or damaged.
    """
    path = folder / FILE
    try:
        content = read_bytes(path, _ROW_LIMIT * (results.images.n + 1))
        return list(_verdicts(content.decode(), results))
    except FileNotFoundError:
        raise RunError(f"{path} not found; {AGAIN}") from None
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(f"{path} is damaged ({error}); {AGAIN}") from None


def _verdicts(text: str, results: Evaluation) -> Iterator[ImageVerdict]:
    """Check the rows one by one; a ValueError describes the first bad one."""
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns = next(rows, [])
    if columns not in (_COLUMNS, _COLUMNS[:-1]):  # earlier runs have no certificates
        raise ValueError(f"line 1 must be {','.join(_COLUMNS)}, found {shown(','.join(columns))}")
    attacks, seen = {row.attack for row in results.rows}, set()
    for row in rows:
        line = f"line {rows.line_num}"
        if len(row) != len(columns):
            raise ValueError(f"{line} has {len(row)} columns instead of {len(columns)}")
        try:
            verdict = _VERDICT.validate_python(dict(zip(columns, row, strict=True)))
        except pydantic.ValidationError as error:
            raise ValueError(f"{line}, {refusal(error)}") from None
        if verdict.image_id in seen:
            raise ValueError(f"{line}, image_id: {verdict.image_id} occurs twice")
        seen.add(verdict.image_id)
        if wrong := _contradiction(verdict, results, attacks):
            raise ValueError(f"{line}, {wrong}")
        yield verdict


_VERDICT = pydantic.TypeAdapter(ImageVerdict)


def _contradiction(verdict: ImageVerdict, results: Evaluation, attacks: set[str]) -> str:
    """Return which column contradicts another one or the results; empty if none does."""
    classes = results.images.classes
    for name in ("label", "clean_prediction", "prediction"):
        if getattr(verdict, name) >= classes:
            return f"{name}: found {getattr(verdict, name)}, although there are {classes} classes"
    state, clean = verdict.state, (verdict.clean_prediction, verdict.clean_confidence)
    if (state == "misclassified") == (verdict.clean_prediction == verdict.label):
        return f"state: {state}, although clean_prediction is {clean[0]} and label {verdict.label}"
    if state == "certified" and results.certified is None:
        return "state: certified, although no certifier ran"
    if state != "broken":
        as_clean = (verdict.prediction, verdict.confidence) == clean
        untouched = (verdict.attack, verdict.distance, verdict.restart) == ("", 0.0, -1)
        return (
            "" if as_clean and untouched else f"state: {state}, although other columns are of a broken image"
        )
    if verdict.prediction == verdict.label and not results.goal:
        return f"prediction: {verdict.prediction} is the label, although the image is broken"
    if verdict.attack not in attacks:
        return f"attack: {shown(verdict.attack)} is not an attack of results.json"
    # Twice the tolerance: a second measurement may differ in the last bits.
    if verdict.distance > with_tolerance(with_tolerance(results.eps)):
        return f"distance: {verdict.distance:g} is larger than eps, {level(results.eps)}"
    return ""
