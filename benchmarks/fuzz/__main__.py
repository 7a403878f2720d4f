"""``python -m fuzz --kind specs --n 10000 --seed 0``, from ``benchmarks/``; exit code 1 on a fault."""

import argparse
import sys
import time

from fuzz import FAMILIES, families  # noqa: F401 (the families register themselves)
from fuzz.law import try_input


def main() -> None:
    """Try many inputs of one family, or of all, and print every fault with the numbers that make it again."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--kind", choices=[*FAMILIES, "all"], default="all")
    parser.add_argument("--n", type=int, default=1000, help="inputs of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=600.0, help="the most that a kind may take")
    parser.add_argument("--only", type=int, help="try this input alone")
    asked = parser.parse_args()
    kinds = list(FAMILIES) if asked.kind == "all" else [asked.kind]
    faults = sum([fuzz(kind, asked.n, asked.seed, asked.seconds, asked.only) for kind in kinds])
    sys.exit(1 if faults else 0)


def fuzz(kind: str, n: int, seed: int, seconds: float, only: int | None = None) -> int:
    """Try the inputs of one kind, print what came of them and return the number of faults."""
    started, tried, refused, faults, slowest = time.monotonic(), 0, 0, 0, 0.0
    for index in range(n) if only is None else [only]:
        begun = time.monotonic()
        if begun - started > seconds:
            break
        outcome = try_input(kind, seed, index)
        slowest = max(slowest, time.monotonic() - begun)
        tried, refused, faults = tried + 1, refused + outcome.refused, faults + bool(outcome.fault)
        if outcome.fault:
            print(f"--- {kind}: --seed {seed} --only {index}\n{outcome.fault}", flush=True)
    took = time.monotonic() - started
    print(
        f"{kind}: {tried} inputs, {tried - refused - faults} taken, {refused} refused, {faults} faults, "
        f"{took:.0f} s, slowest {slowest:.2f} s",
        flush=True,
    )
    return faults


if __name__ == "__main__":
    main()
