"""How many images does each certifier prove, and in what time?

    OMP_NUM_THREADS=1 python benchmarks/certificates.py --models nets.py wide_kw=0.1 rsl18a=0.1 madry_tiny=0.3

``NAME=EPS`` names a function of the models' file, which returns a classifier, and the Linf eps. For each
certifier the table shows the share of the first test images that is proven, and the seconds of processor time
for each image, on one core. A certifier that has used up `--limit` seconds stops. The number of its images
then stands in brackets.
"""

import argparse
import time

import torch

from robustlab.certify import Certifier, as_certifier
from robustlab.core.memory import keep_freed_memory
from robustlab.data import Split, load_dataset
from robustlab.evaluation.subject import load_classifier
from robustlab.threats import Linf

AT_ONCE = 10


def measured(certifier: Certifier, model: torch.nn.Module, images: Split, eps: float, limit: float) -> str:
    """Return a cell of the table: the share that is proven, and the seconds an image takes."""
    proven, seen, started = 0, 0, time.process_time()
    while seen < len(images) and time.process_time() - started < limit:
        block = images.take(slice(seen, seen + AT_ONCE))
        pixels = block.pixels(slice(None))
        proven += int(certifier.certify(model, pixels, block.labels, Linf(eps=eps)).sum())
        seen += len(block)
    seconds = (time.process_time() - started) / seen
    part = "" if seen == len(images) else f" ({seen})"
    return f"{100 * proven / seen:.0f} % / {seconds:.4f}{part}"


def main() -> None:
    """Print a table: a row for each network, a column for each certifier."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("networks", nargs="+", metavar="NAME=EPS")
    parser.add_argument("--models", required=True, help="the file of the networks")
    parser.add_argument(
        "--certifiers", nargs="+", default=["ibp", "crown_ibp", "crown", "alpha_crown", "auto"]
    )
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("-n", type=int, default=100, help="images, the first ones")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for one cell of the table")
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    images = load_dataset(given.dataset).test.take(slice(given.n))
    print(f"| network, linf eps | {' | '.join(given.certifiers)} |")
    print("|---" * (1 + len(given.certifiers)) + "|")
    for network in given.networks:
        name, eps = network.split("=")
        model = load_classifier(f"{given.models}:{name}").model.eval()
        cells = [
            measured(as_certifier(spec), model, images, float(eps), given.limit) for spec in given.certifiers
        ]
        print(f"| {name}, {eps} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
