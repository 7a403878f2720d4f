"""Prints and writes the results of `robustlab compare` and `robustlab gate`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from robustlab.cli.texts import echo, print_paragraphs, print_rows, split_figure, styled
from robustlab.core.arguments import as_typed, check_text
from robustlab.core.errors import SpecError
from robustlab.core.text import printable, shown

if TYPE_CHECKING:
    from robustlab.evaluation.gate import GateResult
    from robustlab.runs.comparison import Comparison, SideBySide
    from robustlab.runs.records import Figure

_SHOWN = 50
"""The largest number of flipped images that are listed; --json lists all."""


def compared(runs: Sequence[str]) -> "tuple[SideBySide, Comparison | None]":
    """Return the runs side by side; of two runs, if they allow it, also the comparison image by image."""
    from robustlab.evaluation.comparison_table import side_by_side

    table = side_by_side(*runs)
    return table, table.pairs[0] if len(runs) == 2 and table.pairs else None


def write(table: "SideBySide", *, html: str | None, csv: str | None) -> list[str]:
    """Write the files that were asked for, and return their paths."""
    from robustlab.core.errors import OutputError
    from robustlab.core.files import write_text

    for path in filter(None, (html, csv)):
        if Path(path).is_dir() or not Path(path).absolute().parent.is_dir():
            wrong = "it is a folder" if Path(path).is_dir() else "its folder does not exist"
            raise OutputError(f"cannot write {path}: {wrong}; name a file in a folder that exists")
    if html is not None:
        from robustlab.report.comparison.page import page

        write_text(Path(html), page(table, Path(html).parent))
    if csv is not None:
        from robustlab.report.comparison.tables import comma_separated

        write_text(Path(csv), comma_separated(table))
    return [path for path in (html, csv) if path is not None]


def print_source(table: "SideBySide", *, latex: bool) -> None:
    """Print the table in LaTeX or Markdown."""
    from robustlab.report.comparison import tables

    text = tables.latex(table) if latex else tables.markdown(table)
    echo(printable(text.rstrip("\n")))


def show_table(found: "SideBySide") -> None:
    """Print a row for each run, the notes, and how the runs differ."""
    shared = any(run.common for run in found.runs)
    rows = [
        [
            f"{run.label}\n{run.threat}",
            _share(run.clean),
            *(split_figure(run.robust) if run.robust else ("–", "")),
            *([_share(run.common)] if shared else []),
            _share(run.certified),
            f"{run.passes:.0f}",
        ]
        for run in found.runs
    ]
    common = ["on common images"] if shared else []
    print_rows(rows, ["run", "clean", "robust", "95 % interval", *common, "proven", "passes per image"])
    for note in found.notes:
        print_paragraphs(printable(note))
    for pair in found.pairs:
        change = f"{100 * pair.difference:+.2f} points, {pair.gained} gained, {pair.lost} lost"
        names = f"{pair.second_name} after {pair.first_name}"
        print_paragraphs(printable(f"{names}, image by image: {change}; p = {pair.p_value:.2g}"))
    differ = ", ".join(difference.name for difference in found.differences)
    if differ:
        print_paragraphs(f"The runs differ in {differ}; --markdown lists the values.")


def _share(figure: "Figure | None") -> str:
    return "–" if figure is None else split_figure(figure)[0]


def show_comparison(found: "Comparison") -> None:
    """Print both figures, their difference and the images that flipped."""
    print_paragraphs(f"Robust accuracy on the {found.n} common images", italic=True)
    difference = f"{100 * found.difference:+.2f} points"
    interval = f"{100 * found.low:+.2f} – {100 * found.high:+.2f}"
    rows = [
        [f"first: {found.first_name}", *split_figure(found.first)],
        [f"second: {found.second_name}", *split_figure(found.second)],
        ["difference", difference, interval],
    ]
    print_rows(rows, ["", "accuracy", "95 % interval"])
    print_paragraphs(
        f"{found.gained} images gained, {found.lost} lost; McNemar's exact test: p = {found.p_value:.2g}"
    )
    if found.curve_left_out:
        print_paragraphs(
            f"Only {printable(found.curve_left_out)} has a curve: what its searches broke counts as robust "
            "here"
        )
    for setting in found.other_settings:
        echo(styled(f"The difference may come from other {printable(setting)}", fg="yellow"))
    for title, images in (
        ("gained", [flip for flip in found.flipped if flip.second in {"robust", "certified"}]),
        ("lost", [flip for flip in found.flipped if flip.first in {"robust", "certified"}]),
    ):
        if images:
            more = ", …" if len(images) > _SHOWN else ""
            print_paragraphs(f"{title}: {', '.join(str(flip.image_id) for flip in images[:_SHOWN])}{more}")


def show_gate(found: "GateResult") -> None:
    """Print every condition, and whether the gate is passed."""
    for condition in found.conditions:
        mark = styled("✓", fg="green") if condition.holds else styled("✗", fg="red")
        echo(f"{mark} {printable(condition.asked)}: {printable(condition.found)}")
    echo(styled("passed", fg="green") if found.passed else styled("failed", fg="red", bold=True))


def check_files(files: Mapping[str, str | None], *, as_json: bool) -> None:
    """Check the files that the gate is to write, by their options; ``-`` is standard output.

    Raises:
        SpecError: a name can't be a file's, or two results would be on standard output.
    """
    for name, file in files.items():
        if file is not None:
            check_text(name, file)
    paths = [file for file in files.values() if file not in {None, "-"}]
    if len(paths) > len(set(paths)):
        raise SpecError(f"two results can't be in one file; found {' and '.join(map(shown, paths))}")
    printed = ["--json"] * as_json + [f"{as_typed(name)} -" for name, file in files.items() if file == "-"]
    if len(printed) > 1:
        raise SpecError(
            f"only one result can be on standard output: leave out one of {' and '.join(printed)}"
        )


def write_files(run: str, found: "GateResult", files: Mapping[str, str | None]) -> None:
    """Write the gate's decision on a run to the files of the options that the user gave."""
    if not any(files.values()):
        return
    from robustlab import report
    from robustlab.core.files import write_as_named
    from robustlab.evaluation.finished import read_finished

    results = read_finished(run).results
    forms = {"markdown": report.gate_markdown, "junit": report.gate_junit, "html": report.gate_page}
    for name, form in forms.items():
        if (file := files[name]) == "-":
            echo(form(results, found.conditions).rstrip("\n"))
        elif file:
            write_as_named(file, form(results, found.conditions))
