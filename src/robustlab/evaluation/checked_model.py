"""The classifier of an evaluation; errors inside it become one line."""

from torch import Tensor, nn

from robustlab.core.calling import ask
from robustlab.core.errors import RobustlabError
from robustlab.core.inputs import to_eval_mode
from robustlab.core.logits import no_tensor


class CheckedModel(nn.Module):
    """A classifier whose failures are `RobustlabError`s, on any image.

    Args:
        model: images (N, C, H, W) in [0, 1] to logits (N, K), in eval mode.
        classes: K, the number of classes.
    """

    def __init__(self, model: nn.Module, classes: int) -> None:
        super().__init__()
        self.model, self.classes = model, classes
        to_eval_mode(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, K).

        Raises:
            RobustlabError: the model failed, or did not return logits of this shape.
        """
        return logits_of(self.model, images, self.classes)


def unguarded(model: nn.Module) -> nn.Module:
    """Return the user's own classifier from inside a `CheckedModel`; other models are returned unchanged."""
    return next((part.model for part in model.modules() if isinstance(part, CheckedModel)), model)


def logits_of(model: nn.Module, images: Tensor, classes: int | None = None) -> Tensor:
    """Return a model's logits (N, K) for images (N, C, H, W); K is ``classes``, by default any of at least 2.

    Raises:
        RobustlabError: the model failed, or did not return such logits. An out-of-memory error passes
            unchanged.
    """
    logits = ask(model, images)
    if not isinstance(logits, Tensor):
        raise RobustlabError(f"the model must return logits of shape (N, K), found {no_tensor(logits)}")
    n = len(images)
    if logits.ndim != 2 or len(logits) != n or logits.shape[1] < 2 or classes not in {None, logits.shape[1]}:
        wished = f"({n}, {classes or 'K'})" + ("" if classes else ", K at least 2")
        raise RobustlabError(f"the model must return logits of shape {wished}; found {tuple(logits.shape)}")
    return logits
