"""A search for certificates on the terminal."""

from rich.console import Console

from robustlab.cli.columns import Column, print_table
from robustlab.cli.escaping import escape
from robustlab.cli.tables import shown_path
from robustlab.cli.texts import split_figure
from robustlab.evaluation.finished import read_finished
from robustlab.evaluation.metrics import proportion
from robustlab.runs.run import EvaluationFolder

_COLUMNS = (Column("images", 2), Column("share"), Column("95 % interval", 1))
_SHOWN_IDS = 20


def show(run: EvaluationFolder) -> None:
    """Print how many images are certified, undecided and misclassified, and the cost."""
    console, results = Console(highlight=False), run.results
    ids: dict[str, list[int]] = {"certified": [], "undecided": [], "misclassified": []}
    for verdict in read_finished(run).verdicts:
        ids["certified" if verdict.certificate else verdict.state].append(verdict.image_id)
    terms = results.certificates.terms if results.certificates else ""
    rows = [
        [
            f"{state} {terms}" if state == "certified" and terms else state,
            str(len(found)),
            *split_figure(proportion(len(found), results.images.n)),
        ]
        for state, found in ids.items()
    ]
    print_table(console, escape(results.title), "", _COLUMNS, rows)
    if undecided := ids["undecided"]:
        more = f" and {len(undecided) - _SHOWN_IDS} more" if len(undecided) > _SHOWN_IDS else ""
        console.print(f"Undecided: images {', '.join(map(str, undecided[:_SHOWN_IDS]))}{more}")
    if (ran := results.certificates) and ran.images:
        passes = f"{ran.forwards} forward and {ran.backwards} backward passes"
        cost = f"{ran.seconds / ran.images:.2g} s an image, {ran.seconds:.1f} s in all, {passes}"
        console.print(f"{escape(ran.certifier)}: {cost}")
    folder = escape(str(shown_path(run.folder)))
    console.print(f"Each image: {folder}/images.csv; report: {folder}/report.html", soft_wrap=True)
    console.print(escape(results.verdict), style="bold")
