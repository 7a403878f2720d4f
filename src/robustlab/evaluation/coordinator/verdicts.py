"""The verdict on each image."""

from dataclasses import replace

from robustlab.evaluation.coordinator.cascade import CascadeResult
from robustlab.runs.images_csv import ImageVerdict, State


def verdicts(findings: CascadeResult) -> list[ImageVerdict]:
    """Return the verdict on each image, in the order of the images."""
    broken = {number: finding for finding in findings.attacks for number in finding.won}
    correct, certified = set(findings.correct), findings.certified or set()
    confidence = next((stage.certifier.confidence for stage, _ in findings.proofs.values()), 0.0)
    withstood: State = "robust" if findings.attacks else "undecided"
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
            verdict = replace(verdict, state="certified" if number in certified else withstood)
        if number in findings.probable:
            verdict = replace(verdict, certificate=confidence)
        result.append(verdict)
    return result
