"""Are adversarial images of other classifiers misclassified by this one too?"""

from robustlab.attacks import MIFGSM, Attack, SurrogateGradient
from robustlab.core.spec import register
from robustlab.evaluation.checks.attack_runner import AttackRunner, NotApplicable
from robustlab.evaluation.checks.survivors import SurvivorCheck
from robustlab.evaluation.metrics import percent

LIMIT = 0.005
"""Our choice; the check itself is Athalye et al.'s (2018, arXiv:1802.00420)."""


@register("transfer")
class Transfer(SurvivorCheck):
    """Attacks the surrogates, and evaluates the classifier on the results."""

    passes = 45
    title = "Attacks on other classifiers find no more"
    expected = f"what fools the surrogates lowers robust accuracy by at most {percent(LIMIT)}"
    meaning = (
        "The weaknesses exist, for another classifier's gradients find them; this one's own gradients "
        "do not: they are masked."
    )
    most, limit, transfers = 200, LIMIT, True

    def attack(self, runner: AttackRunner) -> Attack:
        if not runner.surrogates:
            raise NotApplicable(
                "no other classifier was given, and robustlab has none; name one with --surrogate"
            )
        return MIFGSM(steps=20, gradient=SurrogateGradient())
