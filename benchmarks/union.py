"""The robust accuracy within several threat models at once, from one evaluation of a network for each.

    python benchmarks/union.py runs/linf runs/l2 runs/l1

An image counts if it is robust in every evaluation.
"""

import argparse
from pathlib import Path

from robustlab.core.errors import RunError
from robustlab.evaluation.finished import read_finished
from robustlab.evaluation.metrics import proportion


def main() -> None:
    """Print the robust accuracy of each evaluation, and of all together."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", help="folders of `robustlab evaluate`")
    runs = [read_finished(folder) for folder in parser.parse_args().runs]
    first = runs[0]
    robust = [True] * len(first.verdicts)
    for run in runs:
        if run.results.subject.sha256 != first.results.subject.sha256:
            raise RunError(f"{first.folder} and {run.folder} have different networks")
        if run.results.images.sha256 != first.results.images.sha256:
            raise RunError(f"{first.folder} and {run.folder} have different images")
        robust = [both and verdict.robust for both, verdict in zip(robust, run.verdicts, strict=True)]
        print(f"{run.results.threat}: {run.results.robust.value:.2%}")
    figure = proportion(sum(robust), len(robust))
    print(f"all: {figure.value:.2%} ({figure.low:.2%} to {figure.high:.2%}) of {figure.n} images")


if __name__ == "__main__":
    main()
