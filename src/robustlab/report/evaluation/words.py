"""The findings of an evaluation, as sentences computed from its results."""

from robustlab.core.text import level
from robustlab.report.evaluation.view import EvaluationView
from robustlab.report.text import count, counted, share
from robustlab.runs.evaluation import CheckRecord, Evaluation

_SHOWN_IDS = 12


def meaning(view: EvaluationView) -> str:
    """Return the meaning of the figure in plain words."""
    results, n = view.results, view.results.clean.n
    classifier = f"Of {counted(n, 'image')} the classifier gets"
    if view.correct == 0:
        return f"{classifier} none right even without an attack, so there is nothing left to attack."
    if n == 1 and results.rows and not results.goal:
        now = "still right" if view.robust else "wrong"
        after = "the attack" if len(results.rows) == 1 else f"the {len(results.rows)} attacks"
        return f"The only image is correct as it is, and {now} after {after}. {_attacker(results)}"
    correct = "all" if view.correct == n else count(view.correct)
    if results.proofs_only:
        ran = results.certificates
        number = ran.count if ran else 0
        proven = {0: "none is", view.correct: "all of them are"}.get(number, "") or f"{count(number)} are"
        if ran and ran.terms:
            return f"{classifier} {correct} right as they are, and {proven} certified. {_attacker(results)}"
        return (
            f"{classifier} {correct} right as they are, and {proven} proven to stay so. {_attacker(results)}"
        )
    if not results.rows:
        return f"{classifier} {correct} right as they are. No attack ran, so this says nothing of robustness."
    left = {0: "none", view.correct: "all of them"}.get(view.robust, count(view.robust))
    several = "all" if view.robust == 0 else "the worst of"
    attacks = "the attack" if len(results.rows) == 1 else f"{several} {len(results.rows)} attacks"
    if results.goal:
        wanted = f"The attacker wants {results.goal}; {left} withstood {attacks}"
        return f"{classifier} {correct} right as they are. {wanted}. {_attacker(results)}"
    return f"{classifier} {correct} right as they are, and {left} still after {attacks}. {_attacker(results)}"


def reached(view: EvaluationView) -> str:
    """Return how often each class was reached, if all of them were targets."""
    targets = view.results.targets
    tried, won = sum(part.tried for part in targets), sum(part.reached for part in targets)
    return f"Of {counted(tried, 'pair')} of an image and another class, {count(won)} reached the class."


def bounds(view: EvaluationView) -> str:
    """Return bounds of the true figure on these images: the attacked and the proven figure."""
    results = view.results
    if view.correct == 0:
        return ""
    if results.doubtful:
        if any(check.doubts == "evaluation" for check in results.red_flags):
            return f"A check failed, so the truth may be far from {share(results.robust)}, lower or higher."
        return (
            f"A check failed, so {share(results.robust)} is no more than an upper bound, "
            "and perhaps far from the truth."
        )
    if results.proofs_only:
        statistical = results.certificates is not None and results.certificates.terms
        return "" if statistical else _undecided(view)
    if view.robust == 0:
        return "On these images this is exact: for every correct one, an adversarial image was found."
    if not results.bounded:
        return "A finer grid or other draws may find more; changes of other kinds are another question."
    if results.certified is None or not view.certified:
        lower = "" if results.certified is None else ", and no image is proven to withstand all of them"
        return f"The true figure can only be lower, never higher: a stronger attack may exist{lower}."
    if view.certified >= view.robust:
        return "Every image that withstood is proven to withstand any attack: on these images this is exact."
    low, high = share(results.certified), share(results.robust)
    return (
        f"For {counted(view.certified, 'image')} it is proven that no attack can succeed. "
        f"The true figure on these images lies between {low} (proven) and {high} (attacked)."
    )


def _undecided(view: EvaluationView) -> str:
    results, low = view.results, view.certified or 0
    if low >= view.robust:
        return "On these images this is exact: no image is undecided."
    least = share(results.certified) if results.certified and low else "0 %"
    left = view.robust - low
    return (
        f"{counted(left, 'image')} {'is' if left == 1 else 'are'} undecided: an attack may exist, or a proof "
        f"that this certifier does not find. The true figure on these images lies between {least} (proven) "
        f"and {share(results.robust)} (clean)."
    )


def proofs(view: EvaluationView) -> str:
    """Return which certifier ran, on how many images, and what it took; empty if none ran."""
    ran = view.results.certificates
    if ran is None or not ran.images:
        return ""
    if ran.terms:
        return (
            f"{ran.certifier} certified {count(ran.count)} of {counted(ran.images, 'image')} {ran.terms}, in "
            f"{ran.seconds / ran.images:.2g} s an image. An image for which it abstained is not certified. "
            "A certificate is about the most frequent class over all noise of standard deviation "
            f"{ran.sigma:g}, which the evaluated classifier estimates by a few draws. It is not a proof, and "
            "stops no attack."
        )
    return (
        f"{ran.certifier} looked for proofs for {counted(ran.images, 'image')} and found "
        f"{count(ran.count)}, in {ran.seconds / ran.images:.2g} s an image."
    )


def order(view: EvaluationView) -> str:
    """Return which images each attack got."""
    settled = "not broken" if view.certified is None else "neither proven nor broken"
    said = f"Each attack met only the images that were {settled} before it."
    if view.results.curve is not None:
        said += " The last ones looked for the nearest success of every correct image, for the curve"
        said += "." if view.certified is None else ", except those that are proven as far as it reaches."
    return said


def corrupted(view: EvaluationView) -> str:
    """Return the meaning of the table of corruptions; empty without one."""
    table = view.corruptions
    if table is None:
        return ""
    if table.accuracies:
        return "The accuracy on all images under each corruption alone, by severity."
    return (
        "The images that each corruption broke, of those that it met, by severity. A corruption met only the "
        "images that no earlier attack broke; with --mode test-set each one meets all images."
    )


def unconfirmed(view: EvaluationView) -> str:
    """Return the sentence on successes that did not hold; empty if there are none."""
    number = len(view.results.unconfirmed)
    if not number:
        return ""
    return (
        f"On {counted(number, 'image')} an attack's success did not hold when it was measured again in fp32; "
        "it does not count, and the later attacks went on with the image."
    )


def cliff(view: EvaluationView) -> str:
    """Return the warning that the curve's search is weaker than the attacks; empty if it is not."""
    if not view.cliff:
        return ""
    return (
        f"The curve falls at eps {level(view.results.eps)} and hardly around it: there all attacks searched, "
        "elsewhere only those for the nearest success. So below that eps the truth is probably lower than "
        "the curve."
    )


def nothing_broken(view: EvaluationView) -> str:
    """Return how to read an evaluation in which no attack succeeded."""
    if view.correct == 0 or not view.results.rows:
        return "There was nothing to break."
    if view.certified is not None and view.certified >= view.robust:
        return "No image was broken, and the proofs say that none can be."
    if not view.results.bounded:
        return "No attack broke a single image."
    return (
        "No attack broke a single image. A classifier is seldom that strong; an attack that does not work "
        "looks the same. The checks distinguish the two."
    )


def closest(view: EvaluationView) -> str:
    """Return at which larger eps the first images break; empty without a curve."""
    curve = view.results.curve
    if curve is None:
        return ""
    for eps, figure in zip(curve.eps, curve.robust, strict=True):
        lost = view.correct - figure.count
        if lost > 0:
            verb = "breaks" if lost == 1 else "break"
            return f"The closest call: at eps {level(eps)} {counted(lost, 'image')} {verb}."
    return f"None breaks up to eps {level(curve.eps[-1])} either, where the curve ends." if curve.eps else ""


def alarm(view: EvaluationView) -> tuple[str, str]:
    """Return the warning about failed checks: a short exclamation, and what the figure means now."""
    failed, checks = len(view.results.red_flags), counted(len(view.results.checks), "check")
    figure = share(view.results.robust)
    if view.results.doubtful:
        if view.results.exact:
            said = (
                f"{failed} of {checks} failed. {figure} is exact for these images, labels and preprocessing."
            )
            return "Are these the right images?", said
        said = f"{failed} of {checks} failed. The true robust accuracy may be far from {figure}."
        return "Do not believe this figure.", said
    said = f"Yet no attack could bring {figure} any lower: doubts about the attacks' strength do not matter."
    return f"{failed} of {checks} failed.", said


def reason(check: CheckRecord) -> str:
    """Return the result of a check as a sentence."""
    return f"{check.found.rstrip('.')}. Expected: {check.expected.rstrip('.')}."


def not_finite(view: EvaluationView) -> str:
    """Return the sentence on images without a valid answer; empty if there are none."""
    ids = view.results.not_finite
    if not ids:
        return ""
    shown = ", ".join(str(number) for number in ids[:_SHOWN_IDS])
    more = f" and {count(len(ids) - _SHOWN_IDS)} more" if len(ids) > _SHOWN_IDS else ""
    return (
        f"At or near {counted(len(ids), 'image')} the classifier returned NaN or infinity instead of an "
        f"answer, which counts as an error (ids {shown}{more})."
    )


def _attacker(results: Evaluation) -> str:
    """Return what the attacker may do, as text."""
    way = results.attacker or f"change the image within {results.threat}"
    levels = ", in the steps of an 8-bit file" if results.eight_bit else ""
    return f"The attacker may {way}{levels}."
