"""Recipes that are right."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recipe_texts import GOOD, write

from robustlab.attacks import FGSM, GaussianNoise
from robustlab.study.loading import load_recipe
from robustlab.study.recipe import Recipe
from robustlab.threats import Linf, Unbounded
from robustlab.training import Adam, TrainConfig

SHIPPED = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


def test_a_good_recipe_is_read(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, GOOD))
    assert recipe.name == "toy"
    assert recipe.data.validation_fraction == 0.25
    assert [unit.pixels for unit in recipe.units] == [0.5]
    assert list(recipe.networks) == ["baseline", "adversarial", "vae", "gan"]
    assert recipe.networks["gan"].betas == (0.5, 0.999)
    assert recipe.rows[0].units_of() == (None, Unbounded())
    assert recipe.rows[1].units_of() == (FGSM(), Linf(eps=0.25))
    assert recipe.rows[1].mode == "max-loss"
    assert recipe.rows[0].mode == "verdict"
    assert recipe.detections[0].units_of() == (GaussianNoise(std=0.3), Unbounded())


def test_defaults() -> None:
    network = Recipe.model_validate(tomllib.loads(GOOD)).networks["baseline"]
    expected = TrainConfig(epochs=3, batch_size=64, optimizer=Adam(lr=1e-3, betas=(0.9, 0.999)))
    assert network.config() == network.config(10) == expected
    assert network.config(2) == TrainConfig(epochs=2)


@given(x=st.floats(0, 1))
def test_a_series_takes_every_point_of_its_axis(x: float) -> None:
    (series,) = Recipe.model_validate(tomllib.loads(GOOD)).curves[0].series
    assert series.at(x).units_of() == (FGSM(), Linf(eps=x))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_recipes_are_good(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert recipe.rows
    again = Recipe.model_validate(recipe.model_dump(by_alias=True))
    assert again == recipe


def test_there_is_a_recipe_of_the_study() -> None:
    assert "mnist" in {path.stem for path in SHIPPED}
