"""What the tests of a run's folder write into it."""

from robustlab.runs.ledger import Outcome, StageRecord


def outcome(image_id: int, confidence: float = 0.5) -> Outcome:
    return Outcome(
        image_id=image_id,
        label=3,
        prediction=5,
        confidence=confidence,
        distance=0.25,
        forwards=42,
        backwards=40,
        restart=-1,
        success=1,
    )


def record(key: str) -> StageRecord:
    return StageRecord(key=key, name=f"stage {key}", payload={"x": [1, 2.5, None, "≥"]}, seconds=1.5)
