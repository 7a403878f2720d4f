"""A finished run, of a study or an evaluation, read back from its folder."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydantic

from robustlab.core.arguments import as_path
from robustlab.core.errors import RunError
from robustlab.core.fields import refusal
from robustlab.core.text import printable, shown
from robustlab.core.untrusted import JSON_LIMIT, parse_json, read_bytes
from robustlab.runs.evaluation import EVALUATION_SCHEMA_VERSION, Evaluation
from robustlab.runs.manifest import AGAIN, check_unchanged
from robustlab.runs.showing import html_of, text_of

if TYPE_CHECKING:
    from robustlab.runs.results import Results


@dataclass(frozen=True, kw_only=True, repr=False)
class Run:
    """A finished run of a study.

    Attributes:
        folder: the absolute path.
        results: every figure.
    """

    folder: Path
    results: "Results"

    def __repr__(self) -> str:
        return text_of(printable(self.results.title), self._facts())

    def _repr_html_(self) -> str:
        named = {variant.id: variant.title for variant in self.results.variants}
        rows = [[row.title, named.get(row.variant or "", ""), str(row.accuracy)] for row in self.results.rows]
        return html_of(self.results.title, self._facts(), ["row", "values", "accuracy"], rows)

    def _facts(self) -> dict[str, str]:
        results = self.results
        quick = ", a quick run" if results.quick else ""
        failed = sum(bool(row.failed) for row in results.rows)
        return {
            "data": printable(results.dataset.name) + quick,
            "rows": f"{len(results.rows)}, {failed} of which failed a check",
            "folder": printable(str(self.folder)),
        }


@dataclass(frozen=True, kw_only=True, repr=False)
class TrainingRun(Run):
    """A finished training.

    Attributes:
        card: what is in ``card.json``: recipe, data, machine, accuracies, and the commands that check them.
        file: the network's weights; `robustlab.load_network` reads them, unless it is of a user's own code.
    """

    card: Mapping[str, Any]
    file: Path

    def _facts(self) -> dict[str, str]:
        accuracies = {printable(row.title): str(row.accuracy) for row in self.results.rows}
        return accuracies | {"weights": printable(str(self.file)), "folder": printable(str(self.folder))}


@dataclass(frozen=True, kw_only=True, repr=False)
class EvaluationFolder:
    """A finished run of an evaluation, on the disk.

    Attributes:
        folder: the absolute path.
        results: every figure.
        images: the attacked images as a `robustlab.data.Split`, if this process attacked them; the folder
            holds only some of them.
    """

    folder: Path
    results: Evaluation
    images: Any = field(default=None, compare=False)

    def __repr__(self) -> str:
        return text_of(printable(self.results.title), self._facts())

    def _repr_html_(self) -> str:
        rows = [
            [row.attack.partition("(")[0], str(row.robust), str(row.broken), str(row.attacked)]
            for row in self.results.rows
        ]
        head = ["attack", "accuracy left", "first to break", "images met"]
        return html_of(self.results.title, self._facts(), head, rows)

    def _facts(self) -> dict[str, str]:
        results = self.results
        doubt = ", not to be believed" if results.doubtful else ""
        facts = {
            "robust accuracy": f"{results.robust} of {results.images.n} images{doubt}",
            "clean accuracy": str(results.clean),
            "proven": str(results.certified),
            "threat model": printable(results.threat),
            "failed checks": "; ".join(printable(check.title) for check in results.red_flags),
            "folder": printable(str(self.folder)),
        }
        absent = {"robust accuracy"} if results.proofs_only else set()
        absent |= {"proven"} if results.certified is None else set()
        absent |= set() if results.red_flags else {"failed checks"}
        return {name: fact for name, fact in facts.items() if name not in absent}


def load_run(folder: str | Path) -> Run | EvaluationFolder:
    """Read a finished run, of a study or of an evaluation.

    Raises:
        RunError: the folder holds no finished run, a damaged one, or one of a newer or far older robustlab.
    """
    results = load_results(folder)
    if isinstance(results, Evaluation):
        return EvaluationFolder(folder=Path(folder).absolute(), results=results)
    return Run(folder=Path(folder).absolute(), results=results)


def load_results(folder: str | Path) -> "Results | Evaluation":
    """Read the results of a finished run of either kind.

    A run that was restarted keeps its old results until it ends; these are not read.

    Raises:
        RunError: the folder holds no finished run, a damaged one, or one of a newer or far older robustlab.
    """
    path = as_path("folder", folder) / "results.json"
    text = _read(path)
    try:
        content = parse_json(text)
    except ValueError as error:
        raise RunError(f"{path} is damaged: it is not valid JSON ({error}); {AGAIN}") from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        named = isinstance(content, dict) and "schema_version" in content
        wrong = f"its schema_version is {shown(version)}" if named else "it has no schema_version"
        raise RunError(f"{path} is not the results of a robustlab run: {wrong}; {AGAIN}")
    # A study's results do not state a kind.
    evaluation = content.get("kind") == "evaluation"
    kind, oldest, newest = _schema(evaluation=evaluation)
    if version > newest:
        raise RunError(
            f"{path} was written by a newer robustlab: its schema_version is {shown(version)}, and this one "
            f"reads up to {newest}; upgrade robustlab, then try again"
        )
    if version < oldest:
        raise RunError(
            f"{path} was written by an older robustlab: its schema_version is {shown(version)}, and this one "
            f"reads from {oldest}; run the same command again in the same folder"
        )
    try:
        # From the text, since in strict mode Python's lists are not tuples.
        results = kind.model_validate_json(text, strict=True)
    except pydantic.ValidationError as error:
        raise RunError(f"{path} is damaged: {refusal(error)}; {AGAIN}") from None
    if not (path.parent / "manifest.json").exists():
        what = "an evaluation" if evaluation else "a study"
        raise RunError(f"{path.parent} holds {what} that did not end; run the same command again")
    check_unchanged(path)
    if (owner := path.with_name("run.json")).exists():  # a baseline in version control needs none
        check_unchanged(owner)
    return results


def _schema(*, evaluation: bool) -> "tuple[type[Evaluation | Results], int, int]":
    """Return the class that reads the results, and its oldest and newest schema."""
    if evaluation:
        return Evaluation, 1, EVALUATION_SCHEMA_VERSION
    from robustlab.runs.results import SCHEMA_VERSION, Results  # as slow as the rest of a gate

    return Results, SCHEMA_VERSION, SCHEMA_VERSION  # older ones have other fields


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path, JSON_LIMIT)
    except (FileNotFoundError, NotADirectoryError):
        inside = sorted(shown(str(file.parent)) for file in path.parent.glob("*/manifest.json"))
        raise RunError(
            f"{path} not found: {path.parent} holds no finished run; "
            + (
                f"name a folder in it, such as {inside[0]}"
                if inside
                else "finish it first, or name another folder"
            )
        ) from None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}; {AGAIN}") from None
