"""``robustlab doctor``: is everything here that a study needs?"""

import json
import sys
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from robustlab.cli.columns import print_texts
from robustlab.cli.escaping import escape
from robustlab.core import environment
from robustlab.core.errors import DataError, SetupError
from robustlab.core.spec import units


def show(data_root: Path | None, *, as_json: bool) -> None:
    """Print versions, device, precision and the data found; exit with 2 if a study can't run."""
    found, problems = _look(data_root)
    if as_json:
        sys.stdout.write(json.dumps({**found, "problems": problems}, indent=2) + "\n")
    else:
        console, rows = Console(highlight=False), []
        for name, value in found.items():
            lines = [f"{k} {v}" for k, v in value.items()] if isinstance(value, dict) else [str(value)]
            rows.append((name, escape("\n".join(lines))))
        print_texts(console, rows)
        for problem in problems:
            console.print(f"[red]✗[/red] {escape(problem)}", soft_wrap=True)
        if not problems:
            console.print("[green]✓[/green] everything is here")
    if problems:
        raise typer.Exit(2)


def _look(data_root: Path | None) -> tuple[dict[str, Any], list[str]]:
    found: dict[str, Any] = {"versions": environment.versions()}
    problems: list[str] = []
    try:
        environment.check_torchvision()
    except SetupError as error:
        problems.append(str(error))
    from robustlab.core import device

    compute = device.resolve()
    import torch

    found["device"] = f"{compute.device}: {device.describe(compute.device)}"
    found["threads"] = torch.get_num_threads()
    found["instruction set"] = device.instruction_set()
    found["limited by"] = device.caps() or "nothing"
    found["precision of training"] = compute.precision
    found["data"], damaged = _data(data_root)
    return found, problems + damaged


def _data(data_root: Path | None) -> tuple[dict[str, str], list[str]]:
    """Return what is in the folders, by dataset, and what is wrong with it."""
    from robustlab.data import Dataset, search_path

    states, problems = {"looked for in": ", ".join(map(str, search_path(data_root)))}, []
    for name, dataset in units(Dataset).items():
        try:
            if state := dataset().state(data_root):
                states[name] = state
        except DataError as error:
            states[name] = "damaged"
            problems.append(str(error))
    return states, problems
