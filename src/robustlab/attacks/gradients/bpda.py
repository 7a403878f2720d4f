"""Backward pass differentiable approximation (Athalye, Carlini & Wagner 2018, arXiv:1802.00420)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from robustlab.attacks.bpda import straight_through
from robustlab.attacks.gradients.base import Gradient
from robustlab.attacks.gradients.query import GradientQuery
from robustlab.attacks.query_result import QueryResult
from robustlab.core.errors import RobustlabError, did_you_mean, offer
from robustlab.core.spec import BareText, register
from robustlab.core.text import shown


@register("bpda")
class BPDAGradient(Gradient):
    """The classifier's gradient; the backward pass replaces one part by the identity or by a stand-in.

    It is for a part that has no useful gradient (rounding, JPEG, a search). The part is found by its name in
    the classifier, whose code need not change. The module `BPDA` does the same when you build a model.
    """

    needs_gradient = False  # of the classifier as it is: the replaced part need not have one
    part: BareText
    """The submodule's name as in ``model.named_modules()``, such as ``quantizer`` or ``front.jpeg``; the end
    of the name is enough. The submodule takes one tensor and returns one."""
    stand_in: BareText | None = None
    """The name of another submodule, whose gradient is used; default: the identity's gradient."""

    def estimate(self, query: GradientQuery) -> tuple[Tensor, QueryResult]:
        """Return the gradient.

        Raises:
            RobustlabError: the classifier has no such part, or the stand-in returns another shape.
        """
        part = _find(query.model, self.part)
        stand_in = nn.Identity() if self.stand_in is None else _find(query.model, self.stand_in)
        with self._standing_in(part, stand_in):
            return query.exact()

    @contextmanager
    def _standing_in(self, part: nn.Module, stand_in: nn.Module) -> Iterator[None]:
        def replace(_: nn.Module, inputs: tuple[Any, ...], values: Tensor) -> Tensor:
            smooth = stand_in(*inputs)
            if smooth.shape != values.shape:
                shapes = f"{tuple(values.shape)}, and its stand-in {tuple(smooth.shape)}"
                raise RobustlabError(f"bpda: the part {shown(self.part)} returns {shapes}")
            return straight_through(values, smooth)

        handle = part.register_forward_hook(replace)
        try:
            yield
        finally:
            handle.remove()


def _find(model: nn.Module, name: str) -> nn.Module:
    """Return the submodule of a name; if several names end in it, the least nested one."""
    known: dict[str, nn.Module] = {path: module for path, module in model.named_modules() if path}
    # The attacked module may contain the user's model, as a module that casts its images does.
    matching = [path for path in known if f".{path}".endswith(f".{name}")]
    least = min((path.count(".") for path in matching), default=0)
    highest = [path for path in matching if path.count(".") == least]
    if len(highest) == 1:
        return known[highest[0]]
    if highest:
        raise RobustlabError(f"bpda: the model has several parts {shown(name)}: {', '.join(highest)}")
    raise RobustlabError(
        f"bpda: the model has no part {shown(name)}{did_you_mean(name, known)}; {offer(known)}"
    )
