"""What counts as an answer of a classifier, and the numbers that losses can work with.

Minus infinity is a valid logit: the class is excluded (a mask, or the log of a probability that underflowed).
A row of logits is not an answer where its highest value is not a number to compare with: a NaN anywhere, plus
infinity, or nothing but minus infinity.
"""

import torch
from torch import Tensor

from robustlab.core.text import a_kind

_GAP = 1e4
"""How far below the lowest finite logit an excluded class is put: its probability is 0 in float32."""


def answered(logits: Tensor) -> Tensor:
    """Return (...) whether each row of logits (..., K) is an answer."""
    return logits.detach().amax(dim=-1).isfinite()  # the maximum of a row with a NaN is NaN


def finite(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits (..., K) in float32 without infinities, and (...) whether each row is an answer.

    An excluded class gets a constant below the row's other logits: prediction, probabilities and the other
    classes' gradients stay as they were. A row that is not an answer becomes zeros.
    """
    if logits.grad_fn is not None:
        logits.grad_fn.register_hook(_without_nan)
    logits = logits.float()
    values = logits.detach()
    numbers = values.isfinite()
    if logits.device.type == "cpu" and bool(numbers.all()):  # a GPU would have to wait for the answer
        return logits, numbers[..., 0]
    valid = answered(values)
    lowest = torch.where(numbers, values, torch.inf).amin(dim=-1)
    floor = (lowest - lowest.abs() - _GAP).clamp(min=torch.finfo(logits.dtype).min)
    other = torch.where(valid, floor, 0.0)[..., None]
    return torch.where(numbers & valid[..., None], logits, other), valid


def _without_nan(gradients: tuple[Tensor | None, ...], _: object) -> tuple[Tensor | None, ...]:
    """Replace the NaN that a classifier's last step makes of 0/0, as the log in ``softmax(z).log()`` does.

    It would spread from an excluded class, of which no loss asks anything, to all others.
    """
    return tuple(part if part is None else part.nan_to_num(0.0, 0.0, 0.0) for part in gradients)


def no_tensor(answer: object) -> str:
    """Return what a model gave in the place of a tensor, and how its logits are had."""
    remedy = "wrap it in a module whose forward returns them, such as output.logits or output[0]"
    return f"{a_kind(answer)}; {remedy}"
