"""A plan: what is done once per unit, and which stages a changed option touches."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from robustlab.attacks import FGSM, FGSMLiteralClamp, GaussianNoise
from robustlab.core.device import Compute
from robustlab.core.errors import RecipeError
from robustlab.data import Split, Splits
from robustlab.defenses import Purifier
from robustlab.study.loading import load_recipe
from robustlab.study.plan import Plan, make_plan
from robustlab.threats import Linf, Unbounded

RECIPE = Path(__file__).parents[2] / "recipes" / "mnist.toml"
TEXT = RECIPE.read_text(encoding="utf-8")
CPU = Compute(device="cpu", precision="fp32")


def toy_data() -> Splits:
    def part(name: str, first: int) -> Split:
        ids = torch.arange(first, first + 4)
        return Split(images=torch.zeros(4, 1, 28, 28, dtype=torch.uint8), labels=ids % 4, ids=ids, name=name)

    return Splits(
        name="toy", train=part("train", 0), validation=part("validation", 4), test=part("test", 0), source=""
    )


Planner = Callable[..., Plan]


@pytest.fixture
def plan(tmp_path: Path) -> Planner:
    def make(
        *changes: tuple[str, str],
        data: Splits | None = None,
        compute: Compute = CPU,
        seed: int = 0,
        quick: bool = False,
    ) -> Plan:
        text = TEXT
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        path = tmp_path / "changed.toml"
        path.write_text(text, encoding="utf-8")
        return make_plan(load_recipe(path), data or toy_data(), compute, seed, quick=quick)

    return make


def keys(plan: Plan) -> dict[str, str]:
    return {stage.name: stage.key for stage in plan.stages}


def changed(one: Plan, other: Plan) -> set[str]:
    before, after = keys(one), keys(other)
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


# Units


def test_a_network_that_states_a_length_is_trained_once_per_unit(plan: Planner) -> None:
    networks = {stage.network: (name, unit, stage) for name, unit, stage in plan().networks}
    assert list(networks) == ["baseline", "adversarial-study", "adversarial-pixel", "vae", "vae_kl", "gan"]
    for unit, eps in (("study", 0.125), ("pixel", 0.25)):
        name, in_unit, stage = networks[f"adversarial-{unit}"]
        assert (name, in_unit) == ("adversarial", unit)
        assert repr(stage.defense) == (
            f"adversarial_training(attack=fgsm(random_start=False, step=None), threat=linf(eps={eps}), "
            "source=baseline, fraction=0.3)"
        )
    assert networks["baseline"][1] is None


def test_a_row_that_states_a_length_is_measured_once_per_unit(plan: Planner) -> None:
    made = plan()
    assert ("clean", None) in made.rows
    assert ("vae_clean", None) in made.rows
    assert ("adversarial_clean", "study") in made.rows  # its network depends on the unit
    for unit, factor in (("study", 0.5), ("pixel", 1.0)):
        fgsm = made.rows["fgsm", unit].measurement
        assert (fgsm.attack, fgsm.threat) == (FGSM(), Linf(eps=0.25 * factor))
        noise = made.rows["noise", unit].measurement
        assert noise.attack == GaussianNoise(std=0.3 * factor)
        assert noise.threat == Unbounded()  # any image is any image in every unit
        transfer = made.rows["adversarial_transfer", unit].measurement
        assert (transfer.on, transfer.crafted_on) == (f"adversarial-{unit}", "baseline")
        assert made.detections["discriminator_noise", unit].attack == GaussianNoise(std=0.3 * factor)
        assert made.detections["grey_fgsm", unit].threat == Linf(eps=0.25 * factor)
    assert made.rows["literal_clamp", None].measurement.attack == FGSMLiteralClamp(eps=0.25)
    assert not [name for name, unit in made.rows if name == "literal_clamp" and unit]


def test_the_axes_of_curves_are_in_pixels(plan: Planner) -> None:
    curves = plan().curves
    points = curves["eps"][0].points
    assert [point.threat.eps for point in points][:3] == [0.0, 0.025, 0.05]
    assert {point.on for stage in curves["eps"] for point in stage.points} == {
        "baseline",
        "adversarial-study",
        "adversarial-pixel",
        "vae_baseline",
    }
    attacks = [point.attack for point in curves["noise"][0].points]
    assert attacks == [GaussianNoise(std=round(0.05 * step, 2)) for step in range(11)]


def test_a_composition_of_networks_that_depend_on_the_unit_depends_on_it(plan: Planner) -> None:
    made = plan(("(network=vae_kl, classifier=baseline)", "(network=vae_kl, classifier=adversarial)"))
    for unit in ("study", "pixel"):
        defense = Purifier(network="vae_kl", classifier=f"adversarial-{unit}")
        assert made.composed[f"vae_kl_baseline-{unit}"] == defense
        assert made.rows["vae_kl_clean", unit].measurement.on == f"vae_kl_baseline-{unit}"
    assert "vae_kl_baseline" not in made.composed
    assert ("vae_kl_clean", None) not in made.rows
    assert ("vae_clean", None) in made.rows


SERIES = 'on = "vae_baseline", crafted_on = '


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ('on = "adversarial", unit = "study"', 'on = "adversarial"', "curves.eps: series 'Adversarially"),
        (SERIES + '"baseline"', SERIES + '"adversarial"', "curves.eps: series 'VAE, FGSM made on"),
    ],
)
def test_what_exists_once_per_unit_cannot_be_meant_without_one(
    plan: Planner, old: str, new: str, place: str
) -> None:
    with pytest.raises(RecipeError, match=f"{place}.*'adversarial' exists once per unit, and no unit is"):
        plan((old, new))


def test_the_gallery_shows_its_rows_in_every_unit(plan: Planner) -> None:
    gallery = plan().gallery
    assert gallery is not None
    stage, columns = gallery
    assert columns == [
        ("clean", None),
        *[(row, unit) for row in ("noise", "fgsm", "vae_transfer") for unit in ("study", "pixel")],
    ]
    assert len(stage.columns) == len(columns)


def test_stages_come_after_what_they_need(plan: Planner) -> None:
    made = plan()
    seen: set[str] = set()
    trained = {stage.key for _, _, stage in made.networks}
    for stage in made.stages:
        needed = {key for part in stage.inputs for key in part.split("+")} & trained
        assert needed <= seen
        seen.add(stage.key)
    assert len({stage.name for stage in made.stages}) == len(made.stages)


# Keys


def test_keys_are_the_same_in_another_process(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_plan import *\n"
        "made = make_plan(load_recipe(RECIPE), toy_data(), CPU, 0, quick=False)\n"
        "print(*(f'{s.name}={s.key}' for s in made.stages), sep='\\n')"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    here = make_plan(load_recipe(RECIPE), toy_data(), CPU, 0, quick=False)
    assert done.stdout.splitlines() == [f"{stage.name}={stage.key}" for stage in here.stages]


def test_the_same_plan_has_the_same_keys(plan: Planner) -> None:
    assert keys(plan()) == keys(plan())
    every = [stage.key for stage in plan().stages]
    assert len(set(every)) == len(every)


def test_titles_and_notes_change_no_key(plan: Planner) -> None:
    for old, new in (
        ('title = "Baseline CNN"', 'title = "A CNN"'),
        ('note = "White box"', 'note = "Seen"'),
        ("reference = 0.82", "reference = 0.5"),
        ('why = "The study', 'why = "My study'),
        ('text = "The CNN is accurate but fragile."', 'text = "Fragile."'),
        ("clean - fgsm >= 0.1", "clean - fgsm >= 0.2"),
        ('group = "footnote"', 'group = "more"'),
        ("curve = 200", "curve = 300"),
    ):
        assert changed(plan(), plan((old, new))) == set()


FGSM_ROW = 'threat = "linf(eps=0.25)"\nmode = "max-loss"\nreference = 0.82'
NOISE_ROW = 'attack = "gaussian_noise(std=0.3)"\nmode = "max-loss"\nreference = 0.96'
OF_VAE = ("measure vae_", "curve eps: VAE", "curve noise: VAE")

Dependence = tuple[str, str, Callable[[str], bool]]

DEPENDENTS: dict[str, Dependence] = {
    "the GAN's optimizer": (
        "betas = [0.5, 0.999]",
        "betas = [0.6, 0.999]",
        lambda name: name in {"train gan", "samples of gan"} or name.startswith("detect discriminator"),
    ),
    "the VAE's size": (
        "vae(hidden=400, latent=20)",
        "vae(hidden=300, latent=20)",
        lambda name: (
            name in {"train vae", "samples of vae", "gallery"}
            or (name.startswith(OF_VAE) and not name.startswith("measure vae_kl"))
        ),
    ),
    "the baseline's learning rate": (
        "lr = 1e-3",
        "lr = 2e-3",
        lambda name: not name.startswith(("train vae", "train gan", "samples of")),
    ),
    "the defense's share": ("fraction=0.3", "fraction=0.4", lambda name: "adversarial" in name.lower()),
    "a row's length": (
        NOISE_ROW,
        NOISE_ROW.replace("0.3", "0.2"),
        lambda name: name.startswith("measure noise") or name == "gallery",
    ),
    "a row's mode": (
        FGSM_ROW,
        FGSM_ROW.replace("max-loss", "verdict"),
        lambda name: name.startswith("measure fgsm (") or name == "gallery",
    ),
    "a curve's images": ("images = 1000", "images = 900", lambda name: name.startswith("curve eps")),
}


@pytest.mark.parametrize("what", DEPENDENTS)
def test_a_changed_option_touches_exactly_what_depends_on_it(plan: Planner, what: str) -> None:
    old, new, depends = DEPENDENTS[what]
    before = plan()
    touched = changed(before, plan((old, new)))
    assert touched == {name for name in keys(before) if depends(name)}
    assert touched


def test_the_second_units_size_leaves_the_first_units_stages(plan: Planner) -> None:
    touched = changed(plan(), plan(("pixels = 1.0", "pixels = 0.9")))
    assert touched
    assert all("pixel" in name or name == "gallery" for name in touched)
    assert "train adversarial-pixel" in touched


def test_seed_data_and_device_touch_what_depends_on_them(plan: Planner) -> None:
    before = plan()
    assert changed(before, plan(seed=1)) == set(keys(before))
    # Other weights, and so everything that is measured with them.
    assert changed(before, plan(compute=Compute(device="cpu", precision="bf16"))) == set(keys(before))
    data = toy_data()
    for part in ("train", "validation", "test"):
        fewer: Any = {part: data.split(part).take(torch.tensor([0, 1, 3]))}
        touched = changed(before, plan(data=dataclasses.replace(data, **fewer)))
        spared = {name for name in keys(before) if name.startswith("train")} if part == "test" else set()
        assert touched == set(keys(before)) - spared


def test_a_quick_run_caps_epochs_and_curves(plan: Planner) -> None:
    quick = plan(quick=True)
    assert {stage.config.epochs for _, _, stage in quick.networks} == {2}
    assert {stage.images for stages in quick.curves.values() for stage in stages} == {200}
    full, recipe = plan(), load_recipe(RECIPE)
    for name, _, stage in full.networks:
        assert stage.config.epochs == recipe.networks[name].epochs > 2
    for curve in recipe.curves:
        assert {stage.images for stage in full.curves[curve.id]} == {curve.images}
        assert curve.images > 200


def test_a_defenses_own_arguments_are_part_of_the_key(plan: Planner, monkeypatch: pytest.MonkeyPatch) -> None:
    # A composed classifier has no stage: what it is must show in the keys of what is measured on it.
    before = plan()
    monkeypatch.setattr(Purifier, "__repr__", lambda _: "purifier(strength=2)")
    touched = changed(before, plan())
    assert touched == {name for name in keys(before) if name.startswith(OF_VAE) or name == "gallery"}
