"""A recipe that is right, and what is said of one that is not."""

from pathlib import Path

import pytest

from robustlab.core.errors import RecipeError
from robustlab.study.loading import load_recipe

GOOD = """
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

[detectors.grey]
title = "Grey"
detector = "grey_pixels"

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

[[evaluations]]
id = "noise"
title = "Noise"
model = "baseline"
attacks = "gaussian_noise(std=0.3*scale)"
mode = "test-set"

[[detections]]
id = "found"
title = "Found"
detector = "discriminator"
evaluation = "noise"

[[detections]]
id = "grey_found"
title = "Grey found"
detector = "grey"
evaluation = "noise"

[[curves]]
id = "eps"
title = "Eps"
x_label = "eps"
x = [0.0, 0.5]

[[curves.series]]
label = "FGSM"
model = "adversarial"
values = { scale = "study" }
attacks = "fgsm"
threat = "linf(eps=x)"

[[claims]]
id = "fragile"
text = "Fragile."

[[claims.readings]]
title = "As studied"
holds = ["clean - fgsm >= 0.1", "found.natural_detection > 0.5", "grey_found.auroc > 0.5"]

[gallery]
evaluations = ["clean"]
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
