"""The verdict on each image, and the file that holds them: images.csv."""

import csv
import io
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Literal

import pydantic

from robustlab.core.errors import RunError
from robustlab.core.files import write_text
from robustlab.evaluation.engine.cascade import Findings

State = Literal["misclassified", "broken", "certified", "robust"]

FILE = "images.csv"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The worst that was found for an image.

    Attributes:
        state: ``"misclassified"`` as it is; ``"broken"`` by an attack; ``"certified"``: proven to withstand
            all; ``"robust"``: it withstood those that ran.
        clean_prediction: -1 where the classifier gives no answer.
        attack: the spec of the attack that broke it first; else empty.
        prediction: of the adversarial image, or else of the clean one; so is ``confidence``.
        distance: of the adversarial image, in the threat model's norm.
        restart: the attack's restart that found it; else -1.
    """

    image_id: int
    label: int
    state: State
    clean_prediction: int
    clean_confidence: float
    attack: str = ""
    prediction: int
    confidence: float
    distance: float = 0.0
    restart: int = -1

    @property
    def robust(self) -> bool:
        """Whether the image counts as robust."""
        return self.state in {"certified", "robust"}


def verdicts(findings: Findings) -> list[Verdict]:
    """Return the verdict on each image, in the order of the images."""
    broken = {number: finding for finding in findings.attacks for number in finding.won}
    right, proven = set(findings.right), findings.proven or set()
    result = []
    for number, clean in findings.clean.items():
        verdict = Verdict(
            image_id=number,
            label=clean.label,
            state="misclassified",
            clean_prediction=clean.prediction,
            clean_confidence=clean.confidence,
            prediction=clean.prediction,
            confidence=clean.confidence,
        )
        if number in broken:
            finding = broken[number]
            found = finding.confirmed[number]
            verdict = replace(
                verdict,
                state="broken",
                attack=finding.stage.name,
                prediction=found.prediction,
                confidence=found.confidence,
                distance=found.distance,
                restart=finding.outcomes[number].restart,
            )
        elif number in right:
            verdict = replace(verdict, state="certified" if number in proven else "robust")
        result.append(verdict)
    return result


def write_verdicts(folder: Path, found: Iterable[Verdict]) -> None:
    """Write images.csv into a run's folder."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(field.name for field in fields(Verdict))
    writer.writerows(astuple(verdict) for verdict in found)
    write_text(folder / FILE, buffer.getvalue())


def read_verdicts(folder: Path) -> list[Verdict]:
    """Read images.csv of a run's folder.

    Raises:
        RunError: it is missing or damaged.
    """
    path = folder / FILE
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return pydantic.TypeAdapter(list[Verdict]).validate_python(list(csv.DictReader(file)))
    except FileNotFoundError:
        raise RunError(f"{path} not found; run the same evaluation again to restore it") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged ({error}); remove it and run the same evaluation again") from None
