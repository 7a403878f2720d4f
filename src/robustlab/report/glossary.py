"""The terms that a report uses, each explained once."""

import re

_TERMS = {
    "FGSM": (
        r"\bfgsm",
        "the fast gradient sign method: one step that moves every pixel by eps, in the direction "
        "that raises the classifier's loss",
    ),
    "PGD": (
        r"\bpgd",
        "projected gradient descent: many small steps like FGSM's, never further than eps from the image; "
        "far stronger than a single step",
    ),
    "eps": (r"\beps\b", "the largest change that the attacker may make to any pixel"),
    "std": (r"\bstd\b", "the standard deviation of the noise added to every pixel"),
    "White box": (r"white box", "the attacker sees the whole classifier, its defense included"),
    "Transfer": (r"transfer|test set of", "images made to fool one classifier are shown to another"),
    "Adversarial training": (
        r"adversarial(ly)? train",
        "learning from a mixture of clean and attacked images",
    ),
    "VAE": (
        r"\bvae",
        "a variational autoencoder: it squeezes an image into a few numbers and draws it again from them",
    ),
    "GAN": (
        r"\bgan\b|discriminator",
        "a generative adversarial network: a generator draws images, a discriminator D tries to "
        "distinguish them from real ones; D(x) is the probability it gives to x being real",
    ),
    "KL": (
        r"\bkl\b",
        "a term of the VAE's loss that pulls its numbers towards a normal distribution, so that it can draw",
    ),
    "APGD": (
        r"\bapgd\(",
        "PGD that chooses its own step size: it halves the step where the loss stops rising, "
        "and goes on from the best point so far",
    ),
    "FAB": (r"\bfab\(", "steps to the nearest point at which the classifier errs, then back along the way"),
    "Square": (
        r"\bsquare\(",
        "a random search that changes square patches and keeps what helps; it needs no gradients, "
        "so it still works where they mislead",
    ),
    "Sparse-RS": (
        r"\bsparse rs\(",
        "a random search that moves a few changed values to other places and keeps what helps; it needs no "
        "gradients",
    ),
    "FMN": (
        r"\bfmn\(",
        "a search for the nearest error, whose radius shrinks while it succeeds and grows while it fails",
    ),
    "DistanceSearch": (
        r"\bdistance search\(",
        "many short searches for the nearest error, each from the nearest one so far with noise",
    ),
    "DDN": (r"\bddn\(", "a search for the nearest error in L2, its direction apart from its length"),
    "C&W": (
        r"\bcw\(",
        "minimises the distance and the classifier's margin together, weighing them by bisection",
    ),
    "DeepFool": (
        r"\bdeepfool\(",
        "takes the classifier for linear and steps to its nearest border, repeatedly",
    ),
    "SPSA": (r"\bspsa\(", "estimates gradients from answers at random points nearby, and follows them"),
    "HopSkipJump": (r"\bhop skip jump\(", "walks along the border between classes; it sees the class alone"),
    "RayS": (
        r"\brays\(",
        "tries which values to raise and which to lower, block by block; it sees the class alone",
    ),
    "Boundary attack": (
        r"\bboundary\(",
        "a random walk along the border between classes; it sees the class alone",
    ),
    "ROC": (r"\broc\b", "detections against false positives at every possible threshold"),
}


class Glossary:
    """Explains each term, except the known ones, in the first text that uses it."""

    def __init__(self, *known: str) -> None:
        self._left = {term: text for term, text in _TERMS.items() if term not in known}

    def explain(self, *texts: str | None) -> list[tuple[str, str]]:
        """Return the terms in these texts that were not explained before."""
        whole = " ".join(text for text in texts if text).replace("_", " ")
        terms = [
            term for term, (pattern, _) in self._left.items() if re.search(pattern, whole, re.IGNORECASE)
        ]
        return [(term, self._left.pop(term)[1]) for term in terms]
