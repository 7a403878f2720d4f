"""A run's main tables on the terminal."""

from rich.console import Console
from rich.table import Table

from robustlab.attacks import Attack
from robustlab.cli.escaping import escape
from robustlab.core.errors import SpecError
from robustlab.core.results import Figure, Results, Row
from robustlab.core.run import EvaluationRun, Run
from robustlab.core.spec import parse
from robustlab.evaluation.compare import Comparison
from robustlab.evaluation.gate import GateResult

_SHOWN = 50
"""Flipped images that are listed; --json lists all."""


def show_results(run: Run) -> None:
    """Print the summary, the claims and where the report is."""
    console = Console(highlight=False)
    results = run.results
    console.print(_rows(results, "summary", f"{escape(results.title)}: accuracy (95 % interval)"))
    console.print(_rows(results, "more", "More rows"))
    console.print(_claims(results))
    for row in results.rows:
        if row.group == "footnote":
            console.print(f"[dim]{escape(row.title)}: {row.accuracy}. {escape(row.note)}[/dim]")
    if results.dataset.fallback:
        console.print(
            f"[bold yellow]Measured on {escape(results.dataset.name)}, not on MNIST: "
            "not comparable.[/bold yellow]"
        )
    if results.quick:
        console.print("[yellow]A quick run: few epochs, few images.[/yellow]")
    console.print(f"Report: {escape(str(run.folder / 'report.html'))}", soft_wrap=True)


def show_evaluation(run: EvaluationRun) -> None:
    """Print the headline, what each attack did, the checks that failed and where the report is."""
    console = Console(highlight=False)
    results = run.results
    table = Table(title=escape(results.title), title_justify="left")
    for head in ("", "images", "broken", "accuracy left (95 % interval)", "passes"):
        table.add_column(head, justify="left" if head == "" else "right")
    n = results.images.n
    table.add_row("clean images", str(n), "–", str(results.clean), str(n * results.samples))
    for row in results.rows:
        passes = str(row.forwards + row.backwards)
        table.add_row(escape(_brief(row.attack)), str(row.attacked), str(row.broken), str(row.robust), passes)
    table.add_section()
    passes = str(results.forwards + results.backwards)
    table.add_row("[bold]robust accuracy", str(n), "", f"[bold]{results.robust}", passes)
    console.print(table)
    if results.certified is not None:
        console.print(f"Certified: {results.certified}")
    if results.not_finite:
        console.print(
            f"[yellow]No answer (NaN or infinity) on {len(results.not_finite)} images: not robust.[/yellow]"
        )
    if results.unconfirmed:
        console.print(
            f"[yellow]{len(results.unconfirmed)} successes did not hold when measured again, "
            "and do not count.[/yellow]"
        )
    for check in results.red_flags:
        console.print(f"[bold red]red flag[/bold red] {escape(check.title)}: {escape(check.found)}")
    console.print(f"Report: {escape(str(run.folder / 'report.html'))}", soft_wrap=True)


def _brief(row: str) -> str:
    """Return a row's attack without the arguments that have their default values."""
    attack, *rest = row.partition(" within ")  # a search for the nearest success says how far it looked
    try:
        return parse(Attack, attack).brief() + "".join(rest)
    except SpecError:  # of an attack that is not registered here
        return row


def show_comparison(found: Comparison) -> None:
    """Print both figures, their difference and the images that flipped."""
    console = Console(highlight=False)
    table = Table(title=f"Robust accuracy on the {found.n} common images", title_justify="left")
    table.add_column("")
    table.add_column("accuracy (95 % interval)", justify="right")
    table.add_row(f"first: {escape(found.first_name)}", str(found.first))
    table.add_row(f"second: {escape(found.second_name)}", str(found.second))
    difference = f"{100 * found.difference:+.2f} ({100 * found.low:+.2f} – {100 * found.high:+.2f}) points"
    table.add_row("[bold]difference", f"[bold]{difference}")
    console.print(table)
    console.print(
        f"{found.gained} images gained, {found.lost} lost; McNemar's exact test: p = {found.p_value:.2g}"
    )
    for setting in found.other_settings:
        console.print(
            f"[yellow]The difference may come from other {escape(setting)}[/yellow]", soft_wrap=True
        )
    for title, images in (
        ("gained", [flip for flip in found.flipped if flip.second in {"robust", "certified"}]),
        ("lost", [flip for flip in found.flipped if flip.first in {"robust", "certified"}]),
    ):
        if images:
            more = ", …" if len(images) > _SHOWN else ""
            console.print(f"{title}: {', '.join(str(flip.image_id) for flip in images[:_SHOWN])}{more}")


def show_gate(found: GateResult) -> None:
    """Print every condition, and whether the gate is passed."""
    console = Console(highlight=False)
    for condition in found.conditions:
        mark = "[green]✓[/green]" if condition.holds else "[red]✗[/red]"
        console.print(f"{mark} {escape(condition.asked)}: {escape(condition.found)}", soft_wrap=True)
    console.print("[green]passed[/green]" if found.passed else "[bold red]failed[/bold red]")


def _rows(results: Results, group: str, title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("row")
    table.add_column("reference", justify="right")
    for unit in results.units:
        table.add_column(escape(unit.title), justify="right")
    rows = [row for row in results.rows if row.group == group]
    for name in dict.fromkeys(row.id for row in rows):
        same = [row for row in rows if row.id == name]
        reference = "–" if same[0].reference is None else f"{100 * same[0].reference:.0f} %"
        table.add_row(escape(same[0].title), reference, *(_cell(same, unit.id) for unit in results.units))
    return table


def _cell(rows: list[Row], unit: str) -> str:
    found: list[Figure] = [row.accuracy for row in rows if row.unit in {unit, None}]
    return str(found[0]) if found else "–"


def _claims(results: Results) -> Table:
    table = Table(title="Claims", title_justify="left")
    table.add_column("claim, and how it is read")
    for unit in results.units:
        table.add_column(escape(unit.title))
    for claim in results.claims:
        table.add_section()
        table.add_row(f"[bold]{escape(claim.text)}")
        for reading in dict.fromkeys(verdict.reading for verdict in claim.verdicts):
            verdicts = {v.unit: v.holds for v in claim.verdicts if v.reading == reading}
            table.add_row(f"  {escape(reading)}", *(_word(verdicts.get(unit.id)) for unit in results.units))
    return table


def _word(holds: bool | None) -> str:
    return {True: "[green]holds", False: "[red]does not hold", None: "–"}[holds]
