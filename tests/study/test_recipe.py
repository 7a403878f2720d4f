"""Recipes that are right."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recipe_texts import GOOD, write

from robustlab.study.loading import load_recipe
from robustlab.study.plan import at
from robustlab.study.recipe import Recipe
from robustlab.threats import Linf, as_threat
from robustlab.training import Adam, TrainConfig

SHIPPED = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


def test_a_good_recipe_is_read(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, GOOD))
    assert recipe.name == "toy"
    assert recipe.data.validation_fraction == 0.25
    assert [(value.id, value.value) for value in recipe.factors["scale"].values] == [("study", 0.5)]
    assert list(recipe.networks) == ["baseline", "adversarial", "vae", "gan"]
    assert recipe.networks["gan"].betas == (0.5, 0.999)
    clean, fgsm, noise = recipe.evaluations
    assert (clean.model, clean.attacks, clean.threat, clean.mode) == ("baseline", None, None, "verdict")
    assert (fgsm.model, fgsm.surrogates, fgsm.mode) == ("purified", ("baseline",), "test-set")
    assert (clean.group, clean.checks) == ("more", "cheap")
    assert recipe.detections[0].evaluation == noise.id


def test_defaults() -> None:
    network = Recipe.model_validate(tomllib.loads(GOOD)).networks["baseline"]
    expected = TrainConfig(epochs=3, batch_size=64, optimizer=Adam(lr=1e-3, betas=(0.9, 0.999)))
    assert network.config() == expected


@given(x=st.floats(0, 1))
def test_a_series_takes_every_point_of_its_axis(x: float) -> None:
    (series,) = Recipe.model_validate(tomllib.loads(GOOD)).curves[0].series
    point = at(series, x)
    assert (point.model, point.attacks) == ("adversarial", "fgsm")
    assert as_threat(str(point.threat)) == Linf(eps=x)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_recipes_are_good(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert recipe.evaluations
    again = Recipe.model_validate(recipe.model_dump(by_alias=True))
    assert again == recipe


def test_there_is_a_recipe_of_the_study() -> None:
    assert "mnist" in {path.stem for path in SHIPPED}
