"""A classifier of which only the answers are known: a function, a scikit-learn classifier, a server.

It has no gradient. An evaluation asks `is_black_box`, so a module of your own may set ``black_box = True``.
"""

from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from robustlab.core.calling import UserCodeError, blame
from robustlab.core.errors import RobustlabError, SpecError
from robustlab.core.text import a_kind, shown
from robustlab.models.estimator import METHODS, Estimator

Kind = Literal["probabilities", "logits", "labels"]
"""What a prediction function returns."""

KINDS: tuple[Kind, ...] = get_args(Kind)

_CERTAIN = 30.0
"""The logit of a label, beside 0 for the other classes: a probability of 1 in float32 for few classes."""

_BATCH = 250
"""Images per pass, unless the function takes fewer at once."""

AS_LOGITS = 'BlackBox(predict, answers="logits"), as text predict(my.py:f, answers=logits)'
"""How a user says that answers are not the probabilities for which they are taken."""

_SUM = 0.02
"""How far from 1 the sum of an image's probabilities may be: servers round them."""


class BudgetSpentError(UserCodeError):
    """The classifier may not be asked about more images."""

    quits = True


class BlackBox(nn.Module):
    """A classifier without gradients, from a function that predicts.

    Args:
        predict: takes images (N, C, H, W) in [0, 1] and returns probabilities or logits (N, K), or labels,
            integers (N,). A dict such as ``{"logits": ...}`` says which. Images and answers are float32 NumPy
            arrays; the answer may be a tensor, too. Or it is a fitted scikit-learn classifier, or its method.
        classes: K; it is only needed if labels are returned. Default there: as many as the dataset has.
        answers: what it returns: ``"probabilities"``, ``"logits"`` or ``"labels"``. With ``"auto"`` the first
            answer decides: integers (N,) are labels, and rows of numbers in [0, 1] that sum up to 1 are
            probabilities.
        tensors: whether it takes a tensor instead of an array; always so for a module.
        batch_size: the most images that it gets at once; default: all of a pass.
        budget: how many images it may be asked about; default: any number.

    Attributes:
        queries: how many images it was asked about so far; those of repeated requests count again.
        repeats: how many of them it was asked about again, because a server failed.
        guessed: whether its first answer was taken for probabilities, without a word of the user.

    Raises:
        SpecError: an argument is wrong.
    """

    black_box: ClassVar[bool] = True

    def __init__(
        self,
        predict: Callable[[Any], Any],
        *,
        classes: int | None = None,
        answers: Kind | Literal["auto"] = "auto",
        tensors: bool = False,
        batch_size: int | None = None,
        budget: int | None = None,
    ) -> None:
        super().__init__()
        if not callable(predict) or hasattr(getattr(predict, "__self__", None), "classes_"):
            predict = _of_estimator(predict) or predict
        if not callable(predict) or isinstance(predict, type):
            raise SpecError(f"predict must be a function of images; found {a_kind(predict)}")
        if answers not in (*KINDS, "auto"):
            raise SpecError(f"answers must be one of auto, {', '.join(KINDS)}; found {answers!r}")
        for name, value, least in (
            ("classes", classes, 2),
            ("batch_size", batch_size, 1),
            ("budget", budget, 1),
        ):
            if value is not None and (type(value) is not int or value < least):
                raise SpecError(f"{name} must be a whole number, at least {least}; found {value!r}")
        self.predict, self.classes, self.answers = predict, classes, answers
        self.tensors = tensors or isinstance(predict, nn.Module)
        self.batch_size, self.budget = batch_size, budget
        self.queries = self.repeats = 0
        self.guessed = False
        if hasattr(predict, "on_repeat"):
            predict.on_repeat = self._repeat
        self._labels_of: int | None = classes
        self._kind: Kind | None = None if answers == "auto" else answers
        self._width = classes

    @property
    def name(self) -> str:
        """A short name for users."""
        return str(getattr(self.predict, "__name__", type(self.predict).__name__)).strip("<>")

    @property
    def only_labels(self) -> bool:
        """Whether its answers are labels; before the first answer False, unless it was said."""
        return self._kind == "labels"

    def settings(self) -> dict[str, object]:
        """Return what its answers depend on; the rest changes from call to call, or only the cost."""
        predict = getattr(self.predict, "described_as", self.predict)
        return {"predict": predict, "classes": self.classes, "answers": self.answers, "tensors": self.tensors}

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, K), the logarithms of probabilities, on the images' device.

        Raises:
            RobustlabError: an answer is not as described, or the budget is spent.
        """
        parts = torch.split(images, self.batch_size or max(1, len(images)))
        return torch.cat([self._logits(part) for part in parts]).to(images.device)

    def _logits(self, images: Tensor) -> Tensor:
        n = len(images)
        self._spend(n)
        given: Any = images.detach().float()
        try:
            answer = self.predict(given if self.tensors else given.cpu().numpy().copy())
        except (TypeError, AttributeError) as error:
            if self.tensors or self._width is not None or "positional argument" in str(error):
                raise
            raise UserCodeError(
                f"the model failed on a NumPy array of shape {tuple(images.shape)}: {blame(error)}; if it "
                "takes a tensor, say so: BlackBox(predict, tensors=True)"
            ) from error
        kind, values = self._read(answer, n)
        if kind == "labels":
            return self._of_labels(values)
        if self._width not in {None, values.shape[1]}:
            raise RobustlabError(f"the prediction has {values.shape[1]} classes; expected {self._width}")
        self._width = values.shape[1]
        if kind == "probabilities":
            # A probability of 0 becomes the smallest normal number: its logarithm is finite.
            values = values.clamp(min=torch.finfo(torch.float32).tiny).log()
        return values

    def _spend(self, n: int) -> None:
        """Count queries that are about to be sent."""
        if self.budget is not None and self.queries + n > self.budget:
            raise BudgetSpentError(
                f"the budget of {self.budget:,} queries is spent: {self.queries:,} are done, and the next "
                f"step needs {n:,}. What was finished is kept; the same command goes on, with a new budget"
            )
        self.queries += n

    def _repeat(self, n: int) -> None:
        """Count queries that are about to be sent again."""
        self._spend(n)
        self.repeats += n

    def _of_labels(self, labels: Tensor) -> Tensor:
        known, highest = self._labels_of, int(labels.max()) if len(labels) else 0
        if known is None:
            raise RobustlabError("the prediction holds labels; say how many classes exist: classes=")
        if highest >= known:
            raise RobustlabError(
                f"the prediction has the label {highest}, but there are {known} classes, from 0 on. If yours "
                f"count from 1, subtract 1; if there are more classes, say how many: classes={highest + 1}"
            )
        return _CERTAIN * nn.functional.one_hot(labels, known).float()

    def _read(self, answer: object, n: int) -> tuple[Kind, Tensor]:
        """Return the kind of an answer, and its values: (n,) int64 labels or (n, K) float32."""
        said: Kind | None = self._kind
        if isinstance(answer, Mapping):
            named = [kind for kind in KINDS if kind in answer]
            if not named:
                found = ", ".join(map(str, answer))[:80] or "nothing"
                raise RobustlabError(f"the prediction has none of {', '.join(KINDS)}; it has {found}")
            said = named[0] if said not in named else said
            answer = answer[said]
        values = _array(answer)
        whole = values.dtype.kind in "iu"
        if said is None:
            said = "labels" if whole and values.ndim == 1 else "logits"
            if values.ndim == 2 and _probable(values):
                said, self.guessed = "probabilities", True
        if self._kind not in {None, said}:
            raise RobustlabError(f"the prediction holds {said}; before it held {self._kind}")
        _check(values, said, n)
        self._kind = said
        with np.errstate(over="ignore"):  # then the answer is infinite, and counts as none
            return said, torch.from_numpy(values.astype(np.int64 if said == "labels" else np.float32))


def _array(answer: object) -> np.ndarray[Any, Any]:
    if isinstance(answer, Tensor):
        answer = answer.detach().cpu()
        answer = (answer.float() if answer.is_floating_point() else answer).numpy()
    if hasattr(answer, "toarray"):  # a sparse matrix
        answer = answer.toarray()
    try:
        values = np.asarray(answer)
    except ValueError:  # rows of different lengths
        hint = '; return one part, or a dict such as {"logits": ...}' if isinstance(answer, tuple) else ""
        raise RobustlabError(
            f"the prediction is not an array: its rows have different lengths{hint}"
        ) from None
    if values.dtype.kind == "b":
        values = values.astype(np.int64)
    if values.dtype.kind == "O" and all(isinstance(value, Real) for value in values.flat):
        values = values.astype(np.float64)
    if values.dtype.kind not in "iuf":
        raise RobustlabError(f"the prediction must be an array of numbers; found {_what(answer, values)}")
    return values


def _what(answer: object, values: np.ndarray[Any, Any]) -> str:
    """Return what an answer without numbers is, for a message."""
    first = values.flat[0] if values.size else None
    if isinstance(first, str):
        return f"texts such as {shown(str(first))}; return the numbers of the classes, from 0 on"
    if isinstance(answer, list) and answer:
        return f"a list of {type(answer[0]).__name__}"
    return f"an array of {values.dtype}" if values.ndim else a_kind(answer)


def _probable(values: np.ndarray[Any, Any]) -> bool:
    inside = values.size and values.min() >= 0 and values.max() <= 1  # not so with NaN
    return bool(inside) and bool((abs(values.sum(axis=1) - 1) <= _SUM).all())


def _check(values: np.ndarray[Any, Any], kind: Kind, n: int) -> None:
    if kind == "labels":
        if values.shape != (n,) or values.dtype.kind == "f":
            raise RobustlabError(
                f"labels must be integers of shape ({n},); found {values.dtype} of shape {values.shape}"
            )
        if n and values.min() < 0:
            raise RobustlabError(f"labels must be at least 0; found {values.min()}")
        return
    if values.ndim != 2 or len(values) != n or values.shape[1] < 2:
        hint = ""
        if values.dtype.kind in "iu" and values.shape == (n, 1):
            hint = "; of labels return the shape (n,), such as labels[:, 0]"
        elif values.dtype.kind in "iu" and values.shape == (n,):
            hint = f"; these are labels, and the answers before were {kind}"
        elif values.shape == (n,) and n and (values > 1).any() and (values == np.floor(values)).all():
            hint = "; if these are labels, return integers: labels.astype(int)"
        elif values.shape in {(n,), (n, 1)}:
            hint = "; of two classes give both: np.stack([1 - p, p], axis=1) of the probability p"
        raise RobustlabError(
            f"the prediction must have the shape ({n}, K), K at least 2, or be labels, integers ({n},); "
            f"found {values.dtype} of shape {values.shape}{hint}"
        )
    if wrong := int(np.isnan(values).any(axis=1).sum()):
        raise RobustlabError(f"the prediction is NaN for {wrong} of {n} images")
    if kind == "probabilities" and not _probable(values):
        low, high, sums = values.min(), values.max(), values.sum(axis=1)
        raise RobustlabError(
            "probabilities must lie in [0, 1] and sum up to 1; found values from "
            f"{low:.3g} to {high:.3g}, and sums from {sums.min():.3g} to {sums.max():.3g}; "
            f"of other scores say so: {AS_LOGITS}"
        )


def _of_protocol(model: Any) -> Callable[[Any], Any]:
    """Return the prediction function of a model of MAITE, which takes and returns a list."""

    def predict(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.stack([np.asarray(answer) for answer in model(list(images))])

    predict.__name__ = type(model).__name__
    predict.described_as = model  # type: ignore[attr-defined]
    return predict


def as_module(model: Any) -> Any:
    """Return what predicts as a `BlackBox`; another value unchanged.

    That is a function, a fitted scikit-learn classifier, or a model of MAITE's protocol for image
    classification.
    """
    if isinstance(model, nn.Module | type | str):
        return model
    if callable(model) and isinstance(getattr(model, "metadata", None), Mapping):
        return BlackBox(_of_protocol(model))
    predict = _of_estimator(model) or model
    return BlackBox(predict) if callable(predict) else model


def _of_estimator(model: Any) -> Estimator | None:
    """Return the prediction function of a scikit-learn classifier, or of a method of one; None of others."""
    if isinstance(model, nn.Module | type | str | Estimator):
        return None
    if any(hasattr(model, method) for method in (*METHODS, "predict")):
        return Estimator(model)
    owner, method = getattr(model, "__self__", None), getattr(model, "__name__", "")
    if hasattr(owner, "classes_") and method in (*METHODS, "predict"):
        return Estimator(owner, methods=(method,))
    return None


def is_black_box(model: nn.Module) -> bool:
    """Return whether a classifier, or a part of it, has no gradient."""
    return any(_says(part, "black_box") for part in model.modules())


def only_labels(model: nn.Module) -> bool:
    """Return whether a classifier without gradients, or a part of it, returns only labels."""
    boxes = [part for part in model.modules() if isinstance(part, BlackBox)]
    return any(box.only_labels for box in boxes) or any(
        _says(part, "only_labels") for part in model.modules()
    )


def _says(module: nn.Module, name: str) -> bool:
    """Return whether an attribute of a module, or of its class, is True, without running its code."""
    return vars(module).get(name, getattr(type(module), name, False)) is True


def batch_of(model: nn.Module) -> int:
    """Return how many images an evaluation gives a classifier without gradients at once."""
    sizes = [part.batch_size for part in model.modules() if isinstance(part, BlackBox)]
    return min([_BATCH, *(size for size in sizes if size is not None)])


def number_classes(model: nn.Module, classes: int) -> None:
    """Give the number of the images' classes to the `BlackBox`es in a classifier that have none."""
    for part in model.modules():
        if isinstance(part, BlackBox) and part.classes is None:
            part._labels_of = max(2, classes)


def counts_queries(model: nn.Module) -> bool:
    """Return whether a classifier contains a `BlackBox`, whose `queries` are counted."""
    return any(isinstance(part, BlackBox) for part in model.modules())


def guessed(model: nn.Module) -> bool:
    """Return whether answers of a classifier, or of a part of it, were taken for probabilities."""
    return any(part.guessed for part in model.modules() if isinstance(part, BlackBox))


def repeats(model: nn.Module) -> int:
    """Return how many images the `BlackBox`es in a classifier were asked about again."""
    return sum(part.repeats for part in model.modules() if isinstance(part, BlackBox))


def queries(model: nn.Module) -> int:
    """Return how many images the `BlackBox`es in a classifier were asked about so far."""
    return sum(part.queries for part in model.modules() if isinstance(part, BlackBox))
