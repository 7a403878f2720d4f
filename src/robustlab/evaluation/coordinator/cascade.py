"""Runs the stages in order, each on the images that are left, and confirms the successes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from torch import Tensor

from robustlab.attacks.progress_reporter import OnPass
from robustlab.core.errors import RobustlabError
from robustlab.core.progress import Progress
from robustlab.evaluation.coordinator.block_progress import BlockProgress
from robustlab.evaluation.coordinator.larger import FoundBefore, LargerEps
from robustlab.evaluation.engines import Engine
from robustlab.evaluation.ensembles import attack_effort
from robustlab.evaluation.jobs.context import EvaluationContext
from robustlab.evaluation.jobs.job import Job
from robustlab.evaluation.jobs.stages import (
    AttackStage,
    Certify,
    Clean,
    EvaluationStage,
    Verify,
    decoded,
    key_of,
    succeeded,
)
from robustlab.evaluation.metrics import percent
from robustlab.runs.ledger import Outcome, StageRecord
from robustlab.runs.store import RunStore

Outcomes = dict[int, Outcome]

QUICK = 25.0
"""The most passes of an image by an attack that is repeated within each of several eps."""


@dataclass(frozen=True, kw_only=True)
class AttackFindings:
    """The results of an attack.

    Attributes:
        outcomes: of the images on which it ran.
        confirmed: the second measurement of its successes, from the disk.
        met: the images that were left to it: classified correctly, not proven, its criterion not reached
            before.
        won: the images that it was the first to break inside the threat model.
    """

    stage: AttackStage
    outcomes: Outcomes
    confirmed: Outcomes
    met: list[int]
    won: list[int]

    @property
    def perturbed(self) -> Outcomes:
        """Its outcomes; of its successes the confirmed ones."""
        return self.outcomes | self.confirmed


@dataclass(kw_only=True)
class CascadeResult:
    """The results of the cascade; the keys of every dict are image ids.

    Attributes:
        clean: the outcomes of the clean images.
        correct: ids of the images that are classified correctly.
        certified: ids of the images with a proof that no attack exists; None without a certifier.
        probable: ids of the images with a statistical certificate, which stops no attack.
        certified_wide: ids of the images with such a proof for the curve's largest eps.
        proofs: the images of each search for proofs, by its name; also those for the curve.
        attacks: in the order in which they ran.
        unconfirmed: ids of images with a success that did not hold in the second measurement.
    """

    clean: Outcomes
    correct: list[int]
    certified: set[int] | None = None
    probable: set[int] = field(default_factory=set)
    certified_wide: set[int] = field(default_factory=set)
    proofs: dict[str, tuple[Certify, Outcomes]] = field(default_factory=dict)
    attacks: list[AttackFindings] = field(default_factory=list)
    unconfirmed: set[int] = field(default_factory=set)

    @property
    def passes(self) -> int:
        """The passes, forward and backward, of all attacks and searches for proofs."""
        parts = [outcomes for _, outcomes in self.proofs.values()]
        parts += [finding.outcomes for finding in self.attacks]
        return sum(row.forwards + row.backwards for rows in parts for row in rows.values())

    def no_answer_near(self, eps: float) -> set[int]:
        """Return the ids of images with an adversarial image within eps without a valid answer.

        The curve's searches look beyond the threat model's eps.
        """
        near = [row for finding in self.attacks for row in finding.confirmed.values()]
        return {row.image_id for row in near if row.prediction < 0 and succeeded(row, eps)}


class Cascade:
    """The stages of one evaluation. Only this class writes the ledger; an engine does the work.

    Args:
        stages: the attacks in order.
        nearest: searches for the nearest success, on every image that is classified correctly and not
            certified for their eps.
        certify: the search for proofs, before the attacks.
        larger: the results within a larger eps. An image that withstood the attacks there is attacked only by
            ``nearest`` and by attacks of few passes, and a proof there is one here.
        further: names of later stages, only for the progress.
    """

    def __init__(
        self,
        context: EvaluationContext,
        store: RunStore,
        progress: Progress,
        *,
        engine: Engine,
        stages: tuple[AttackStage, ...],
        nearest: tuple[AttackStage, ...] = (),
        certify: Certify | None = None,
        larger: LargerEps | None = None,
        further: tuple[str, ...] = (),
    ) -> None:
        self.context, self.store, self.progress, self.engine = context, store, progress, engine
        self.stages, self.nearest, self.certify = stages, nearest, certify
        self.larger, self.further = larger, further
        self._known = (
            tuple(
                AttackStage(attack=FoundBefore(larger=larger), threat=context.threat, criterion=criterion)
                for criterion in context.criteria
            )
            if larger and larger.near
            else ()
        )
        self._survivors = set(context.images.ids.tolist())
        self._filled: set[str] = set()

    def run(self) -> CascadeResult:
        """Do the remaining work and return all results."""
        first = [Clean(), *([self.certify] if self.certify else [])]
        searches = (*self._known, *self.stages, *self.nearest)
        efforts = {stage.title: attack_effort(stage.attack) for stage in searches}
        self.progress.weigh({"checks": 20.0} | efforts)
        self.progress.plan([*[stage.title for stage in (*first, *searches)], *self.further])
        clean = self.outcomes_for(Clean(), self.context.images.ids.tolist())
        correct = [number for number, row in clean.items() if row.correct]
        findings = CascadeResult(clean=clean, correct=correct)
        if self.certify and not self.certify.proves:
            findings.probable = set(self.prove(self.certify, correct, findings))
        elif self.certify:
            known = set(correct) & (self.larger.proven if self.larger else set())
            asked = [number for number in correct if number not in known]
            findings.certified = known | set(self.prove(self.certify, asked, findings))
            if self.nearest:
                wide = replace(self.certify, threat=self.nearest[0].threat, reported=False)
                findings.certified_wide = set(self.prove(wide, sorted(findings.certified), findings))
        # A success that does not hold is withdrawn, and the later attacks get its image.
        withdrawn: set[tuple[str, int]] = set()
        while True:
            ran = self._attacks(findings, withdrawn)
            failed = {
                (finding.stage.name, number)
                for finding in ran
                for number in finding.confirmed
                if not succeeded(finding.confirmed[number], finding.stage.threat.eps)
            }
            if failed <= withdrawn:
                break
            withdrawn |= failed
        findings.attacks = ran
        self._check_proofs(findings)
        findings.unconfirmed = {number for _, number in withdrawn}
        return findings

    def prove(self, certify: Certify, ids: list[int], findings: CascadeResult) -> list[int]:
        """Look for certificates and return the ids of the images with one."""
        looked = self.outcomes_for(certify, ids)
        # The curve also looks at the threat model's own eps, and uses the same rows.
        _, before = findings.proofs.get(certify.name, (certify, {}))
        findings.proofs[certify.name] = certify, before | looked
        return [number for number, row in looked.items() if row.restart >= 0]

    def _attacks(self, findings: CascadeResult, withdrawn: set[tuple[str, int]]) -> list[AttackFindings]:
        certified = findings.certified or set()
        self._survivors = set(findings.correct)
        left = {criterion: set(findings.correct).difference(certified) for criterion in self.context.criteria}
        further = [number for number in findings.correct if number not in findings.certified_wide]
        ran = []
        for stage in (*self._known, *self.stages, *self.nearest):
            survivors = [number for number in findings.correct if number in left[stage.criterion]]
            if stage in self.nearest:
                asked = further
            elif self.larger:
                spared = self._spared(stage, self.larger)
                asked = survivors = [number for number in survivors if number not in spared]
            else:
                asked = survivors
            if self.context.mode == "test-set" and stage in self.stages:
                asked = list(findings.clean)
            outcomes = self.outcomes_for(stage, asked)
            gone = {number for failed, number in withdrawn if failed == stage.name}
            broken = self._successes(outcomes, survivors) - gone
            # In an earlier run, of other attacks, these were not the images that broke theirs.
            dropped = self.store.dropped_examples(key := key_of(self.context, stage))
            if dropped := dropped & broken & self._survivors:
                self.store.forget(key, dropped)
                outcomes |= self.outcomes_for(stage, sorted(dropped))
                broken = self._successes(outcomes, survivors) - gone
            won = sorted(broken & self._survivors)
            left[stage.criterion] -= broken
            self._survivors -= broken
            ran.append(AttackFindings(stage=stage, outcomes=outcomes, confirmed={}, met=survivors, won=won))
        for finding in ran:
            eps = finding.stage.threat.eps
            claimed = [number for number, row in finding.outcomes.items() if succeeded(row, eps)]
            finding.confirmed.update(self.outcomes_for(Verify(searching=finding.stage), claimed))
        return ran

    def _successes(self, outcomes: Outcomes, ids: list[int]) -> set[int]:
        return {number for number in ids if succeeded(outcomes[number], self.context.threat.eps)}

    def _spared(self, stage: AttackStage, larger: LargerEps) -> set[int]:
        """Return the ids of images that an attack need not meet, since it met them within a larger eps.

        Attacks of few passes meet them again: at a large eps a single step may lead too far. So do rows that
        the ledger has already.
        """
        if stage in self._known:
            return set(self.context.images.ids.tolist()) - larger.near.keys()
        if attack_effort(stage.attack) <= QUICK:
            return set()
        kept = self.store.outcomes(key_of(self.context, stage), larger.withstood)
        return set(larger.withstood) - {row.image_id for row in kept}

    def _check_proofs(self, findings: CascadeResult) -> None:
        for finding in findings.attacks:
            for number, row in finding.confirmed.items():
                if number in (findings.certified or ()) and succeeded(row, self.context.threat.eps):
                    raise RobustlabError(
                        f"image {number} is proven robust and yet broken by {finding.stage.name}: a bug "
                        "in the certifier; evaluate with --no-certify, and please report it"
                    )

    def outcomes_for(self, stage: EvaluationStage, ids: list[int]) -> Outcomes:
        """Return the rows of the given images, after computing those that the ledger does not have."""
        key = key_of(self.context, stage)
        rows = {row.image_id: row for row in self.store.outcomes(key, set(ids))}
        missing = [number for number in ids if number not in rows]
        if missing:
            before = self._broken(stage, (rows[number] for number in ids if number in rows))
            rows |= self._do(stage, missing, len(before))
            if stage.reported:
                seconds = self.store.seconds(key)
                self.progress.stage(stage.title, "done", seconds, self._remark(stage, rows, ids))
        elif stage.reported and stage.name not in self._filled:
            self.progress.stage(stage.title, "kept" if ids else "done")
        self._filled.add(stage.name)
        return {number: rows[number] for number in ids}

    def drop_other_examples(self, findings: CascadeResult) -> None:
        """Drop the adversarial images that broke an image which another attack had broken before.

        Those that were not confirmed stay: the same command meets them again.
        """
        self.store.drop_examples(
            {
                key_of(self.context, finding.stage): finding.outcomes.keys()
                - findings.unconfirmed.union(finding.won)
                for finding in findings.attacks
            }
        )

    def stored_images(self, stage: AttackStage, ids: list[int]) -> Tensor:
        """Return the adversarial images (N, C, H, W) that a stage kept for the given ids."""
        stored = self.store.examples(key_of(self.context, stage), ids)
        return decoded(self.context, [stored[number] for number in ids])

    def seconds(self, stage: EvaluationStage, outcomes: Outcomes) -> float:
        """Return the seconds of these rows of a stage: by their share of its passes, if it has more rows."""
        key = key_of(self.context, stage)
        share = _effort(outcomes.values()) / max(1, self.store.effort(key))
        return min(share, 1) * self.store.seconds(key)

    def _do(self, stage: EvaluationStage, ids: list[int], broken: int) -> Outcomes:
        """Give jobs to the engine and write the results; ``broken``: the number of images broken before."""
        key, shown = key_of(self.context, stage), {}
        rows: Outcomes = {}
        self.store.reopen()
        self.store.start_stage(key, stage.name)
        if stage.reported:
            self.progress.stage(stage.title, "running")
        with self.progress.track(stage.title, len(ids)) as bar:

            def watch(job: Job) -> OnPass:
                left = len(self._survivors) - broken if stage in self.stages else None
                shown[job.ids] = BlockProgress(bar, len(job.ids), left, len(self.context.images))
                if isinstance(stage, Certify) and rows:
                    bar.show(f"{_proven(rows.values())} of {len(rows)} {_word(stage)}")
                return shown[job.ids]

            for result in self.engine.run(self.context, self._jobs(stage, ids), watch):
                self.store.add_outcomes(key, result.outcomes, result.examples, result.seconds)
                if isinstance(stage, AttackStage):  # measurements of earlier examples, before a repair
                    self.store.forget(key_of(self.context, Verify(searching=stage)), result.examples)
                rows.update({row.image_id: row for row in result.outcomes})
                new = len(self._broken(stage, result.outcomes))
                (shown.pop(result.job.ids, None) or watch(result.job))(1.0, new)
                broken += new
        if lost := [number for number in ids if number not in rows]:
            raise RobustlabError(
                f"the engine {self.engine.name} returned no result of {stage.title} for "
                f"{len(lost)} of {len(ids)} images, such as {lost[0]}"
            )
        seconds = self.store.seconds(key)
        self.store.finish_stage(StageRecord(key=key, name=stage.name, payload={}, seconds=seconds))
        return rows

    def _jobs(self, stage: EvaluationStage, ids: list[int]) -> Iterator[Job]:
        """Cut images into jobs, each as large as the memory allows at that moment."""
        while ids:
            size = int(self.context.batch_size)
            size = min(size, stage.at_once or size)
            part, ids = ids[:size], ids[size:]
            stored: dict[int, bytes] = {}
            if isinstance(stage, Verify):
                stored = self.store.examples(key_of(self.context, stage.searching), part)
            yield Job(stage=stage, ids=tuple(part), stored=stored)

    def _remark(self, stage: EvaluationStage, found: Outcomes, ids: list[int]) -> str:
        """Return the result of a stage in a few words."""
        n = len(self.context.images)
        if isinstance(stage, Clean):
            return f"accuracy {percent(sum(found[i].correct for i in ids) / n)}"
        if isinstance(stage, Certify):
            return f"{_word(stage)} {percent(_proven(found[i] for i in ids) / n)}"
        if stage not in self.stages:
            return ""
        left = self._survivors - self._broken(stage, (found[i] for i in ids))
        return f"robust so far {percent(len(left) / n)}"

    def _broken(self, stage: EvaluationStage, rows: Iterable[Outcome]) -> set[int]:
        """Return the ids of images that are left when an attack begins, and are broken in these rows."""
        if stage not in self.stages:
            return set()
        eps = self.context.threat.eps
        return {row.image_id for row in rows if succeeded(row, eps)} & self._survivors


def _word(stage: Certify) -> str:
    return "proven" if stage.proves else "certified"


def _proven(rows: Iterable[Outcome]) -> int:
    return sum(row.restart >= 0 for row in rows)


def _effort(rows: Iterable[Outcome]) -> int:
    # Every image costs something, even if no pass is counted.
    return sum(1 + row.forwards + row.backwards for row in rows)
