"""Prints the table of docs/broken-defenses.md; ``python -m broken_defenses``, from ``benchmarks/``."""

import argparse
import time
from pathlib import Path

import torch

import robustlab
from broken_defenses.cases import CASES, Case, Trial, magnet
from broken_defenses.networks import FOLDER, REJECT
from robustlab.core.memory import keep_freed_memory
from robustlab.runs.evaluation import Evaluation

HEAD = ("defense", "eps", "clean", "claimed", "`standard`", "adaptive", "failed checks", "warnings")


def evaluated(case: Case, trial: Trial, n: int, out: Path) -> Evaluation:
    """Attack the first test images as a trial says."""
    return robustlab.evaluate(
        (trial.model or case.model)(),
        dataset="mnist",
        n=n,
        threat=f"linf(eps={case.eps})",
        attacks=trial.attacks,
        target=trial.target,
        mode=trial.mode,
        eot_samples=trial.eot_samples,
        surrogates=[make() for make in trial.surrogates],
        checks=trial.attacks == "standard",
        certify=False,
        out=out,
        overwrite=True,
    ).results


def figure(result: Evaluation, *, rejected: bool) -> str:
    """Return the robust accuracy in percent; a rejection counts as right if asked for."""
    kept = round(result.robust.value * result.images.n)
    kept += sum(flip.n for flip in result.flips if flip.prediction == REJECT) if rejected else 0
    return f"{100 * kept / result.images.n:.0f}"


def row(name: str, case: Case, n: int) -> list[str]:
    """Return the cells of a defense."""
    standard = Trial(words="standard", attacks="standard")
    trials = {"claimed": case.claimed, "standard": standard, "adaptive": case.adaptive}
    results, started = {}, time.process_time()
    for kind, trial in trials.items():
        results[kind] = evaluated(case, trial, n, FOLDER / f"{name}-{kind}")
        took = time.process_time() - started
        print(f"{name} {kind}: {results[kind].robust.value:.2f}, {took:.0f} s so far", flush=True)
    for attack in results["standard"].rows:
        print(f"  {attack.attack}: attacked {attack.attacked}, broke {attack.broken}", flush=True)
    for check in results["standard"].checks:
        if check.grade in {"fail", "warn"}:
            print(f"  {check.grade} {check.id}: {check.found}", flush=True)
    seen = results["standard"]
    return [
        case.title,
        f"{case.eps:g}",
        f"{100 * seen.clean.value:.0f}",
        figure(results["claimed"], rejected=True),
        figure(seen, rejected=False),
        figure(results["adaptive"], rejected=False),
        *(", ".join(check.id for check in seen.graded(grade)) or "none" for grade in ("fail", "warn")),
    ]


def main() -> None:
    """Measure each defense, and print the rows of the table."""
    parser = argparse.ArgumentParser(prog="broken_defenses", description=__doc__)
    parser.add_argument("--only", nargs="+", help=f"some of {', '.join(CASES)}, magnet")
    parser.add_argument("--models", help="the file with magnet and magnet_classifier")
    parser.add_argument("--n", type=int, default=100, help="test images, the first ones")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    cases = CASES | ({"magnet": magnet(asked.models)} if asked.models else {})
    lines = [row(name, case, asked.n) for name, case in cases.items() if not asked.only or name in asked.only]
    print(f"| {' | '.join(HEAD)} |\n{'|---' * len(HEAD)}|")
    for cells in lines:
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
