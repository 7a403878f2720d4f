"""Other libraries' attacks behind one call, for `benchmarks/peers.py` and the tests in `tests/parity`.

An adapter is given how its library builds the attack, and returns a `Call`; a further attack is one line:

    foolbox(lambda fb: fb.attacks.LinfPGD(steps=40, rel_stepsize=0.1), eps=0.3)
    torchattacks(lambda ta, model: ta.PGD(model, eps=0.3, alpha=0.03, steps=40))
    art(lambda attacks, classifier, batch: attacks.SquareAttack(classifier, eps=0.3, batch_size=batch))
    adv_lib(lambda al, model, images, labels: al.ddn(model, images, labels, steps=100))
    autoattack(path, Linf(eps=0.3))
    robustlab(PGD(steps=40), Linf(eps=0.3))

The libraries come with ``pip install -e ".[peers]"`` and ``pip install --no-deps adv-lib``; AutoAttack is not
on PyPI, its adapter takes the path of a checkout. A library is imported when its attack is first called.
"""

import contextlib
import importlib
import importlib.util
import io
import math
import os
import random
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robustlab.attacks import Attack, frozen
from robustlab.core import seeding
from robustlab.evaluation.coordinator.curve import nearest_within
from robustlab.evaluation.ensembles import Ensemble
from robustlab.threats import ThreatModel

Call = Callable[[nn.Module, Tensor, Tensor, int], Tensor]
"""(model, images, labels, batch size) -> adversarial images, in the images' order."""

MODULES = {"torchattacks": "torchattacks", "foolbox": "foolbox", "art": "art", "adv-lib": "adv_lib"}
"""The name of each library here, and its module."""

NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}
"""Threat models by AutoAttack's names."""


def installed(peer: str) -> bool:
    """Whether a key of `MODULES` can be imported."""
    return importlib.util.find_spec(MODULES[peer]) is not None


@contextlib.contextmanager
def guest(model: nn.Module, seed: int = 0) -> Iterator[None]:
    """Let another library attack the model: it prints and warns unheard, and leaves no trace.

    Parameters are frozen; random states and the trace function (which AutoAttack switches off) are put back.
    A warning from robustlab itself stays an error.
    """
    trace, states = sys.gettrace(), (np.random.get_state(), random.getstate())
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        seeding.isolated(seed),
        frozen(model),
    ):
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", module="robustlab")
        np.random.seed(seed)
        random.seed(seed)
        try:
            yield
        finally:
            sys.settrace(trace)
            np.random.set_state(states[0])
            random.setstate(states[1])


def robustlab(attack: Attack, threat: ThreatModel, *, early_stop: bool = True, bf16: bool = False) -> Call:
    """Adapt an attack of ours. Give one that looks for the nearest image a wide eps and ``max-loss``."""

    def call(model: nn.Module, images: Tensor, labels: Tensor, batch: int) -> Tensor:
        return attack.run(
            model, images, labels, threat, early_stop=early_stop, batch_size=batch, bf16=bf16
        ).images

    return call


def nearest(threat: ThreatModel) -> Call:
    """Adapt the searches behind our curve: of their successes the nearest is kept."""

    def call(model: nn.Module, images: Tensor, labels: Tensor, batch: int) -> Tensor:
        found, reach = images.clone(), torch.full(labels.shape, torch.inf, device=images.device)
        for stage in nearest_within(threat):
            result = stage.attack.run(model, images, labels, stage.threat, early_stop=False, batch_size=batch)
            nearer = result.successes & (result.distances < reach)
            found[nearer], reach[nearer] = result.images[nearer], result.distances[nearer]
        return found

    return call


def ensemble(attacks: Ensemble, threat: ThreatModel, *, bf16: bool = False) -> Call:
    """Adapt an ensemble of ours: each attack meets the images that withstood those before it."""

    def call(model: nn.Module, images: Tensor, labels: Tensor, batch: int) -> Tensor:
        with torch.no_grad():
            classes = model(images[:1]).shape[1]
        found, left = images.clone(), torch.arange(len(images), device=images.device)
        for attack in attacks.stages(threat, classes):
            result = attack.run(
                model, images[left], labels[left], threat, ids=left, batch_size=batch, bf16=bf16
            )
            found[left] = result.images
            left = left[~result.successes]
        return found

    return call


def torchattacks(make: Callable[[Any, nn.Module], Any]) -> Call:
    """Adapt torchattacks: ``make(library, model)`` returns the attack."""

    def prepare(model: nn.Module, images: Tensor, batch: int) -> _OnBatch:  # noqa: ARG001
        attack: _OnBatch = make(importlib.import_module("torchattacks"), model)
        return attack

    return _in_batches(prepare)


def foolbox(make: Callable[[Any], Any], *, eps: float | None = None) -> Call:
    """Adapt foolbox: ``make(library)`` returns the attack; without eps it looks for the nearest image."""

    def prepare(model: nn.Module, images: Tensor, batch: int) -> _OnBatch:  # noqa: ARG001
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # else its import needs a git executable
        library = importlib.import_module("foolbox")
        attack, subject = make(library), library.PyTorchModel(model, bounds=(0, 1), device=images.device)

        def attacked(images: Tensor, labels: Tensor) -> Tensor:
            _, clipped, _ = attack(subject, images, labels, epsilons=eps)
            found: Tensor = clipped
            return found

        return attacked

    return _in_batches(prepare)


def art(make: Callable[[Any, Any, int], Any]) -> Call:
    """Adapt ART: ``make(art.attacks.evasion, classifier, batch size)`` returns the attack."""

    def prepare(model: nn.Module, images: Tensor, batch: int) -> _OnBatch:
        with torch.no_grad():
            classes = model(images[:1]).shape[1]
        classifier = importlib.import_module("art.estimators.classification").PyTorchClassifier(
            _InFloat32(model).eval(),
            loss=nn.CrossEntropyLoss(),
            input_shape=tuple(images.shape[1:]),
            nb_classes=classes,
            clip_values=(0.0, 1.0),
            device_type="cpu" if images.device.type == "cpu" else "gpu",
        )
        attack = make(importlib.import_module("art.attacks.evasion"), classifier, batch)

        def attacked(images: Tensor, labels: Tensor) -> Tensor:
            found = attack.generate(x=images.cpu().numpy(), y=labels.cpu().numpy())
            return torch.from_numpy(found).to(images)

        return attacked

    return _in_batches(prepare)


def adv_lib(run: Callable[[Any, nn.Module, Tensor, Tensor], Tensor]) -> Call:
    """Adapt adv-lib: ``run(adv_lib.attacks, model, images, labels)`` returns the adversarial images."""

    def prepare(model: nn.Module, images: Tensor, batch: int) -> _OnBatch:  # noqa: ARG001
        if "visdom" not in sys.modules and importlib.util.find_spec("visdom") is None:
            # It is imported for live plots, which are off by default, and does not install with pip any more.
            sys.modules["visdom"] = types.ModuleType("visdom")
        library = importlib.import_module("adv_lib.attacks")
        return lambda images, labels: run(library, model, images, labels)

    return _in_batches(prepare)


def official(path: Path, module: str = "autoattack") -> Any:
    """Import a module from a checkout of github.com/fra31/auto-attack."""
    sys.path.insert(0, str(path))
    try:
        return importlib.import_module(module)
    finally:
        sys.path.remove(str(path))


def autoattack(
    path: Path, threat: ThreatModel, *, attacks: tuple[str, ...] = (), steps: int | None = None
) -> Call:
    """Adapt the official AutoAttack, its standard version.

    Args:
        path: a checkout of github.com/fra31/auto-attack.
        threat: linf, l2 or l1.
        attacks: such as ``("apgd-ce",)``, the parts of it to run; default all.
        steps: of APGD and FAB, which then run once each; default as in the version.
    """

    def call(model: nn.Module, images: Tensor, labels: Tensor, batch: int) -> Tensor:
        with guest(model):
            attack = official(path).AutoAttack(
                model,
                norm=NORMS[threat.name],
                eps=threat.eps,
                seed=0,
                device=images.device,
                verbose=False,
            )
            if attacks:
                attack.attacks_to_run = list(attacks)
            if steps is not None:
                for part in (attack.apgd, attack.apgd_targeted):
                    part.n_iter = part.n_iter_orig = steps
                attack.fab.n_iter = steps
                attack.apgd.n_restarts = 1
            found: Tensor = attack.run_standard_evaluation(images, labels, bs=batch)
            return found

    return call


def in_colour(call: Call) -> Call:
    """Give grey images to an attack that is written for three channels: three alike, whose mean counts."""

    def three(model: nn.Module, images: Tensor, labels: Tensor, batch: int) -> Tensor:
        return call(_OfMean(model).eval(), images.repeat(1, 3, 1, 1), labels, batch).mean(dim=1, keepdim=True)

    return three


class _InFloat32(nn.Module):
    """ART's decision-based attacks hand over doubles."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images.float())
        return logits


class _OfMean(nn.Module):
    """Sees the mean of the channels."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images.mean(dim=1, keepdim=True))
        return logits


_OnBatch = Callable[[Tensor, Tensor], Tensor]


def _in_batches(prepare: Callable[[nn.Module, Tensor, int], _OnBatch]) -> Call:
    def call(model: nn.Module, images: Tensor, labels: Tensor, batch: int) -> Tensor:
        with guest(model):
            attack = prepare(model, images, batch)
            parts = zip(torch.split(images, batch), torch.split(labels, batch), strict=True)
            return torch.cat([attack(*part).detach() for part in parts])

    return call


def fgsm(threat: ThreatModel) -> dict[str, Call]:
    """Return the peers' fast gradient (sign) method, for linf and l2."""
    if threat.name == "linf":
        return {
            "torchattacks": torchattacks(lambda ta, model: ta.FGSM(model, eps=threat.eps)),
            "foolbox": foolbox(lambda fb: fb.attacks.FGSM(), eps=threat.eps),
            "art": art(lambda a, c, batch: a.FastGradientMethod(c, np.inf, threat.eps, batch_size=batch)),
        }
    if threat.name != "l2":
        return {}
    return {
        "foolbox": foolbox(lambda fb: fb.attacks.FGM(), eps=threat.eps),
        "art": art(lambda a, c, batch: a.FastGradientMethod(c, 2, threat.eps, batch_size=batch)),
    }


def pgd(threat: ThreatModel, steps: int, step: float) -> dict[str, Call]:
    """Return the peers' PGD from one random start, with steps of ``step * eps``, for linf and l2."""
    eps, alpha = threat.eps, threat.eps * step

    def of_art(norm: float) -> Call:
        return art(
            lambda attacks, classifier, batch: attacks.ProjectedGradientDescent(
                classifier,
                norm=norm,
                eps=eps,
                eps_step=alpha,
                max_iter=steps,
                num_random_init=1,
                batch_size=batch,
                verbose=False,
            )
        )

    if threat.name == "linf":
        return {
            "torchattacks": torchattacks(lambda ta, model: ta.PGD(model, eps=eps, alpha=alpha, steps=steps)),
            "foolbox": foolbox(lambda fb: fb.attacks.LinfPGD(steps=steps, rel_stepsize=step), eps=eps),
            "art": of_art(np.inf),
            "adv-lib": adv_lib(
                lambda al, model, images, labels: al.pgd_linf(
                    model, images, labels, ε=eps, steps=steps, relative_step_size=step
                )
            ),
        }
    if threat.name != "l2":
        return {}
    return {
        "torchattacks": torchattacks(lambda ta, model: ta.PGDL2(model, eps=eps, alpha=alpha, steps=steps)),
        "foolbox": foolbox(lambda fb: fb.attacks.L2PGD(steps=steps, rel_stepsize=step), eps=eps),
        "art": of_art(2),
    }


def fmn(threat: ThreatModel, steps: int) -> dict[str, Call]:
    """Return the peers' FMN, which looks for the nearest success."""
    order = {"linf": math.inf, "l2": 2, "l1": 1, "l0": 0}[threat.name]
    name = {"linf": "LInfFMNAttack", "l2": "L2FMNAttack", "l1": "L1FMNAttack", "l0": "L0FMNAttack"}[
        threat.name
    ]
    return {
        "foolbox": foolbox(lambda fb: getattr(fb.attacks, name)(steps=steps)),
        "adv-lib": adv_lib(
            lambda al, model, images, labels: al.fmn(model, images, labels, order, steps=steps)
        ),
    }
