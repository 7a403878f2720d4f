"""A run's main tables on the terminal."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from robustlab.cli.columns import Column, print_table
from robustlab.cli.escaping import escape
from robustlab.cli.texts import split_figure
from robustlab.core.errors import SpecError
from robustlab.runs.results import Results, Row
from robustlab.runs.run import EvaluationFolder, Run, TrainingRun

_CASCADE = (
    Column("images", 3),
    Column("broken", 2),
    Column("accuracy left"),
    Column("95 % interval", 1),
    Column("passes", 4),
)


_COLOURS = {"holds": "green", "refuted": "red", "open": "yellow"}


def show_results(run: Run) -> None:
    """Print the rows, the claims, and at the end the findings and the path of the report."""
    console = Console(highlight=False)
    results = run.results
    _print_rows(console, results, "summary", f"{escape(results.title)}: accuracy")
    _print_rows(console, results, "more", "More rows")
    console.print(_claims(results))
    for row in results.rows:
        if row.group == "footnote":
            console.print(f"[dim]{escape(row.title)}: {row.accuracy}. {escape(row.note)}[/dim]")
    if results.dataset.fallback:
        console.print(
            f"[bold yellow]Measured on {escape(results.dataset.name)}, not on the study's dataset: "
            "not comparable.[/bold yellow]"
        )
    if results.quick:
        console.print("[yellow]A quick run: few epochs, few images.[/yellow]")
    _print_finding(console, results)
    console.print(f"Report: {escape(str(shown_path(run.folder) / 'report.html'))}", soft_wrap=True)


def show_evaluation(run: EvaluationFolder) -> None:
    """Print the result of each attack, and the path of the report; `show_verdict` comes last."""
    console = Console(highlight=False)
    results = run.results
    n = results.images.n
    rows = [["clean images", str(n), "–", *split_figure(results.clean), str(n * results.samples)]]
    for row in results.rows:
        counts = [
            str(row.attacked),
            str(row.broken),
            *split_figure(row.robust),
            str(row.forwards + row.backwards),
        ]
        rows.append([escape(_brief(row.attack)), *counts])
    last = [
        "robust accuracy",
        str(n),
        "",
        *split_figure(results.robust),
        str(results.forwards + results.backwards),
    ]
    rows.append([f"[bold]{cell}[/bold]" for cell in last])
    columns = _CASCADE if not results.subject.black_box else (*_CASCADE[:-1], Column("queries", 4))
    print_table(console, escape(results.title), "", columns, rows)
    if results.certified is not None:
        console.print(f"Certified: {results.certified}")
    elif results.certificates is not None:
        ran = results.certificates
        console.print(f"{escape(ran.certifier)}: {ran.certified} certified {ran.terms}; no proofs")
    if results.not_finite:
        console.print(
            f"[yellow]No answer (NaN or infinity) on {len(results.not_finite)} images: not robust.[/yellow]"
        )
    if results.unconfirmed:
        console.print(
            f"[yellow]{len(results.unconfirmed)} successes did not hold when measured again, "
            "and do not count.[/yellow]"
        )
    console.print(f"Report: {escape(str(shown_path(run.folder) / 'report.html'))}", soft_wrap=True)


def show_training(run: TrainingRun) -> None:
    """Print the accuracies, where the weights are, and what to type to attack the network."""
    console, card = Console(highlight=False), run.card
    console.print(f"[bold]{escape(run.results.title)}[/bold]: epoch {card['best_epoch']} of {card['epochs']}")
    for title, key in (("Validation", "validation_accuracy"), ("under attack", "validation_robust_accuracy")):
        if card[key] is not None:
            console.print(f"{title}: {100 * card[key]:.2f} %")
    for row in run.results.rows:
        proven = f"; proven: {row.certified}" if row.certified else ""
        console.print(escape(f"{row.title}: {row.accuracy}{proven}"))
    folder = escape(str(shown_path(run.folder)))
    console.print(f"Weights: {folder}/{card['weights']['file']}", soft_wrap=True)
    console.print(f"Card: {folder}/card.md; report: {folder}/report.html", soft_wrap=True)
    for number, command in enumerate(card["check"]):
        console.print(("Attack it:  " if number == 0 else " " * 12) + escape(command), soft_wrap=True)


def shown_path(folder: Path) -> Path:
    """Return the shortest form of a path from the working directory."""
    from robustlab.core.isolation import working_folder

    here = working_folder()
    return folder.relative_to(here) if here and folder.is_relative_to(here) else folder


def show_verdict(run: EvaluationFolder) -> None:
    """Print the verdict on the figure."""
    style = "bold red" if run.results.doubtful else "bold"
    Console(highlight=False).print(escape(run.results.verdict), style=style)


def _brief(row: str) -> str:
    """Return a row's attack without the arguments that have their default values."""
    from robustlab.attacks import Attack
    from robustlab.core.spec import parse

    # A search for the nearest success shows its eps, and a targeted attack its target.
    mark = next((mark for mark in (" within ", " for ") if mark in row), "\0")
    attack, *rest = row.partition(mark)
    try:
        return parse(Attack, attack).brief() + "".join(rest)
    except SpecError:  # of an attack that is not registered in this process
        return row


def _print_rows(console: Console, results: Results, group: str, title: str) -> None:
    columns = [Column("reference", 2)]
    for number, variant in enumerate(results.columns):
        columns += [Column(escape(variant.title), number), Column("95 % interval", 9)]
    rows = []
    for name in dict.fromkeys(row.id for row in results.rows if row.group == group):
        same = [row for row in results.rows if row.group == group and row.id == name]
        reference = "–" if same[0].reference is None else f"{100 * same[0].reference:.0f} %"
        cells = [cell for variant in results.columns for cell in _cells(same, variant.id)]
        rows.append([escape(same[0].title), reference, *cells])
    if rows:
        print_table(console, title, "row", columns, rows)


def _cells(rows: list[Row], variant: str) -> tuple[str, str]:
    accuracies = [row.accuracy for row in rows if row.variant in {variant, None}]
    return split_figure(accuracies[0]) if accuracies else ("–", "")


def _claims(results: Results) -> Table:
    table = Table(title="Claims", title_justify="left")
    for head in ("claim, and how it is read", *(variant.title for variant in results.columns)):
        table.add_column(escape(head), overflow="fold")
    for claim in results.claims:
        table.add_section()
        table.add_row(f"[bold]{escape(claim.text)}")
        for reading in dict.fromkeys(verdict.reading for verdict in claim.verdicts):
            verdicts = {v.variant: v.state for v in claim.verdicts if v.reading == reading}
            said = (_word(verdicts.get(column.id, verdicts.get(None))) for column in results.columns)
            table.add_row(f"  {escape(reading)}", *said)
    return table


def _word(state: str | None) -> str:
    from robustlab.report.study.words import STATES

    return "–" if state is None else f"[{_COLOURS[state]}]{STATES[state]}"


def _print_finding(console: Console, results: Results) -> None:
    """Print the accuracy that each defense keeps, the figures of each detector, and both in sentences."""
    from robustlab.report.study import words  # loads what draws the charts
    from robustlab.report.study.view import StudyView
    from robustlab.report.text import percent

    view = StudyView(results)
    rows = [
        [
            escape(" ".join(filter(None, (line.finding.title, view.variant(fall.variant))))),
            percent(fall.published.accuracy.value),
            percent(fall.left.accuracy.value),
        ]
        for line in view.findings()
        for fall in line.falls
    ]
    if rows:
        columns = [Column("published test"), Column("attacker knows of it")]
        print_table(console, "What is left of each defense", "", columns, rows)
    for finding in words.detection_findings(results):
        console.print(escape(finding))
    for sentence in (words.headline(view), words.worse_than_none(view)):
        if sentence:
            console.print(f"[bold]{escape(sentence)}")
