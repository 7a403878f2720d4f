"""Defenses that only look like some, each for a reason of its own, and evaluations of them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import grad as imported_grad

from robustlab.attacks import APGD, PGD, Attack, AttackResult
from robustlab.core.logits import answered
from robustlab.data import Split
from robustlab.evaluation.checks import AttackedRow, AttackRunner, Context, EvaluationSummary, all_checks
from robustlab.runs.evaluation import CheckRecord
from robustlab.runs.ledger import Outcome
from robustlab.threats import Linf, ThreatModel

WEAK = Linf(eps=0.05)
"""At this eps an undefended network for the digits still gets some images right."""
STRONG = Linf(eps=0.3)
"""And at this one none."""


def trained(train: Split) -> nn.Module:
    """A small undefended network for the digits."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(49, 64), nn.ReLU(), nn.Linear(64, 10))
    images, labels = train.pixels(slice(None)), train.labels
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        loss: Tensor = nn.functional.cross_entropy(model(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model.eval()


ATTACKS = (PGD(steps=10), APGD(steps=50), APGD(steps=30, loss="margin", targets=9))


class Wrapped(nn.Module):
    """A defense around a network."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("calls", torch.zeros(()))


class Detached(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x.detach())
        return logits


class Binarised(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner((x > 0.5).float())
        return logits


class Rounded(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner((x * 8).round() / 8)
        return logits


class Noisy(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x)
        return logits + torch.randn_like(logits)


class Probabilities(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x)
        return logits.softmax(dim=1)


class Scaled(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x)
        return 1000 * logits


class Purified(Wrapped):
    """Takes a gradient step of its own, by a name of the function that nobody can replace from outside."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            (slope,) = imported_grad(self.inner(leaf).logsumexp(dim=1).sum(), leaf)
        logits: Tensor = self.inner((x + 0.01 * slope.sign()).clamp(0, 1))
        return logits


class Counting(Wrapped):
    calls: Tensor

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        logits: Tensor = self.inner(x)
        return logits


class Companionable(Wrapped):
    """Normalises by the batch."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x)
        return logits - 0.5 * logits.mean(dim=0)


class Crashing(Wrapped):
    """Divides by zero where the image's upper left corner is dark and its sum even, say."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x)
        odd = (x.flatten(1).sum(dim=1) * 10).floor() % 4 == 0
        return torch.where(odd[:, None], logits / 0.0, logits)


class _Misled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        on_grid = ((x * 255 - (x * 255).round()).abs() < 1e-3).flatten(1).all(dim=1)
        ctx.save_for_backward(on_grid)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        (on_grid,) = ctx.saved_tensors
        return torch.where(on_grid[:, None, None, None], slopes[0], -slopes[0])


class Misleading(Wrapped):
    """Its gradient is right on 8-bit images, and points the wrong way everywhere else."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(_Misled.apply(x))
        return logits


class Shortsighted(nn.Module):
    """Classifies by the sign of a sum; far from grey there is no gradient."""

    def forward(self, x: Tensor) -> Tensor:
        near = ((x - 0.5).abs().flatten(1).amax(dim=1) < 0.06)[:, None, None, None]
        total = torch.where(near, x, x.detach()).flatten(1).sub(0.5).sum(dim=1)
        return torch.stack([total, -total], dim=1)


def outcomes(images: Split, result: AttackResult) -> list[Outcome]:
    """Return the rows of the ledger that an attack's result is."""
    columns = [images.ids, images.labels, result.predictions, result.confidences, result.distances]
    columns += [result.forwards, result.backwards, result.restarts, result.successes.long()]
    names = tuple(Outcome.__dataclass_fields__)
    values = zip(*(column.tolist() for column in columns), strict=True)
    return [Outcome(**dict(zip(names, row, strict=True))) for row in values]


def evaluated(
    model: nn.Module,
    images: Split,
    threat: ThreatModel = WEAK,
    attacks: Sequence[Attack] = ATTACKS,
    **changes: Any,
) -> Context:
    """Run attacks one after the other, and return what checks may know of it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        logits = model(images.pixels(slice(None))).detach()
    valid = answered(logits)
    standing = images.take((valid & (logits.argmax(dim=1) == images.labels)).nonzero().squeeze(1))
    correct, broken, adversarial, rows = frozenset(standing.ids.tolist()), {}, {}, []
    for attack in attacks:
        result = attack.run(model, standing.pixels(slice(None)), standing.labels, threat, ids=standing.ids)
        for row in result.successes.nonzero().squeeze(1).tolist():
            broken[int(standing.ids[row])] = float(result.distances[row])
            adversarial[int(standing.ids[row])] = result.images[row]
        met, won = len(standing), int(result.successes.sum())
        rows.append(AttackedRow.of(attack, outcomes(standing, result), correct, met=met, broken=won))
        standing = standing.take((~result.successes).nonzero().squeeze(1))
    found = EvaluationSummary(
        correct=correct,
        certified=None,
        broken=broken,
        no_answer=frozenset(images.ids[~valid].tolist()),
        no_answer_near=frozenset(),
        rows=tuple(rows),
        adversarial=lambda ids: torch.stack([adversarial[number] for number in ids]),
    )
    given: dict[str, Any] = {"classes": 10, "batch_size": 50} | changes
    runner = AttackRunner(model=model, threat=threat, **given)
    return Context(
        runner=runner, images=images, attacks={repr(attack): attack for attack in attacks}, found=found
    )


def look(name: str, context: Context) -> CheckRecord:
    """Return the outcome of one check."""
    (unit,) = (unit for unit in all_checks() if unit.id == name)
    return unit.run(context)


def credulous(context: Context) -> Context:
    """The same, but no attack is said to have broken anything."""
    return replace(context, found=replace(context.found, broken={}))
