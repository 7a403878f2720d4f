"""An evaluation's figures as data frames of pandas."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, get_args

from robustlab.core.errors import SetupError
from robustlab.runs.evaluation import AttackRow
from robustlab.runs.images_csv import ImageVerdict, State

if TYPE_CHECKING:
    import pandas


def frame_of(records: Sequence[dict[str, Any]]) -> "pandas.DataFrame":
    """Return a data frame with a row for each record.

    Raises:
        SetupError: pandas is not installed.
    """
    return _pandas().DataFrame(records)


def attacks_frame(rows: Sequence[AttackRow]) -> "pandas.DataFrame":
    """Return a row for each attack; ``accuracy`` is NaN except in the mode ``"test-set"``."""
    records = [
        {
            "attack": row.attack,
            "attacked": row.attacked,
            "broken": row.broken,
            "robust": row.robust.value,
            "robust_low": row.robust.low,
            "robust_high": row.robust.high,
            "accuracy": float("nan") if row.accuracy is None else row.accuracy.value,
            "forwards": row.forwards,
            "backwards": row.backwards,
            "seconds": row.seconds,
        }
        for row in rows
    ]
    return frame_of(records)


def images_frame(verdicts: Sequence[ImageVerdict]) -> "pandas.DataFrame":
    """Return a row for each image; ``state`` is a categorical column."""
    states = _pandas().CategoricalDtype(get_args(State))
    return frame_of([asdict(verdict) for verdict in verdicts]).astype({"state": states})


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise SetupError("a data frame needs pandas: pip install pandas") from None
    return pandas
