"""Each defense, the attack of its paper, and the attack that broke it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from broken_defenses import networks
from broken_defenses.networks import REJECT
from broken_defenses.replicas import (
    LatentProjection,
    MixupInference,
    Quantized,
    RandomSize,
    Thermometer,
    pruned,
)
from robustlab.attacks import BPDA, Criterion, Observation
from robustlab.attacks.losses import Loss, measure
from robustlab.core.options import EvaluationMode
from robustlab.core.spec import register
from robustlab.evaluation.subject import load_classifier

Make = Callable[[], nn.Module]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """An attack on a defense: how it is described, and what `robustlab.evaluate` gets."""

    words: str
    attacks: str
    model: Make | None = None
    """Another module with the same answers, whose gradients an attacker can use."""
    surrogates: Sequence[Make] = ()
    eot_samples: int | None = None
    target: str | None = None
    mode: EvaluationMode = "verdict"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A defense, the Linf eps, and the two attacks that `standard` is compared with."""

    title: str
    model: Make
    eps: float
    claimed: Trial
    adaptive: Trial
    eot_samples: int = field(default=20)
    """What a user takes whom the check `randomness` asks to."""


@register("accepted_error")
class AcceptedError(Criterion):
    """A class that is neither the label nor the class that rejects."""

    changes_class = True

    def reached(self, seen: Observation) -> Tensor:
        answer = seen.logits.argmax(dim=1)
        return seen.valid & (answer != seen.labels) & (answer != REJECT)

    def loss(self, loss: Loss, seen: Observation, rivals: Tensor | None = None) -> Tensor:
        del rivals
        accepted = seen.logits[:, :REJECT].scatter(1, seen.labels.view(-1, 1), -torch.inf)
        return measure(loss, seen.logits, seen.labels, accepted.argmax(dim=1))


class SoftThermometer(nn.Module):
    """The gradient of a thermometer code: that of a ramp over one level to each side."""

    def __init__(self, code: Thermometer) -> None:
        super().__init__()
        self.code = code

    def forward(self, images: Tensor) -> Tensor:
        return ((images - self.code.limits) * self.code.limits.shape[1]).sigmoid()


def base() -> nn.Module:
    """Return a classifier without a defense."""
    return networks.plain_network()


def quantized(part: Callable[[Quantized], nn.Module] = lambda part: part) -> nn.Module:
    """Return the classifier behind four levels of grey."""
    return nn.Sequential(part(Quantized()), base())


def soft_thermometer() -> nn.Module:
    """Return the thermometer network with a gradient."""
    code, classifier = networks.thermometer_network().children()
    assert isinstance(code, Thermometer)
    return nn.Sequential(BPDA(code, SoftThermometer(code)), classifier)


def mixed() -> nn.Module:
    """Return the mixup network, and inference by mixtures with 500 training images."""
    pool = networks.training_images()[0][:500]
    return MixupInference(networks.mixup_network(), pool)


def projected() -> nn.Module:
    """Return the classifier behind a projection onto a decoder's outputs."""
    return nn.Sequential(LatentProjection(*networks.autoencoder()), base())


def soft_projected() -> nn.Module:
    """Return the same; the gradient is that of encoder and decoder."""
    encoder, decoder = networks.autoencoder()
    return nn.Sequential(BPDA(LatentProjection(encoder, decoder), nn.Sequential(encoder, decoder)), base())


GREY = Trial(
    words="PGD on the classifier without the defense", attacks="pgd(gradient=surrogates)", surrogates=[base]
)

CASES = {
    "quantization": Case(
        title="Input quantization, 4 levels",
        model=quantized,
        eps=0.2,
        claimed=Trial(words="PGD on the classifier as it is", attacks="pgd(steps=40)"),
        adaptive=Trial(
            words="APGD with BPDA",
            attacks="apgd(steps=100), apgd(loss=margin, steps=100, targets=9)",
            model=lambda: quantized(BPDA),
        ),
    ),
    "thermometer": Case(
        title="Thermometer code, 16 levels",
        model=networks.thermometer_network,
        eps=0.2,
        claimed=Trial(words="PGD on the classifier as it is", attacks="pgd(steps=40)"),
        adaptive=Trial(
            words="APGD with BPDA by a ramp",
            attacks="apgd(steps=100), apgd(loss=margin, steps=100, targets=9)",
            model=soft_thermometer,
        ),
    ),
    "k-wta": Case(
        title="k-WTA, 10 %",
        model=networks.k_winners_network,
        eps=0.2,
        claimed=Trial(words="PGD, 40 steps", attacks="pgd(steps=40)"),
        adaptive=Trial(
            words="APGD on means of 64 nearby gradients",
            attacks="apgd(steps=100, loss=margin, gradient=smoothed(draws=64, std=0.05)), "
            "square(queries=5000)",
        ),
    ),
    "resizing": Case(
        title="Random resizing and padding",
        model=lambda: nn.Sequential(RandomSize(), base()),
        eps=0.1,
        claimed=GREY,
        adaptive=Trial(words="PGD with 20 samples", attacks="pgd(steps=40, loss=margin)", eot_samples=20),
    ),
    "pruning": Case(
        title="Stochastic activation pruning",
        model=lambda: pruned(base()),
        eps=0.1,
        claimed=Trial(words="FGSM on the classifier as it is", attacks="fgsm"),
        adaptive=Trial(words="PGD with 20 samples", attacks="pgd(steps=40, loss=margin)", eot_samples=20),
    ),
    "ensemble": Case(
        title="Ensemble diversity, 3 networks",
        model=networks.diverse_ensemble,
        eps=0.2,
        claimed=Trial(words="PGD, 10 steps", attacks="pgd(steps=10)"),
        adaptive=Trial(
            words="APGD towards each class",
            attacks="apgd(steps=100, loss=margin, targets=9), "
            "pgd(steps=500, rel_step_size=0.05, loss=margin)",
        ),
    ),
    "mixup": Case(
        title="Mixup inference, 8 mixtures",
        model=mixed,
        eps=0.1,
        claimed=Trial(
            words="PGD on the classifier without the mixtures",
            attacks="pgd(gradient=surrogates)",
            surrogates=[networks.mixup_network],
        ),
        adaptive=Trial(words="PGD with 5 samples", attacks="pgd(steps=40, loss=margin)", eot_samples=5),
        eot_samples=5,
    ),
    "projection": Case(
        title="Projection onto a decoder's outputs",
        model=projected,
        eps=0.1,
        claimed=GREY,
        adaptive=Trial(
            words="APGD with BPDA by encoder and decoder",
            attacks="apgd(steps=100), apgd(loss=margin, steps=100, targets=9)",
            model=soft_projected,
        ),
    ),
    "reject": Case(
        title="A class that rejects",
        model=networks.rejecting_network,
        eps=0.2,
        claimed=Trial(
            words="PGD, 40 steps; a rejection counts as right", attacks="pgd(steps=40)", mode="max-loss"
        ),
        adaptive=Trial(
            words="APGD towards an accepted error; a rejection counts as right",
            attacks="apgd(steps=100, loss=margin, restarts=3)",
            target="accepted_error",
        ),
    ),
}


def magnet(models: str) -> Case:
    """Return the case of the public MagNet, whose networks are functions of a file."""

    def part(name: str) -> nn.Module:
        return load_classifier(f"{models}:{name}").model

    return Case(
        title="MagNet (public weights)",
        model=lambda: part("magnet"),
        eps=0.2,
        claimed=Trial(
            words="PGD on the classifier without the reformer",
            attacks="pgd(gradient=surrogates)",
            surrogates=[lambda: part("magnet_classifier")],
        ),
        adaptive=Trial(
            words="APGD on both networks", attacks="apgd(steps=100), apgd(loss=margin, targets=9)"
        ),
    )
