"""Made-up evaluations: one in which everything occurs that a report can show, and the odd ones."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from robustlab.evaluation.metrics import proportion
from robustlab.runs.evaluation import EVALUATION_SCHEMA_VERSION

Shape = tuple[int, int, int]

N = 10000
CASCADE = (
    ("fgsm()", 9948, 9948 - 9702, 19896, 9948),
    ("apgd(loss=cross_entropy, steps=100)", 9702, 252, 980000, 961200),
    ("apgd(loss=targeted_dlr, steps=100, targets=9)", 9450, 158, 8505000, 8411000),
    ("fab(steps=100, targets=9)", 9292, 7, 16725600, 9292000),
    ("square(queries=5000, p=0.8)", 9285, 4, 46425000, 0),
)
"""Attack, images met, first to break, forward and backward passes."""
EPS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4)
ATTACKED = (9948, 9931, 9900, 9841, 9752, 9610, 9301, 4220, 310)
PROVEN = (9948, 9720, 8800, 5100, 1830, 410, 120, 12, 0)


def share(count: int, n: int = N) -> dict[str, Any]:
    return proportion(count, n).model_dump()


def rows(cascade: tuple[tuple[str, int, int, int, int], ...] = CASCADE, n: int = N) -> list[dict[str, Any]]:
    return [
        {
            "attack": attack,
            "attacked": met,
            "broken": broken,
            "robust": share(met - broken, n),
            "forwards": forwards,
            "backwards": backwards,
            "seconds": (forwards + backwards) / 60000,
        }
        for attack, met, broken, forwards, backwards in cascade
    ]


def check(id_: str, grade: str, **changes: Any) -> dict[str, Any]:
    described = {
        "id": id_,
        "title": id_.replace("-", " ").capitalize(),
        "grade": grade,
        "found": f"what {id_} found: 0.02 % of 1,000 images",
        "expected": f"what {id_} expects: at most 0.5 %",
        "meaning": f"If {id_} fails, gradients do not point to errors.",
        "n": 1000,
        "forwards": 5000,
        "backwards": 1000,
    }
    return described | changes


def broken(labels: list[int], classes: int = 10) -> list[dict[str, Any]]:
    return [
        {
            "index": index,
            "image_id": 7 * index + 3,
            "label": label,
            "clean_confidence": 0.97,
            "prediction": (label + 1 + index % 3) % classes,
            "confidence": 0.61 + 0.001 * index,
            "attack": CASCADE[index % len(CASCADE)][0],
            "restart": index % 2,
            "distance": 0.3 - 0.001 * (index % 5),
        }
        for index, label in enumerate(labels)
    ]


def flips(total: int, classes: int = 10) -> list[dict[str, Any]]:
    """Spread the broken images unevenly over labels and classes."""
    pairs = [(label, (label + step) % classes) for label in range(classes) for step in (1, 2, 3)]
    counts = [total // len(pairs)] * len(pairs)
    counts[0] += total - sum(counts)
    return [
        {"label": label, "prediction": prediction, "n": n}
        for (label, prediction), n in zip(pairs, counts, strict=True)
        if n
    ]


def evaluation(**changes: Any) -> dict[str, Any]:
    """Return results in which everything occurs that a report can show, but no failed check."""
    spent = {
        "forwards": sum(line[3] for line in CASCADE) + 9948000 + 15000 + N,
        "backwards": sum(line[4] for line in CASCADE) + 9948000 + 3000,
    }
    described = {
        "schema_version": EVALUATION_SCHEMA_VERSION,
        "kind": "evaluation",
        "title": "TRADES small CNN under linf(eps=0.3)",
        "created": "2026-03-01T09:05:00+00:00",
        "seed": 7,
        "command": 'robustlab evaluate --model trades.py:make_model --dataset mnist --threat "linf(eps=0.3)"',
        "mode": "standard",
        "subject": {
            "name": "TRADES small CNN",
            "source": "trades.py:make_model",
            "parameters": 312202,
            "sha256": "ab" * 32,
        },
        "images": {
            "name": "mnist",
            "split": "test",
            "n": N,
            "classes": 10,
            "shape": [1, 28, 28],
            "sha256": "cd" * 32,
            "split_sha256": "12" * 32,
        },
        "threat": "linf(eps=0.3)",
        "norm": "linf",
        "attacker": "change every pixel by up to 0.3, where black is 0 and white is 1",
        "eps": 0.3,
        "attacks": "standard",
        "eight_bit": False,
        "clean": share(9948),
        "robust": share(9281),
        "certified": share(120),
        "rows": rows(),
        "not_finite": [],
        "curve": {
            "attack": "fmn(steps=1000)",
            "eps": list(EPS),
            "robust": [share(count) for count in ATTACKED],
            "certified": [share(count) for count in PROVEN],
            "forwards": 9948000,
            "backwards": 9948000,
            "seconds": 411.0,
        },
        "checks": [
            check("zero-gradients", "pass"),
            check("square-beats-gradients", "warn"),
            check("more-steps", "pass"),
            check("randomness", "skip", n=0, forwards=0, backwards=0),
        ],
        "broken": broken([label for label in range(10) for _ in range(4)]),
        "pictures": "arrays/broken.safetensors",
        "flips": flips(9948 - 9281),
        "distances": {"edges": [0.0, 0.1, 0.2, 0.28, 0.3], "counts": [3, 21, 143, 500]},
        "compute": {
            "device": "cpu",
            "device_name": "A machine",
            "threads": 2,
            "instruction_set": "AVX512, bf16 by amx_tile",
            "caps": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX<b>"},
            "batch_size": 128,
            "pass_time": {"images": 60, "fp32": 0.5, "bf16": 0.61234},
            "training_precision": "fp32",
            "versions": {"python": "3.11", "robustlab": "0.1.0"},
        },
        "seconds": 1873.4,
        "peak_memory_mb": 1204.6,
    }
    return described | spent | changes


def flagged() -> dict[str, Any]:
    """Return an evaluation whose figure is not to be believed."""
    failed = check("zero-gradients", "fail", found="873 of 1,000 images have no gradient")
    return evaluation(checks=[check("more-steps", "pass"), failed, check("more-restarts", "fail")])


def bare() -> dict[str, Any]:
    """Return an evaluation of one attack and nothing else."""
    fgsm = rows(CASCADE[:1])
    return evaluation(
        rows=fgsm,
        robust=fgsm[0]["robust"],
        certified=None,
        curve=None,
        checks=[],
        broken=[],
        pictures=None,
        flips=[],
        distances=None,
        command="",
        forwards=0,
        backwards=0,
    )


def no_attack() -> dict[str, Any]:
    return bare() | {"rows": [], "robust": share(9948)}


def nothing_broken() -> dict[str, Any]:
    return bare() | {"rows": rows((("fgsm()", 9948, 0, 19896, 9948),)), "robust": share(9948)}


def everything_broken() -> dict[str, Any]:
    line = (("pgd(steps=10)", 9948, 9948, 80000, 80000),)
    return evaluation(rows=rows(line), robust=share(0), certified=share(0), flips=flips(9948))


def never_right() -> dict[str, Any]:
    return bare() | {"clean": share(0), "robust": share(0), "rows": rows((("fgsm()", 0, 0, 0, 0),))}


def certified_all() -> dict[str, Any]:
    return nothing_broken() | {"certified": share(9948)}


def one_image() -> dict[str, Any]:
    one = {"clean": share(1, 1), "robust": share(0, 1), "certified": share(0, 1)}
    changed = {
        "rows": rows((("pgd(steps=10)", 1, 1, 10, 10),), 1),
        "images": evaluation()["images"] | {"n": 1},
        "broken": broken([4]),
        "flips": [{"label": 4, "prediction": 5, "n": 1}],
        "distances": {"edges": [0.3, 0.3], "counts": [1]},
        "curve": None,
        "checks": [check("randomness", "pass", n=1)],
    }
    return evaluation() | one | changed


def hundred_classes() -> dict[str, Any]:
    """Return an evaluation of colour images in 100 classes, L2."""
    images = {"name": "made up", "split": "test", "n": N, "classes": 100, "shape": [3, 32, 32]}
    return evaluation(
        images=images | {"sha256": "ef" * 32},
        threat="l2(eps=0.5)",
        norm="l2",
        attacker="move the image by up to 0.5 in Euclidean length, where black is 0 and white is 1",
        eps=0.5,
        eight_bit=True,
        broken=broken([label for label in range(100) for _ in range(2)], 100),
        flips=flips(9948 - 9281, 100),
        distances={"edges": [0.0, 0.25, 0.5], "counts": [67, 600]},
    )


def not_finite() -> dict[str, Any]:
    """Return an evaluation in which some answers were NaN."""
    images = broken([1, 1, 2])
    images[0] |= {"prediction": -1, "confidence": 0.0}
    lost = [{"label": 1, "prediction": -1, "n": 20}, {"label": 2, "prediction": 3, "n": 647}]
    return evaluation(broken=images, flips=lost, not_finite=list(range(5, 105, 5)))


ODD: dict[str, Callable[[], dict[str, Any]]] = {
    function.__name__: function
    for function in (
        flagged,
        bare,
        no_attack,
        nothing_broken,
        everything_broken,
        never_right,
        certified_all,
        one_image,
        hundred_classes,
        not_finite,
    )
}


def images(n: int, shape: Shape) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return rings of different sizes, and the same with every value moved by up to 0.3."""
    draw = np.random.default_rng(0)
    channels, height, width = shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    radius, tint = draw.uniform(0.3, 0.7, (n, 1, 1)), draw.uniform(0.5, 1, (n, channels, 1, 1))
    ring = np.exp(-(((np.hypot(x, y) - radius) / 0.12) ** 2))
    clean = (tint * ring[:, None]).astype(np.float32)
    change = 0.3 * np.sign(draw.normal(size=clean.shape)) * (draw.uniform(size=clean.shape) < 0.6)
    return clean, np.clip(clean + change, 0, 1).astype(np.float32)


def write_evaluation(folder: Path, results: dict[str, Any] | None = None, **changes: Any) -> Path:
    """Write an evaluation's folder with these results, changed as asked."""
    (folder / "arrays").mkdir(parents=True)
    content = (results or evaluation()) | changes
    (folder / "results.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "manifest.json").write_text("{}", encoding="utf-8")
    if content["pictures"]:
        n = max([image["index"] for image in content["broken"]], default=0) + 1
        clean, adversarial = images(n, content["images"]["shape"])
        save_file({"clean": clean, "adversarial": adversarial}, folder / content["pictures"])
    return folder
