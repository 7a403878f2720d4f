"""The sentences of the errors, as users read them, in one file: tests/messages.json.

Other tests assert an error's type and the argument that it names. After a sentence was changed on purpose,
``python tests/test_messages.py`` writes the file; its difference is what a reviewer reads.
"""

import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import robustlab
from robustlab.attacks import FGSM, PGD, Attack, BPDAGradient, as_criterion
from robustlab.cli.main import app
from robustlab.core import spec
from robustlab.core.errors import RobustlabError
from robustlab.core.spec import parse
from robustlab.core.text import MESSAGE_LIMIT
from robustlab.data.own import own_images
from robustlab.evaluation.ensembles import attack_list
from robustlab.exporters import as_exporter
from robustlab.models import Model
from robustlab.study.loading import load_recipe
from robustlab.threats import Linf, ThreatModel

GOLDEN = Path(__file__).parent / "messages.json"
TINY = Path(__file__).parent / "recipes" / "tiny.toml"

IMAGES, LABELS = torch.full((4, 1, 2, 2), 0.5), torch.tensor([0, 1, 2, 0])
python: Any = robustlab


def attack(unit: Attack = FGSM(), **changes: Any) -> None:  # noqa: B008 (frozen)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval()
    call: dict[str, Any] = {"images": IMAGES, "labels": LABELS, "threat": Linf(eps=0.1)}
    unit.run(model, **call | changes)


def predicted(answer: list[Any], **more: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        call: dict[str, Any] = {"images": IMAGES, "labels": LABELS, "out": f"{folder}/run"}
        robustlab.evaluate(lambda images: answer * len(images), **call | more)


def recipe(old: str, new: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "toy.toml"
        path.write_text(TINY.read_text().replace(old, new, 1))
        try:
            load_recipe(path)
        except RobustlabError as error:
            raise type(error)(str(error).replace(folder, "")) from None


def command(*words: str) -> None:
    result = CliRunner().invoke(app, list(words))
    raise RobustlabError(result.stderr.splitlines()[-1].removeprefix("robustlab: error: "))


def nan_at(*places: int) -> torch.Tensor:
    return IMAGES.index_fill(0, torch.tensor(places), float("nan"))


make_linf: Any = Linf
make_pgd: Any = PGD

CASES: dict[str, Callable[[], object]] = {
    **{f"attack {text[:40]}": partial(parse, Attack, text) for text in (
        "pgd(40)", "pgd(stepz=3)", "pgd(step_size=0.1)", "pgd(eps=0.3)", "pgd(steps=0)", "pgd(steps=many)",
        "pgd(steps=True)", "pgd(steps=2**3)", "pgd(steps=1, steps=2)", "pgd(", "PGD", "APGD-CE", "FAB-T",
        "boundary",
        "nothing", "mi_fgsm(transfer=True)", "pgd(gradient=surrogate)",
        "gaussian_noise", "gaussian_noise(std=2)", "x" * 1_000_000, "(" * 5000,
    )},
    **{f"threat {text}": partial(parse, ThreatModel, text) for text in (
        "linf", "linf(0.3)", "Linf(eps=0.3)", "linf(eps=8)", "linf(epsilon=0.3)", "l2(eps=1e39)",
        "linf(eps=1/0)",
    )},
    **{f"goal {text}": partial(as_criterion, text) for text in ("nxt", "-1", "targeted(classes=nearest)")},
    "model cn": lambda: parse(Model, "cn"),
    "attacks my.py:A": lambda: attack_list("my.py:A"),
    "attacks AutoAttack": lambda: attack_list("AutoAttack"),
    "attacks empty": lambda: attack_list(""),
    "Linf(0.3)": lambda: make_linf(0.3),
    "PGD(40)": lambda: make_pgd(40),
    "PGD(steps=10**29)": lambda: make_pgd(steps=10**29),
    "run, threat 0.3": lambda: attack(threat=0.3),
    "run, threat of another norm": lambda: PGD().run(nn.Identity().eval(), IMAGES, LABELS, "unbounded"),
    "run, targets '3'": lambda: attack(targets="3"),
    "run, targets and a criterion": lambda: attack(targets=0, criterion="next"),
    "run, a part that is none": lambda: attack(PGD(gradient=BPDAGradient(part="jpeg")), early_stop=False),
    "run, labels too high": lambda: attack(labels=LABELS + 1),
    "run, labels of floats": lambda: attack(labels=LABELS.float()),
    "run, eps negative": lambda: attack(eps=-0.1),
    "run, mode": lambda: attack(mode="max-loss"),
    "run, batch_size": lambda: attack(batch_size=10**29),
    "run, early stop": lambda: attack(early_stop="verdikt"),
    "images with NaN": lambda: own_images(nan_at(1, 3), LABELS),
    "images 0..255": lambda: own_images(IMAGES * 510, LABELS),
    "images normalised": lambda: own_images(IMAGES - 1, LABELS),
    "images of another shape": lambda: own_images(IMAGES[0], LABELS),
    "images in a list": lambda: own_images(IMAGES.tolist(), LABELS),
    "evaluate, model 3": lambda: python.evaluate(3),
    "evaluate, pgd on a black box": lambda: predicted([[1.0, 2.0, 3.0]], attacks="pgd"),
    "evaluate, a probability of one class": lambda: predicted([0.5]),
    "evaluate, more labels than classes": lambda: predicted([7]),
    "evaluate, a password in a URL": lambda: python.evaluate("http://me:secret@host/predict"),
    "evaluate, a key in a URL": lambda: python.evaluate("http://host/predict?key=secret"),
    "evaluate, a pickle": lambda: python.evaluate("forest.joblib"),
    "evaluate, out with half a surrogate pair": lambda: python.evaluate("x", out="half \udcff"),
    "evaluate, out too long": lambda: python.evaluate("x", out="x" * 300),
    "gate, nothing asked": lambda: robustlab.gate("run"),
    "gate, confident of nothing": lambda: robustlab.gate("run", baseline="other", confident=True),
    "gate, an unknown argument": lambda: python.gate("run", srtict=True),
    "gate, min_robust as text": lambda: python.gate("run", min_robust="0.5"),
    "gate, min_robust in per cent": lambda: robustlab.gate("run", min_robust=90),
    "compare(None)": lambda: python.compare(None, None),
    "load_run with NUL": lambda: robustlab.load_run("a\0b"),
    "recipe, unknown key": lambda: recipe("epochs = 4", "epoch = 4"),
    "recipe, epochs = true": lambda: recipe("epochs = 4", "epochs = true"),
    "recipe, schema as text": lambda: recipe("schema = 2", 'schema = "2"'),
    "recipe, schema 1": lambda: recipe("schema = 2", "schema = 1"),
    "recipe, factor without a choice": lambda: recipe(
        'model = "baseline", attacks = "pgd(', 'model = "adversarial", attacks = "pgd('
    ),
    "recipe, threat out of range with one value": lambda: recipe('"linf(eps=0.25*', '"linf(eps=1.5*'),
    "recipe, test-set of two attacks": lambda: recipe('attacks = "fgsm"', 'attacks = "fgsm, pgd(steps=2)"'),
    "recipe, optimizer beside lr": partial(recipe, "lr = 2e-4", 'lr = 2e-4\noptimizer = "sgd"'),
    "recipe, unknown schedule": partial(recipe, "lr = 2e-4", 'schedule = "triangl"'),
    "recipe, validation attack of a gan": partial(recipe, "lr = 2e-4", 'validation_attack = "pgd"'),
    "recipe, validation threat alone": partial(recipe, "lr = 2e-4", 'validation_threat = "linf(eps=0.3)"'),
    "recipe, search that an objective does not have": partial(
        recipe, '"cross_entropy"', '"pgd_training(threat=linf(eps=0.1), attack=apgd)"'
    ),
    "recipe, objective that does not fit": lambda: recipe('"vae_loss', '"cross_entropy"#'),
    "recipe, claim": lambda: recipe("clean > fgsm", "clean fgsm"),
    "recipe, nested 5,000 deep": lambda: recipe("schema = 2", "schema = " + "[" * 5000),
    "recipe, 5,000 digits": lambda: recipe("schema = 2", "schema = " + "9" * 5000),
    "evaluate --epsilon": lambda: command("evaluate", "--epsilon", "0.3"),
    "evaluate --eps": lambda: command("evaluate", "mnist_cnn", "--eps", "0.3"),
    "evaluate --norm": lambda: command("evaluate", "mnist_cnn", "--norm", "l2"),
    "evaluate --norm --threat": lambda: command(
        "evaluate", "mnist_cnn", "--norm", "l2", "--eps", "2", "--threat", "l2(eps=2)"
    ),
    "explain zero_gradient": lambda: command("explain", "zero_gradient"),
    "evaluate --batch": lambda: command("evaluate", "--batch", "3"),
    "gate --min-robust in per cent": lambda: command("gate", "run", "--min-robust", "90"),
    **{f"export --to {text}": partial(as_exporter, text) for text in (
        "mlflw", "hf-crad", "mlflow(run=x)", "HF",
    )},
    "gate RUN": lambda: command("gate", "run"),
    "train --validation-threat": lambda: command(
        "train", "cross_entropy", "--architecture", "cnn", "--validation-threat", "linf(eps=0.1)"
    ),
    "ls with a control character": lambda: command("ls", "\x1b[31m"),
    "ls PGD": lambda: command("ls", "PGD"),
}  # fmt: skip


def sentence(case: Callable[[], object]) -> str:
    # Other tests of this process register units of their own, which the sentences would count.
    own = {
        kind: {name: unit for name, unit in found.items() if unit.__module__.startswith("robustlab.")}
        for kind, found in spec._registry.items()
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spec, "_registry", own)
        with pytest.raises(RobustlabError) as caught:
            case()
    return str(caught.value)


def test_every_sentence_is_the_one_on_file() -> None:
    # In one test: the difference shows all of them.
    found = {name: sentence(case) for name, case in CASES.items()}
    assert found == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_every_sentence_is_one_short_line() -> None:
    for name, text in json.loads(GOLDEN.read_text(encoding="utf-8")).items():
        assert text.isprintable(), name
        assert len(text) <= MESSAGE_LIMIT, name


if __name__ == "__main__":
    content = {name: sentence(case) for name, case in CASES.items()}
    GOLDEN.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
