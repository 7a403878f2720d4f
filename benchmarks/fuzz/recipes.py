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
schema = 2
name = "toy"
title = "A toy"
samples = ["vae"]
[data]
dataset = "digits"
validation_fraction = 0.25
[[factors.scale.values]]
id = "study"
title = "study units"
value = 0.5
[[factors.scale.values]]
id = "pixel"
title = "pixel units"
value = 1.0
[[factors.width.values]]
id = "thin"
title = "thin"
value = 0.1
[networks.baseline]
title = "Baseline"
model = "cnn(dropout=0.2)"
objective = "cross_entropy"
epochs = 3
[networks.adversarial]
title = "Adversarial"
model = "cnn"
objective = "cross_entropy"
defense = "adversarial_training(attack=fgsm, threat=linf(eps=0.25*scale), source=baseline)"
[networks.vae]
title = "VAE"
model = "vae(latent=4)"
objective = "vae_loss"
[networks.gan]
title = "GAN"
model = "gan"
objective = "gan_loss"
lr = 2e-4
betas = [0.5, 0.999]
[models.purified]
title = "Purified"
source = "purifier(network=vae, classifier=baseline)"
[detectors.discriminator]
title = "Discriminator"
detector = "discriminator(network=gan)"
[[evaluations]]
id = "clean"
title = "Clean"
model = "baseline"
reference = 0.99
[[evaluations]]
id = "fgsm"
title = "FGSM"
model = "purified"
attacks = "fgsm(gradient=surrogates)"
threat = "linf(eps=0.25*scale)"
surrogates = ["baseline"]
mode = "test-set"
checks = "all"
[[evaluations]]
id = "pgd"
title = "PGD"
model = "mnist_cnn"
attacks = "pgd(steps=3, rel_step_size=width), fgsm"
threat = "l2(eps=scale)"
mode = "max-loss"
[[detections]]
id = "found"
title = "FGSM"
detector = "discriminator"
evaluation = "fgsm"
[[curves]]
id = "eps"
title = "Accuracy against eps"
x_label = "eps"
x = [0.0, 0.5]
factor = "scale"
[[curves.series]]
label = "FGSM"
model = "adversarial"
values = {scale = "study"}
attacks = "fgsm"
threat = "linf(eps=x)"
[[claims]]
id = "fragile"
text = "FGSM breaks it"
readings = [{title = "as stated", holds = ["clean - fgsm >= 0.1"]}]
[gallery]
evaluations = ["clean", "fgsm"]
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
