"""A fitted scikit-learn classifier as a prediction function."""

import math
import warnings
from collections.abc import Collection
from typing import Any

import numpy as np

from robustlab.core.errors import RobustlabError

METHODS = {"predict_proba": "probabilities", "decision_function": "logits"}
"""The methods of scikit-learn that return scores, and of which kind."""


def _whole(values: Any) -> np.ndarray[Any, Any]:
    """Return an array; floats that are all whole numbers, as of a data frame's column, as integers."""
    array = np.asarray(values)
    whole = array.dtype.kind == "f" and bool((array == np.floor(array)).all())
    return array.astype(np.int64) if whole and array.size else array


class Estimator:
    """The prediction function of a fitted scikit-learn classifier, which takes flat images (N, C * H * W).

    One that was fitted on columns with names gets a data frame with these columns. Integer ``classes_`` are
    the labels of the images; other classes are numbered in their order. A class that the classifier does not
    know has the probability 0.

    Args:
        estimator: the classifier.
        methods: of its scores, in order of preference; by default both.
    """

    def __init__(self, estimator: Any, methods: Collection[str] = tuple(METHODS)) -> None:
        self.estimator, self.methods = estimator, methods
        self.__name__ = type(estimator).__name__
        known = _whole(getattr(estimator, "classes_", ()))
        numbered = known.dtype.kind in "iu" and known.ndim == 1 and len(known) and known.min() >= 0
        self.known = known if numbered else np.arange(len(known))
        names = getattr(estimator, "feature_names_in_", None)
        self.columns = None if names is None else list(names)
        self._scores: tuple[str, str] | tuple[()] | None = None

    def __call__(self, images: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
        rows = self._with_names(images.reshape(len(images), -1))
        with warnings.catch_warnings():
            # Of a classifier that was fitted on a data frame, where pandas is not installed.
            warnings.filterwarnings("ignore", "X does not have valid feature names")
            if self._scores is None:
                self._scores = self._agreeing(rows)
            if self._scores:
                kind, method = self._scores
                return {kind: self._spread(np.asarray(getattr(self.estimator, method)(rows)), kind)}
            return {"labels": self._labels(rows)}

    def _with_names(self, rows: np.ndarray[Any, Any]) -> Any:
        """Return rows (N, D) as a data frame, if the classifier was fitted on columns with names."""
        if self.columns is None or len(self.columns) != rows.shape[1]:  # which scikit-learn refuses
            return rows
        try:
            from pandas import DataFrame
        except ImportError:
            return rows
        return DataFrame(rows, columns=self.columns)

    def _labels(self, rows: Any) -> np.ndarray[Any, Any]:
        found = _whole(self.estimator.predict(rows))
        if found.dtype.kind in "iu":
            return found
        if not len(self.known):
            raise RobustlabError(
                f"{self.__name__} has no classes_ and predicts {found.dtype}; give a fitted classifier"
            )
        return np.searchsorted(self.estimator.classes_, found)

    def _agreeing(self, rows: Any) -> tuple[str, str] | tuple[()]:
        """Return the scores whose largest is what it predicts; pairwise ones, or others, may say else."""
        for method, kind in METHODS.items():
            if method not in self.methods or not hasattr(self.estimator, method):
                continue
            scores = self._spread(np.asarray(getattr(self.estimator, method)(rows)), kind)
            if not hasattr(self.estimator, "predict"):
                return kind, method
            pairwise = getattr(self.estimator, "decision_function_shape", "") == "ovo" and len(self.known) > 2
            agree = scores.ndim == 2 and (scores.argmax(axis=1) == self._labels(rows)).all()
            if agree and not (pairwise and kind == "logits"):
                return kind, method
        return ()

    def _spread(self, values: np.ndarray[Any, Any], kind: str) -> np.ndarray[Any, Any]:
        if kind == "logits" and values.ndim == 1:  # the score of the second of two classes
            values = np.stack([np.zeros_like(values), values], axis=1)
        if values.ndim != 2 or values.shape[1] != len(self.known):
            return values
        spread = np.full(
            (len(values), int(self.known.max()) + 1), 0.0 if kind == "probabilities" else -math.inf
        )
        spread[:, self.known] = values
        return spread
