"""A recipe that is right, and what is said of one that is not."""

from pathlib import Path

import pytest

from robustlab.core.errors import RecipeError
from robustlab.study.loading import load_recipe

GOOD = """
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

[detectors.grey]
title = "Grey"
detector = "grey_pixels"

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
title = "Found"
detector = "discriminator"
attack = "gaussian_noise(std=0.3)"
crafted_on = "baseline"

[[detections]]
id = "grey_found"
title = "Grey found"
detector = "grey"
attack = "gaussian_noise(std=0.3)"
crafted_on = "baseline"

[[curves]]
id = "eps"
title = "Eps"
x_label = "eps"
x = [0.0, 0.5]
series = [{ label = "FGSM", on = "adversarial", unit = "study", attack = "fgsm", threat = "linf(eps={x})" }]

[[claims]]
id = "fragile"
text = "Fragile."

[[claims.readings]]
title = "As studied"
units = ["study"]
holds = ["clean - fgsm >= 0.1", "found.natural_detection > 0.5", "grey_found.auroc > 0.5"]

[gallery]
rows = ["clean"]
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "toy.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refused(tmp_path: Path, text: str) -> str:
    path = write(tmp_path, text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    message = str(caught.value)
    assert str(path) in message
    return message
