"""The findings of a study, as sentences computed from its results."""

from collections.abc import Callable

from robustlab.report.study.view import StudyView
from robustlab.report.text import count, counted, listing, percent, score
from robustlab.runs.records import Figure
from robustlab.runs.results import Detection, Results, Row


def headline(view: StudyView) -> str:
    """Return the main finding: the accuracy that defenses keep, or else the strongest attack."""
    return _finding(view) or _summary(view)


def _finding(view: StudyView) -> str:
    """Return the accuracy that each defense keeps under its best choice of values; empty without one."""
    lines = view.findings("defense")
    if not lines:
        return ""
    said: list[str] = []
    for line in lines:
        left, published = (percent(row.accuracy.value) for row in (line.best.left, line.best.published))
        most = "at most " if len(line.falls) > 1 else ""
        accuracy, test = ("", "") if said else (" accuracy", " in the published test")
        said.append(f"{_within(line.finding.title)} has {most}{left}{accuracy} ({published}{test})")
    return f"Before an attacker who knows of the defense, {listing(said)}."


def _within(title: str) -> str:
    """Return a title for the middle of a sentence; one that begins with an abbreviation is unchanged."""
    return title if title[1:2].isupper() else title[:1].lower() + title[1:]


def worse_than_none(view: StudyView) -> str:
    """Return where every defense is worse than no defense; empty if one is better."""
    places = []
    for line in view.findings("reference"):
        for fall in line.falls:
            rivals = [
                other.left.accuracy
                for rival in view.findings("defense")
                for other in rival.falls
                if fall.variant in {other.variant, None}
            ]
            if rivals and all(rival.high < fall.left.accuracy.low for rival in rivals):
                where = f" ({view.variant(fall.variant)})" if fall.variant else ""
                places.append(f"{percent(fall.left.accuracy.value)}{where}")
    if not places:
        return ""
    return f"Without a defense the same attack leaves {listing(places)}: more than with any of them."


def _summary(view: StudyView) -> str:
    """Return the clean accuracy, and the attack that lowers it most."""
    rows = [row for line in view.lines("summary") for row in line.rows]
    if not rows:
        return "This study has no summary rows."
    first = rows[0]
    images = f"{count(first.accuracy.n)} test images"
    if first.attacks is not None:
        accuracy = _spread(view, first.id, rows)
        return f"{view.name(first.model)} classifies {accuracy} of {images} correctly after “{first.title}”."
    said = f"{view.name(first.model)} classifies {percent(first.accuracy.value)} of {images} correctly."
    attacked = [row for row in rows if row.model == first.model and row.attacks is not None]
    if attacked:
        worst = min(attacked, key=lambda row: row.accuracy.value)
        some = f" of {view.images(worst)}" if view.images(worst) else ""
        said += f" After “{worst.title}” it classifies {_spread(view, worst.id, rows)}{some} correctly."
    return said


def _spread(view: StudyView, name: str, rows: list[Row]) -> str:
    """Return a row's accuracy for every choice of values: ``82.7 % (study units) or 40.8 % (pixel)``."""
    parts = []
    for row in rows:
        if row.id == name:
            choice = f" ({view.variant(row.variant)})" if row.variant else ""
            parts.append(percent(row.accuracy.value) + choice)
    return listing(parts, "or")


def verdict_count(view: StudyView) -> str:
    """Return how many claims hold in the study's own reading, per choice of values; empty without claims."""
    claims = view.results.claims
    parts = []
    for variant in view.variants:
        firsts = [view.readings(claim)[0].verdicts.get(variant.id) for claim in claims if claim.verdicts]
        judged = [verdict for verdict in firsts if verdict]
        if judged:
            held = sum(verdict.state == "holds" for verdict in judged)
            where = f" in {variant.title}" if view.results.variants else ""
            parts.append(f"{held} of {len(judged)} hold{where}")
    return f"Of the study's claims, read as the study does, {listing(parts)}." if parts else ""


STATES = {"holds": "✓ holds", "refuted": "✗ refuted", "open": "? not shown"}
"""The words for the state of a claim or of a comparison; "not shown" asks for more images."""


def agreement(view: StudyView, variant: str) -> str:
    """Return how far the figures of a choice lie from the study's, on average; empty without a reference."""
    gaps = [
        abs(row.accuracy.value - line.reference)
        for line in view.lines("summary")
        if line.reference is not None and (row := line.row(variant)) is not None
    ]
    if not gaps:
        return ""
    mean = 100 * sum(gaps) / len(gaps)
    return f"On average its figures lie {mean:.1f} percentage points from the study's."


def detection_findings(results: Results) -> list[str]:
    """Return the figures of each detector, and which one is better on the same images."""
    findings = [_detector_finding(name, parts) for name, parts in _by_detector(results).items()]
    return findings + _best_detector(results.detections)


def detectors_in_short(results: Results) -> str:
    """Return the AUROC of each detector in one sentence; empty without detectors."""
    said = [f"{_title(name).lower()} {_aurocs(parts)}" for name, parts in _by_detector(results).items()]
    return f"AUROC of the detectors (0.5 is guessing): {listing(said)}." if said else ""


def _by_detector(results: Results) -> dict[str, list[Detection]]:
    detectors: dict[str, list[Detection]] = {}
    for detection in results.detections:
        detectors.setdefault(detection.detector, []).append(detection)
    return detectors


def _detector_finding(name: str, parts: list[Detection]) -> str:
    rates = _range([part.calibrated.detection_rate for part in parts])
    false = _range([part.calibrated.false_positive_rate for part in parts])
    said = (
        f"{_title(name)}: AUROC {_aurocs(parts)}; at the 5 % threshold it flags {rates} of the perturbed "
        f"and {false} of the clean test images"
    )
    natural = [part.natural for part in parts if part.natural is not None]
    if natural:
        rates = _range([point.detection_rate for point in natural])
        false = _range([point.false_positive_rate for point in natural])
        said += f"; at its natural threshold {rates} and {false}"
    return said + "."


def _best_detector(detections: list[Detection]) -> list[str]:
    contests: dict[tuple[str, str, str], list[Detection]] = {}
    for detection in detections:
        contests.setdefault((detection.evaluation, detection.attacks, detection.threat), []).append(detection)
    shared = [rivals for rivals in contests.values() if len({rival.detector for rival in rivals}) > 1]
    winners = [max(rivals, key=lambda rival: rival.auroc.value).detector for rivals in shared]
    if not winners:
        return []
    wins = {name: winners.count(name) for name in dict.fromkeys(winners)}
    parts = [f"{_title(name).lower()} in {number}" for name, number in wins.items()]
    compared = f"{counted(len(shared), 'comparison')} of detectors on the same images"
    return [f"The highest AUROC in {compared}: {listing(parts)}."]


def _title(detector: str) -> str:
    return detector.replace("_", " ").capitalize()


def _aurocs(detections: list[Detection]) -> str:
    return _range([detection.auroc for detection in detections], score)


def _range(figures: list[Figure], spelled: Callable[[float], str] = percent) -> str:
    low, high = (spelled(choose(figure.value for figure in figures)) for choose in (min, max))
    return low if low == high else f"{low} to {high}"
