"""How to cite robustlab, and the settings of an evaluation in one sentence."""

import re

from robustlab.report.evaluation.view import EvaluationView
from robustlab.report.text import counted, first_word, interval, listing, share, spec


def bibtex(view: EvaluationView) -> str:
    """Return a BibTeX entry of the robustlab version that ran."""
    year = view.results.created[:4]
    fields = {
        "author": "{The robustlab authors}",
        "title": "{robustlab}: the robustness of image classifiers",
        "version": _version(view),
        "year": year if re.fullmatch(r"\d{4}", year) else "",
    }
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join(["@software{robustlab,", *lines, "}"])


def settings(view: EvaluationView) -> str:
    """Return the measurement and its settings as a sentence for a paper."""
    results = view.results
    names = list(dict.fromkeys(first_word(row.attack) for row in results.rows))
    ran = f" ({listing(names)})" if names else ""
    images = f"{counted(results.images.n, 'image')} of {results.images.name} ({results.images.split})"
    more = [f"mode {results.mode}", f"seed {results.seed}"]
    more += ["8-bit images alone"] if results.eight_bit else []
    more += [f"the attacker wants {results.goal}"] if results.goal else []
    version = _version(view)
    ours = f"robustlab{' ' + version if version else ''}"
    if results.proofs_only and results.certificates:
        certificates = results.certificates
        figure = f"{share(certificates.certified)} (95 % interval {interval(certificates.certified)})"
        figure += f", {certificates.terms}," if certificates.terms else ""
        return (
            f"{ours} found a certified accuracy of {figure} for {results.subject.name} on {images} within "
            f"{spec(results.threat)}, by {spec(certificates.certifier)}; seed {results.seed}."
        ).replace("\u00a0", " ")
    return (
        f"{ours} measured a robust accuracy of {share(results.robust)} "
        f"(95 % interval {interval(results.robust)}) for {results.subject.name} on {images} within "
        f"{spec(results.threat)}, by the attacks {spec(results.attacks)}{ran}; {', '.join(more)}."
    ).replace("\u00a0", " ")


def _version(view: EvaluationView) -> str:
    return view.results.compute.versions.get("robustlab", "")
