"""Recipes: real ones, with lines, values and specs bent."""

import random
from functools import cache
from pathlib import Path

from fuzz.registry import Attempt, family
from fuzz.text import bent, word
from robustlab.core.device import Compute
from robustlab.data import Splits, load_dataset
from robustlab.study.loading import load_recipe
from robustlab.study.plan import make_plan

RECIPE = """\
schema = 1
name = "toy"
title = "A toy"
samples = ["vae"]
[data]
dataset = "digits"
validation_fraction = 0.25
[[units]]
id = "study"
title = "study units"
pixels = 0.5
[networks.baseline]
title = "Baseline"
model = "cnn(dropout=0.2)"
objective = "cross_entropy"
epochs = 3
[networks.adversarial]
title = "Adversarial"
model = "cnn"
objective = "cross_entropy"
defense = "adversarial_training(attack=fgsm, threat=linf(eps=0.25), source=baseline)"
[networks.vae]
title = "VAE"
model = "vae(latent=4)"
objective = "reconstruction"
[networks.gan]
title = "GAN"
model = "gan"
objective = "adversarial_game"
lr = 2e-4
betas = [0.5, 0.999]
[classifiers.purified]
title = "Purified"
defense = "purifier(network=vae, classifier=baseline)"
[detectors.discriminator]
title = "Discriminator"
detector = "discriminator(network=gan)"
[[rows]]
id = "clean"
title = "Clean"
on = "baseline"
reference = 0.99
[[rows]]
id = "fgsm"
title = "FGSM"
on = "purified"
attack = "fgsm"
threat = "linf(eps=0.25)"
crafted_on = "baseline"
mode = "max-loss"
[[detections]]
id = "found"
title = "Noise"
detector = "discriminator"
attack = "gaussian_noise(std=0.3)"
crafted_on = "baseline"
[[curves]]
id = "eps"
title = "Accuracy against eps"
x_label = "eps"
x = [0.0, 0.5]
series = [{label = "FGSM", on = "adversarial", unit = "study", attack = "fgsm", threat = "linf(eps={x})"}]
[[claims]]
id = "fragile"
text = "FGSM breaks it"
readings = [{title = "as stated", units = ["study"], holds = ["clean - fgsm >= 0.1"]}]
[gallery]
rows = ["clean"]
"""

VALUES = (
    *(
        "true",
        "false",
        "0",
        "1",
        "-1",
        "2.5",
        "1e39",
        "nan",
        "inf",
        "9" * 30,
        "9" * 5000,
        '""',
        '"2"',
        '"cnn"',
    ),
    *('"vae"', '"gan"', '"baseline"', '"cross_entropy"', '"fgsm"', '"linf(0.3)"', "[]", "[1, 2]", "{}"),
    *("1979-05-27", "[[[[[]]]]]", "[" * 5000 + "]" * 5000, '"\\u001b[31m"', '"{x}"', '"unbounded"', "0x10"),
)


@family("recipes")
def make(draw: random.Random, folder: Path) -> Attempt:
    """A recipe with a few lines changed, read and planned."""
    lines = RECIPE.splitlines()
    for _ in range(draw.choice((1, 1, 2, 4))):
        place = draw.randrange(len(lines))
        key, sign, value = lines[place].partition(" = ")
        if sign and draw.random() < 0.7:
            lines[place] = f"{key} = {draw.choice((draw.choice(VALUES), bent(draw, value)))}"
        else:
            lines[place : place + 1] = draw.choice(
                ([], [lines[place]] * 2, [bent(draw, lines[place])], [word(draw)])
            )
    path = folder / "toy.toml"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))

    def attempt() -> None:
        make_plan(load_recipe(path), _digits(), Compute(device="cpu", precision="fp32"), 0, quick=True)

    return attempt


@cache
def _digits() -> Splits:
    return load_dataset("digits").limited(20, 20, 20)
