"""``robustlab doctor``: checks the installation, and predicts what the commands would do."""

from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import typer

from robustlab.cli.texts import echo, print_json, print_paragraphs, print_rows, styled
from robustlab.core import environment
from robustlab.core.errors import DataError, SetupError
from robustlab.core.spec import units
from robustlab.core.text import printable


def show(data_root: Path | None, *, as_json: bool) -> None:
    """Print versions, device, data and what the commands would do; exit with 2 if they can't run."""
    report, problems = _look(data_root)
    if as_json:
        print_json({**report, "problems": problems})
    else:
        plans = {name: report.pop(name) for name in ("study", "evaluate") if name in report}
        print_rows([(name, _lines(value)) for name, value in report.items()])
        for name, plan in plans.items():
            print_paragraphs(f"\nWhat `robustlab {name}` does here", bold=True)
            print_paragraphs(printable(plan["says"]))
        echo()
        for problem in problems:
            echo(f"{styled('✗', fg='red')} {printable(problem)}")
        if not problems:
            echo(f"{styled('✓', fg='green')} everything is here")
    if problems:
        raise typer.Exit(2)


def _lines(value: object) -> str:
    return "\n".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)


def _look(data_root: Path | None) -> tuple[dict[str, Any], list[str]]:
    report: dict[str, Any] = {"versions": environment.versions()}
    problems: list[str] = []
    try:
        environment.check_torchvision()
    except SetupError as error:
        problems.append(str(error))
    from robustlab.core import device

    compute = device.resolve()
    import torch

    report["device"] = f"{compute.device}: {device.describe(compute.device)}"
    report["threads"] = torch.get_num_threads()
    report["instruction set"] = device.instruction_set()
    report["limited by"] = device.caps() or "nothing"
    report["precision of training"] = compute.precision
    report["data"], damaged = _data(data_root)
    if not problems:  # with an incompatible torchvision, no command works
        from robustlab.cli.forecast import forecast

        report |= forecast(data_root)
    return report, problems + damaged


def _data(data_root: Path | None) -> tuple[dict[str, str], list[str]]:
    """Return the data in the folders by dataset, and the problems with it."""
    from robustlab.data import Dataset, search_path

    states, problems = {"looked for in": ", ".join(map(str, search_path(data_root)))}, []
    for name, dataset in units(Dataset).items():
        if any(field.default is MISSING for field in fields(dataset)):  # type: ignore[arg-type]
            continue  # its path is an argument
        try:
            if state := dataset().state(data_root):
                states[name] = state
        except DataError as error:
            states[name] = "damaged"
            problems.append(str(error))
    return states, problems
