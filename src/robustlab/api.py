"""The main jobs as functions: run a study or an evaluation with its report, and write a report anew."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar, cast

from torch import Tensor, nn

from robustlab import report
from robustlab.attacks import Mode
from robustlab.core.arguments import as_path, check_kind
from robustlab.core.device import DeviceChoice, PrecisionChoice
from robustlab.core.progress import Progress
from robustlab.data import Split
from robustlab.evaluation.engine import EvaluationOptions
from robustlab.evaluation.engine import execute as execute_evaluation
from robustlab.evaluation.ensembles import Attacks
from robustlab.evaluation.preprocessing import Constants
from robustlab.runs.run import EvaluationRun, Run
from robustlab.study import StudyOptions, execute
from robustlab.threats import ThreatModel

T = TypeVar("T")


def run_study(
    recipe: str | Path = "mnist",
    *,
    out: str | Path | None = None,
    dataset: str | None = None,
    data_root: str | Path | None = None,
    device: DeviceChoice = "auto",
    precision: PrecisionChoice = "auto",
    seed: int = 0,
    quick: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Run a study, or what is left of it, and write its report.

    The same call again resumes; a changed option redoes only what depends on it.

    Args:
        recipe: a TOML file, or the name of a recipe that comes with robustlab.
        out: the run's folder; default ``runs/<recipe>``, for a quick run ``runs/<recipe>-quick``; other data
            than the recipe's, or another seed than 0, are in its name too.
        dataset: one of ``robustlab ls datasets``; default: what the recipe says.
        data_root: the first folder in which data is looked for.
        device: ``"auto"`` takes a GPU if there is one.
        precision: of the matrix products in training; ``"auto"`` takes bf16 where it is faster.
        seed: of every random choice.
        quick: a few epochs on a part of the images, to see everything work.
        overwrite: go on in a folder that holds the same study of another recipe file, data set or seed, and
            replace its figures; without it, such a folder is refused.
        progress: where to show progress; default nowhere.

    Returns:
        The run's folder, and every figure as in its ``results.json``.

    Raises:
        RobustlabError: bad input; see `robustlab.core.errors`. What was finished stays on the disk.
    """
    check_kind("progress", progress, Progress | None, "a robustlab.core.progress.Progress")
    options = StudyOptions(
        recipe=_text(recipe),
        out=_text(out),
        dataset=dataset,
        data_root=_text(data_root),
        device=device,
        precision=precision,
        seed=seed,
        quick=quick,
        overwrite=overwrite,
    )
    run = execute(options, progress)
    report.write_report(run.folder)
    return run


def evaluate(
    model: str | Path | nn.Module,
    *,
    weights: str | Path | None = None,
    network: str | None = None,
    name: str | None = None,
    mean: Constants | None = None,
    std: Constants | None = None,
    scale: float = 1.0,
    dataset: str | Split = "mnist",
    data_root: str | Path | None = None,
    images: Tensor | None = None,
    labels: Tensor | None = None,
    threat: str | ThreatModel = "linf(eps=0.3)",
    attacks: Attacks = "standard",
    n: int | None = None,
    mode: Mode = "verdict",
    eight_bit: bool = False,
    curve: bool = False,
    checks: bool = True,
    certify: bool = True,
    samples: int | None = None,
    surrogates: Sequence[str | Path | nn.Module] = (),
    device: DeviceChoice = "auto",
    precision: PrecisionChoice = "auto",
    batch_size: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> EvaluationRun:
    """Find out how robust a classifier is, image by image, and write the report.

    The same call again resumes. More images, or another attack, cost only what is new.

    Args:
        model: images (N, C, H, W) in [0, 1] to logits (N, K). A module; or a text that says where it comes
            from: ``"FILE.py:NAME"`` or ``"package.module:NAME"``, a module there or a function that is called
            with no argument and returns one; ``"run(runs/mnist, baseline)"``, a network of a study's run; a
            ``.safetensors`` file that `save_network` wrote; a TorchScript file; a name of ``robustlab ls
            zoo``; or a composition of such texts, ``"purifier(network=run(runs/mnist, vae),
            classifier=mnist_cnn)"``.
        weights: a file of weights for it: safetensors, or what ``torch.save`` wrote, such as a checkpoint.
        network: which network of the study's run.
        name: what to call it; default: a name made from the above.
        mean: with ``std``, the normalisation that the network was trained with and does not do itself: it
            gets ``(images * scale - mean) / std``. A name, ``"mnist"``, ``"cifar10"``, ``"imagenet"`` or
            ``"0.5"``, or numbers, one or one per channel. The eps stays on the pixel scale.
        std: see ``mean``.
        scale: what the images in [0, 1] are multiplied by first: 255 for a network trained on 0..255.
        dataset: one of ``robustlab ls datasets``, whose test split is attacked; or
            ``"FILE.py:FUNCTION"``, which returns (images, labels); or a split.
        data_root: the first folder in which data is looked for.
        images: your own, in the place of a dataset: (N, C, H, W), uint8 or floating in [0, 1].
        labels: of those, (N,) integers.
        threat: what the attacker may do, on the pixel scale.
        attacks: specs of attacks and ensembles (``robustlab ls``), in the order in which an image meets them.
        n: how many images, the first ones; default 1,000 of a named dataset, all of your own.
        mode: ``"verdict"`` stops at an image's first success; ``"max-loss"`` spends every attack's full
            budget on every image that is left.
        eight_bit: only images that a file of 8 bits per value can hold count as adversarial.
        curve: also search for each image's nearest success, for robust accuracy against eps.
        checks: compute the reasons to doubt the figure.
        certify: look for proofs before attacking; a proven image needs no attack.
        samples: how often a random classifier is asked about each point; default: as the attacks wish.
        surrogates: other classifiers of the same kind, given as ``model`` is, for attacks that transfer.
        device: ``"auto"`` takes a GPU if there is one; of a module, the device it is on.
        precision: of the attacks' search; every success is confirmed in fp32. ``"auto"`` takes bf16 where it
            is faster, by a timed pass over the first images.
        batch_size: images per pass; default 250, on a GPU 1,000, and fewer where a pass would take more than
            half of the memory that is free, on a CPU more than 3 GiB. Halved where memory runs out. No
            verdict depends on it, except of a classifier that draws random numbers: give a size to repeat it.
        seed: of every random choice.
        out: the run's folder; default ``runs/evaluate-<name>-<dataset>-<norm>-<eps>-<hash>``. The hash is of
            all that makes it another evaluation: model, images, threat model, seed, mode, samples and so on.
        overwrite: replace the evaluation that ``out`` holds by this one; without it, another one is refused.
        progress: where to show progress; default nowhere.

    Returns:
        The run's folder, and every figure as in its ``results.json``.

    Raises:
        RobustlabError: bad input; see `robustlab.core.errors`. What was finished stays on the disk.
    """
    check_kind("progress", progress, Progress | None, "a robustlab.core.progress.Progress")
    options = EvaluationOptions(
        model=_text(model),
        weights=_text(weights),
        network=network,
        name=name,
        mean=mean,
        std=std,
        scale=scale,
        dataset=_text(dataset),
        data_root=_text(data_root),
        images=images,
        labels=labels,
        threat=threat,
        attacks=attacks,
        n=n,
        mode=mode,
        eight_bit=eight_bit,
        curve=curve,
        checks=checks,
        certify=certify,
        samples=samples,
        surrogates=_texts(surrogates),
        device=device,
        precision=precision,
        batch_size=batch_size,
        seed=seed,
        out=_text(out),
        overwrite=overwrite,
    )
    run = execute_evaluation(options, progress)
    report.write_report(run.folder)
    return run


def _text(value: T | Path) -> T | str:
    """Return a path as text, and anything else as it is."""
    return os.fspath(value) if isinstance(value, Path) else value


def _texts(models: Sequence[str | Path | nn.Module]) -> Sequence[str | nn.Module]:
    """Return a list with its paths as text; anything that is no list is left for the checks to refuse."""
    if not isinstance(models, list | tuple):
        return cast("Sequence[str | nn.Module]", models)
    return [_text(model) for model in models]


def write_report(folder: str | Path) -> Path:
    """Write the report of a finished run anew and return the path of its ``report.html``.

    Raises:
        RunError: the folder holds no finished run, or one of a newer robustlab.
    """
    return report.write_report(as_path("folder", folder))
