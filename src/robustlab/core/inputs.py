"""What an attack and a certifier are given: refused alike when it is no batch of images with labels."""

import contextlib

import torch
from torch import Tensor, nn

from robustlab.core.errors import RobustlabError

__all__ = ["check_dense", "check_eval_mode", "check_images", "check_module", "check_numbers", "to_eval_mode"]


def check_dense(name: str, tensor: Tensor) -> None:
    """Refuse a tensor that is sparse or nested, or holds no values.

    Args:
        name: what it is, for the message.
        tensor: of any shape.

    Raises:
        RobustlabError: it is.
    """
    if tensor.layout != torch.strided or tensor.is_nested or tensor.is_quantized:
        found = "nested" if tensor.is_nested else "quantized" if tensor.is_quantized else tensor.layout
        raise RobustlabError(f"{name} must be a plain, dense tensor; found a tensor that is {found}")
    if tensor.is_meta:
        raise RobustlabError(f"{name} must hold values; found a tensor on the meta device")


def to_eval_mode(model: nn.Module) -> bool:
    """Put a model into eval mode, and tell whether its own ``eval()`` did it.

    That of a torch.export program raises, for its mode was fixed when it was exported; some change nothing.
    """
    with contextlib.suppress(NotImplementedError):
        model.eval()
    # Frozen TorchScript has no mode at all.
    left = [module for module in model.modules() if getattr(module, "training", False)]
    for module in left:
        module.training = False
    return not left


def check_eval_mode(model: nn.Module, before: str) -> None:
    """Refuse what is not a model, and a model of which a part is in train mode.

    Args:
        model: the classifier.
        before: what is to be done with it, as in "call model.eval() before attacking it".

    Raises:
        RobustlabError: it is.
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
    """Refuse what is not a ``torch.nn.Module``, and say how it becomes one.

    Raises:
        RobustlabError: it is a function, a class or something else.
    """
    if isinstance(model, nn.Module):
        return
    if isinstance(model, type):
        raise RobustlabError(
            f"{name} must be a torch.nn.Module; found the class {model.__name__}: call it first"
        )
    hint = "; call it in the forward of a torch.nn.Module" if callable(model) else ""
    raise RobustlabError(f"{name} must be a torch.nn.Module; found a {type(model).__name__}{hint}")


def check_images(images: Tensor) -> None:
    """Refuse what is no float32 (N, C, H, W) in [0, 1].

    Raises:
        RobustlabError: another type, shape or range, or NaN.
    """
    check_dense("images", images)
    if images.ndim != 4 or images.dtype != torch.float32:
        found = f"{images.dtype} of shape {tuple(images.shape)}"
        raise RobustlabError(f"images must be float32 of shape (N, C, H, W), found {found}")
    if len(images) and not (images.min() >= 0 and images.max() <= 1):
        found = f"{float(images.min()):.3g} to {float(images.max()):.3g}"
        raise RobustlabError(
            f"images must lie in [0, 1] and be free of NaN, found {found}; do not normalise them"
        )


def check_numbers(name: str, numbers: Tensor, images: Tensor, *, negative: bool = False) -> None:
    """Refuse what is not one int64 for each image.

    Args:
        name: what the numbers are, for the message.
        numbers: (N,), such as labels.
        images: (N, C, H, W).
        negative: whether there may be negative ones.

    Raises:
        RobustlabError: another type or shape, or a negative number that may not be.
    """
    check_dense(name, numbers)
    if numbers.shape != images.shape[:1] or numbers.dtype != torch.int64:
        found = f"{numbers.dtype} of shape {tuple(numbers.shape)}"
        raise RobustlabError(f"{name} must be int64 of shape ({len(images)},), found {found}")
    if not negative and len(images) and numbers.min() < 0:
        raise RobustlabError(f"{name} must not be negative, found {int(numbers.min())}")
