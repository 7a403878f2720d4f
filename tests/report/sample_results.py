"""A made-up run folder, whose results hold everything that a report can show."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from robustlab.runs.results import SCHEMA_VERSION

VARIANTS = ("study", "pixel")
PARTS = ("networks", "claims", "detections", "curves", "samples", "cost", "variants")


def figure(value: float, n: int = 10000) -> dict[str, Any]:
    return {"value": value, "low": max(0.0, value - 0.01), "high": min(1.0, value + 0.01), "n": n}


def row(id_: str, variant: str | None, value: float, **changes: Any) -> dict[str, Any]:
    attacked = variant is not None
    described = {
        "id": id_,
        "title": f"Row {id_}",
        "variant": variant,
        "group": "summary",
        "note": "",
        "reference": 0.875,
        "model": "base",
        "attacks": "fgsm()" if attacked else None,
        "threat": "linf(eps=0.125)" if attacked else None,
        "mode": "test-set" if attacked else "verdict",
        "folder": f"evaluations/{id_}-{variant}" if attacked else f"evaluations/{id_}",
        "accuracy": figure(value),
        "confidence": 0.9,
        "confusion": [[30, 2, 0], [1, 29, 0], [0, 0, 31]],
        "distance": 0.125 if attacked else 0.0,
        "max_distance": 0.125 if attacked else 0.0,
        "forwards": 30000 if attacked else 10000,
        "backwards": 10000 if attacked else 0,
    }
    return described | changes


def detection(id_: str, variant: str | None, auroc: float, *, natural: bool) -> dict[str, Any]:
    point = {"threshold": 0.4, "detection_rate": figure(0.31), "false_positive_rate": figure(0.05)}
    return {
        "id": id_,
        "title": f"Detection {id_}",
        "variant": variant,
        "detector": "discriminator" if natural else "grey_pixels",
        "detector_spec": "discriminator(network=gan)" if natural else "grey_pixels(margin=0.05)",
        "evaluation": "fgsm",
        "attacks": "fgsm()",
        "threat": "linf(eps=0.125)",
        "auroc": figure(auroc),
        "natural": point | {"threshold": 0.0} if natural else None,
        "calibrated": point,
        "roc": [[0.0, 0.0], [0.5, 0.8], [1.0, 1.0]],
        "edges": [-1.0, 0.0, 0.5, 1.0],
        "clean_histogram": [60, 30, 10],
        "perturbed_histogram": [10, 30, 60],
    }


def network(id_: str, epochs: list[dict[str, float]], best: int, **changes: Any) -> dict[str, Any]:
    described = {
        "id": id_,
        "title": f"Network {id_}",
        "model": "cnn(dropout=0.2)",
        "objective": "cross_entropy()",
        "defense": None,
        "variant": None,
        "parameters": 429258,
        "epochs": epochs,
        "best_epoch": best,
        "file": f"models/{id_}.safetensors",
    }
    return described | changes


def verdicts(reading: str, **holds: bool) -> list[dict[str, Any]]:
    return [
        {
            "reading": reading,
            "variant": variant,
            "comparisons": [
                {"text": "“Clean” 99.1 % > “FGSM” 82.7 %", "state": "holds"},
                {"text": "“A” 1.0 % > “B” 2.0 %", "state": "holds" if held else "refuted"},
            ],
        }
        for variant, held in holds.items()
    ]


def full_results() -> dict[str, Any]:
    """Results in which everything occurs that a report can show."""
    losses = [
        {"train loss": 1.0 / n, "validation loss": 1.1 / n, "validation accuracy": 0.9} for n in (1, 2, 3)
    ]
    game = [{"train discriminator": 1.1, "train generator": 0.8, "validation generator": 0.9}] * 2
    rows = [row("clean", None, 0.9911)]
    rows += [row("fgsm", variant, value) for variant, value in zip(VARIANTS, (0.8273, 0.4084), strict=True)]
    rows += [
        row("moved", variant, 0.9512, model="guarded", surrogates=["base"], reference=None)
        for variant in VARIANTS
    ]
    rows += [
        row("pgd", variant, 0.0123, group="more", attacks="pgd(rel_step_size=0.03333333333)")
        for variant in VARIANTS
    ]
    rows += [row("odd", None, 0.1234, group="footnote", note="Not a bounded attack.")]
    shown = [
        [{"index": 3 * c + n, "prediction": (n + c) % 3, "confidence": 0.6} for n in range(3)] for c in (0, 1)
    ]
    curve = {
        "model": "base",
        "attacks": "fgsm",
        "threat": "linf(eps=x)",
        "accuracy": [figure(0.9), figure(0.2)],
    }
    return {
        "schema_version": SCHEMA_VERSION,
        "study": "toy",
        "title": "A toy study",
        "quick": False,
        "seed": 7,
        "created": "2026-03-01T09:05:00+00:00",
        "dataset": {
            "name": "mnist",
            "source": "made up",
            "fallback": "",
            "train": 48000,
            "validation": 12000,
            "test": 10000,
            "sha256": {"train": "ab" * 32},
        },
        "compute": {
            "device": "cpu",
            "device_name": "A machine",
            "threads": 2,
            "instruction_set": "AVX512, bf16 by amx_tile",
            "caps": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX<b>"},
            "training_precision": "bf16",
            "versions": {"python": "3.11"},
        },
        "variants": [
            {
                "id": "study",
                "title": "study units",
                "factors": {"scale": 0.5},
                "why": "The images were in [-1, 1].",
            },
            {
                "id": "pixel",
                "title": "pixel units",
                "factors": {"scale": 1.0},
                "why": "The literature's scale.",
            },
        ],
        "networks": [network("base", losses, 2), network("gan", game, 2), network("untrained", [], 0)],
        "rows": rows,
        "claims": [
            {
                "id": "fragile",
                "text": "It is fragile.",
                "verdicts": verdicts("As studied", study=True, pixel=False)
                + verdicts("Stronger: PGD", study=False),
            }
        ],
        "detections": [detection("d", variant, 0.715, natural=True) for variant in VARIANTS]
        + [detection("g", variant, 0.999, natural=False) for variant in VARIANTS],
        "curves": [
            {
                "id": "eps",
                "title": "Against eps",
                "x_label": "eps, pixel units",
                "x": [0.0, 0.5],
                "axes": [{"title": "study units", "value": 0.5}],
                "series": [curve | {"label": f"Series {n}"} for n in range(3)],
            }
        ],
        "gallery": {
            "ids": [3, 2, 1],
            "labels": [0, 1, 2],
            "columns": [
                {"title": "Clean", "variant": None, "pictures": shown[0]},
                {"title": "FGSM", "variant": "study", "pictures": shown[1]},
            ],
            "file": "arrays/gallery.safetensors",
        },
        "samples": [
            {
                "network": "gan",
                "title": "The GAN",
                "arrays": ["drawn", "originals", "reconstructions"],
                "file": "arrays/samples.safetensors",
            }
        ],
        "cost": [
            {"stage": "train base", "seconds": 100.0, "forwards": 0, "backwards": 0},
            {"stage": "evaluate fgsm", "seconds": 3700.0, "forwards": 30000, "backwards": 10000},
            {"stage": "gallery", "seconds": 0.01, "forwards": 0, "backwards": 0},
        ],
        "peak_memory_mb": 1562.4,
    }


def bare_results() -> dict[str, Any]:
    """Results of a study that measured one row and nothing else."""
    empty: dict[str, Any] = {key: [] for key in PARTS}
    return full_results() | empty | {"rows": [row("clean", None, 0.9911)], "gallery": None}


def pictures() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (6, 1, 8, 8), dtype=np.uint8)


def write_run(folder: Path, results: dict[str, Any] | None = None, **changes: Any) -> Path:
    """Write a run folder with these results, changed as asked."""
    (folder / "arrays").mkdir(parents=True)
    content = (results or full_results()) | changes
    (folder / "results.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "manifest.json").write_text("{}", encoding="utf-8")
    save_file({"pictures": pictures()}, folder / "arrays" / "gallery.safetensors")
    colour = pictures().repeat(3, axis=1)
    samples = {"drawn": pictures(), "originals": colour, "reconstructions": colour}
    save_file(samples, folder / "arrays" / "samples.safetensors")
    return folder
