"""robustlab beside other libraries: one model, the same images, one process.

    python benchmarks/peers.py --model mnist_cnn -n 1000
    python benchmarks/peers.py --model mine.py:network --weights mine.safetensors --task pgd-max-loss
    python benchmarks/peers.py --model ... --tools robustlab autoattack --autoattack ../auto-attack

Printed per tool: accuracy left, seconds, forward and backward image passes. Passes are counted for all tools
alike, by a wrapper around the model: an image sent through it is a forward pass, a gradient that comes back
for it is a backward pass. Parameters are frozen and the model is in eval mode. robustlab does what its
command line does: it puts the network into channels-last layout and, where the device is fast in bf16,
searches in it and confirms in fp32; what an evaluation does besides (proofs, the ledger, reading back what
was found, checks) is not in its seconds or passes. Other tools take the network as it comes; with
`--same-layout` they too get it in channels-last. A tool is warmed up on four images, then timed with each of
`--batches`, and `--repeats` times with the fastest of them, in alternating order; its best time is shown.

No tool's own verdict is believed: an image is broken if the model misclassifies it as it is, or misclassifies
the tool's image for it in one plain forward pass. A tool's image that leaves the eps ball or [0, 1] by more
than 1e-6 is counted under "outside" and breaks nothing; of a curve, that is the ball of its largest eps.

`TASKS` says what each tool runs. The libraries come with ``pip install -e ".[peers]"`` and
``pip install --no-deps adv-lib``.
"""

import argparse
import copy
import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import peer_adapters as peers
from peer_adapters import Call
from robustlab.attacks import PGD
from robustlab.core import device
from robustlab.core.memory import keep_freed_memory
from robustlab.core.spec import parse
from robustlab.evaluation.coordinator.curve import points
from robustlab.evaluation.ensembles import AutoAttack, Ensemble, Standard
from robustlab.evaluation.images import load_images
from robustlab.evaluation.subject import in_fastest_layout, load_classifier
from robustlab.threats import ThreatModel

TOLERANCE = 1e-6
DISTRIBUTIONS = {
    "torchattacks": "torchattacks",
    "foolbox": "foolbox",
    "art": "adversarial-robustness-toolbox",
    "adv-lib": "adv-lib",
}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What every task is given; found images may lie within `limit`, which is wider for a curve."""

    threat: ThreatModel
    limit: ThreatModel
    steps: int
    step: float
    autoattack: Path | None
    bf16: bool


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one tool did."""

    tool: str
    batch: int
    accuracy: float
    curve: list[float]
    seconds: float
    forwards: int
    backwards: int
    outside: int


def pgd(setting: Setting, *, early_stop: bool) -> dict[str, Call]:
    """PGD with the same steps from one random start; of the official AutoAttack, APGD with as many steps."""
    threat, steps, step = setting.threat, setting.steps, setting.step
    calls = {
        "robustlab": peers.robustlab(
            PGD(steps=steps, rel_step_size=step), threat, early_stop=early_stop, bf16=setting.bf16
        )
    }
    calls |= peers.pgd(threat, steps, step)
    if setting.autoattack is not None:
        calls["autoattack"] = peers.autoattack(setting.autoattack, threat, attacks=("apgd-ce",), steps=steps)
    return calls


def autoattack(setting: Setting, ours: Ensemble) -> dict[str, Call]:
    """An ensemble of ours against AutoAttack's standard version, and against what torchattacks calls so."""
    threat = setting.threat
    calls = {"robustlab": peers.ensemble(ours, threat, bf16=setting.bf16)}
    if threat.name in ("linf", "l2"):
        calls["torchattacks"] = peers.torchattacks(
            lambda ta, model: ta.AutoAttack(model, peers.NORMS[threat.name], threat.eps, seed=0)
        )
    if setting.autoattack is not None:
        calls["autoattack"] = peers.autoattack(setting.autoattack, threat)
    return calls


def curve(setting: Setting) -> dict[str, Call]:
    """The nearest success of every image; beside it, for the cost, PGD of 100 steps at one eps."""
    threat = setting.threat
    fixed = PGD(steps=100, rel_step_size=setting.step)
    theirs = peers.pgd(threat, fixed.steps, fixed.rel_step_size)
    return {
        "robustlab": peers.nearest(threat),
        "robustlab-pgd": peers.robustlab(fixed, threat, early_stop=False, bf16=setting.bf16),
        **{name: call for name, call in theirs.items() if name == "torchattacks"},
        **peers.fmn(threat, 100),
    }


TASKS: dict[str, Callable[[Setting], dict[str, Call]]] = {
    "pgd-verdict": lambda setting: pgd(setting, early_stop=True),
    "pgd-max-loss": lambda setting: pgd(setting, early_stop=False),
    "autoattack": lambda setting: autoattack(setting, AutoAttack()),
    "standard": lambda setting: autoattack(setting, Standard()),
    "curve": curve,
}


class Counted(nn.Module):
    """A model that counts the images that pass it, forward and backward."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.forwards = self.backwards = 0

    def forward(self, images: Tensor) -> Tensor:
        """Return the model's logits."""
        logits: Tensor = self.model(images)
        self.forwards += _rows(logits)
        if logits.requires_grad:
            logits.register_hook(self._returned)  # type: ignore[no-untyped-call]
        return logits

    def _returned(self, gradient: Tensor) -> None:
        self.backwards += _rows(gradient)


def _rows(logits: Tensor) -> int:
    """Return the number of images behind logits (N, K), those that a vmap hides included."""
    classes, functorch = logits.shape[-1], torch._C._functorch
    if functorch.is_legacy_batchedtensor(logits):  # of torch.autograd.grad(..., is_grads_batched=True)
        logits = torch._remove_batch_dim(logits, 1, 1, 0)
    while functorch.is_functorch_wrapped_tensor(logits):
        logits = functorch.get_unwrapped(logits)
    return logits.numel() // classes


@torch.no_grad()
def correct(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return (N,) whether the model gets each image right."""
    return torch.cat([model(part).argmax(dim=1) for part in torch.split(images, 250)]) == labels


def inside(found: Tensor, images: Tensor, threat: ThreatModel) -> Tensor:
    """Return (N,) whether each found image is allowed by the threat model, up to what float32 rounds off."""
    beyond = (found - found.clamp(0, 1)).flatten(1).abs().amax(dim=1)
    near = threat.distance(found, images) <= threat.eps * (1 + TOLERANCE) + TOLERANCE
    return near & (beyond <= TOLERANCE)


def measure(
    tool: str, call: Call, counted: Counted, images: Tensor, labels: Tensor, setting: Setting, batch: int
) -> Row:
    """Run one tool once and measure what it returns afresh."""
    counted.forwards = counted.backwards = 0
    _wait(images)
    started = time.perf_counter()
    found = call(counted, images, labels, batch)
    _wait(images)
    seconds = time.perf_counter() - started
    right = correct(counted.model, images, labels)
    wrong = ~correct(counted.model, found, labels)

    def left(within: ThreatModel) -> float:
        return (right & ~(wrong & inside(found, images, within))).double().mean().item()

    threat = setting.threat
    return Row(
        tool=tool,
        batch=batch,
        accuracy=left(threat),
        curve=[left(threat.at(eps)) for eps in points(threat)],
        seconds=seconds,
        forwards=counted.forwards,
        backwards=counted.backwards,
        outside=int((~inside(found, images, setting.limit)).sum()),
    )


def _wait(images: Tensor) -> None:
    if images.is_cuda:
        torch.cuda.synchronize()


def compare(
    calls: dict[str, Call],
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    setting: Setting,
    *,
    batches: list[int],
    repeats: int,
    same_layout: bool = False,
) -> list[Row]:
    """Return each tool's fastest run."""
    ours = Counted(in_fastest_layout(copy.deepcopy(model), images[:1])).eval()
    theirs = ours if same_layout else Counted(model).eval()
    counted = {tool: ours if tool.startswith("robustlab") else theirs for tool in calls}
    for tool, call in calls.items():
        call(counted[tool], images[:4], labels[:4], 4)
    best: dict[str, Row] = {}
    for repeat in range(repeats):
        for tool in calls if repeat % 2 == 0 else reversed(calls):
            for batch in batches if repeat == 0 else [best[tool].batch]:
                row = measure(tool, calls[tool], counted[tool], images, labels, setting, batch)
                best[tool] = min(best.get(tool, row), row, key=lambda r: r.seconds)
    return [best[tool] for tool in calls]


def table(rows: list[Row]) -> str:
    """Return the rows as aligned text.

    "times" is a tool's time over the first tool's; "curve" is the mean of the accuracy left over all eps of a
    curve from 0 to 4/3 of the threat model's, by the same images: of use where they are near ones.
    """
    lines = [
        f"{'tool':14}{'batch':>6}{'accuracy':>11}{'curve':>10}{'seconds':>10}{'times':>8}"
        f"{'forwards':>14}{'backwards':>14}{'outside':>9}"
    ]
    lines += [
        f"{row.tool:14}{row.batch:6}{100 * row.accuracy:9.2f} %"
        f"{100 * sum(row.curve) / len(row.curve):8.2f} %{row.seconds:10.2f}"
        f"{row.seconds / rows[0].seconds:8.2f}{row.forwards:14,}{row.backwards:14,}{row.outside:9}"
        for row in rows
    ]
    return "\n".join(lines)


def versions() -> dict[str, str]:
    """Return the versions of torch and of the peers that are installed."""
    found = {"python": platform.python_version(), "torch": torch.__version__}
    return found | {
        name: importlib.metadata.version(DISTRIBUTIONS[name])
        for name in peers.MODULES
        if peers.installed(name)
    }


def select(calls: dict[str, Call], wanted: list[str] | None) -> dict[str, Call]:
    """Return the calls of the wanted tools that are there; without a wish, of all that are installed.

    Raises:
        SystemExit: a wanted tool does not run this task, or is not installed.
    """
    there = {tool: call for tool, call in calls.items() if tool not in peers.MODULES or peers.installed(tool)}
    if absent := [tool for tool in wanted or [] if tool not in there]:
        sys.exit(f"{', '.join(absent)}: not installed, or not in this task; there are {', '.join(there)}")
    return there if wanted is None else {tool: there[tool] for tool in wanted}


def arguments(words: list[str] | None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="as of `robustlab evaluate`")
    parser.add_argument("--weights", help="as of `robustlab evaluate`")
    parser.add_argument("--data", default="mnist", help="as --dataset of `robustlab evaluate`")
    parser.add_argument("-n", type=int, default=1000, help="test images, from the first on")
    parser.add_argument("--threat", default="linf(eps=0.3)")
    parser.add_argument("--task", default="pgd-verdict", choices=TASKS)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--step", type=float, default=0.25, help="step length as a fraction of eps")
    parser.add_argument("--tools", nargs="+", help="default: all that are installed")
    parser.add_argument("--autoattack", type=Path, help="a checkout of the official AutoAttack")
    parser.add_argument("--batches", type=int, nargs="+", default=[250, 500, 1000], help="batch sizes to try")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--same-layout", action="store_true", help="channels-last for all tools")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="write everything that was measured here")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> None:
    """Run the comparison."""
    keep_freed_memory()  # as robustlab's command line does; it serves all tools alike
    options = arguments(words)
    threat, kind = parse(ThreatModel, options.threat), options.device.partition(":")[0]
    setting = Setting(
        threat=threat,
        limit=threat.at(points(threat)[-1]) if options.task == "curve" else threat,
        steps=options.steps,
        step=options.step,
        autoattack=options.autoattack,
        bf16=device.fast_bf16(kind),
    )
    calls = select(TASKS[options.task](setting), options.tools)
    model = load_classifier(options.model, weights=options.weights).model.eval().to(options.device)
    model.to(memory_format=torch.contiguous_format)
    test = load_images(options.data, n=options.n).images
    images, labels = test.pixels(slice(None)).to(options.device), test.labels.to(options.device)
    clean = correct(model, images, labels).double().mean().item()
    machine = device.describe(kind)
    steps = f", {options.steps} steps of {options.step:g} eps" if options.task.startswith("pgd") else ""
    print(f"{options.task}: {options.model}, {threat!r}{steps}")
    print(f"first {len(images)} test images of {options.data}, clean accuracy {100 * clean:.2f} %")
    print(f"{machine}; " + ", ".join(f"{k} {v}" for k, v in versions().items()), flush=True)
    rows = compare(
        calls,
        model,
        images,
        labels,
        setting,
        batches=options.batches,
        repeats=options.repeats,
        same_layout=options.same_layout,
    )
    print(table(rows))
    if options.json is not None:
        record: dict[str, Any] = {
            "options": {name: str(value) for name, value in vars(options).items()},
            "clean_accuracy": clean,
            "machine": machine,
            "waiting": os.environ.get("GOMP_SPINCOUNT"),
            "versions": versions(),
            "rows": [asdict(row) for row in rows],
        }
        options.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
