"""Converts a user's images, labels and numbers to plain tensors, or refuses them in one line.

Attacks, certifiers and evaluations use it, so all of them accept the same input.
"""

import contextlib
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from robustlab.core.errors import DataError, RobustlabError
from robustlab.core.text import a_kind, shown

Numbers = Tensor | np.ndarray[Any, Any] | Sequence[float]
"""One number per image."""

_ROUNDING = 1e-6
"""How far outside [0, 1] a pixel may lie because of rounding in a normalisation and its inverse; it is
clamped."""


def oddity(tensor: Tensor) -> str:
    """Return why a tensor is not a plain, dense one; empty if it is one."""
    if is_lazy(tensor):
        return "without a shape"
    if tensor.is_meta:
        return "without values (on the meta device)"
    if tensor.is_nested or tensor.is_quantized:
        return "nested" if tensor.is_nested else "quantized"
    return "" if tensor.layout == torch.strided else "sparse"


def check_dense(name: str, tensor: Tensor) -> None:
    """Refuse a tensor that is sparse, nested or quantized, or has no values, with a `RobustlabError`."""
    if found := oddity(tensor):
        raise RobustlabError(f"{name} must be a plain, dense tensor; found one that is {found}")


def to_eval_mode(model: nn.Module) -> bool:
    """Put a model into eval mode; return whether its own ``eval()`` did it.

    The ``eval()`` of a torch.export program raises, since its mode was fixed at the export; some do nothing.
    """
    with contextlib.suppress(NotImplementedError):
        model.eval()
    # Frozen TorchScript has no mode.
    left = [module for module in model.modules() if getattr(module, "training", False)]
    for module in left:
        module.training = False
    return not left


def check_eval_mode(model: nn.Module, before: str) -> None:
    """Refuse, with a `RobustlabError`, a value that is not a model, and a model with a part in train mode.

    Args:
        model: the classifier.
        before: the end of the message "call model.eval() before ...", such as "attacking".
    """
    check_module("model", model)
    part = next((name for name, module in model.named_modules() if getattr(module, "training", False)), None)
    if part is not None:
        where = f" (its part {part!r})" if part else ""
        raise RobustlabError(
            f"the model is in train mode{where}; call model.eval() before {before} it; where this changes "
            "nothing, set training = False in each of model.modules()"
        )


def check_module(name: str, model: object) -> None:
    """Refuse a value that is not a ``torch.nn.Module`` with a `RobustlabError` that says how to make one."""
    if isinstance(model, nn.Module):
        return
    if isinstance(model, type):
        raise RobustlabError(
            f"{name} must be a torch.nn.Module; found the class {model.__name__}: call it first"
        )
    hint = (
        "; of a function that predicts make one: robustlab.models.BlackBox(function)"
        if callable(model)
        else ""
    )
    raise RobustlabError(f"{name} must be a torch.nn.Module; found {a_kind(model)}{hint}")


def check_unchanged(images: Tensor, before: Tensor) -> None:
    """Refuse a model that changed the images that it got.

    Args:
        images: (N, C, H, W), after the model answered.
        before: a copy from before.

    Raises:
        RobustlabError: they differ.
    """
    if not torch.equal(images, before):
        raise RobustlabError(
            "the model changes the images it is given, by an operation in place (such as images.sub_(mean)); "
            "every figure would be of other images: let it work on a copy"
        )


def as_images(images: Any) -> Tensor:
    """Return images as float32 (N, C, H, W) on the pixel scale [0, 1], on their device.

    Args:
        images: a tensor or NumPy array as `split_images` takes it.

    Raises:
        DataError: the images are refused.
    """
    checked = split_images(images)
    return checked.to(torch.float32).div(255) if checked.dtype == torch.uint8 else checked


def split_images(images: Any, ids: Sequence[int] | None = None) -> Tensor:
    """Return images as they are kept in a split: uint8 in 0..255, or float32 on the pixel scale [0, 1].

    Args:
        images: a tensor or NumPy array (N, C, H, W), uint8 or floating. A pixel that rounding left at most
            1e-6 outside [0, 1] is clamped.
        ids: (N,) names of the images in a message; default: their places.

    Raises:
        DataError: the type, shape or range is wrong, or a value is NaN.
    """
    rows = "; give rows of features as dataset=robustlab.data.features(rows, labels, low=..., high=...)"
    if not isinstance(images, Tensor | np.ndarray):
        hint = rows if hasattr(images, "columns") else ""
        raise DataError(f"images must be a torch.Tensor or a NumPy array, found {a_kind(images)}{hint}")
    given = _tensor("images", images)
    known = given.dtype == torch.uint8 or given.dtype.is_floating_point
    if given.ndim != 4 or 0 in given.shape[1:] or not known:
        hints = {
            2: rows,
            3: "; write images[:, None] for one channel; of signals, robustlab.data.features(x, y, low=..., "
            "high=...)",
        }
        found = _found(given) + hints.get(given.ndim, "")
        raise DataError(f"images must be uint8 or floating of shape (N, C, H, W), found {found}")
    if given.dtype == torch.uint8:
        return given
    given = given.to(torch.float32)
    if len(given) == 0:
        return given
    low, high = (float(end) for end in torch.aminmax(given.detach()))
    if low != low:
        places = given.isnan().flatten(1).any(dim=1).nonzero().flatten().tolist()
        names = places if ids is None else [ids[place] for place in places]
        listed = ", ".join(map(str, names[:5])) + (", ..." if len(places) > 5 else "")
        raise DataError(f"images must lie in [0, 1], but {len(places)} of them contain NaN: images {listed}")
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        remedy = "divide by 255" if low >= 0 and 2 < high <= 255 else "normalise inside the model"
        raise DataError(f"images must lie in [0, 1], found {low:.3g} to {high:.3g}; {remedy}")
    return given.clamp(0.0, 1.0) if low < 0 or high > 1 else given


def as_numbers(name: str, numbers: Any, images: Tensor, *, negative: bool = False) -> Tensor:
    """Return one whole number per image as int64 (N,), on the images' device.

    Args:
        name: what the numbers are, for the message.
        numbers: (N,), such as labels: a tensor, an array or a list of any integers; or one number for all.
        images: (N, C, H, W).
        negative: whether negative numbers are allowed.

    Raises:
        DataError: the type or shape is wrong, or a negative number is not allowed.
    """
    given = _tensor(name, numbers)
    if given.ndim == 0:
        given = given.expand(len(images))
    whole = not (given.dtype.is_floating_point or given.dtype.is_complex or given.dtype == torch.bool)
    if given.shape != images.shape[:1] or not (whole or len(images) == 0):
        one_hot = given.ndim == 2 and len(given) == len(images) and given.shape[1] > 1
        hint = "; of one-hot rows take argmax(1)" if one_hot else ""
        raise DataError(f"{name} must be integers of shape ({len(images)},), found {_found(given)}{hint}")
    given = given.detach().to(images.device, torch.int64)
    if not negative and len(images) and given.min() < 0:
        raise DataError(f"{name} must not be negative, found {int(given.min())}")
    return given


def as_radii(eps: Any, images: Tensor) -> Tensor:
    """Return one radius per image as float32 (N,), on the images' device.

    Args:
        eps: (N,), a tensor, an array or a list; or one number for all.
        images: (N, C, H, W).

    Raises:
        DataError: the type or shape is wrong, or a radius is negative, NaN or too large for float32.
    """
    given = _tensor("eps", eps)
    if given.ndim == 0:
        given = given.expand(len(images))
    real = not (given.dtype.is_complex or given.dtype == torch.bool)
    if given.shape != images.shape[:1] or not real:
        raise DataError(f"eps must be one number per image, of shape ({len(images)},), found {_found(given)}")
    radii = given.detach().to(images.device, torch.float32)
    if len(images) and not (radii.min() >= 0 and torch.isfinite(radii).all()):
        raise DataError(
            f"eps must be finite and not negative, found {float(radii.min()):.3g} to {float(radii.max()):.3g}"
        )
    return radii


def check_classes(classes: int, highest: int, what: str = "labels") -> None:
    """Refuse labels that a model with ``classes`` outputs can't predict with a `RobustlabError`."""
    if highest >= classes:
        raise RobustlabError(f"the model outputs {classes} logits, but {what} go up to {highest}")


def _tensor(name: str, value: Any) -> Tensor:
    """Return a value as a dense tensor."""
    tensor = value
    if not isinstance(value, Tensor):
        try:
            tensor = torch.from_numpy(_array(value))
        except (TypeError, ValueError, RuntimeError, OverflowError):
            what = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else shown(value)
            raise DataError(f"{name} must be a tensor, an array or numbers, found {what}") from None
    check_dense(name, tensor)
    return cast("Tensor", tensor)


def _array(value: Any) -> np.ndarray[Any, Any]:
    """Return a value as an array of a type that torch supports, if possible."""
    # A copy: torch refuses arrays with negative strides, and warns about read-only ones.
    array = np.array(value)
    if array.dtype.hasobject:  # such as a column of a table; numbers of one type become an array
        array = np.array(array.tolist())
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return array.astype(np.float64)
    return array.astype(array.dtype.newbyteorder("="))


def _found(tensor: Tensor) -> str:
    return f"{tensor.dtype} of shape {tuple(tensor.shape)}"
