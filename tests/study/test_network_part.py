"""A network's training in a recipe: every field is read, checked and part of the stage's key."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from recipe_texts import GOOD, refused, write

from robustlab.attacks import FGSM, PGD
from robustlab.core.device import Compute
from robustlab.core.errors import SpecError
from robustlab.data import Splits
from robustlab.study.loading import load_recipe
from robustlab.study.plan import make_plan
from robustlab.study.recipe import NetworkPart, Recipe
from robustlab.study.stages import TrainStage
from robustlab.threats import Linf
from robustlab.training import (
    EMA,
    SGD,
    Adam,
    Cosine,
    FGSMTraining,
    HorizontalFlip,
    RobustValidation,
    Shift,
    TrainConfig,
    Triangle,
)

SHIPPED = Path(__file__).parents[2] / "recipes"
CPU = Compute(device="cpu", precision="fp32")


def part(**fields: Any) -> NetworkPart:
    return NetworkPart(title="t", model="cnn", **{"objective": "cross_entropy"} | fields)


FIELDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "optimizer": ({"optimizer": "sgd(lr=0.1)"}, {"optimizer": SGD(lr=0.1)}),
    "lr": ({"lr": 0.01}, {"optimizer": Adam(lr=0.01)}),
    "betas": ({"betas": (0.5, 0.9)}, {"optimizer": Adam(betas=(0.5, 0.9))}),
    "weight decay": (
        {"optimizer": "adam(weight_decay=0.1)"},
        {"optimizer": Adam(weight_decay=0.1)},
    ),
    "schedule": ({"schedule": "cosine"}, {"schedule": Cosine()}),
    "augmentation": ({"augmentation": "flip"}, {"augmentation": (HorizontalFlip(),)}),
    "augmentations": (
        {"augmentation": ["shift(pixels=4)", "flip"]},
        {"augmentation": (Shift(pixels=4), HorizontalFlip())},
    ),
    "averaging": ({"averaging": "ema(decay=0.9)"}, {"averaging": EMA(decay=0.9)}),
    "batch norm": ({"reestimate_batch_norm": True}, {"reestimate_batch_norm": True}),
    "clip": ({"clip": 2.0}, {"clip": 2.0}),
    "validation": (
        {"validation_attack": "pgd(steps=10)", "validation_threat": "linf(eps=0.3)"},
        {"validation": RobustValidation(attack=PGD(steps=10), threat=Linf(eps=0.3))},
    ),
    "validation_stop": (
        {"validation_attack": "fgsm", "validation_threat": "linf(eps=0.3)", "validation_stop": 0.2},
        {"validation": RobustValidation(attack=FGSM(), threat=Linf(eps=0.3), stop=0.2)},
    ),
    "validation_images": (
        {"validation_attack": "fgsm", "validation_threat": "linf(eps=0.3)", "validation_images": 7},
        {"validation": RobustValidation(attack=FGSM(), threat=Linf(eps=0.3), images=7)},
    ),
}


@pytest.mark.parametrize("name", FIELDS)
def test_each_field_is_read_and_distinguishes_trainings(name: str) -> None:
    given, expected = FIELDS[name]
    config = part(epochs=3, **given).config()
    assert config == TrainConfig(epochs=3, **expected)
    others = [part(epochs=3, **other).config() for key, (other, _) in FIELDS.items() if key != name]
    described = [other.described() for other in (*others, TrainConfig(epochs=3))]
    assert config.described() not in described


def test_what_has_its_default_is_left_out_so_that_keys_stay_as_they_were() -> None:
    before = {"epochs": 10, "batch_size": 64, "lr": 0.001, "betas": [0.9, 0.999]}
    assert part().config().described() == before
    assert part(optimizer="adam", schedule="constant").config().described() == before


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"optimizer": "adamw"}, r"^optimizer: unknown optimizer 'adamw'"),
        ({"optimizer": "sgd", "lr": 0.1}, "^lr: .*'sgd'"),
        ({"optimizer": "sgd", "betas": (0.5, 0.9)}, "^betas: "),
        ({"schedule": "cosinus"}, "^schedule: .*did you mean 'cosine'"),
        ({"augmentation": ["flip", "shift(pixels=0)"]}, "^augmentation: shift: pixels"),
        ({"averaging": "ema(decay=1)"}, "^averaging: ema: decay"),
        ({"validation_threat": "linf(eps=0.1)"}, "^validation_threat: it needs a validation_attack"),
        ({"validation_images": 5}, "^validation_images: it needs a validation_attack"),
        ({"validation_attack": "pgd"}, "^validation_attack: pgd supports"),
        ({"validation_attack": "pgd", "validation_threat": "linf(eps=7)"}, "^validation_threat: linf: eps"),
        (
            {"validation_attack": "pgd", "validation_threat": "linf(eps=0.1)", "objective": "vae_loss"},
            "^validation_attack: it needs a classifier",
        ),
    ],
)
def test_a_refusal_names_the_field(fields: dict[str, Any], expected: str) -> None:
    with pytest.raises(SpecError, match=expected):
        part(**fields).config()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('schedule = "traingle"', ("networks.baseline.schedule", "'triangle'")),
        ('optimizer = ""', ("networks.baseline.optimizer",)),
        ("augmentation = [3]", ("networks.baseline.augmentation", "found 3")),
        ("reestimate_batch_norm = 1", ("networks.baseline.reestimate_batch_norm",)),
        ("clip = 0", ("networks.baseline.clip", "greater than 0")),
        ("clip = true", ("networks.baseline.clip", "found True")),
        ("validation_images = 0", ("networks.baseline.validation_images",)),
        ('validation_atack = "pgd"', ("unknown key", "'validation_attack'")),
        ('validation_attack = "rotation_translation"\nvalidation_threat = "linf(eps=0.1)"', ("supports",)),
    ],
)
def test_a_mistake_is_found_before_anything_is_trained(
    line: str, expected: tuple[str, ...], tmp_path: Path
) -> None:
    message = refused(tmp_path, GOOD.replace("epochs = 3", f"epochs = 3\n{line}"))
    assert all(word in message for word in expected), message


def stages(
    tmp_path: Path, digits: Splits, *lines: str, pixels: tuple[float, ...] = (0.5,)
) -> list[TrainStage]:
    text = GOOD.replace("epochs = 3", "\n".join(("epochs = 3", *lines)))
    head, _, rest = text.partition("[[factors")
    _, _, rest = rest.partition("[networks")
    values = "".join(
        f'[[factors.scale.values]]\nid = "u{k}"\ntitle = "u{k}"\nvalue = {p}\n' for k, p in enumerate(pixels)
    )
    text = f"{head}{values}[networks{rest}".replace('"study"', '"u0"')
    plan = make_plan(load_recipe(write(tmp_path, text)), digits, CPU, 0, quick=False)
    return [stage for stage in plan.trainings if stage.network.startswith("baseline")]


@pytest.mark.parametrize("name", FIELDS)
def test_the_stages_key_depends_on_each_field(name: str, tmp_path: Path, digits: Splits) -> None:
    given, _ = FIELDS[name]
    lines = [
        f"{key} = {list(value) if isinstance(value, tuple) else value!r}".replace("True", "true")
        for key, value in given.items()
    ]
    ((plain,), (changed, *_)) = (stages(tmp_path, digits), stages(tmp_path, digits, *lines))
    assert plain.key != changed.key
    assert changed.config != plain.config


def test_the_lengths_of_an_objective_and_of_validation_are_scaled(tmp_path: Path, digits: Splits) -> None:
    (plain,) = stages(tmp_path, digits, pixels=(0.5, 1.0))
    assert plain.network == "baseline"
    lines = ('validation_attack = "pgd"', 'validation_threat = "linf(eps=0.2*scale)"')
    half, whole = stages(tmp_path, digits, *lines, pixels=(0.5, 1.0))
    assert [stage.network for stage in (half, whole)] == ["baseline-u0", "baseline-u1"]
    assert [stage.config.validation.threat.eps for stage in (half, whole) if stage.config.validation] == [
        0.1,
        0.2,
    ]
    assert half.key != whole.key


def test_the_lengths_of_an_objective_are_scaled(tmp_path: Path, digits: Splits) -> None:
    text = GOOD.replace(
        'objective = "cross_entropy"\nepochs = 3', 'objective = "fgsm_training(threat=linf(eps=0.2*scale))"'
    )
    plan = make_plan(load_recipe(write(tmp_path, text)), digits, CPU, 0, quick=False)
    stage = next(stage for name, _, stage in plan.networks if name == "baseline")
    assert stage.network == "baseline-study"
    assert stage.objective == FGSMTraining(threat=Linf(eps=0.1))


def test_the_masked_network_is_the_papers_recipe() -> None:
    recipe = load_recipe(SHIPPED / "masked_net.toml")
    network = recipe.networks["masked_net"]
    assert network.config() == TrainConfig(
        epochs=10, batch_size=100, optimizer=Adam(lr=5e-3), schedule=Triangle(peak=0.4)
    )
    assert network.objective == "fgsm_training(threat=linf(eps=0.3), rel_step_size=1.25)"
    assert recipe.data.validation_fraction == 0.01


def test_the_study_trains_as_before() -> None:
    recipe = load_recipe(SHIPPED / "mnist.toml")
    described = {name: network.config().described() for name, network in recipe.networks.items()}
    plain = {"epochs": 10, "batch_size": 64, "lr": 0.001, "betas": [0.9, 0.999]}
    assert described == {
        "baseline": plain,
        "adversarial": plain,
        "vae": plain | {"epochs": 15},
        "vae_kl": plain | {"epochs": 15},
        "gan": {"epochs": 15, "batch_size": 128, "lr": 4e-4, "betas": [0.5, 0.999]},
    }


def test_a_recipe_is_written_as_it_is_read() -> None:
    content = tomllib.loads(GOOD.replace("epochs = 3", 'epochs = 3\naugmentation = "flip"'))
    recipe = Recipe.model_validate(content)
    assert Recipe.model_validate(recipe.model_dump(by_alias=True)) == recipe
