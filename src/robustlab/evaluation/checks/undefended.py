"""Do the attacks break an undefended network?"""

from collections.abc import Iterable
from dataclasses import fields, replace

import torch
from torch import Tensor, nn

from robustlab.attacks import Attack, BPDAGradient, ExactGradient
from robustlab.core.spec import register
from robustlab.core.text import level
from robustlab.data import Split
from robustlab.evaluation.checks.attack_runner import AttackRunner, NotApplicable, Passes
from robustlab.evaluation.checks.base import ActiveCheck, CheckResult
from robustlab.evaluation.checks.context import Context, Sample
from robustlab.evaluation.metrics import percent
from robustlab.threats import ThreatModel

TRAINING_IMAGES, STEPS, LR, WIDTH = 64, 40, 0.01, 64
MIN_IMAGES, MAX_IMAGES = 16, 32
"""The smallest and the largest number of attacked images; with fewer the share of the largest class is too
uncertain."""
MAX_ROBUST = 0.01
"""Our choice, for the eps of the literature (0.3 for MNIST)."""


@register("undefended_network")
class Undefended(ActiveCheck):
    """Fits a small network without a defense to the images, and attacks it on them.

    Such a network has memorised these images, which does not matter here. The evaluation's own attacks should
    break it within the same threat model. BPDA of a part becomes the exact gradient there.
    """

    skips_black_box = True
    by_distance = True
    doubts = "attacks"
    passes, fewest = 200, MIN_IMAGES
    title = "The attacks break a network without a defense"
    expected = (
        f"at most {percent(MAX_ROBUST)} of the images withstand the evaluation's attacks; if eps is too "
        "small for that, at most the share of the largest class where all images can become the same grey one"
    )
    meaning = (
        "The evaluation's attacks can't break what nothing protects: they are too weak, or broken, and that "
        "the classifier withstands them says nothing."
    )

    def sample(self, context: Context) -> Sample:
        return replace(context.any_images(TRAINING_IMAGES), attacks=context.attacks)

    def look(self, runner: AttackRunner, sample: Sample) -> CheckResult:
        learned, attacks = sample.images, [_without_parts(attack) for attack in sample.attacks.values()]
        if len(learned) < MIN_IMAGES:
            raise NotApplicable(f"it takes {MIN_IMAGES} images; here are {len(learned)}")
        network = _fitted(learned, runner.classes, runner.spent)
        with torch.no_grad():
            known = network(learned.pixels(slice(None))).argmax(dim=1) == learned.labels
        block = learned.take(known.nonzero().squeeze(1)[:MAX_IMAGES])
        if len(block) < MIN_IMAGES:
            raise NotApplicable(f"a small network learned only {len(block)} of {len(learned)} images")
        n, left = len(block), _left(runner, block, network, attacks, runner.threat)
        found = f"{percent(left / n)} of {n} images withstood the evaluation's attacks"
        if left <= MAX_ROBUST * n:
            return CheckResult(grade="pass", found=found, n=n)
        # A small eps may not break even such a network; with this eps all break.
        runner.check_no_mask(block)
        wide = runner.threat.at(runner.threat.eps_to_grey(tuple(block.images.shape[1:])))
        anyway, largest = _left(runner, block, network, attacks, wide), int(block.labels.bincount().max())
        found += (
            f", and {percent(anyway / n)} at eps {level(wide.eps)} (largest class {percent(largest / n)})"
        )
        return CheckResult(grade="pass" if anyway <= largest else "fail", found=found, n=n)


def _without_parts(attack: Attack) -> Attack:
    """Return the attack with exact gradients instead of BPDA, at any depth.

    BPDA names a part of the classifier that has no gradient. The perceptron has a gradient and no such part.
    """
    own = {field.name: getattr(attack, field.name) for field in fields(attack)}  # type: ignore[arg-type]
    changed: dict[str, object] = {
        name: ExactGradient() for name, value in own.items() if isinstance(value, BPDAGradient)
    }
    changed |= {name: _without_parts(value) for name, value in own.items() if isinstance(value, Attack)}
    return replace(attack, **changed) if changed else attack  # type: ignore[type-var]


def _left(
    runner: AttackRunner, block: Split, network: nn.Module, attacks: Iterable[Attack], threat: ThreatModel
) -> int:
    """Return how many images withstand the attacks on a network, run one after the other."""
    for attack in attacks:
        result = runner.attack(attack, block, model=network, threat=threat)
        block = block.take((~result.successes).nonzero().squeeze(1))
        if len(block) == 0:
            break
    return len(block)


def _fitted(images: Split, classes: int, spent: Passes) -> nn.Module:
    """Return a perceptron that is fitted to the images; its passes are counted."""
    pixels, device = images.pixels(slice(None)), images.labels.device
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(pixels[0].numel(), WIDTH), nn.ReLU(), nn.Linear(WIDTH, classes)
    ).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=LR)
    with torch.enable_grad():
        for _ in range(STEPS):
            loss: Tensor = nn.functional.cross_entropy(network(pixels), images.labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    spent.forwards += STEPS * len(images)
    spent.backwards += STEPS * len(images)
    return network.eval()
