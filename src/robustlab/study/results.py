"""Puts the stages' payloads together into `Results`."""

from collections.abc import Mapping
from datetime import UTC, datetime

import torch

from robustlab.core import device, environment
from robustlab.runs.results import (
    Claim,
    ClaimVerdict,
    ComputeRecord,
    Cost,
    Curve,
    DatasetInfo,
    Detection,
    Figure,
    Gallery,
    GalleryColumn,
    LengthUnit,
    Network,
    Results,
    Row,
    Samples,
    Series,
)
from robustlab.runs.store import StageRecord
from robustlab.study.claims import DETECTION_FIGURES, judge
from robustlab.study.plan import Plan
from robustlab.study.recipe import Recipe
from robustlab.study.stages import Measurement
from robustlab.study.workspace import Workspace

Records = Mapping[str, StageRecord]


def assemble(recipe: Recipe, quick: bool, plan: Plan, records: Records, workspace: Workspace) -> Results:
    """Return everything the finished stages of a plan measured."""
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
            train=len(data.train),
            validation=len(data.validation),
            test=len(data.test),
            sha256={part: data.split(part).sha256() for part in ("train", "validation", "test")},
        ),
        compute=ComputeRecord(
            device=compute.device,
            device_name=device.hardware(compute.device),
            threads=torch.get_num_threads(),
            training_precision=compute.precision,
            instruction_set=device.instruction_set(),
            caps=device.caps(),
            versions=environment.versions(),
        ),
        units=[LengthUnit(**unit.model_dump()) for unit in recipe.units],
        networks=_networks(plan, records, workspace),
        rows=rows,
        claims=_claims(recipe, rows, detections),
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


def _networks(plan: Plan, records: Records, workspace: Workspace) -> list[Network]:
    return [
        Network(
            id=stage.network,
            title=stage.title,
            model=repr(stage.model),
            objective=repr(stage.objective),
            defense=stage.defense and repr(stage.defense),
            unit=unit,
            file=str(workspace.store.model_path(stage.network).relative_to(workspace.store.folder)),
            **records[stage.key].payload,
        )
        for _, unit, stage in plan.networks
    ]


def _perturbation(measurement: Measurement) -> dict[str, str | None]:
    if measurement.attack is None:
        return {"attack": None, "threat": None, "crafted_on": None}
    return {
        "attack": repr(measurement.attack),
        "threat": repr(measurement.threat),
        "crafted_on": measurement.crafted_on,
    }


def _rows(recipe: Recipe, plan: Plan, records: Records) -> list[Row]:
    parts = {part.id: part for part in recipe.rows}
    rows = []
    for (name, unit), stage in plan.rows.items():
        part = parts[name]
        described = {"id": name, "title": part.title, "group": part.group, "note": part.note}
        perturbation = _perturbation(stage.measurement)
        payload = records[stage.key].payload
        rows.append(
            Row.model_validate(
                {
                    **described,
                    "unit": unit,
                    "reference": part.reference,
                    "on": stage.measurement.on,
                    **perturbation,
                    **payload,
                }
            )
        )
    return rows


def _detections(recipe: Recipe, plan: Plan, records: Records) -> list[Detection]:
    parts = {part.id: part for part in recipe.detections}
    return [
        Detection(
            id=name,
            title=parts[name].title,
            unit=unit,
            detector=parts[name].detector,
            detector_spec=repr(stage.detector),
            attack=repr(stage.attack),
            threat=repr(stage.threat),
            crafted_on=stage.crafted_on,
            **records[stage.key].payload,
        )
        for (name, unit), stage in plan.detections.items()
    ]


def _curves(recipe: Recipe, plan: Plan, records: Records) -> list[Curve]:
    return [
        Curve(
            id=part.id,
            title=part.title,
            x_label=part.x_label,
            x=part.x,
            series=[
                Series(
                    label=series.label,
                    on=stage.points[0].on,
                    attack=series.attack or "none",
                    threat=series.threat or "any image in [0, 1]",
                    accuracy=records[stage.key].payload["accuracy"],
                )
                for series, stage in zip(part.series, plan.curves[part.id], strict=True)
            ],
        )
        for part in recipe.curves
    ]


def _claims(recipe: Recipe, rows: list[Row], detections: list[Detection]) -> list[Claim]:
    return [
        Claim(
            id=claim.id,
            text=claim.text,
            verdicts=[
                _verdict(reading.title, unit, reading.holds, _figures(rows, detections, unit))
                for reading in claim.readings
                for unit in reading.units
            ],
        )
        for claim in recipe.claims
    ]


def _figures(rows: list[Row], detections: list[Detection], unit: str) -> dict[str, Figure]:
    """Return what a claim can name in a unit: rows and detections of that unit, and those of none."""
    figures = {row.id: row.accuracy for row in rows if row.unit in {unit, None}}
    for detection in detections:
        if detection.unit in {unit, None}:
            for name, figure_of in DETECTION_FIGURES.items():
                figure = figure_of(detection)
                if figure is not None:
                    figures[f"{detection.id}.{name}"] = figure
    return figures


def _verdict(reading: str, unit: str, comparisons: list[str], figures: Mapping[str, Figure]) -> ClaimVerdict:
    judged = [judge(comparison, figures) for comparison in comparisons]
    return ClaimVerdict(
        reading=reading,
        unit=unit,
        holds=all(holds for holds, _ in judged),
        figures="; ".join(text for _, text in judged),
    )


def _gallery(recipe: Recipe, plan: Plan, records: Records) -> Gallery | None:
    if plan.gallery is None:
        return None
    stage, columns = plan.gallery
    payload = records[stage.key].payload
    titles = {row.id: row.title for row in recipe.rows}
    shown = [
        GalleryColumn(title=titles[name], unit=unit, pictures=pictures)
        for (name, unit), pictures in zip(columns, payload["columns"], strict=True)
    ]
    return Gallery(ids=payload["ids"], labels=payload["labels"], columns=shown, file=payload["file"])


def _samples(recipe: Recipe, plan: Plan, records: Records) -> list[Samples]:
    return [
        Samples(network=name, title=recipe.networks[name].title, **records[stage.key].payload)
        for name, stage in plan.samples.items()
    ]
