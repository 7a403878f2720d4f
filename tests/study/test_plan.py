"""A plan: what is done once per value of a factor, and which stages a changed option touches."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from planning import CPU, RECIPE, TEXT, Planner, asked, changed, keys, planner, toy_data, trained

from robustlab.attacks import FGSM, FGSMLiteralClamp, GaussianNoise
from robustlab.core.device import Compute
from robustlab.core.errors import RecipeError
from robustlab.defenses import AdversarialTraining, Purifier
from robustlab.study.loading import load_recipe
from robustlab.study.plan import at, make_plan
from robustlab.study.recipe import Attacked, SeriesPart
from robustlab.study.stages import ShippedStage, TrainStage
from robustlab.threats import Linf, Unbounded

plan = pytest.fixture(planner)


# Factors


def test_a_network_that_uses_a_factor_is_trained_once_per_value(plan: Planner) -> None:
    networks = {stage.network: (name, choice, stage) for name, choice, stage in plan().networks}
    assert list(networks) == ["baseline", "gan", "adversarial-study", "adversarial-pixel", "vae", "vae_kl"]
    for value, eps in (("study", 0.125), ("pixel", 0.25)):
        name, choice, stage = networks[f"adversarial-{value}"]
        assert (name, choice.id) == ("adversarial", value)
        defense = stage.defense
        assert isinstance(defense, AdversarialTraining)
        assert (defense.threat, defense.source, defense.fraction) == (Linf(eps=eps), "baseline", 0.3)
    assert networks["baseline"][1].id is None


def test_an_evaluation_that_uses_a_factor_is_made_once_per_value(plan: Planner) -> None:
    made = plan()
    assert ("clean", None) in made.evaluations
    assert ("vae_clean", None) in made.evaluations
    assert ("adversarial_clean", "study") in made.evaluations  # its network depends on the factor
    for value, factor in (("study", 0.5), ("pixel", 1.0)):
        fgsm = made.evaluations["fgsm", value].question
        assert asked(fgsm) == ([repr(FGSM())], Linf(eps=0.25 * factor))
        noise = made.evaluations["noise", value].question
        # Any image is any image, whatever the factor.
        assert asked(noise) == ([repr(GaussianNoise(std=0.3 * factor))], Unbounded())
        transfer = made.evaluations["adversarial_transfer", value]
        assert (transfer.question.model, transfer.question.surrogates) == ("adversarial", ("baseline",))
        assert trained(made, f"adversarial-{value}", "baseline") <= set(transfer.inputs)
        assert transfer.folder == f"adversarial_transfer-{value}"
        assert asked(made.detections["discriminator_noise", value].question) == asked(noise)
        assert made.detections["grey_fgsm", value].question == fgsm
    # Its eps is of normalised images in every reading.
    assert asked(made.evaluations["literal_clamp", None].question)[0] == [repr(FGSMLiteralClamp(eps=0.25))]
    assert made.evaluations["clean", None].folder == "clean"
    for name, part in {part.id: part for part in load_recipe(RECIPE).evaluations}.items():
        uses = "scale" in f"{part.attacks} {part.threat}" or part.model == "adversarial"
        found = [choice for evaluation, choice in made.evaluations if evaluation == name]
        assert found == (["study", "pixel"] if uses else [None]), name


PGD = 'attacks = "pgd(steps=20, rel_step_size=0.2)"'


def test_the_axes_of_curves_are_in_pixels(plan: Planner) -> None:
    made = plan()
    points = made.curves["eps"][0].points
    assert [point.threat for point in points][:3] == [Linf(eps=eps) for eps in (0.0, 0.025, 0.05)]
    lines = [(stage.points[0].model, stage.points[0].choice.id) for stage in made.curves["eps"]]
    assert lines == [
        ("baseline", None),
        ("baseline", None),
        ("adversarial", "study"),
        ("adversarial", "study"),
        ("adversarial", "pixel"),
        ("vae_baseline", None),
        ("vae_baseline", None),
    ]
    for stage in made.curves["eps"]:
        (value,) = {point.choice.id for point in stage.points}
        if stage.points[0].model != "vae_baseline":
            instance = f"adversarial-{value}" if value else "baseline"
            assert trained(made, instance) <= set(stage.inputs)
    attacks = [asked(point)[0] for point in made.curves["noise"][0].points]
    assert attacks == [[repr(GaussianNoise(std=std))] for std in (0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)]


def test_a_composition_of_networks_that_use_a_factor_depends_on_it(plan: Planner) -> None:
    made = plan(("(network=vae_kl, classifier=baseline)", "(network=vae_kl, classifier=adversarial)"))
    for value in ("study", "pixel"):
        # The key of a composition is a hash: it must change with the network inside.
        stage = made.evaluations["vae_kl_clean", value]
        assert stage.question.model == "vae_kl_baseline"
    assert len({stage.key for name, stage in made.evaluations.items() if name[0] == "vae_kl_clean"}) == 2
    assert ("vae_kl_clean", None) not in made.evaluations
    assert ("vae_clean", None) in made.evaluations


@pytest.mark.parametrize(
    ("old", "new", "series"),
    [
        ('model = "adversarial", values = { scale = "study" }', 'model = "adversarial"', "'Adversarially"),
        (
            'surrogates = ["baseline"], attacks = "fgsm(gradient=surrogates)", threat = "linf(eps=x)"',
            'surrogates = ["adversarial"], attacks = "fgsm(gradient=surrogates)", threat = "linf(eps=x)"',
            "'VAE, FGSM made on",
        ),
        (
            f'PGD end to end", model = "vae_baseline", {PGD}, threat = "linf(eps=x)"',
            f'PGD end to end", model = "vae_baseline", {PGD}, threat = "linf(eps=x*scale)"',
            "'VAE, PGD end",
        ),
    ],
)
def test_what_exists_once_per_value_cannot_be_meant_without_one(
    plan: Planner, old: str, new: str, series: str
) -> None:
    with pytest.raises(RecipeError, match=f"curves.eps.series: the series {series}.* depends on scale"):
        plan((old, new))


def test_a_factor_with_one_value_needs_no_choice(plan: Planner) -> None:
    text = TEXT[TEXT.index('[[factors.scale.values]]\nid = "pixel"') : TEXT.index("# Networks")]
    chosen = 'values = { scale = "pixel" }, '
    made = plan((text, ""), *[('values = { scale = "study" }, ', ""), (chosen, "")] * 2)
    assert [choice for name, choice in made.evaluations if name == "fgsm"] == ["study"]
    adversarial = made.curves["eps"][2]
    assert trained(made, "adversarial-study") <= set(adversarial.inputs)


def test_the_gallery_shows_its_evaluations_with_every_value(plan: Planner) -> None:
    gallery = plan().gallery
    assert gallery is not None
    stage, columns = gallery
    assert columns == [
        ("clean", None),
        *[
            (row, value)
            for row in ("noise", "fgsm", "adversarial_fgsm", "vae_fgsm")
            for value in ("study", "pixel")
        ],
    ]
    assert len(stage.columns) == len(columns)


def test_stages_come_after_what_they_need(plan: Planner) -> None:
    made = plan()
    seen: set[str] = set()
    trained = {stage.key for _, _, stage in made.networks}
    assert trained & {key for stage in made.stages for key in stage.inputs}
    for stage in made.stages:
        needed = set(stage.inputs) & trained
        assert needed <= seen
        seen.add(stage.key)
    assert len({stage.name for stage in made.stages}) == len(made.stages)
    # The key of a composition hides those of its networks: all are trained before anything is measured.
    kinds = [isinstance(stage, TrainStage) for stage in made.stages]
    assert kinds == sorted(kinds, reverse=True)


# Keys


def test_keys_are_the_same_in_another_process(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from planning import *\n"
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
        ("curve = 50", "curve = 300"),
    ):
        assert changed(plan(), plan((old, new))) == set()


KL_TRANSFER = (
    'model = "vae_kl_baseline"\nattacks = "fgsm(gradient=surrogates)"\nthreat = "linf(eps=0.25*scale)"\n'
    "surrogates = "
)
OF_VAE = ("evaluate vae_", "curve eps: VAE", "curve noise: VAE")

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
            or (name.startswith(OF_VAE) and not name.startswith("evaluate vae_kl"))
        ),
    ),
    "the baseline's learning rate": (
        "lr = 1e-3",
        "lr = 2e-3",
        lambda name: not name.startswith(("train vae", "train gan", "samples of")),
    ),
    "the defense's share": (
        "fraction=0.3",
        "fraction=0.4",
        lambda name: "adversarial" in name.lower() or name == "gallery",
    ),
    "an evaluation's length": (
        "std=0.3*scale",
        "std=0.2*scale",
        lambda name: name.startswith(
            ("evaluate noise", "detect discriminator_noise", "detect grey_noise", "gallery")
        ),
    ),
    "an evaluation's mode, where nothing needs a test-set": (
        'mode = "test-set"\n\n[[evaluations]]\nid = "vae_kl_pgd"',
        'mode = "max-loss"\n\n[[evaluations]]\nid = "vae_kl_pgd"',
        lambda name: name.startswith("evaluate vae_kl_fgsm ("),
    ),
    "an evaluation's surrogates": (
        KL_TRANSFER + '["baseline"]',
        KL_TRANSFER + '["vae_baseline"]',
        lambda name: name.startswith("evaluate vae_kl_transfer"),
    ),
    "an evaluation's checks": (
        'id = "fgsm_pgd"',
        'checks = "none"\nid = "fgsm_pgd"',
        lambda name: name.startswith("evaluate fgsm_pgd"),
    ),
    "a curve's images": ("images = 1000", "images = 900", lambda name: name.startswith("curve noise")),
}


@pytest.mark.parametrize("what", DEPENDENTS)
def test_a_changed_option_touches_exactly_what_depends_on_it(plan: Planner, what: str) -> None:
    old, new, depends = DEPENDENTS[what]
    before = plan()
    touched = changed(before, plan((old, new)))
    assert touched == {name for name in keys(before) if depends(name)}
    assert touched


def test_another_second_value_leaves_the_stages_of_the_first(plan: Planner) -> None:
    touched = changed(plan(), plan(("value = 1.0", "value = 0.9")))
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
        touched = changed(before, plan(data=replace(data, **fewer)))
        spared = {name for name in keys(before) if name.startswith("train")} if part == "test" else set()
        assert touched == set(keys(before)) - spared


BASELINE = {"baseline": "mnist_cnn"}
ALL = BASELINE | {"adversarial-study": "mnist_fgsm_0125", "adversarial-pixel": "mnist_fgsm_025"}


@pytest.mark.parametrize(
    ("changes", "dataset", "options", "shipped"),
    [
        ((), "mnist", {"quick": True}, ALL),
        ((), "mnist", {"quick": False}, {}),
        (
            (("linf(eps=0.25*scale), source", "linf(eps=0.3*scale), source"),),
            "mnist",
            {"quick": True},
            BASELINE,
        ),
        ((), "mnist", {"quick": True, "seed": 1}, {}),
        ((), "fashion_mnist", {"quick": True}, {}),
        ((("cnn(dropout=0.2)", "cnn(dropout=0.3)"),), "mnist", {"quick": True}, {}),
        ((("epochs = 10", "epochs = 11"),), "mnist", {"quick": True}, {}),
        ((("lr = 1e-3", "lr = 2e-3"),), "mnist", {"quick": True}, {}),
        ((("validation_fraction = 0.2", "validation_fraction = 0.3"),), "mnist", {"quick": True}, {}),
        (
            (("validation_fraction = 0.2", "validation_fraction = 0.2\ntrain = 300"),),
            "mnist",
            {"quick": True},
            {},
        ),
    ],
)
def test_a_quick_run_trains_no_network_that_the_zoo_has(
    changes: tuple[tuple[str, str], ...],
    dataset: str,
    options: dict[str, Any],
    shipped: dict[str, str],
    plan: Planner,
) -> None:
    data = replace(toy_data(), name=dataset)
    data = replace(data, test=replace(data.test, labels=torch.tensor([0, 1, 2, 9])))
    made = plan(*changes, data=data, **options)
    found = {stage.network: stage for _, _, stage in made.networks if isinstance(stage, ShippedStage)}
    assert {name: stage.zoo for name, stage in found.items()} == shipped
    assert len(made.trainings) + len(found) == len(made.networks)


def test_a_quick_run_caps_epochs_and_curves(plan: Planner) -> None:
    quick = plan(quick=True)
    assert {stage.config.epochs for stage in quick.trainings} == {4}
    assert {stage.images for stages in quick.curves.values() for stage in stages} == {50}
    full, recipe = plan(), load_recipe(RECIPE)
    for name, _, stage in full.networks:
        assert isinstance(stage, TrainStage)
        assert stage.config.epochs == recipe.networks[name].epochs > 4
    for curve in recipe.curves:
        assert {stage.images for stage in full.curves[curve.id]} == {curve.images}
        assert curve.images > 50


def test_a_defenses_own_arguments_are_part_of_the_key(plan: Planner, monkeypatch: pytest.MonkeyPatch) -> None:
    # A composed classifier has no stage: what it is must show in the keys of what is measured on it.
    before = plan()
    monkeypatch.setattr(Purifier, "__repr__", lambda _: "purifier(strength=2)")
    touched = changed(before, plan())
    assert touched == {name for name in keys(before) if name.startswith(OF_VAE) or name == "gallery"}


def test_a_point_of_a_curve_keeps_every_field_of_its_line() -> None:
    series = SeriesPart(
        label="A line",
        model="baseline",
        attacks="pgd(steps=3)",
        threat="linf(eps=x)",
        surrogates=("mnist_cnn",),
        mode="max-loss",
        target="next",
        eight_bit=True,
        eot_samples=3,
        mean="mnist",
        std="mnist",
        scale=2.0,
        resize=32,
        crop=28,
    )
    point = at(series, 0.25)
    assert point.threat == "linf(eps=0.25)"
    changed = {"threat"}
    for field in fields(Attacked):
        assert getattr(series, field.name) != field.default, "the test is to set every field"
        assert field.name in changed or getattr(point, field.name) == getattr(series, field.name)
