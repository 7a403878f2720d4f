"""A row whose attack did nothing has red flags, in the results, on the page and on the terminal."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import robustlab
from robustlab.attacks import DDN, FGSM, PGD, Attack, RandomPoints
from robustlab.cli.main import app
from robustlab.core import spec
from robustlab.core.spec import register
from robustlab.data import Split
from robustlab.defenses import ComposedDefense
from robustlab.evaluation.checks import AttackRunner
from robustlab.runs.store import Outcome
from robustlab.study.stages.row_flags import row_flags
from robustlab.threats import L2, Linf, ThreatModel, Unbounded

RECIPE = """
schema = 1
name = "rounded"
title = "A rounded study"

[data]
dataset = "digits"

[[units]]
id = "pixel"
title = "pixel units"
pixels = 1.0

[networks.baseline]
title = "Baseline"
model = "cnn"
objective = "cross_entropy"
epochs = 1

[classifiers.rounded]
title = "Rounded"
defense = "rounding(network=baseline)"

[[rows]]
id = "clean"
title = "Clean"
group = "summary"
on = "rounded"

[[rows]]
id = "sound"
title = "Baseline, PGD"
group = "summary"
on = "baseline"
attack = "pgd(steps=3, step=0.5)"
threat = "linf(eps=0.1)"

[[rows]]
id = "rounded"
title = "Rounding, FGSM"
group = "summary"
on = "rounded"
attack = "fgsm"
threat = "linf(eps=0.1)"
mode = "max-loss"
"""


class Rounded(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network((images * 8).round() / 8)
        return logits


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[robustlab.Run]:
    folder = tmp_path_factory.mktemp("rounded")
    (folder / "rounded.toml").write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        known = {kind: dict(units) for kind, units in spec._registry.items()}
        patch.setattr(spec, "_registry", known)

        @register("rounding")
        class Rounding(ComposedDefense):
            """Round every pixel to one of nine levels."""

            network: str

            @property
            def networks(self) -> tuple[str, ...]:
                return (self.network,)

            def compose(self, networks: Mapping[str, nn.Module]) -> nn.Module:
                return Rounded(networks[self.network]).eval()

        yield robustlab.run_study(folder / "rounded.toml", out=folder / "run")


def test_they_are_in_the_results(run: robustlab.Run) -> None:
    flags = {row.id: {flag.id: flag.found for flag in row.flags} for row in run.results.rows}
    assert flags["clean"] == flags["sound"] == {}
    assert set(flags["rounded"]) == {"zero-gradient", "zero-distance"}
    assert "zero at 250 of 250 images" in flags["rounded"]["zero-gradient"]
    assert robustlab.load_run(run.folder).results == run.results


def test_they_are_on_the_page(run: robustlab.Run) -> None:
    page, markdown = ((run.folder / name).read_text() for name in ("report.html", "report.md"))
    alarm = page.index("Do not believe one row.")
    assert alarm < page.index("zero at 250 of 250 images") < page.index("<h1")
    assert page.count("✗ zero distance") == 2, "in the summary and in the table of all rows"
    assert (
        markdown.index("Do not believe") < markdown.index("zero at 250 of 250") < markdown.index("## Summary")
    )


@pytest.mark.parametrize("option", ["--quiet", "--json", None])
def test_they_are_on_the_terminal(run: robustlab.Run, option: str | None) -> None:
    arguments = ["study", str(run.folder.parent / "rounded.toml"), "--out", str(run.folder)]
    result = CliRunner().invoke(app, [*arguments, *([option] if option else [])])
    assert result.exit_code == 0, result.output
    flags = [line for line in result.stderr.splitlines() if line.startswith("red flag: ")]
    assert [flag.split(": ")[1] for flag in flags] == ["Rounding, FGSM (pixel units)"] * 2


# The rules, on made-up rows

N = 100
GREY, LABELS = torch.full((4, 1, 4, 4), 0.5), torch.zeros(4, dtype=torch.int64)
IMAGES = Split(images=GREY, labels=LABELS, ids=torch.arange(4), name="test")
STEP, BALL = FGSM(), Linf(eps=0.1)
RIGHT = dict.fromkeys(range(N), True)
ATTACKED = Outcome(
    image_id=0, label=0, prediction=0, confidence=0.9, distance=0.1, forwards=9, backwards=9, restart=0
)


def flags(
    outcomes: list[Outcome],
    attack: Attack = STEP,
    threat: ThreatModel = BALL,
    *,
    clean: dict[int, bool] = RIGHT,
    white_box: bool = True,
    network: nn.Module | None = None,
) -> list[str]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = network or nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).eval()
    lab = AttackRunner(model=network, classes=2, threat=threat)
    found = row_flags(attack, threat, lab, IMAGES, outcomes, clean, white_box=white_box)
    return [flag.id for flag in found]


def rows(right: int, **changes: float) -> list[Outcome]:
    """A hundred outcomes of which so many are right."""
    return [
        replace(ATTACKED, image_id=number, prediction=int(number >= right), **changes)  # type: ignore[arg-type]
        for number in range(N)
    ]


def wrong_at(*ids: int) -> dict[int, bool]:
    return {number: number not in ids for number in range(N)}


def test_a_row_that_was_attacked_has_none() -> None:
    assert flags(rows(80)) == []
    assert flags(rows(N)) == []


def test_images_that_stay_where_they_are() -> None:
    assert flags(rows(80, distance=0.0)) == ["zero-distance"]
    assert flags(rows(80, distance=0.0, restart=-1)) == [], "left alone: they were misclassified as they are"
    assert flags(rows(80, distance=0.0, backwards=0), RandomPoints(count=1)) == []
    assert flags(rows(80, distance=0.0), DDN(), L2(eps=1.0)) == []
    assert flags(rows(N, distance=0.0), threat=Linf(eps=0.0)) == []
    few = [replace(row, distance=0.0) if row.image_id < 1 else row for row in rows(80)]
    assert flags(few) == []


def test_more_right_than_without_the_attack() -> None:
    assert flags(rows(N), clean=wrong_at(7)) == ["above-clean"]
    assert flags(rows(N), clean=wrong_at(*range(9)), white_box=False) == [], "made on another network"
    assert flags(rows(N, backwards=0), RandomPoints(count=1), clean=wrong_at(7)) == [], "chance"
    assert flags(rows(N, backwards=0), RandomPoints(count=1), clean=wrong_at(*range(9))) == ["above-clean"]
    assert flags(rows(N), PGD(), Unbounded(), clean=wrong_at(*range(9))) == [], "noise may help"
    assert flags(rows(90), clean=wrong_at(*range(10))) == []


def test_no_gradient() -> None:
    class Detached(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.stack([images.detach().sum(dim=(1, 2, 3)), images[:, 0, 0, 0] * 0], dim=1)

    assert flags(rows(80), network=Detached().eval()) == ["zero-gradient"]
    assert flags(rows(80, backwards=0), RandomPoints(count=1), network=Detached().eval()) == []
