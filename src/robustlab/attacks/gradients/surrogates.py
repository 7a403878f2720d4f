"""Gradients of other classifiers, from which images transfer (Papernot et al. 2016, arXiv:1605.07277)."""

from torch import Tensor

from robustlab.attacks.gradients.base import Gradient
from robustlab.attacks.gradients.query import GradientQuery
from robustlab.core.errors import RobustlabError
from robustlab.core.spec import register


@register("surrogates")
class SurrogateGradient(Gradient):
    """The sum of the gradients of the surrogates of `Attack.run`; one pass each way per surrogate.

    It does not use gradients of the attacked classifier. Some attacks choose their path by gradients alone
    (`FGSM`, `PGD`, `MIFGSM`). They evaluate the classifier only at the last point, which is the last point of
    the attack on the surrogate itself, with the same seed and ids. So `FGSM` in ``max-loss`` mode returns the
    same image as on the surrogate. `PGD` and `MIFGSM` return the best point of a path; they return the same
    image if the last point is the best one on the surrogate. An attack that also uses losses (such as `APGD`,
    or one that looks for the nearest success) measures these on the attacked classifier, and takes another
    path.
    """

    needs_gradient = False
    asks_classifier = False
    passes = None

    def estimate(self, query: GradientQuery) -> tuple[Tensor, None]:
        """Return the sum.

        Raises:
            RobustlabError: there are no surrogates.
        """
        if not query.surrogates:
            raise RobustlabError("an attack that transfers needs --surrogate, or surrogates=[...]")
        first, *rest = (query.exact(surrogate=network)[0] for network in query.surrogates)
        return sum(rest, start=first), None
