"""A frozen table of what every attack does, so that a change that nobody meant shows.

Images and weights come from formulas and the network counts in float64, so that neither processor nor number
of threads matters. A row of `frozen.json` is, for an attack in a threat model: images broken, forward passes,
backward passes, mean distance of the broken ones, mean confidence of the others. Attacks that look for the
nearest success spend their full budget, others stop at a success.

Whoever changes an attack on purpose renews the table, reads its diff, and commits both::

    python tests/attacks/test_frozen.py
"""

import json
from pathlib import Path

import pytest
import torch
from attack_cases import PAIRS
from torch import Tensor, nn

from robustlab.attacks import CW, DDN, EAD, FAB, Attack, SigmaZero, SteepestMinNorm
from robustlab.threats import L0, L1, L2, Linf, ThreatModel

TABLE = Path(__file__).parent / "frozen.json"
NARROW: dict[str, ThreatModel] = {
    "linf": Linf(eps=0.016),
    "l2": L2(eps=0.08),
    "l1": L1(eps=0.3),
    "l0": L0(eps=1),
}
"""Where attacks that follow gradients break about half of the images."""
WIDE: dict[str, ThreatModel] = {
    "linf": Linf(eps=1.0),
    "l2": L2(eps=6.0),
    "l1": L1(eps=40.0),
    "l0": L0(eps=40),
}
FOLLOW = {"fgsm", "pgd", "mi_fgsm", "apgd", "apgd_l1", "margin_search", "flip_search"}


def within(attack: Attack, threat: ThreatModel) -> ThreatModel:
    if attack.inner.minimum_norm:
        return WIDE[threat.name]
    return NARROW[threat.name] if attack.inner.name in FOLLOW else threat


# As short as they are elsewhere, these find nothing, or nothing better than their first success.
LONGER: list[tuple[Attack, ThreatModel]] = [
    (CW(steps=20, binary_search_steps=4, initial_const=1.0), WIDE["l2"]),
    (EAD(steps=20, binary_search_steps=6, initial_const=0.1), WIDE["l1"]),
    (SigmaZero(steps=30), WIDE["l0"]),
    (DDN(steps=30), WIDE["l2"]),
    (FAB(steps=3, targets=0, restarts=3), NARROW["l2"]),
    *((SteepestMinNorm(steps=30), WIDE[norm]) for norm in SteepestMinNorm.norms),
]
ROWS = list(dict.fromkeys([*((attack, within(attack, threat)) for attack, threat in PAIRS), *LONGER]))
N, SHAPE, HIDDEN, CLASSES = 24, (2, 4, 5), 16, 5
Row = list[float]


def waves(rows: int, columns: int, pace: float) -> Tensor:
    """Return (rows, columns) numbers between -1 and 1 without a pattern that repeats soon, in float64."""
    places = torch.arange(1, rows + 1, dtype=torch.float64)[:, None]
    return (pace * places * (places + 2 * torch.arange(1, columns + 1, dtype=torch.float64))).sin()


class Formula(nn.Module):
    """Two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("first", waves(HIDDEN, 40, 0.37) / 2)
        self.register_buffer("last", waves(CLASSES, HIDDEN, 0.73))

    def forward(self, images: Tensor) -> Tensor:
        hidden = (images.double().flatten(1) - 0.5) @ self.get_buffer("first").T
        logits: Tensor = (torch.tanh(hidden) @ self.get_buffer("last").T).float()
        return logits


def row(attack: Attack, threat: ThreatModel) -> Row:
    model = Formula().eval()
    images = (0.5 + 0.55 * waves(N, 40, 0.21)).clamp(0, 1).float().view(N, *SHAPE)
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    early_stop = not attack.inner.minimum_norm
    found = attack.run(model, images, labels, threat, early_stop=early_stop, seed=1)
    won = found.successes
    distance = found.distances[won].mean().item() if won.any() else 0.0
    confidence = found.confidences[~won].mean().item() if not won.all() else 0.0
    passes = [int(found.forwards.sum()), int(found.backwards.sum())]
    return [int(won.sum()), *passes, float(f"{distance:.5g}"), float(f"{confidence:.5g}")]


def frozen() -> dict[str, Row]:
    rows: dict[str, Row] = json.loads(TABLE.read_text())
    return rows


def name(attack: Attack, threat: ThreatModel) -> str:
    return f"{attack!r} within {threat!r}"


def test_the_table_is_of_these_attacks() -> None:
    assert list(frozen()) == [name(attack, threat) for attack, threat in ROWS]


def test_the_table_tells_something() -> None:
    rows = frozen()
    assert sum(0 < broken < N for broken, *_ in rows.values()) > len(rows) / 2
    broken = {label.partition("(")[0] for label, (count, *_) in rows.items() if count > 0}
    assert broken == {attack.name for attack, _ in ROWS}


@pytest.mark.parametrize(("attack", "threat"), ROWS, ids=[name(*row) for row in ROWS])
def test_an_attack_does_what_it_did(attack: Attack, threat: ThreatModel) -> None:
    before, now = frozen()[name(attack, threat)], row(attack, threat)
    assert now[:3] == before[:3], f"broken, forwards, backwards: {now[:3]}, in the table {before[:3]}"
    assert now[3:] == pytest.approx(before[3:], rel=3e-4), "mean distance, mean confidence"


if __name__ == "__main__":
    lines = [
        f"  {json.dumps(name(attack, threat))}: {json.dumps(row(attack, threat))}" for attack, threat in ROWS
    ]
    TABLE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
