"""Which answers of a classifier are valid, and logits without infinities for the losses.

Minus infinity is a valid logit: the class is excluded (a mask, or the log of a probability that underflowed).
A row of logits is not a valid answer if it contains NaN or plus infinity, or only minus infinity.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from robustlab.core.text import a_kind

_GAP = 1e4
"""How far below the lowest finite logit the logit of an excluded class is set: its probability is 0 in
float32."""


def answered(logits: Tensor) -> Tensor:
    """Return (...) whether each row of logits (..., K) is a valid answer."""
    return logits.detach().amax(dim=-1).isfinite()  # the maximum of a row with a NaN is NaN


def finite(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits (..., K) in float32 without infinities, and (...) whether each row is valid.

    An excluded class gets a constant below the row's other logits: prediction, probabilities and the other
    classes' gradients do not change. An invalid row becomes zeros.
    """
    if logits.grad_fn is not None:
        logits.grad_fn.register_hook(_without_nan)
    logits = logits.float()
    values = logits.detach()
    numbers = values.isfinite()
    if logits.device.type == "cpu" and bool(numbers.all()):  # a GPU would have to wait for the result
        return logits, numbers[..., 0]
    valid = answered(values)
    lowest = torch.where(numbers, values, torch.inf).amin(dim=-1)
    floor = (lowest - lowest.abs() - _GAP).clamp(min=torch.finfo(logits.dtype).min)
    other = torch.where(valid, floor, 0.0)[..., None]
    return torch.where(numbers & valid[..., None], logits, other), valid


def _without_nan(gradients: tuple[Tensor | None, ...], _: object) -> tuple[Tensor | None, ...]:
    """Replace the NaN of 0/0 in the backward pass of a classifier's last step, such as ``softmax(z).log()``.

    It would spread from an excluded class, which no loss uses, to all others.
    """
    return tuple(part if part is None else part.nan_to_num(0.0, 0.0, 0.0) for part in gradients)


def no_tensor(answer: object) -> str:
    """Describe what a model returned instead of a tensor, and how to get its logits."""
    place = _place_of_logits(answer)
    which = f"output{place}" if place else "such as output.logits or output[0]"
    return f"{a_kind(answer)}; wrap it in a module whose forward returns them, {which}"


def _place_of_logits(answer: object) -> str:
    """Return the field ``.logits``, or the first one that holds a matrix; empty without one."""
    places: dict[str, object] = {}
    if isinstance(answer, Mapping):
        places = {f"[{name!r}]": value for name, value in answer.items()}
    elif isinstance(answer, list | tuple):
        names = getattr(answer, "_fields", ())
        places = {f".{names[at]}" if names else f"[{at}]": value for at, value in enumerate(answer)}
    elif hasattr(answer, "__dict__"):
        places = {f".{name}": value for name, value in vars(answer).items()}
    matrices = [place for place, value in places.items() if isinstance(value, Tensor) and value.ndim == 2]
    return min(matrices, key=lambda place: "logits" not in place, default="")
