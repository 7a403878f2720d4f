"""Make a network of the zoo from the run of a training: half the bytes, and a card.

    python benchmarks/zoo_network.py runs/pgd mnist_thresholded_pgd "PGD training behind a threshold"
    robustlab evaluate mnist_thresholded_pgd --threat "linf(eps=0.3)" --attacks standard -n 10000 --out runs/z
    python benchmarks/zoo_network.py runs/z mnist_thresholded_pgd

The weights are rounded to float16 and read back as float32. So all figures about a network of the zoo must be
measured on the zoo's file, as the second command does. The third one adds them to the card.
"""

import argparse
import json
import tomllib
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
    parser.add_argument("run", type=Path, help="the folder of `robustlab train`, or of an evaluation")
    parser.add_argument("name", help="of the network in the zoo")
    parser.add_argument("title", nargs="?", help="what it is, in one line; not with an evaluation")
    given = parser.parse_args()
    if given.title is None:
        add_measured(given.run, file_of(given.name).with_suffix(".json"))
    else:
        make(given.run, given.name, given.title)


def add_measured(run: Path, file: Path) -> None:
    """Add the figures of an evaluation to a card."""
    found = json.loads((run / "results.json").read_text())
    names = ("command", "threat", "clean", "robust", "certified", "created")
    measured = {name: found[name] for name in names}
    write_json(file, json.loads(file.read_text()) | {"measured": measured})


def make(run: Path, name: str, title: str) -> None:
    """Write weights and card."""
    tensors, card = load_tensors(run / "models" / "network.safetensors")
    card.pop("stage", None)
    recipe = json.loads((run / "card.json").read_text())["recipe"]
    card |= {
        "title": title,
        "validation_fraction": tomllib.loads(recipe)["data"]["validation_fraction"],
        "recipe": recipe,
        "made_by": "robustlab study, with the recipe in this card",
    }
    halves = {
        key: tensor.half() if tensor.dtype == torch.float32 else tensor for key, tensor in tensors.items()
    }
    target = file_of(name)
    save_tensors(target, halves, card)
    write_json(target.with_suffix(".json"), card)
    load_network(target)
    size = target.stat().st_size
    print(f"{target}: {size / 1e6:.2f} MB")
    if size > MOST_BYTES:
        raise SystemExit(f"a network of the zoo has at most {MOST_BYTES / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
