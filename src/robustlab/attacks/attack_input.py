"""The arguments of `Attack.run`, checked once."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from torch import Tensor, nn

from robustlab.attacks.criteria import Criterion, GivenTargets, as_criterion
from robustlab.attacks.freezing import frozen
from robustlab.core.arguments import check_kind
from robustlab.core.calling import calling
from robustlab.core.errors import RobustlabError
from robustlab.core.inputs import Numbers, as_images, as_numbers, as_radii, check_eval_mode
from robustlab.core.own_dtype import in_own_dtype
from robustlab.core.threads import begin_work
from robustlab.threats import ThreatModel, as_threat


@dataclass(frozen=True, kw_only=True)
class AttackInput:
    """Images with their labels, radii and ids, the classifiers, the threat model and the criterion."""

    model: nn.Module
    surrogates: Sequence[nn.Module]
    images: Tensor
    labels: Tensor
    ids: Tensor
    eps: Tensor
    threat: ThreatModel
    targets: Tensor | None
    criterion: Criterion

    @classmethod
    def checked(
        cls,
        model: nn.Module,
        images: Tensor | np.ndarray[Any, Any],
        labels: Numbers,
        threat: ThreatModel | str,
        *,
        criterion: Criterion | str | int,
        targets: Numbers | int | None,
        eps: Numbers | float | None,
        ids: Numbers | None,
        surrogates: Sequence[nn.Module],
    ) -> Self:
        """Return the checked arguments of `Attack.run`.

        Raises:
            RobustlabError: an argument is refused, as `Attack.run` describes.
        """
        threat, images = as_threat(threat), as_images(images)
        begin_work(images, "input")
        labels = as_numbers("labels", labels, images)
        targets = None if targets is None else as_numbers("targets", targets, images)
        if targets is not None and criterion != "misclassified":
            raise RobustlabError("give targets=... (a class per image) or criterion=..., not both")
        ids = as_numbers("ids", range(len(images)) if ids is None else ids, images, negative=True)
        # A larger radius allows the same images, but its steps and draws would overflow float32.
        largest = threat.largest_distance(tuple(images.shape[1:]))
        radii = as_radii(threat.eps if eps is None else eps, images).clamp(max=largest)
        check_kind("surrogates", surrogates, list | tuple, "a list of models")
        with calling("the model", " when its parts were looked at"):
            for network in (model, *surrogates):
                check_eval_mode(network, "attacking")
        return cls(
            model=model,
            surrogates=surrogates,
            images=images,
            labels=labels,
            ids=ids,
            eps=radii,
            threat=threat,
            targets=targets,
            criterion=as_criterion(criterion),
        )

    def prepared(self, stack: ExitStack) -> Self:
        """Return the input to attack. The classifiers' parameters are frozen until the stack closes."""
        # Images that were created in inference mode, which ends here.
        images = self.images.clone() if self.images.is_inference() else self.images
        networks = (self.model, *self.surrogates)
        for network in networks:
            stack.enter_context(frozen(network))
        if len(images):
            networks = tuple(in_own_dtype(network, images) for network in networks)
        return replace(self, images=images, model=networks[0], surrogates=networks[1:])

    def goal(self, rows: Tensor) -> Criterion:
        """Return the criterion of a part of the images."""
        return self.criterion if self.targets is None else GivenTargets(classes=self.targets[rows])

    @property
    def is_targeted(self) -> bool:
        """Whether the goal is a class of each image."""
        return self.targets is not None or self.criterion.targeted
