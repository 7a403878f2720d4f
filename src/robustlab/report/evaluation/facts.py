"""The main facts of an evaluation, for its report in Markdown and for other programs."""

from robustlab.report import text
from robustlab.report.markdown import code, plain
from robustlab.runs.evaluation import Evaluation
from robustlab.runs.records import Figure


def facts(results: Evaluation) -> list[str]:
    """Return the lines of a list in Markdown: the figures, the model and the verdict."""
    doubt = " (not to be believed)" if results.doubtful else ""
    lines = [
        ""
        if results.proofs_only
        else f"- robust accuracy, worst case: **{text.share(results.robust)}**{doubt}, 95 % interval "
        f"{text.interval(results.robust)}, n = {text.count(results.robust.n)}",
        f"- clean accuracy: {figure(results.clean)}",
        f"- proven lower bound: {figure(results.certified)}" if results.certified else "",
        f"- model: {plain(results.subject.name)}{_front(results)}",
        f"- threat model: {code(results.threat)}",
        f"- verdict: {plain(results.verdict)}",
    ]
    return [line for line in lines if line]


def figure(value: Figure) -> str:
    """Return a figure with its interval."""
    return f"{text.share(value)} ({text.interval(value)})"


def settings(results: Evaluation) -> dict[str, str]:
    """Return what was evaluated and how, by name, for a program that lists runs."""
    values: dict[str, object] = {
        "model": results.subject.name,
        "source": results.subject.source,
        "preprocessing": results.subject.preprocessing,
        "dataset": results.images.name,
        "split": results.images.split,
        "images": results.images.n,
        "threat": results.threat,
        "attacks": results.attacks,
        "goal": results.goal,
        "mode": results.mode,
        "samples": results.samples,
        "eight_bit": results.eight_bit,
        "certifier": results.certificates.certifier if results.certificates else "",
        "seed": results.seed,
        "device": results.compute.device,
        "precision": results.compute.training_precision,
    }
    return {name: str(value) for name, value in values.items() if value != ""}


def _front(results: Evaluation) -> str:
    """Describe the preprocessing in front of the network."""
    subject = results.subject
    origin = plain(subject.preprocessing_from) or "`--mean`, `--std`, `--scale`, `--resize`, `--crop`"
    return f", behind {plain(subject.preprocessing)} ({origin})" if subject.preprocessing else ""
