"""L2 radii by randomized smoothing (Cohen, Rosenfeld & Kolter 2019, arXiv:1902.02918, figure 1: CERTIFY).

The smoothed classifier answers with the class that a base classifier gives most often to the image plus
Gaussian noise. A radius is a bound for this classifier, not for the base classifier; and it holds with a
confidence below 1, over the draws of the certification. Here an image that is certified and broken may happen
by chance; for the certain proofs of a `Certifier`, robustlab treats it as an error.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor, nn

from robustlab.core import seeding
from robustlab.core.arguments import check_whole
from robustlab.core.batches import BatchSize, check_batch_size, in_batches
from robustlab.core.calling import ask, calling
from robustlab.core.errors import RobustlabError, SpecError
from robustlab.core.inputs import as_images, as_numbers, check_eval_mode
from robustlab.core.isolation import own_settings
from robustlab.core.logits import answered
from robustlab.core.text import shown
from robustlab.core.threads import begin_work

ABSTAINED = -1
"""The class of an image for which the lower bound of the probability is at most 1/2."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SmoothedRadii:
    """What smoothing certifies for some images, each with a confidence of its own.

    Attributes:
        classes: (N,) int64, of the smoothed classifier; `ABSTAINED` where no class is certain enough.
        radii: (N,) float64, the L2 distance on the pixel scale, below which the class can't change; 0 where
            it abstained.
        sigma: standard deviation of the noise on the pixel scale.
        n0: draws that chose the class.
        n: draws that bounded its probability.
        alpha: the probability, for each image by itself, that its radius is too large. The confidence is
            1 - alpha; it does not hold for all images at once.
    """

    classes: Tensor
    radii: Tensor
    sigma: float
    n0: int
    n: int
    alpha: float

    def certified(self, labels: Any, eps: float) -> Tensor:
        """Return (N,) bool: whether the class is the label, and the radius more than ``eps`` (L2).

        An image for which it abstained counts as wrong, also at eps 0.
        """
        labels = as_numbers("labels", labels, self.classes)
        certified: Tensor = (self.classes == labels) & (self.radii > eps)
        return certified


@own_settings()
@torch.no_grad()
def smoothed_radii(
    classifier: nn.Module,
    images: Tensor,
    *,
    sigma: float = 0.25,
    n0: int = 100,
    n: int = 100_000,
    alpha: float = 0.001,
    ids: Any = None,
    seed: int = 0,
    batch_size: int | BatchSize = 1000,
    on_image: Callable[[int], None] | None = None,
) -> SmoothedRadii:
    """Find the class of the smoothed classifier for each image, and a radius within which it stays.

    The n0 draws choose a class, the n draws after them bound its probability from below (Clopper & Pearson
    1934). If the bound p is above 1/2, the radius is ``sigma`` times the normal quantile of p.

    Args:
        classifier: the base classifier, images (N, C, H, W) to logits (N, K), in eval mode. It gets images
            with noise that are not clipped to [0, 1].
        images: (N, C, H, W), floating on the pixel scale or uint8 in 0..255.
        sigma: standard deviation of the noise on the pixel scale, above 0.
        n0: draws that choose the class, at least 1.
        n: draws that bound its probability, at least 1; each is a forward pass.
        alpha: the accepted probability, between 0 and 1, that an image's radius is too large.
        ids: (N,) whole numbers from 0 on, on which the draws depend; default: the images' places.
        seed: of the draws.
        batch_size: draws per pass; it changes speed and memory alone. Halved where memory runs out.
        on_image: called with 1 after each image.

    Raises:
        RobustlabError: an argument out of its range; an image out of [0, 1]; a model in train mode.
    """
    with calling("the model", " when its parts were looked at"):
        check_eval_mode(classifier, "certifying")
    images = as_images(images)
    _check(sigma, n0, n, alpha)
    check_batch_size(batch_size)
    named = as_numbers("ids", torch.arange(len(images)) if ids is None else ids, images)
    classes, radii = torch.full((len(images),), ABSTAINED), torch.zeros(len(images), dtype=torch.float64)
    for place, (image, number) in enumerate(zip(images, named.tolist(), strict=True)):

        def counts(purpose: str, draws: int, image: Tensor = image, number: int = number) -> Tensor:
            key = seeding.derive(seed, "smoothing", purpose, number)
            return _counts(classifier, image, sigma, key, draws, batch_size)

        likeliest = int(counts("choice", n0).argmax())
        bound = lower_bound(int(counts("bound", n)[likeliest]), n, alpha)
        if bound > 0.5:
            classes[place], radii[place] = likeliest, sigma * NormalDist().inv_cdf(bound)
        if on_image is not None:
            on_image(1)
    return SmoothedRadii(classes=classes, radii=radii, sigma=sigma, n0=n0, n=n, alpha=alpha)


def lower_bound(successes: int, draws: int, alpha: float) -> float:
    """Return the one-sided lower bound of Clopper & Pearson for a probability, with confidence 1 - alpha."""
    from scipy.stats import beta  # takes a second

    return float(beta.ppf(alpha, successes, draws - successes + 1)) if successes else 0.0


def _counts(
    classifier: nn.Module, image: Tensor, sigma: float, key: int, draws: int, batch_size: int | BatchSize
) -> Tensor:
    """Return (K,) how many of the draws got each class; one without an answer gets none."""

    def classified(numbers: Tensor) -> Tensor:
        noisy = image + sigma * seeding.normal(key, numbers, tuple(image.shape))
        begin_work(noisy)
        logits: Tensor = ask(classifier, noisy)
        if logits.ndim != 2 or len(logits) != len(noisy):
            raise RobustlabError(f"the model must return logits (N, K), found shape {tuple(logits.shape)}")
        return logits.argmax(dim=1)[answered(logits)].bincount(minlength=logits.shape[1])

    return torch.stack(in_batches(torch.arange(draws, device=image.device), batch_size, classified)).sum(
        dim=0
    )


def _check(sigma: object, n0: object, n: object, alpha: object) -> None:
    check_whole("n0", n0, 1)
    check_whole("n", n, 1)
    for name, value, most in (("sigma", sigma, float("inf")), ("alpha", alpha, 1.0)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < most:
            limits = "above 0" if most > 1 else "between 0 and 1"
            raise SpecError(f"{name} must be a number {limits}, found {shown(value)}")
