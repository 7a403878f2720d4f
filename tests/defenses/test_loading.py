"""One text says where a network comes from: a name, a file, a run, or a composition of these."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

import robustlab
from robustlab.core import spec
from robustlab.core.errors import RobustlabError
from robustlab.core.spec import BareText, parse, register
from robustlab.defenses import Defense, PurifiedClassifier, Purifier
from robustlab.defenses.loading import load, source
from robustlab.evaluation.subject import load_classifier
from robustlab.models import CNN, GAN, VAE, Diffusion, Model, Shape, save_network
from robustlab.models.sources import FromCode, FromFile, FromRun, FromZoo, Loaded, Note, Source

SHAPE = Shape(1, 28, 28, 10)
CODE = """
from torch import nn
def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).eval()
def blur():
    return nn.AvgPool2d(3, stride=1, padding=1).eval()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    models: dict[str, Model] = {"baseline": CNN(), "vae": VAE(hidden=8, latent=2), "gan": GAN(hidden=8)}
    models["diffusion"] = Diffusion(channels=4)
    torch.manual_seed(0)
    for name, model in models.items():
        path = tmp_path / "runs" / "my-study" / "models" / f"{name}.safetensors"
        save_network(path, model.build(SHAPE), model, SHAPE, {})
    (tmp_path / "my.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("mnist_cnn", FromZoo(network="mnist_cnn")),
        ("zoo(mnist_cnn)", FromZoo(network="mnist_cnn")),
        ("my.py:make", FromCode(reference="my.py:make")),
        ("code('my.py:make')", FromCode(reference="my.py:make")),
        ("package.module:name", FromCode(reference="package.module:name")),
        ("runs/my-study", FromRun(folder="runs/my-study")),
        ("run(runs/my-study, baseline)", FromRun(folder="runs/my-study", network="baseline")),
        ("run(network=vae, folder='runs/my-study')", FromRun(folder="runs/my-study", network="vae")),
        ("net.safetensors", FromFile(path="net.safetensors")),
        ("saved('../net.pt')", FromFile(path="../net.pt")),
        (
            "purifier(network=run(runs/my-study, vae), classifier=mnist_cnn)",
            Purifier(network="run(runs/my-study, vae)", classifier="mnist_cnn"),
        ),
        ("purifier(network=a, classifier='my.py:make')", Purifier(network="a", classifier="my.py:make")),
        ("purifier(network=a, classifier=my.py:make)", Purifier(network="a", classifier="my.py:make")),
        ("purifier(network=a.b:vae,classifier=../c.pt)", Purifier(network="a.b:vae", classifier="../c.pt")),
        (
            "purifier(network=run(/my/run, vae), classifier=bit_depth(classifier=my.py:make))",
            Purifier(network="run('/my/run', vae)", classifier="bit_depth(classifier='my.py:make')"),
        ),
        ("run(/my/run-2, baseline)", FromRun(folder="/my/run-2", network="baseline")),
        ("code(/my/nets.py:make)", FromCode(reference="/my/nets.py:make")),
    ],
)
def test_a_text_means_a_source(text: str, means: spec.Unit) -> None:
    found = source(text)
    assert found == means
    assert source(repr(found)) == found
    assert parse(Source if isinstance(found, Source) else Defense, repr(found)) == found


def test_a_composition_is_its_parts_one_after_the_other() -> None:
    composed = load("purifier(network=run(runs/my-study, vae), classifier=run(runs/my-study, baseline))")
    vae, baseline = load("run(runs/my-study, vae)"), load("run(runs/my-study, baseline)")
    images = torch.rand(3, 1, 28, 28)
    assert isinstance(composed.network, PurifiedClassifier)
    assert composed.network(images).equal(baseline.network(vae.network(images)))
    assert composed.name == "purifier-my-study-vae-my-study-baseline"
    assert (vae.network_kind, baseline.network_kind) == ("autoencoder", "classifier")


def test_compositions_hold_compositions() -> None:
    inner = "purifier(network='my.py:blur', classifier=mnist_cnn)"
    images = torch.rand(2, 1, 28, 28)
    blur = nn.AvgPool2d(3, stride=1, padding=1)
    once, twice = load(inner), load(f"purifier(network='my.py:blur', classifier={inner})")
    assert once.network(images).equal(load("mnist_cnn").network(blur(images)))
    assert twice.network(images).equal(once.network(blur(images)))


def test_a_composed_defense_is_attacked_end_to_end(folder: Path) -> None:
    text = "purifier(network=run(runs/my-study, vae), classifier=mnist_cnn)"
    run = robustlab.evaluate(text, dataset="digits", n=20, attacks="fgsm, pgd(steps=3)", out="out")
    assert run.results.subject.source == repr(source(text))
    assert run.results.checks
    assert run.results.command.startswith("robustlab evaluate --model 'purifier(")
    again = robustlab.evaluate(text, dataset="digits", n=20, attacks="fgsm, pgd(steps=3)", out="out")
    assert again.results.rows == run.results.rows
    other = VAE(hidden=8, latent=2)
    torch.manual_seed(1)
    path = folder / "runs" / "my-study" / "models" / "vae.safetensors"
    save_network(path, other.build(SHAPE), other, SHAPE, {})
    with pytest.raises(RobustlabError, match="holds an evaluation of other settings: weights"):
        robustlab.evaluate(text, dataset="digits", n=20, attacks="fgsm", out="out")


@pytest.mark.parametrize(
    "text",
    [
        "bit_depth(classifier=mnist_cnn)",
        "smoothed(classifier=mnist_cnn, votes=2, seed=1)",
        "smoothed(classifier=thresholded(classifier=mnist_cnn), votes=2)",
        "diffusion_purifier(network=run(runs/my-study, diffusion), classifier=mnist_cnn, steps=2)",
    ],
)
def test_each_composition_is_evaluated(text: str) -> None:
    run = robustlab.evaluate(text, dataset="digits", n=4, attacks="pgd(steps=2)", out="out", checks=False)
    assert run.results.subject.source == repr(source(text))
    assert len(run.results.rows) == 1


@pytest.mark.parametrize(("unit", "failed"), [("bit_depth", ["no-gradient"]), ("thresholded", [])])
def test_a_step_function_without_a_gradient_fails_a_check(unit: str, failed: list[str]) -> None:
    text = f"{unit}(classifier=mnist_cnn)"
    run = robustlab.evaluate(
        text, dataset="digits", n=4, attacks="fgsm", out="out", checks=False, certify=False
    )
    assert [check.id for check in run.results.checks if check.grade == "fail"] == failed


def test_the_code_of_every_part_belongs_to_the_identity(folder: Path) -> None:
    text = "purifier(network='my.py:blur', classifier=mnist_cnn)"
    first = load_classifier(text).code
    assert load_classifier(text).code == first
    (folder / "my.py").write_text(CODE.replace("Pool2d(3", "Pool2d(5").replace("padding=1", "padding=2"))
    assert load_classifier(text).code != first


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run(runs/my-study)", "name a network; it has: baseline, diffusion, gan, vae"),
        ("run(runs/my-study, basline)", r"unknown network 'basline' \(did you mean 'baseline'\?\)"),
        ("run(runs/none, baseline)", "the folder runs/none does not exist"),
        ("run(/runs/none, baseline)", "the folder /runs/none does not exist"),
        ("run(/my runs/none, baseline)", "can't parse model .* in quotes"),
        ("smoothed(classifier=none.py:make)", "the file none.py does not exist"),
        ("run(runs/my-study, baseline, 3)", "run takes its arguments by name"),
        ("run(runs/my-study, folder=a)", "the argument 'folder' is given twice"),
        ("run(runs/my-study + a, baseline)", "neither a name, a path nor a spec; put it in quotes"),
        ("run(runs/my-study, vae)", "vae.safetensors is an autoencoder, not a classifier"),
        ("run(runs/my-study, gan)", "gan.safetensors is a GAN, not a classifier"),
        ("purifer(network=a, classifier=b)", r"unknown source 'purifer' \(did you mean 'purifier'\?\)"),
        ("purifier(network=vae, classifier=mnist_cnn)", "no model 'vae'"),
        (
            "purifier(network=mnist_cnn, classifier=mnist_cnn)",
            "purifier: network must be an autoencoder; mnist_cnn is a classifier",
        ),
        (
            "purifier(network=run(runs/my-study, gan), classifier=mnist_cnn)",
            r"purifier: network must be an autoencoder; run\(runs/my-study, gan\) is a GAN",
        ),
        (
            "purifier(network='my.py:blur', classifier=run(runs/my-study, vae))",
            "classifier must be a classifier; .* is an autoencoder",
        ),
        ("purifier(network=vae)", "purifier needs classifier"),
        (
            "diffusion_purifier(network=run(runs/my-study, vae), classifier=mnist_cnn)",
            r"network must be a diffusion model; run\(runs/my-study, vae\) is an autoencoder",
        ),
        (
            "purifier(network=run(runs/my-study, diffusion), classifier=mnist_cnn)",
            "network must be an autoencoder; .* is a diffusion model",
        ),
        ("smoothed(classifier=run(runs/my-study, vae))", "classifier must be a classifier"),
        ("bit_depth(classifier=mnist_cnn, bits=9)", "bits should be less than or equal to 8"),
        ("thresholded(classifier=mnist_cnn, at=0)", "at should be greater than 0"),
        ("diffusion_purifier(network=a, classifier=b, votes=0)", "votes should be greater"),
        ("run(runs/my-study, diffusion)", "is a diffusion model, not a classifier"),
        ("adversarial_training(attack=fgsm)", "is a way to train; to use its network give run"),
    ],
)
def test_what_is_no_source_is_told(text: str, expected: str) -> None:
    with pytest.raises(RobustlabError, match=expected) as caught:
        robustlab.evaluate(text, dataset="digits", n=2, attacks="fgsm", checks=False)
    assert "\n" not in str(caught.value)


@pytest.fixture
def foreign() -> Iterator[type[Source]]:
    @register("constant")
    class Constant(Source):
        """What another package may register."""

        path: BareText

        def load(self, note: Note) -> Loaded:
            note(f"loading {self.path}")
            return Loaded(network=nn.Flatten(), name="constant", origin=self.path)

    yield Constant
    spec._registry[Source].pop("constant")


@pytest.mark.usefixtures("foreign")
def test_a_source_of_another_package() -> None:
    notes: list[str] = []
    loaded = load("constant(a/b)", notes.append)
    assert (loaded.name, loaded.origin, notes) == ("constant", "a/b", ["loading a/b"])
    assert load("purifier(network='my.py:blur', classifier=constant(x))").name.endswith("constant")
