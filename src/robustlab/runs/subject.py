"""What an evaluation was about, in its results.json: the classifier and the images."""

from typing import Literal

from pydantic import Field

from robustlab.core.fields import Count, Number, Positive, Some, Text
from robustlab.runs.records import Record

BlackBoxAnswers = Literal["", "scores", "labels"]
"""What a classifier without gradients returns; empty: it may have gradients."""


class Subject(Record):
    """The classifier: its source, and the hash of its weights.

    ``dtype`` is the number format of its input: fp32, fp64, fp16 or bf16. ``preprocessing`` is the layer in
    front of the network. ``preprocessing_from`` says what states it, such as the weights of a library; empty:
    the user's options (``--mean``, ``--std``, ``--scale``, ``--resize``, ``--crop``). ``black_box`` is what a
    black box returns; then forward passes are the images that it was asked about, its queries.
    """

    name: Text
    source: Text
    parameters: Count
    sha256: Text
    dtype: Text = "fp32"
    preprocessing: Text = ""
    preprocessing_from: Text = ""
    black_box: BlackBoxAnswers = ""


class Ranges(Record):
    """The ranges of rows of features, or of signals, of which images (C, 1, L) were made.

    ``names`` are those of the features, or of a signal's channels; empty: they have none. ``low`` and
    ``high`` have a number for each value of the image.
    """

    signal: bool
    names: Some[Text] = Field(default=[])
    low: Some[Number]
    high: Some[Number]


class Images(Record):
    """The images that were attacked: the first ``n`` of a split, or the caller's own.

    ``rows`` says that they stand for rows of features, or signals, of at most 10,000 values.
    ``sha256`` is the hash of these images. ``split_sha256`` is that of the whole split, so evaluations with
    different ``n`` share it. ``class_names`` are those of the dataset, in order; empty: it has none.
    """

    name: Text
    split: Text
    n: Positive
    classes: Positive
    class_names: Some[Text] = Field(default=[])
    shape: tuple[Positive, Positive, Positive]
    rows: Ranges | None = None
    sha256: Text
    split_sha256: Text = ""
