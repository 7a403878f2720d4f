"""A condition of the gate, which decides whether an evaluation is good enough."""

from robustlab.runs.records import Record


class Condition(Record):
    """A condition, the measured value, and whether the condition holds."""

    asked: str
    found: str
    holds: bool
