"""The building blocks of the results of studies and evaluations."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from robustlab.core.fields import Length, Positive, Share, Text


class Record(BaseModel):
    """A part of a results file: unknown fields are refused, and fields can't be changed."""

    # Deferred, since a part inside another is checked by that one, and building its own check takes time.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


def require(holds: bool, rule: str) -> None:
    """Refuse a part whose fields contradict each other with a `ValueError` that names the rule."""
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
    def count(self) -> int:
        """How many of the ``n`` images the share is."""
        return round(self.value * self.n)

    @property
    def is_share(self) -> bool:
        """Whether the value is a whole number of the ``n`` images."""
        return abs(self.value * self.n - self.count) < 1e-6

    def __str__(self) -> str:
        return f"{100 * self.value:.2f} % ({100 * self.low:.2f} – {100 * self.high:.2f})"


class PassTime(Record):
    """The seconds of a forward and backward pass: the best of several, measured in turns."""

    images: Positive
    fp32: Length
    bf16: Length


class ComputeRecord(Record):
    """The machine and the settings that computed the figures.

    Attributes:
        threads: the largest number of threads.
        threads_used: the share of the time on the processor that each number of threads worked; empty if not
            recorded.
        training_precision: of the training; for an evaluation, of the search.
        instruction_set: that of the processor's kernels, such as ``"AVX512"``, and that of its bf16 products;
            empty if not recorded.
        caps: the environment variables that were set and change the choice of kernels.
        batch_size: an evaluation's images per pass; None for a study.
        pass_time: in both precisions, if it decided the choice.
    """

    device: Text
    device_name: Text
    threads: Positive
    threads_used: dict[Positive, Share] = Field(default={})
    training_precision: Text
    instruction_set: Text = ""
    caps: dict[Text, Text] = Field(default={})
    batch_size: Positive | None = None
    pass_time: PassTime | None = None
    versions: dict[Text, Text]
