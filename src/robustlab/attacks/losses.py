"""The losses that attacks maximise; a higher loss is nearer to the attacker's goal.

The margin and the DLR loss are positive exactly where the goal is reached. Each takes logits (N, K), the true
classes (N,) and, for an attack towards a class, the targets (N,); it returns (N,).
"""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

Loss = Literal["cross_entropy", "margin", "dlr"]


def measure(
    loss: Loss,
    logits: Tensor,
    labels: Tensor,
    targets: Tensor | None = None,
    *,
    rivals: Tensor | None = None,
) -> Tensor:
    """Return the loss of each image.

    Args:
        loss: a name of `Loss`.
        logits: (N, K).
        labels: (N,) the true classes.
        targets: (N,) the target classes; None: any class except the label.
        rivals: (N,) without targets, the classes to raise above the label. The margin compares only these
            two: without targets, a third class above both is a success as well.

    Raises:
        ValueError: the loss is unknown.
    """
    if loss == "cross_entropy":
        return cross_entropy(logits, labels, targets if rivals is None else rivals)
    if loss == "margin":
        return margin(logits, labels, targets, rivals)
    if loss == "dlr":
        return dlr(logits, labels, targets, rivals)
    raise ValueError(f"unknown loss {loss!r}; accepted: {', '.join(get_args(Loss))}")


def cross_entropy(logits: Tensor, labels: Tensor, targets: Tensor | None = None) -> Tensor:
    """Return the cross-entropy of the label, or minus that of the target."""
    if targets is None:
        return F.cross_entropy(logits, labels, reduction="none")
    return -F.cross_entropy(logits, targets, reduction="none")


def margin(
    logits: Tensor, labels: Tensor, targets: Tensor | None = None, rivals: Tensor | None = None
) -> Tensor:
    """Return the highest other logit minus the label's, or the target's minus the highest other.

    A positive margin is a success. With rivals it is the rival's logit minus the label's. Carlini & Wagner
    2017 (arXiv:1608.04644), their f_6 without the clipping. It needs two classes.
    """
    if rivals is not None:
        return (logits.gather(1, rivals[:, None]) - logits.gather(1, labels[:, None])).squeeze(1)
    wished = labels if targets is None else targets
    own = logits.gather(1, wished[:, None]).squeeze(1)
    others = logits.scatter(1, wished[:, None], -torch.inf).amax(dim=1)
    return others - own if targets is None else own - others


def dlr(
    logits: Tensor, labels: Tensor, targets: Tensor | None = None, rivals: Tensor | None = None
) -> Tensor:
    """Return the margin divided by a difference of logits, so that the logits' scale does not matter.

    Croce & Hein 2020 (arXiv:2003.01690), equation 6 and, with rivals, 8. With ``targets`` the numerator is
    the margin over all other classes, since the target must have the highest logit. In equation 8 it is the
    margin over the label. With fewer than four classes it is the margin.
    """
    if logits.shape[1] < 4:
        return margin(logits, labels, targets, rivals)
    anywhere = targets is None and rivals is None
    top = logits.topk(3 if anywhere else 4, dim=1).values
    low = top[:, 2] if anywhere else (top[:, 2] + top[:, 3]) / 2
    return margin(logits, labels, targets, rivals) / (top[:, 0] - low + 1e-12)
