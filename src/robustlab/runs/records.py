"""What the results of studies and of evaluations are made of."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from robustlab.core.fields import Length, Positive, Share, Text


class Record(BaseModel):
    """A part of a results file: every field is known, and none changes."""

    # Deferred, since a part inside another is checked by that one, and building its own check takes time.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


def require(holds: bool, rule: str) -> None:
    """Refuse a part whose fields do not fit together.

    Raises:
        ValueError: saying what should hold.
    """
    if not holds:
        raise ValueError(f"it must hold that {rule}")


class Figure(Record):
    """A measured share or score in [0, 1] with its 95 % interval, from ``n`` images."""

    value: Share
    low: Share
    high: Share
    n: Positive

    @model_validator(mode="after")
    def _fits(self) -> Self:
        require(self.low <= self.value <= self.high, "low <= value <= high")
        return self

    @property
    def is_share(self) -> bool:
        """Whether the value is a whole number of the ``n`` images."""
        return abs(self.value * self.n - round(self.value * self.n)) < 1e-6

    def __str__(self) -> str:
        return f"{100 * self.value:.2f} % ({100 * self.low:.2f} – {100 * self.high:.2f})"


class PassTime(Record):
    """What a forward and backward pass took, in seconds: the best of several, in turns."""

    images: Positive
    fp32: Length
    bf16: Length


class ComputeRecord(Record):
    """Where the figures were computed, and how.

    Attributes:
        training_precision: of the training; of an evaluation, of the search.
        instruction_set: what the processor's kernels were chosen for, such as ``"AVX512"``, and what its bf16
            products use; empty if it was not recorded.
        caps: environment variables that were set and change which kernels run.
        batch_size: an evaluation's images per pass; None of a study.
        pass_time: in both precisions, where it decided between them.
    """

    device: Text
    device_name: Text
    threads: Positive
    training_precision: Text
    instruction_set: Text = ""
    caps: dict[Text, Text] = Field(default={})
    batch_size: Positive | None = None
    pass_time: PassTime | None = None
    versions: dict[Text, Text]
