"""A row of the table: an evaluation on the test images, with its ledger, its checks and its files."""

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from robustlab.core.errors import RobustlabError, RunError
from robustlab.core.files import writing
from robustlab.core.progress import WithinStage
from robustlab.core.spec import Unit
from robustlab.evaluation.checks import Which, checks_of
from robustlab.evaluation.coordinator.cascade import CascadeResult, Outcomes
from robustlab.evaluation.coordinator.certification import certifiers_of_packages
from robustlab.evaluation.coordinator.evaluate import Evaluated, cascade_of, evaluated, manifest
from robustlab.evaluation.identity import code_of_classes
from robustlab.evaluation.jobs.context import program, source_of
from robustlab.evaluation.metrics import proportion
from robustlab.models.files import load_tensors
from robustlab.runs.manifest import check_unchanged, is_sealed, write_manifest
from robustlab.runs.owner import refuse_links
from robustlab.runs.run import load_results
from robustlab.study.stages.base import StudyStage
from robustlab.study.sweep import Choice
from robustlab.study.workspace import Question, Workspace

_PICTURES = re.compile(r"[0-9a-f]{16}\.safetensors")
"""The file name of an evaluation's pictures."""

FOLDER = "evaluations"
"""The folder, within the study's, that has a folder for each evaluation."""


@dataclass(frozen=True, kw_only=True)
class EvaluateStage(StudyStage):
    """An evaluation of a classifier on the test split, or on its first images.

    Attributes:
        folder: its name, unique within the study.
        checks: which checks run; see `checked`.
    """

    question: Question
    folder: str
    checks: Literal["all", "cheap", "none"]
    seed: int

    @property
    def choice(self) -> Choice:
        """The values that it depends on."""
        return self.question.choice

    @property
    def which(self) -> Which | None:
        """The checks that run; None: no check, as of clean images."""
        if self.checks == "none" or self.question.attacks is None:
            return None
        return self.checks

    @property
    def questions(self) -> tuple[Question, ...]:
        return (self.question,)

    def identity(self) -> dict[str, Any]:
        code = source_of("evaluation/checks") if self.which else ""
        identity = {
            **self.question.identity(),
            "folder": self.folder,
            "checks": [self.checks, code],
            "program": program(),
            "seed": self.seed,
        }
        # What other packages add to every evaluation: checks, and certifiers that `auto` asks.
        others: list[type[Unit]] = [*certifiers_of_packages()] if self.question.settings["certify"] else []
        others += [type(check) for check in checks_of(self.which)] if self.which else []
        codes = {f"{kind.name}{code}" for kind in others if (code := code_of_classes(kind))}
        return identity | ({"packages": sorted(codes)} if codes else {})

    def effort(self, workspace: Workspace) -> float:
        return self.question.effort * len(self.question.limited(workspace.dataset.test))

    def intact(self, workspace: Workspace) -> bool:
        folder = self.path(workspace)
        try:
            if not is_sealed(folder):
                return False
            results = load_results(folder)
            check_unchanged(folder / "images.csv")
            pictures = getattr(results, "pictures", None)
            if pictures is not None:
                load_tensors(folder / pictures)
        except (RobustlabError, OSError):
            return False
        return True

    def path(self, workspace: Workspace) -> Path:
        """Return the folder of the evaluation's files."""
        return workspace.store.folder / FOLDER / self.folder

    def run(self, workspace: Workspace) -> dict[str, Any]:
        folder, split = self.path(workspace), workspace.dataset.test
        clear(folder)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with workspace.asked(self.question, split, checks=self.which is not None, whole=True) as asked:
            request, options, context = asked.request, asked.options, asked.context
            progress = WithinStage(workspace.progress)
            cascade = cascade_of(request, options, context, workspace.store, progress)
            done = evaluated(cascade, request, options, folder, self.which or "cheap")
            write_manifest(folder, manifest(request, options, context, done.results))
        return {
            "problems": [context.key, context.classifier_key],
            "folder": str(folder.relative_to(workspace.store.folder)),
            "checks": [check.model_dump() for check in done.results.checks],
            **figures(done, workspace.dataset.classes),
        }


def clear(folder: Path) -> None:
    """Remove the files of an evaluation, including its report; other files stay.

    Raises:
        RunError: a link has the name of one of them.
    """
    if folder.is_symlink():
        raise RunError(f"{folder} is a link; remove it, or choose another folder with --out")
    refuse_links(folder)
    with writing(folder):
        for name in ("manifest.json", "report.html", "report.md", "results.json", "images.csv"):
            (folder / name).unlink(missing_ok=True)
        for path in (folder / "arrays").glob("*.safetensors"):
            if _PICTURES.fullmatch(path.name):
                path.unlink()


def clear_others(evaluations: Path, wanted: Iterable[str]) -> None:
    """Remove the files of the evaluations that are no longer part of the study."""
    for folder in evaluations.iterdir() if evaluations.is_dir() else ():
        if folder.is_dir() and not folder.is_symlink() and folder.name not in set(wanted):
            with suppress(RunError):
                clear(folder)
            for path in (folder / "arrays", folder):
                with suppress(OSError):  # it contains other files
                    path.rmdir()


def figures(done: Evaluated, classes: int) -> dict[str, Any]:
    """Return an evaluation's figures in the form of a study's row."""
    results, last = done.results, final(done.findings)
    confusion = [[0] * classes for _ in range(classes)]
    for row in last.values():
        if row.prediction >= 0:
            confusion[row.label][row.prediction] += 1
    n, attacked = len(last), bool(results.rows)
    return {
        "accuracy": accuracy(done.findings, results.mode).model_dump(),
        "certified": results.certified.model_dump() if attacked and results.certified else None,
        "confidence": sum(row.confidence for row in last.values()) / n,
        "confusion": confusion,
        "distance": sum(row.distance for row in last.values()) / n,
        "max_distance": max(row.distance for row in last.values()),
        "forwards": sum(row.forwards for row in results.rows) if attacked else results.forwards,
        "backwards": sum(row.backwards for row in results.rows),
    }


def final(findings: CascadeResult) -> Outcomes:
    """Return each image's final outcome: of the attack that broke it, else of the last one, else clean."""
    rows, broken = dict(findings.clean), set()
    for finding in findings.attacks:
        rows |= {number: row for number, row in finding.perturbed.items() if number not in broken}
        broken.update(finding.won)
    return rows


def accuracy(findings: CascadeResult, mode: str) -> Any:
    """Return the share of images classified correctly: on the perturbed set, or after every attack."""
    n = len(findings.clean)
    if mode == "test-set":
        return proportion(sum(row.correct for row in final(findings).values()), n)
    broken = {number for finding in findings.attacks for number in finding.won}
    return proportion(len(findings.correct) - len(broken), n)
