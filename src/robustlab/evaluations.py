"""Many evaluations in one go: several models, several threat models, and a page that compares them."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from robustlab.api import reported, shown_progress
from robustlab.core.arguments import as_path
from robustlab.core.errors import RobustlabError, SpecError
from robustlab.core.files import write_text
from robustlab.core.progress import Progress
from robustlab.core.text import file_part, printable, shown, spelled
from robustlab.evaluation.comparison_table import side_by_side
from robustlab.evaluation.coordinator import execute
from robustlab.evaluation_run import EvaluationRun, with_methods
from robustlab.options import EvaluationOptions
from robustlab.report.comparison.page import page
from robustlab.report.comparison.tables import comma_separated
from robustlab.runs.comparison import SideBySide
from robustlab.runs.showing import html_of, text_of
from robustlab.threats import ThreatModel, each_threat

PAGE, TABLE = "comparison.html", "comparison.csv"


@dataclass(frozen=True, kw_only=True, repr=False)
class Evaluations:
    """Finished evaluations.

    Attributes:
        folder: with a folder for each evaluation, and with ``comparison.html`` and ``comparison.csv`` if
            there are at least two.
        runs: in the order of the models, of each by threat model as they were given.
        failed: of each model that could not be evaluated, the message.
    """

    folder: Path
    runs: list[EvaluationRun]
    failed: dict[str, str]

    def __repr__(self) -> str:
        facts = {printable(run.results.title): f"{run.results.robust} robust" for run in self.runs}
        return text_of(f"{len(self.runs)} evaluations", facts | self._facts())

    def _repr_html_(self) -> str:
        rows = [
            [r.subject.name, r.threat, str(r.clean), str(r.robust)] for r in (x.results for x in self.runs)
        ]
        head = ["model", "threat model", "clean accuracy", "robust accuracy"]
        return html_of(f"{len(self.runs)} evaluations", self._facts(), head, rows)

    def _facts(self) -> dict[str, str]:
        failed = {"not evaluated": printable("; ".join(self.messages))} if self.failed else {}
        return failed | {"page": printable(str(self.page))}

    @property
    def page(self) -> Path:
        """The page that compares the runs; of a single one its report."""
        return self.folder / PAGE if len(self.runs) > 1 else self.runs[0].folder / "report.html"

    @property
    def messages(self) -> list[str]:
        """Each message of a failure once, behind the names of its models."""
        messages = dict.fromkeys(self.failed.values())
        names = {one: [name for name, said in self.failed.items() if said == one] for one in messages}
        return [f"{', '.join(names[one])}: {one}" for one in messages]

    def table(self) -> SideBySide:
        """Return the runs side by side, as `robustlab.compare` does.

        Raises:
            RunError: there are fewer than two runs.
        """
        return side_by_side(*self.runs)


def evaluate_many(
    models: Sequence[Any],
    *,
    threat: "str | ThreatModel | Sequence[str | ThreatModel]" = "linf(eps=0.3)",
    out: str | Path | None = None,
    **options: Any,
) -> Evaluations:
    """Evaluate each model within each threat model, and write a page that compares them.

    Of threat models that differ only in eps the largest comes first. What withstood the attacks there meets
    only attacks of few passes within a smaller eps, and else counts as robust.

    A model that can't be evaluated stops no other one. The same call resumes.

    Args:
        models: each one as `evaluate` takes it, or a dict of it and of options of its own, such as
            ``{"model": "net.onnx", "scale": 255}``.
        threat: a threat model, with one eps or a list, ``"linf(eps=[2/255, 4/255])"``; or several.
        out: the folder of all; default: in ``runs``, with a name that is made from models and options. There
            each evaluation has its default folder, so other weights or images of the same name get another.
        options: those of `evaluate`, for all models.

    Raises:
        RobustlabError: an option has a wrong type or value, or no model could be evaluated.
    """
    asked = _asked(models, threat, out, options)
    threats = each_threat(threat)
    folder = as_path("out", out) if out is not None else _default_folder(asked)
    runs: list[EvaluationRun] = []
    failed: dict[str, str] = {}
    with shown_progress(asked[0]) as first:
        for name, one in zip(_names(asked), asked, strict=True):
            shown_one = replace(one, progress=first.progress)
            of_model: dict[str, EvaluationRun] = {}
            try:
                for text, run in _of_one_model(shown_one, threats, folder, name, len(asked)):
                    of_model |= {text: run}  # one by one: what is finished before an error stays
            except RobustlabError as error:
                if len(asked) == 1:
                    raise
                failed[name] = str(error)
                (first.progress or Progress()).note(f"{name} could not be evaluated: {error}")
            runs += [of_model[repr(one)] for one in threats if repr(one) in of_model]
    done = Evaluations(folder=folder, runs=runs, failed=failed)
    if not runs:
        raise RobustlabError(f"no model could be evaluated; {'; '.join(done.messages)}")
    if len(runs) > 1:
        table = done.table()
        write_text(folder / PAGE, page(table, folder))
        write_text(folder / TABLE, comma_separated(table))
    return done


def _asked(models: Any, threat: Any, out: Any, options: dict[str, Any]) -> list[EvaluationOptions]:
    """Return the options of each model, with the threat models as they were given."""
    if isinstance(models, str | Path) or not isinstance(models, Sequence) or not models:
        raise SpecError(f"models must be a list with at least one model, found {shown(models)}")
    asked = []
    for model in models:
        own = dict(model) if isinstance(model, dict) else {"model": model}
        if "model" not in own:
            raise SpecError(f"each entry of models needs a model, found {shown(model)}")
        if common := sorted({"threat", "out", "progress"} & own.keys()):
            raise SpecError(f"{common[0]} is the same for all models; leave it out of {shown(model)}")
        try:
            asked.append(EvaluationOptions(**options | own, threat=threat, out=out))
        except TypeError as error:  # Python would name the dataclass
            raise SpecError(f"evaluate_many: {str(error).partition('() ')[2] or error}") from None
    return asked


def _of_one_model(
    asked: EvaluationOptions, threats: list[ThreatModel], folder: Path, name: str, models: int
) -> Iterator[tuple[str, EvaluationRun]]:
    """Evaluate a model within all threat models, the largest eps first; yield each with its spec."""
    done: list[tuple[ThreatModel, EvaluationRun]] = []
    several = len(threats) > 1 and not name.endswith("-again")  # the command would name the first folder
    listed = isinstance(asked.threat, str) and (models == 1 or several)
    command = (replace(asked, out=str(folder)) if asked.out else asked).command() if listed else None
    places = dict(zip(map(repr, threats), _numbered([_short(threat) for threat in threats]), strict=True))
    for threat in sorted(threats, key=lambda one: -one.eps if one.bounded else 0):
        larger = None
        if asked.mode == "verdict":
            wider = [run for other, run in done if threat.bounded and other.at(threat.eps) == threat]
            larger = wider[-1] if wider else None
        (asked.progress or Progress()).note(f"{name} within {threat!r}")
        place = str(folder / f"{name}-{places[repr(threat)]}") if asked.out else None
        options = replace(asked, threat=threat, out=place)
        said = "" if command is None and larger else command  # alone, it would attack more images
        run = with_methods(reported(execute(options, larger=larger, command=said, inside=folder)))
        done.append((threat, run))
        yield repr(threat), run


def _short(threat: ThreatModel) -> str:
    """Return norm and eps as a part of a folder's name."""
    name = threat.name if threat.inner is threat else f"{threat.name}-{threat.inner.name}"
    return name + (f"-{spelled(threat.eps).replace('/', '-')}" if threat.bounded else "")


def _numbered(names: list[str]) -> list[str]:
    """Return names of which none is equal: a second ``net`` becomes ``net-again``."""
    found: list[str] = []
    for name in names:
        while name in found:
            name += "-again"
        found.append(name)
    return found


def _names(asked: list[EvaluationOptions]) -> list[str]:
    """Return a name for the folder of each model."""
    texts = [
        one.name or (one.model if isinstance(one.model, str) else type(one.model).__name__) for one in asked
    ]
    parts = [
        f"{text}{f'({one.network})' if one.network else ''}" for text, one in zip(texts, asked, strict=True)
    ]
    return _numbered([file_part(part) or "model" for part in parts])


def _default_folder(asked: list[EvaluationOptions]) -> Path:
    content = json.dumps([one.asked() for one in asked], sort_keys=True)
    return Path("runs") / f"evaluate-many-{hashlib.sha256(content.encode()).hexdigest()[:8]}"
