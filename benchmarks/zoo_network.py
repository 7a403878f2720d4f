"""Make a network of the zoo from the run of a training: half the bytes, and a card.

    python benchmarks/zoo_network.py runs/pgd mnist_thresholded_pgd "PGD training behind a threshold"
    robustlab evaluate mnist_thresholded_pgd --threat "linf(eps=0.3)" --attacks standard -n 10000

The weights are rounded to float16 and read back as float32. So all figures about a network of the zoo must be
measured on the zoo's file, as the second command does.
"""

import argparse
import json
from pathlib import Path

import torch

from robustlab.core.files import write_json
from robustlab.models.files import load_network, load_tensors, save_tensors
from robustlab.models.zoo import file_of

MOST_BYTES = 2_000_000


def main() -> None:
    """Write the weights and the card into the zoo's folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="the folder of `robustlab train`")
    parser.add_argument("name", help="of the network in the zoo")
    parser.add_argument("title", help="what it is, in one line")
    parser.add_argument("--network", default="network", help="which network of the run")
    given = parser.parse_args()
    tensors, card = load_tensors(given.run / "models" / f"{given.network}.safetensors")
    card.pop("stage", None)
    recipe = json.loads((given.run / "card.json").read_text())["recipe"]
    card |= {
        "title": given.title,
        "recipe": recipe,
        "made_by": "robustlab study, with the recipe in this card",
    }
    halves = {
        name: tensor.half() if tensor.dtype == torch.float32 else tensor for name, tensor in tensors.items()
    }
    target = file_of(given.name)
    save_tensors(target, halves, card)
    write_json(target.with_suffix(".json"), card)
    load_network(target)
    size = target.stat().st_size
    print(f"{target}: {size / 1e6:.2f} MB")
    if size > MOST_BYTES:
        raise SystemExit(f"a network of the zoo has at most {MOST_BYTES / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
