"""Laws of units and their specs, for every registered unit of every kind."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from registered_units import REGISTERED, every_unit, instances

from robustlab.attacks import FGSM, Attack, Session
from robustlab.core import spec
from robustlab.core.errors import SpecError
from robustlab.core.factors import bound
from robustlab.core.spec import Unit, parse, register, units
from robustlab.data import Dataset
from robustlab.defenses import Defense, Purifier
from robustlab.models import CNN, Model, Reformer
from robustlab.threats import Linf
from robustlab.training import FGSMTraining


@every_unit
@given(data=st.data())
def test_the_repr_is_the_spec(kind: type[Unit], unit: type[Unit], data: st.DataObject) -> None:
    original = data.draw(instances(unit))
    parsed = parse(kind, repr(original))
    assert parsed == original
    assert type(parsed) is unit
    assert repr(parsed) == repr(original)
    assert hash(parsed) == hash(original)


@every_unit
@given(data=st.data())
def test_arguments_may_come_in_any_order_and_layout(
    kind: type[Unit], unit: type[Unit], data: st.DataObject
) -> None:
    original = data.draw(instances(unit))
    names = [field.name for field in dataclasses.fields(original)]  # type: ignore[arg-type]
    shuffled = data.draw(st.permutations(names))
    spelt = ",\n  ".join(f"{name} = {spec._spell(getattr(original, name))}" for name in shuffled)
    assert parse(kind, f"  {unit.name} (\n{spelt} )\n") == original


@every_unit
@given(data=st.data())
def test_different_units_have_different_specs(
    kind: type[Unit], unit: type[Unit], data: st.DataObject
) -> None:
    del kind
    one, other = data.draw(instances(unit)), data.draw(instances(unit))
    assert (one == other) == (repr(one) == repr(other))


@every_unit
def test_units_are_frozen_and_keyword_only(kind: type[Unit], unit: type[Unit]) -> None:
    del kind
    fields = dataclasses.fields(unit)  # type: ignore[arg-type]
    assert all(field.kw_only for field in fields)
    if fields:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(_some(unit), fields[0].name, None)


def _some(unit: type[Unit]) -> Unit:
    """The unit with the fewest arguments spelt out."""
    needed: dict[str, dict[str, Any]] = {
        "bpda": {"part": "quantizer"},
        "targeted": {"classes": "next"},
        "code": {"reference": "my.py:make"},
        "http": {"url": "http://localhost:8000/predict"},
        "predict": {"reference": "my.py:predict"},
        "run": {"folder": "runs/mnist"},
        "saved": {"path": "net.pt"},
        "zoo": {"network": "mnist_cnn"},
        **{name: {"network": "resnet18"} for name in ("torchvision", "timm", "robustbench")},
        "hf": {"path": "photos"} if issubclass(unit, Dataset) else {"place": "owner/net"},
        **{name: {"path": f"net.{name}"} for name in ("onnx", "keras", "torchscript", "export")},
        **{name: {"path": "photos"} for name in ("folder", "imagenet", "npz")},
        **{name: {"path": "c", "corruption": "fog"} for name in ("cifar10_c", "imagenet_c", "mnist_c")},
        "gaussian_noise": {"std": 0.1},
        "fgsm_literal_clamp": {"eps": 0.1},
        "linf": {"eps": 0.1},
        "l2": {"eps": 0.1},
        "l1": {"eps": 0.1},
        "l0": {"eps": 3},
        "masked": {"threat": Linf(eps=0.1), "fixed": (0, 3)},
        "corruption": {"effect": "stripe"},
        "restarts": {"attack": FGSM()},
        "if_shattered": {"attack": FGSM()},
        "if_masked": {"attack": FGSM()},
        "purifier": {"network": "vae", "classifier": "baseline"}
        if issubclass(unit, Defense)
        else {"network": Reformer(), "classifier": CNN()},
        "diffusion_purifier": {"network": "diffusion", "classifier": "baseline"},
        "smoothed": {"classifier": "baseline"} if issubclass(unit, Defense) else {},
        "bit_depth": {"classifier": "baseline"},
        "thresholded": {"classifier": "baseline" if issubclass(unit, Defense) else CNN()},
        "discriminator": {"network": "gan"},
        "adversarial_training": {"attack": FGSM(), "threat": Linf(eps=0.1), "source": "baseline"},
        "fgsm_training": {"threat": Linf(eps=0.1)},
        "pgd_training": {"threat": Linf(eps=0.1)},
        "trades": {"threat": Linf(eps=0.1)},
        "mart": {"threat": Linf(eps=0.1)},
        "mixed": {"threat": Linf(eps=0.1)},
        **{name: {"threat": Linf(eps=0.1)} for name in ("ibp_training", "crown_ibp_training", "sabr")},
        "awp": {"objective": FGSMTraining(threat=Linf(eps=0.1))},
        "eps_ramp": {"objective": FGSMTraining(threat=Linf(eps=0.1))},
        "alternating": dict.fromkeys(("first", "second"), FGSMTraining(threat=Linf(eps=0.1))),
        "purifying": {"objective": FGSMTraining(threat=Linf(eps=0.1))},
        "noise_training": {"std": 0.1},
        "consistency": {"std": 0.1},
    }
    return unit(**needed.get(unit.name, {}))


FROZEN_SPECS = {
    "bpda(part=quantizer, stand_in=None)",
    "eot(samples=20)",
    "exact()",
    "finite_differences(delta=0.01)",
    "hf_card()",
    "junit()",
    "mlflow(experiment=robustlab)",
    "tensorboard()",
    "wandb(project=robustlab)",
    "smoothed(draws=16, std=0.01)",
    "spsa(pairs=64, delta=0.01)",
    "surrogates()",
    "misclassified()",
    "targeted(classes=next)",
    "auto()",
    "cifar100()",
    "svhn()",
    "stl10()",
    "emnist(split=balanced)",
    "gtsrb(size=32)",
    "folder(path=photos, resize=None, crop=None, channels=3)",
    "hf(path=photos, split=None, config=None, image=None, label=None, resize=None, crop=None, channels=3)",
    "imagenet(path=photos, resize=256, crop=224)",
    "npz(path=photos)",
    "cifar10_c(path=c, corruption=fog, severity=3)",
    "imagenet_c(path=c, corruption=fog, severity=3, resize=None, crop=None)",
    "mnist_c(path=c, corruption=fog)",
    "cifar10()",
    "digits()",
    "fashion_mnist()",
    "kmnist()",
    "mnist()",
    "code(reference='my.py:make')",
    "run(folder='runs/mnist', network=None)",
    "http(url='http://localhost:8000/predict', classes=None, batch_size=16, budget=None, rate=None, "
    "retries=5, timeout=30.0, token=None, header=Authorization)",
    "predict(reference='my.py:predict', classes=None, answers=auto, tensors=False, batch_size=None, "
    "budget=None)",
    "saved(path='net.pt')",
    "torchvision(network=resnet18, weights=None, classes=None)",
    "timm(network=resnet18, pretrained=True, classes=None)",
    "hf(place='owner/net')",
    "onnx(path='net.onnx', output=None)",
    "keras(path='net.keras')",
    "torchscript(path='net.torchscript')",
    "export(path='net.export')",
    "robustbench(network=resnet18, dataset=cifar10, threat=Linf)",
    "zoo(network=mnist_cnn)",
    "adam(lr=0.001, betas=(0.9, 0.999), weight_decay=0.0)",
    "sgd(lr=0.1, momentum=0.9, nesterov=False, weight_decay=0.0)",
    "constant()",
    "cosine()",
    "milestones(at=(0.5, 0.75), factor=0.1)",
    "triangle(peak=0.4)",
    "warmup(share=0.1, then=constant())",
    "flip()",
    "shift(pixels=2, share=1.0)",
    "ema(decay=0.999)",
    "fgsm_training(threat=linf(eps=0.1), rel_step_size=1.25)",
    "pgd_training(threat=linf(eps=0.1), attack=pgd(steps=10, rel_step_size=0.25, restarts=1, "
    "loss=cross_entropy, start=random, gradient=exact()), clean=0.0)",
    "trades(threat=linf(eps=0.1), beta=6.0, steps=10, rel_step_size=0.25)",
    "gan_loss(smoothing=0.0)",
    "adversarial_training(attack=fgsm(random_start=False, rel_step_size=None, gradient=exact()), "
    "threat=linf(eps=0.1), source=baseline, fraction=0.3)",
    "apgd(steps=100, loss=cross_entropy, targets=0, restarts=1, rho=0.75, start=surface, gradient=exact())",
    "apgd_l1(steps=100, loss=cross_entropy, targets=0, restarts=1, large_radii=True, gradient=exact())",
    "cnn(dropout=0.2)",
    "prototypes(per_class=100)",
    "radius_training(target=2.5, most=2.0)",
    "corruption(effect=stripe, severity=None)",
    "cross_entropy()",
    "cw(steps=1000, binary_search_steps=9, lr=0.01, initial_const=0.001, "
    "confidence=0.0, abort_early=True, gradient=exact())",
    "ddn(steps=100, gamma=0.05, radius=1.0, gradient=exact())",
    "deepfool(steps=50, candidates=10, overshoot=0.02, gradient=exact())",
    "discriminator(network=gan)",
    "ead(steps=1000, binary_search_steps=9, lr=0.01, initial_const=0.001, beta=0.01, "
    "confidence=0.0, gradient=exact())",
    "fab(steps=100, targets=9, alpha_max=0.1, eta=1.05, beta=0.9, restarts=1, gradient=exact())",
    "fgsm(random_start=False, rel_step_size=None, gradient=exact())",
    "fgsm_literal_clamp(eps=0.1, gradient=exact())",
    "distance_search(survey=80, aims=4, rounds=20, steps=10, keep=1.0, tighten=0.8, gradient=exact())",
    "fmn(steps=100, step_size=1.0, gamma=0.05, gradient=exact())",
    "margin_search(survey=2, aims=2, steps=20, rounds=60, patches=60, keep=0.28, tighten=0.91, "
    "gradient=exact())",
    "flip_search(steps=100, singles=8, kick=0.5, gradient=exact())",
    "gan(hidden=512, latent=64, dropout=0.3)",
    "gaussian_noise(std=0.1)",
    "grey_pixels(margin=0.05)",
    "hop_skip_jump(steps=40, samples=100)",
    "rays(queries=10000)",
    "l0(eps=3)",
    "l1(eps=0.1)",
    "l2(eps=0.1)",
    "linf(eps=0.1)",
    "masked(threat=linf(eps=0.1), fixed=(0, 3))",
    "mi_fgsm(steps=10, decay=1.0, diversity=0.0, kernel=0, loss=cross_entropy, gradient=exact())",
    "steepest_min_norm(steps=100, rel_step_size=0.6, gamma=0.1, loss=cross_entropy, gradient=exact())",
    "pgd(steps=40, rel_step_size=0.1, restarts=1, loss=cross_entropy, start=random, gradient=exact())",
    "purifier(network=vae, classifier=baseline)",
    "purifier(network=reformer(channels=3), classifier=cnn(dropout=0.2))",
    "diffusion_purifier(network=diffusion, classifier=baseline, noise=0.3, steps=1, votes=1, seed=None)",
    "smoothed(classifier=baseline, sigma=0.25, votes=10, seed=None)",
    "bit_depth(classifier=baseline, bits=1)",
    "thresholded(classifier=baseline, at=0.5)",
    "thresholded(classifier=cnn(dropout=0.2), at=0.5)",
    "conv_vae(channels=32, latent=16)",
    "denoising_autoencoder(channels=32)",
    "diffusion(channels=24)",
    "reformer(channels=3)",
    "denoising(std=0.3)",
    "mart(threat=linf(eps=0.1), beta=5.0, steps=10, rel_step_size=0.25)",
    "mixed(threat=linf(eps=0.1), attack=fgsm(random_start=False, rel_step_size=None, gradient=exact()), "
    "fraction=0.3)",
    "msd(linf=0.3, l2=2.0, l1=10.0, steps=10, rel_step_size=0.25)",
    "noise_training(std=0.1)",
    "consistency(std=0.1, copies=2, weight=20.0, entropy=0.5)",
    "code(reference='my.py:make', files='')",
    "ibp_training(threat=linf(eps=0.1), kappa=0.5, warmup=0.1, ramp=0.6, regularizer=0.5, "
    "initialization=True)",
    "crown_ibp_training(threat=linf(eps=0.1), kappa=0.0, warmup=0.1, ramp=0.6, regularizer=0.5, "
    "initialization=True)",
    "sabr(threat=linf(eps=0.1), box_share=0.6, steps=8, rel_step_size=0.25, kappa=0.0, warmup=0.1, ramp=0.6, "
    "regularizer=0.5, initialization=True)",
    "eps_ramp(objective=fgsm_training(threat=linf(eps=0.1), rel_step_size=1.25), share=0.3)",
    "alternating(first=fgsm_training(threat=linf(eps=0.1), rel_step_size=1.25), "
    "second=fgsm_training(threat=linf(eps=0.1), rel_step_size=1.25), share=0.5)",
    "purifying(objective=fgsm_training(threat=linf(eps=0.1), rel_step_size=1.25), weight=1.0)",
    "awp(objective=fgsm_training(threat=linf(eps=0.1), rel_step_size=1.25), gamma=0.01, warmup=0.1)",
    "diffusion_loss()",
    "random_points(count=100, draw=uniform, loss=margin)",
    "vae_loss(kl_weight=0.0)",
    "restarts(attack=fgsm(random_start=False, rel_step_size=None, gradient=exact()), times=10)",
    "rotation_translation(rotation=30.0, shift=3.0, angles=31, shifts=5, draws=0, loss=margin)",
    "sigma_zero(steps=1000, step_size=1.0, sigma=0.001, threshold=0.3, threshold_step=0.01, "
    "gradient=exact())",
    "if_shattered(attack=fgsm(random_start=False, rel_step_size=None, gradient=exact()), draws=16, std=0.01, "
    "agreement=0.4)",
    "sparse_rs(queries=5000, alpha=0.3, loss=margin)",
    "spsa(steps=40, pairs=64, delta=0.01, rel_step_size=0.1, loss=margin)",
    "square(queries=5000, p=0.8, loss=margin, restarts=1, rescale=False, proposals=1)",
    "strided_cnn(hidden=100)",
    "deep_cnn(channels=(16, 32, 32, 64), strides=(1, 2, 1, 2), kernels=(), hidden=256, batch_norm=True)",
    "vae(hidden=400, latent=20)",
    "if_masked(attack=fgsm(random_start=False, rel_step_size=None, gradient=exact()), steps=10, points=5)",
    "unbounded()",
}


def test_the_specs_that_name_results_on_disk_stay_as_they_are() -> None:
    # Runs on disk are keyed by these texts: a change makes every such run be done again.
    assert {repr(_some(unit)) for _, unit in REGISTERED} == FROZEN_SPECS


@pytest.mark.parametrize("text", ["fgsm", "fgsm()", " fgsm ( ) ", "\nfgsm\n"])
def test_a_bare_name_is_a_call_without_arguments(text: str) -> None:
    assert parse(Attack, text) == FGSM()


def test_a_name_and_its_text_are_the_same_reference() -> None:
    bare = parse(Defense, "purifier(network=vae, classifier=baseline)")
    assert parse(Defense, "purifier(network='vae', classifier=\"baseline\")") == bare


@pytest.mark.parametrize("name", ["class", "None", "lambda", "ﬁ", "a-b", "a b", "ünï", "'", "\\", "\n", "\0"])
def test_any_name_of_a_network_survives_the_spec(name: str) -> None:
    defense = Purifier(network=name, classifier="baseline")
    assert parse(Defense, repr(defense)) == defense


# Other packages

PLUGIN = '''
from robustlab.attacks import Attack, Session
from robustlab.core.spec import PixelLength, register


@register("nudge")
class Nudge(Attack):
    """Add a little to every pixel."""

    size: PixelLength = 0.01

    def search(self, session: Session) -> None:
        session.propose(session.clean + self.size)
'''


def test_other_packages_plug_in_by_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nudging.py").write_text(PLUGIN)
    info = tmp_path / "nudging-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nudging\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[robustlab.attack]\nnudge = nudging:Nudge\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(spec, "_plugins_loaded", set())
    monkeypatch.setattr(spec, "_registry", {kind: dict(known) for kind, known in spec._registry.items()})

    assert "nudge" in units(Attack)
    attack = parse(Attack, "nudge(size=0.25)")
    assert repr(attack) == "nudge(size=0.25)"
    assert repr(parse(Attack, bound("nudge(size=0.25*scale)", {"scale": 0.5}))) == "nudge(size=0.125)"
    assert attack.summary() == "Add a little to every pixel."
    with pytest.raises(SpecError, match="did you mean 'nudge'"):
        parse(Attack, "nugde")


def test_an_attack_is_no_model() -> None:
    assert not set(units(Attack)) & set(units(Model))
    assert units(Model)["cnn"] is CNN


def test_brief_leaves_defaults_out() -> None:
    assert FGSM().brief() == "fgsm()"
    assert parse(Attack, "pgd(steps=3, restarts=1)").brief() == "pgd(steps=3)"
    assert Linf(eps=0.1).brief() == "linf(eps=0.1)"
    nested = "restarts(attack=pgd(steps=3), times=4)"
    assert parse(Attack, nested).brief() == nested


@pytest.mark.usefixtures("own_registry")
def test_a_unit_without_a_docstring_has_an_empty_summary() -> None:
    @register("silent")
    class Silent(Attack):
        __doc__ = " \n"

        def search(self, session: Session) -> None:
            session.propose(session.clean)

    assert Silent.summary() == ""
