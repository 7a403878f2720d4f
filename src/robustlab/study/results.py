"""Puts the stages' payloads together into `Results`."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import torch

from robustlab.attacks.criteria import as_criterion
from robustlab.core import device, environment
from robustlab.core.factors import names_in
from robustlab.core.threads import THREADS_USED, shares
from robustlab.evaluation.coordinator.goals import ALL
from robustlab.evaluation.ensembles import attack_list
from robustlab.evaluation.images import shown_names
from robustlab.runs.ledger import StageRecord
from robustlab.runs.records import ComputeRecord, Figure
from robustlab.runs.results import (
    Axis,
    Claim,
    ClaimVerdict,
    Cost,
    Curve,
    DatasetInfo,
    Detection,
    Finding,
    Gallery,
    GalleryColumn,
    Network,
    Results,
    Row,
    Samples,
    Series,
    Variant,
)
from robustlab.study.claims import DETECTION_FIGURES, judge
from robustlab.study.plan import Plan
from robustlab.study.recipe import ReadingPart, Recipe
from robustlab.study.stages import DetectStage, EvaluateStage
from robustlab.study.sweep import Choice, Sweep
from robustlab.study.workspace import Question, Workspace

Records = Mapping[str, StageRecord]


def assemble(recipe: Recipe, quick: bool, plan: Plan, records: Records, workspace: Workspace) -> Results:
    """Return all results of the finished stages of a plan."""
    used = [record.payload.get(THREADS_USED, {}) for record in records.values()]
    records = {key: _without_threads(record) for key, record in records.items()}
    rows, detections = _rows(recipe, plan, records), _detections(recipe, plan, records)
    data, compute = workspace.dataset, workspace.compute
    return Results(
        study=recipe.name,
        title=recipe.title,
        quick=quick,
        seed=workspace.seed,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        dataset=DatasetInfo(
            name=data.name,
            source=data.source,
            fallback=data.fallback,
            class_names=list(shown_names(data.class_names)),
            train=len(data.train),
            validation=len(data.validation),
            test=len(data.test),
            sha256={part: data.split(part).sha256() for part in ("train", "validation", "test")},
        ),
        compute=ComputeRecord(
            device=compute.device,
            device_name=device.hardware(compute.device),
            threads=torch.get_num_threads(),
            threads_used=shares(used),
            training_precision=compute.precision,
            instruction_set=device.instruction_set(),
            caps=device.caps(),
            versions=environment.versions(),
        ),
        variants=[
            Variant(
                id=choice.id or "",
                title=choice.title,
                why=" ".join(value.why for value in choice.values.values() if value.why),
                factors=choice.numbers,
            )
            for choice in _choices(recipe, plan)
        ],
        networks=_networks(plan, records, workspace),
        rows=rows,
        findings=[Finding(**part.model_dump()) for part in recipe.findings],
        claims=_claims(recipe, plan, rows, detections),
        detections=detections,
        curves=_curves(recipe, plan, records),
        gallery=_gallery(recipe, plan, records),
        samples=_samples(recipe, plan, records),
        cost=[
            Cost(
                stage=stage.name,
                seconds=records[stage.key].seconds,
                forwards=records[stage.key].payload.get("forwards", 0),
                backwards=records[stage.key].payload.get("backwards", 0),
            )
            for stage in plan.stages
        ],
        peak_memory_mb=round(environment.peak_memory_mb(), 1),
    )


def _without_threads(record: StageRecord) -> StageRecord:
    payload = {name: value for name, value in record.payload.items() if name != THREADS_USED}
    return replace(record, payload=payload)


def _networks(plan: Plan, records: Records, workspace: Workspace) -> list[Network]:
    return [
        Network(
            id=stage.network,
            title=stage.title,
            model=repr(stage.model),
            objective=repr(stage.objective),
            defense=stage.defense and repr(stage.defense),
            variant=choice.id,
            file=str(workspace.store.model_path(stage.network).relative_to(workspace.store.folder)),
            **records[stage.key].payload,
        )
        for _, choice, stage in plan.networks
    ]


def _choices(recipe: Recipe, plan: Plan) -> list[Choice]:
    """Return every choice of values in use; choices of the same factors are together."""
    choices = [stage.choice for stage in plan.evaluations.values()]
    choices += [choice for _, choice, _ in plan.networks]
    choices += [stage.choice for stage in plan.detections.values()]
    for claim in recipe.claims:
        for reading in claim.readings:
            choices += _judged(recipe, plan, reading)
    by_id = {choice.id: choice for choice in choices if choice.id is not None}
    return sorted(by_id.values(), key=lambda choice: list(choice.values))


def _asked(question: Question) -> dict[str, Any]:
    if question.attacks is None:
        return {"attacks": None, "threat": None}
    target, goal = question.settings["target"], ""
    if target is not None:
        goal = f" for {'each other class in turn' if target == ALL else repr(as_criterion(target))}"
    attacks = [f"{attack!r}{goal}" for attack in attack_list(question.attacks)]
    return {"attacks": ", ".join(attacks), "threat": repr(question.threat)}


def _rows(recipe: Recipe, plan: Plan, records: Records) -> list[Row]:
    parts, sweep = {part.id: part for part in recipe.evaluations}, Sweep(recipe)
    rows = []
    for (name, variant), stage in plan.evaluations.items():
        part, question = parts[name], stage.question
        payload = {key: value for key, value in records[stage.key].payload.items() if key != "problems"}
        described = {
            "id": name,
            "title": part.title,
            "group": part.group,
            "note": part.note,
            "reference": part.reference,
            "variant": variant,
            "model": sweep.instance(question.model, question.choice),
            "surrogates": [sweep.instance(name, question.choice) for name in question.surrogates],
            "mode": question.mode,
        }
        rows.append(Row.model_validate(described | _asked(question) | payload))
    return rows


def _detections(recipe: Recipe, plan: Plan, records: Records) -> list[Detection]:
    parts = {part.id: part for part in recipe.detections}
    return [
        Detection(
            id=name,
            title=parts[name].title,
            variant=variant,
            detector=parts[name].detector,
            detector_spec=repr(stage.detector),
            evaluation=parts[name].evaluation,
            **_asked(stage.question),
            **records[stage.key].payload,
        )
        for (name, variant), stage in plan.detections.items()
    ]


def _curves(recipe: Recipe, plan: Plan, records: Records) -> list[Curve]:
    return [
        Curve(
            id=part.id,
            title=part.title,
            x_label=part.x_label,
            x=part.x,
            axes=[
                Axis(title=value.title, value=value.value)
                for value in (recipe.factors[part.factor].values if part.factor else ())
                if value.value > 0 and value.value != 1
            ],
            series=[
                Series(
                    label=series.label,
                    model=Sweep(recipe).instance(series.model, stage.points[0].choice),
                    attacks=series.attacks or "none",
                    threat=series.threat or "any image in [0, 1]",
                    accuracy=records[stage.key].payload["accuracy"],
                )
                for series, stage in zip(part.series, plan.curves[part.id], strict=True)
            ],
        )
        for part in recipe.curves
    ]


def _claims(recipe: Recipe, plan: Plan, rows: list[Row], detections: list[Detection]) -> list[Claim]:
    titles = {part.id: part.title for part in recipe.evaluations}
    titles |= {part.id: part.title for part in recipe.detections}
    claims = []
    for claim in recipe.claims:
        verdicts = []
        for reading in claim.readings:
            for choice in _judged(recipe, plan, reading):
                figures = _figures(plan, rows, detections, choice)
                comparisons = [judge(text, figures, titles) for text in reading.holds]
                verdicts.append(
                    ClaimVerdict(reading=reading.title, variant=choice.id, comparisons=comparisons)
                )
        claims.append(Claim(id=claim.id, text=claim.text, verdicts=verdicts))
    return claims


def _judged(recipe: Recipe, plan: Plan, reading: ReadingPart) -> list[Choice]:
    """Return the choices of values that a reading's figures depend on."""
    names = {name for text in reading.holds for name in names_in(text)}
    stages: list[EvaluateStage | DetectStage] = []
    stages += [stage for (name, _), stage in plan.evaluations.items() if name in names]
    stages += [stage for (name, _), stage in plan.detections.items() if name in names]
    return Sweep(recipe).choices({name for stage in stages for name in stage.choice.values})


def _figures(plan: Plan, rows: list[Row], detections: list[Detection], choice: Choice) -> dict[str, Figure]:
    """Return a claim's figures under a choice of values: those whose own choice does not contradict it."""

    def agrees(stage: EvaluateStage | DetectStage) -> bool:
        return choice.of(stage.choice.values).id == stage.choice.id

    figures = {
        row.id: row.accuracy
        for row, stage in zip(rows, plan.evaluations.values(), strict=True)
        if agrees(stage)
    }
    for detection, stage in zip(detections, plan.detections.values(), strict=True):
        for name, figure_of in DETECTION_FIGURES.items():
            figure = figure_of(detection)
            if agrees(stage) and figure is not None:
                figures[f"{detection.id}.{name}"] = figure
    return figures


def _gallery(recipe: Recipe, plan: Plan, records: Records) -> Gallery | None:
    if plan.gallery is None:
        return None
    stage, columns = plan.gallery
    payload = records[stage.key].payload
    titles = {part.id: part.title for part in recipe.evaluations}
    shown = [
        GalleryColumn(title=titles[name], variant=variant, pictures=pictures)
        for (name, variant), pictures in zip(columns, payload["columns"], strict=True)
    ]
    return Gallery(ids=payload["ids"], labels=payload["labels"], columns=shown, file=payload["file"])


def _samples(recipe: Recipe, plan: Plan, records: Records) -> list[Samples]:
    return [
        Samples(network=name, title=recipe.networks[name].title, **records[stage.key].payload)
        for name, stage in plan.samples.items()
    ]
