"""The verdict on each image."""

from dataclasses import dataclass, replace
from typing import Literal

from robustlab.core.fields import Answer, Count, Integer, Length, Share
from robustlab.evaluation.engine.cascade import CascadeResult

State = Literal["misclassified", "broken", "certified", "robust"]


@dataclass(frozen=True, kw_only=True)
class ImageVerdict:
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

    @property
    def robust(self) -> bool:
        """Whether the image counts as robust."""
        return self.state in {"certified", "robust"}


def verdicts(findings: CascadeResult) -> list[ImageVerdict]:
    """Return the verdict on each image, in the order of the images."""
    broken = {number: finding for finding in findings.attacks for number in finding.won}
    correct, certified = set(findings.correct), findings.certified or set()
    result = []
    for number, clean in findings.clean.items():
        verdict = ImageVerdict(
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
            row = finding.confirmed[number]
            verdict = replace(
                verdict,
                state="broken",
                attack=finding.stage.name,
                prediction=row.prediction,
                confidence=row.confidence,
                distance=row.distance,
                restart=finding.outcomes[number].restart,
            )
        elif number in correct:
            verdict = replace(verdict, state="certified" if number in certified else "robust")
        result.append(verdict)
    return result
