"""The results in the report's order: choices of values side by side, names, groups of costs."""

from typing import NamedTuple, TypeVar

from robustlab.report.text import count, listing
from robustlab.runs.results import (
    Claim,
    ClaimVerdict,
    Cost,
    Detection,
    Finding,
    Network,
    Results,
    Row,
    Variant,
)

Item = TypeVar("Item", Row, Detection)


class Line(NamedTuple):
    """A row of the summary: one figure per choice of values, or one (of no choice) for them all."""

    title: str
    note: str
    reference: float | None
    rows: list[Row]

    @property
    def shared(self) -> bool:
        """Whether the only figure depends on no factor."""
        return len(self.rows) == 1 and self.rows[0].variant is None

    def row(self, variant: str) -> Row | None:
        """Return the row of a choice of values, or None if the line has none for it."""
        return next((row for row in self.rows if row.variant == variant), None)


class Fall(NamedTuple):
    """A defense under one choice of values: the row of the published test, and the row of the harder one."""

    variant: str | None
    published: Row
    left: Row


class FindingLine(NamedTuple):
    """A finding with its rows."""

    finding: Finding
    falls: list[Fall]

    @property
    def best(self) -> Fall:
        """The choice of values under which the defense keeps the highest accuracy."""
        return max(self.falls, key=lambda fall: fall.left.accuracy.value)


class ClaimReading(NamedTuple):
    """One reading of a claim, with a verdict per choice of values."""

    title: str
    verdicts: dict[str, ClaimVerdict]


class CostGroup(NamedTuple):
    """Stages of one kind: the expensive ones by name, the others as a count."""

    title: str
    seconds: float
    forwards: int
    backwards: int
    stages: list[Cost]
    others: int
    others_seconds: float


class StudyView:
    """Results with derived values for the page and the Markdown."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.variants: list[Variant] = results.columns
        self._places = {variant.id: place for place, variant in enumerate(results.columns, start=1)}
        self._titles = {variant.id: variant.title for variant in results.columns}
        self._networks: dict[str, Network] = {network.id: network for network in results.networks}

    @property
    def flagged(self) -> int:
        """How many rows have a failed check."""
        return sum(bool(row.failed) for row in self.results.rows)

    def place(self, variant: str | None) -> int:
        """Return a choice's number, counted from 1, for its colour and mark; 0 for none."""
        return self._places.get(variant or "", 0)

    def variant(self, variant: str | None) -> str:
        """Return the title of a choice of values, or an empty string for none."""
        return self._titles.get(variant, variant) if variant is not None else ""

    def name(self, classifier: str) -> str:
        """Return a classifier's title if it is a trained network, else its id as text."""
        network = self._networks.get(classifier)
        return network.title if network else classifier.replace("_", " ")

    def access(self, row: Row) -> str:
        """Return what the attacker saw, as text, and on how many images, if not on all."""
        return self._attacker(row) + (f", {self.images(row)}" if self.images(row) else "")

    def images(self, row: Row) -> str:
        """Return which images a row is about, if it is not about all test images."""
        n = row.accuracy.n
        return "" if n == self.results.dataset.test else f"the first {count(n)} images"

    def _attacker(self, row: Row) -> str:
        if row.attacks is None:
            return "not perturbed"
        if row.surrogates:
            return f"transfer: made on {listing([self.name(name) for name in row.surrogates])}"
        return "white box" if row.backwards else "no gradients used"

    def lines(self, group: str) -> list[Line]:
        """Return the rows of a group, one line per title."""
        rows = [row for row in self.results.rows if row.group == group]
        return [Line(part[0].title, part[0].note, part[0].reference, part) for part in by_id(rows)]

    def findings(self, role: str | None = None) -> list[FindingLine]:
        """Return the findings, or those of one role, for each choice of values that both their rows have."""
        lines = []
        for finding in self.results.findings:
            of = {name: self._rows_of(name) for name in (finding.published, finding.left)}
            variants = dict.fromkeys([*of[finding.published], *of[finding.left]])
            falls = [
                Fall(variant, published, left)
                for variant in variants
                if (published := _either(of[finding.published], variant))
                and (left := _either(of[finding.left], variant))
            ]
            if falls and role in {None, finding.role}:
                lines.append(FindingLine(finding, falls))
        return lines

    def _rows_of(self, name: str) -> dict[str | None, Row]:
        return {row.variant: row for row in self.results.rows if row.id == name}

    def readings(self, claim: Claim) -> list[ClaimReading]:
        """Return a claim's verdicts by reading."""
        readings: dict[str, ClaimReading] = {}
        for verdict in claim.verdicts:
            reading = readings.setdefault(verdict.reading, ClaimReading(verdict.reading, {}))
            for variant in self.variants if verdict.variant is None else ():
                reading.verdicts[variant.id] = verdict
            if verdict.variant is not None:
                reading.verdicts[verdict.variant] = verdict
        return list(readings.values())

    def costs(self) -> list[CostGroup]:
        """Return the costs by kind of stage, the first word of its name."""
        kinds: dict[str, list[Cost]] = {}
        for cost in self.results.cost:
            kinds.setdefault(cost.stage.split(" ")[0], []).append(cost)
        least = 0.01 * self.seconds
        groups = [_cost_group(_KINDS.get(kind, kind), stages, least) for kind, stages in kinds.items()]
        small = [cost for stages in kinds.values() if _seconds(stages) < least for cost in stages]
        costly = [group for group in groups if group.seconds >= least]
        return [*costly, _cost_group(_REST, small, least)] if small else costly

    @property
    def seconds(self) -> float:
        """The total of all stages."""
        return _seconds(self.results.cost)

    @property
    def uses_discriminator(self) -> bool:
        """Whether a GAN's discriminator is among the detectors."""
        return any(part.detector_spec.startswith("discriminator") for part in self.results.detections)


def _either(rows: dict[str | None, Row], variant: str | None) -> Row | None:
    """Return the row of a choice of values, or the one that depends on no factor."""
    return rows.get(variant, rows.get(None))


def by_id(items: list[Item]) -> list[list[Item]]:
    """Group rows or detections of one id, in the order in which the ids appear."""
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(item.id, []).append(item)
    return list(groups.values())


_KINDS = {
    "train": "Training the networks",
    "evaluate": "Evaluations",
    "detect": "Detecting",
    "curve": "Curves",
    "gallery": "Gallery",
    "samples": "Samples",
}
_REST = "All else"


def _seconds(costs: list[Cost]) -> float:
    return sum(cost.seconds for cost in costs)


def _cost_group(title: str, costs: list[Cost], least: float) -> CostGroup:
    named = sorted((cost for cost in costs if cost.seconds >= least), key=lambda cost: -cost.seconds)
    return CostGroup(
        title=title,
        seconds=_seconds(costs),
        forwards=sum(cost.forwards for cost in costs),
        backwards=sum(cost.backwards for cost in costs),
        stages=named if len(costs) > 1 else [],
        others=len(costs) - len(named) if len(costs) > 1 else 0,
        others_seconds=_seconds([cost for cost in costs if cost.seconds < least]),
    )
