"""What `robustlab.compare` returns: two evaluations image by image, and any number of them side by side."""

from typing import TYPE_CHECKING

from robustlab.runs.evaluation import RobustCurve
from robustlab.runs.records import Figure, Record

if TYPE_CHECKING:
    import pandas


class FlippedImage(Record):
    """An image that is robust in only one of the evaluations; the states are as in images.csv."""

    image_id: int
    label: int
    first: str
    second: str


class Comparison(Record):
    """The second evaluation compared with the first, on the images that both attacked.

    Attributes:
        n: the number of images in both.
        first_n: the number of images that the first attacked; likewise ``second_n``.
        first: its robust accuracy on the common images; likewise ``second``.
        difference: second minus first, with a 95 % interval; above 0 the second is more robust.
        gained: the number of images that are robust only in the second.
        lost: the number of images that are robust only in the first.
        p_value: of McNemar's exact test: the probability of such uneven flips if both are equally robust.
        other_settings: other differences, in attacks, mode, samples, seed or search precision, each as
            ``name: first and second``; they may explain the difference.
        flipped: the gained and lost images.
        curve_left_out: the title of the only evaluation with a curve; empty: both have one, or none has.
            Then the successes of its searches do not count here, since the other one had no such searches.
    """

    n: int
    first_n: int
    second_n: int
    first_name: str
    second_name: str
    first: Figure
    second: Figure
    difference: float
    low: float
    high: float
    gained: int
    lost: int
    p_value: float
    other_settings: list[str]
    flipped: list[FlippedImage]
    curve_left_out: str = ""


class ComparedRun(Record):
    """One of several evaluations.

    Attributes:
        label: its name in tables: the model, with the folder where several runs have this model and threat
            model.
        line: runs with the same number are of one model, on the same images, and one line in a chart.
        n: the number of images.
        robust: None if no attack ran.
        common: the robust accuracy on the images that all runs attacked; None if all runs have the same
            images, or the splits differ.
        passes: forward and backward passes per image, of the whole evaluation.
        failed: the titles of the checks that failed.
        checked: whether checks were computed.
    """

    label: str
    line: int
    folder: str
    model: str
    threat: str
    norm: str
    eps: float
    bounded: bool
    n: int
    clean: Figure
    robust: Figure | None
    certified: Figure | None
    common: Figure | None
    curve: RobustCurve | None
    passes: float
    seconds: float
    failed: list[str]
    checked: bool


class Difference(Record):
    """A setting that is not the same in all runs, with its value in each of them."""

    name: str
    values: list[str]


class SideBySide(Record):
    """Any number of evaluations in one table.

    Attributes:
        runs: in the order in which they were given.
        differences: how their settings differ.
        notes: what can be compared, and what a difference may come from, in sentences.
        pairs: image by image, each run with the first one of the same images and the same threat model.
    """

    runs: list[ComparedRun]
    differences: list[Difference]
    notes: list[str]
    pairs: list[Comparison]

    def frame(self) -> "pandas.DataFrame":
        """Return a data frame of pandas with a row for each run.

        Raises:
            SetupError: pandas is not installed.
        """
        from robustlab.runs.frames import frame_of

        return frame_of(self.records())

    def records(self) -> list[dict[str, str | float | None]]:
        """Return the figures of each run under plain names, for a file of comma-separated values."""
        return [_record(run) for run in self.runs]


def _record(run: ComparedRun) -> dict[str, str | float | None]:
    plain: dict[str, str | float | None] = {
        "run": run.label,
        "folder": run.folder,
        "model": run.model,
        "threat": run.threat,
        "norm": run.norm,
        "eps": run.eps if run.bounded else None,
        "images": run.n,
    }
    for name in ("clean", "robust", "certified", "common"):
        figure: Figure | None = getattr(run, name)
        for end in ("value", "low", "high"):
            column = name if end == "value" else f"{name}_{end}"
            plain[column] = None if figure is None else getattr(figure, end)
    failed = "; ".join(run.failed) if run.checked else None
    return plain | {"passes_per_image": run.passes, "seconds": run.seconds, "failed_checks": failed}
