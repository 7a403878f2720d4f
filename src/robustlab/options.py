"""The options of an evaluation and of a study, each defined once.

Python, the command line, the checks of arguments and the command on a report's page use them.
"""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from robustlab.core.options import (
    Class,
    DeviceChoice,
    Effort,
    EvaluationMode,
    Flag,
    NaturalInt,
    Number,
    PositiveInt,
    PrecisionChoice,
    Samples,
    option,
    option_info,
    options_of,
    texts_for_paths,
)
from robustlab.core.text import printable

if TYPE_CHECKING:  # torch takes seconds to load, and the command line shows its help without it
    import numpy as np
    from torch import Tensor, nn

    from robustlab.attacks import Attack, Criterion
    from robustlab.certify import Certifier
    from robustlab.core.progress import Progress
    from robustlab.data import Dataset, Split
    from robustlab.data.own import OwnImages
    from robustlab.evaluation.engines import Engine
    from robustlab.evaluation.ensembles import Ensemble
    from robustlab.threats import ThreatModel

FOLDER = {"command_line": "text", "metavar": "FOLDER"}
SEED = "of every random choice"
PROGRESS = option_info(
    "where to show progress; default nowhere, and in a notebook below the cell",
    command_line=None,
    accepted="a robustlab.core.progress.Progress",
)
DATA_ROOT = option_info(
    "folder to look for data in first; then ROBUSTLAB_DATA, ./data and the user's cache folder", **FOLDER
)
OVERWRITE = option_info("replace another run that the folder holds; else it is refused")


class Options:
    """What all kinds have."""

    def __post_init__(self) -> None:
        texts_for_paths(self)
        model = getattr(self, "model", None)
        if not isinstance(model, str | None):
            from robustlab.models.black_box import as_module

            object.__setattr__(self, "model", as_module(model))

    def asked(self) -> dict[str, Any]:
        """Return the options as JSON values."""
        names = options_of(type(self)).keys() - {"progress"}
        return {name: _plain(getattr(self, name)) for name in sorted(names)}


@dataclass(frozen=True, kw_only=True)
class SubjectFields:
    """What is evaluated, and by which attacks."""

    model: "str | Path | nn.Module | Callable[..., Any]" = field(
        kw_only=False,
        metadata=option_info(
            "images (N, C, H, W) in [0, 1] to logits (N, K): FILE.py:NAME or package.module:NAME, a module "
            "there or a function that returns one; a name of `ls zoo`; run(FOLDER, NETWORK) of a study; a "
            ".safetensors or TorchScript file; or a composition of these, purifier(network=..., "
            "classifier=...). Without gradients: predict(FILE.py:NAME) or a server's URL. In Python also the "
            "module, a function that predicts (predict=) or a scikit-learn classifier",
            command_line="text",
            by_place=True,
            flag="--model",
            accepted="a torch.nn.Module, a function that predicts, FILE.py:NAME, a study's run folder or a "
            ".safetensors file",
        ),
    )
    weights: str | Path | None = option(
        None,
        "weights to load into it: safetensors, or what torch.save wrote, such as a checkpoint",
        command_line="text",
        metavar="FILE",
    )
    network: str | None = option(None, "which network, of a study's run folder")
    name: str | None = option(None, "what to call it; default: a name made from the above")
    dataset: "str | Path | Split | Dataset | OwnImages" = option(
        "mnist",
        "one of `ls datasets`, whose test split is attacked, such as cifar10, emnist(split=letters) or "
        "folder(photos, resize=256, crop=224); or FILE.py:FUNCTION that returns (images, labels). In Python "
        "also (images, labels), a split, a torch Dataset or a DataLoader, or a dataset of MAITE",
        command_line="text",
        accepted="a name, FILE.py:NAME, (images, labels), a Split, a torch Dataset or a DataLoader",
    )
    data_root: str | Path | None = field(default=None, metadata=DATA_ROOT)
    images: "Tensor | np.ndarray[Any, Any] | None" = option(
        None,
        "your own, in the place of a dataset: (N, C, H, W), uint8 or floating in [0, 1]",
        command_line=None,
    )
    labels: "Tensor | np.ndarray[Any, Any] | Sequence[int] | None" = option(
        None, "of those, (N,) integers", command_line=None
    )
    n: PositiveInt | None = option(
        None, "how many images, the first ones; default 1000 of a named dataset, all of your own", flag="-n"
    )
    threat: "str | ThreatModel" = option(
        "linf(eps=0.3)",
        "what the attacker may do, on the scale [0, 1]: linf(eps=8/255), l2, l1, l0 or unbounded; or a "
        "class of yours, FILE.py:CLASS(eps=8/255). `robustlab evaluate` also takes a list, "
        "linf(eps=[2/255, 4/255])",
        command_line="text",
    )
    attacks: "str | Attack | Ensemble | Sequence[str | Attack | Ensemble]" = option(
        "standard",
        "attacks and ensembles in the order in which an image meets them, such as standard, or "
        "pgd(steps=40), fgsm; comma-separated or repeated; default standard. `ls attacks` and "
        "`ls ensembles` list them; a class of yours is FILE.py:CLASS(steps=5)",
        command_line="texts",
        accepted="specs, attacks or ensembles",
    )


@dataclass(frozen=True, kw_only=True)
class AttackFields:
    """The options that an attacker needs; the lines of a study's curves have these, too."""

    mode: EvaluationMode = option(
        "verdict",
        "stop at an image's first success (verdict); spend each attack's full budget on every image "
        "that is left (max-loss); or perturb all images by each attack, those that are misclassified "
        "or broken too, and report the accuracy on each perturbed set (test-set)",
    )
    target: "str | Class | Criterion | None" = option(
        None,
        "the class that the attacker wants: its number; next, the one after the label; least-likely; or "
        "all, each other class in turn, for a table of what was reached. Default: any but the label",
        command_line="text",
        accepted="a class, next, least-likely, all, a criterion or its spec",
    )
    eight_bit: Flag = option(
        False, "only images that a file of 8 bits per value can hold count as adversarial"
    )
    eot_samples: Samples | None = option(
        None, "how often a random classifier is asked about each point; default as the attacks wish"
    )
    mean: str | Number | Sequence[Number] | None = option(
        None,
        "with std, the normalisation that the network was trained with and does not do itself, put in "
        "front of it: a dataset's name such as mnist, imagenet, 0.5, or numbers, one or one per channel, "
        "separated by commas. eps stays on the scale of the images in [0, 1]",
        command_line="text",
    )
    std: str | Number | Sequence[Number] | None = option(None, "see mean", command_line="text")
    scale: Number | None = option(
        None, "what the images are multiplied by first: 255 for a network trained on 0..255"
    )
    resize: NaturalInt | None = option(
        None,
        "what the shorter side of an image is resized to in front of the network, inside the attacked "
        "classifier; 0: not resized. Default of this and of mean, std, scale and crop: as the model's source "
        "states it",
    )
    crop: NaturalInt | None = option(
        None, "the side of the square in the centre that the network gets after that; 0: all of the image"
    )


PREPROCESSING = ("mean", "std", "scale", "resize", "crop")
"""Options that become a part of the classifier, whose code is hashed."""

OF_OUTCOMES = tuple(name for name in options_of(AttackFields) if name not in PREPROCESSING)
"""Options that outcomes depend on: they are in the ledger's keys, and an evaluation's folder records them."""


@dataclass(frozen=True, kw_only=True)
class EvaluationFields(AttackFields):
    """The options of an evaluation that a row of a study has, too."""

    curve: Flag = option(
        False, "also search for each image's nearest success, for robust accuracy against eps"
    )
    certify: Flag = option(True, "look for proofs before attacking; a proven image needs no attack")
    certifier: "str | Certifier" = option(
        "auto",
        "what looks for them; auto tries cheap bounds first and skips what would take long, and where it "
        "can't bound the classifier, certifiers of other packages are asked. `ls certifiers` lists all",
        command_line="text",
        accepted="a certifier's spec, or a certifier",
    )


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions(EvaluationFields, SubjectFields, Options):
    """What an evaluation is asked to do."""

    job: ClassVar[str] = "evaluate"
    """The command that it belongs to."""
    proofs_only: ClassVar[bool] = False
    """Whether no attack runs, and the classifier must be one that the certifier can bound."""

    effort: Effort | None = option(
        None,
        "how long the attack list standard searches: quick, standard or thorough, each at least as strong as "
        "the one before; default as the list says, standard",
    )
    checks: bool = option(True, "compute the reasons to doubt the figure")
    surrogates: "Sequence[str | Path | nn.Module]" = option(
        (),
        "other classifiers of the same kind, given as the model is, for attacks that transfer; they get "
        "the images in [0, 1] as they are",
        command_line="texts",
        flag="--surrogate",
        accepted="a list of models",
    )
    device: DeviceChoice = option(
        "auto", "where to compute; auto takes a GPU if there is one, of a module the device it is on"
    )
    precision: PrecisionChoice = option(
        "auto",
        "of the search; every success is confirmed in fp32. auto takes bf16 where it is faster, by timed "
        "passes over the first images",
    )
    batch_size: PositiveInt | None = option(
        None,
        "images per pass; default at most 250, on a GPU 1000, as memory suffices; halved where it runs "
        "out. No verdict depends on it, except of a classifier that draws random numbers",
    )
    engine: "str | Engine" = option(
        "serial",
        "where the work runs: serial, one block of images after another in this process; `ls engines` "
        "lists those of other packages. No figure depends on it",
        command_line="text",
        accepted="an engine's spec, or an engine",
    )
    seed: int = option(0, SEED)
    out: str | Path | None = option(
        None,
        "the run's folder; default runs/evaluate-NAME-DATASET-NORM-EPS-HASH. The hash is of all that "
        "makes it another evaluation: model, images, threat model, seed and so on",
        **FOLDER,
    )
    overwrite: bool = field(default=False, metadata=OVERWRITE)
    progress: "Progress | None" = field(default=None, metadata=PROGRESS, compare=False)

    def command(self) -> str:
        """Return the command that repeats the evaluation; empty if the command line can't express it."""
        if not (self.attacks or self.proofs_only):
            return ""
        words = ["robustlab", self.job]
        for name, (known, said) in options_of(type(self)).items():
            value = getattr(self, name)
            if name in {"overwrite", "progress"} or _plain(value) == _plain(known.default):
                continue
            if name in {"mean", "std"} and not isinstance(value, str):
                numbers = value if isinstance(value, list | tuple) else [value]
                value = ",".join(repr(float(number)) for number in numbers)
            flag = said.flag or f"--{name.replace('_', '-')}"
            for item in value if isinstance(value, list | tuple) else [value]:
                if not _can_be_typed(item):
                    return ""
                if isinstance(item, bool):
                    words.append(flag if item else flag.replace("--", "--no-"))
                else:
                    words += [flag, str(item)]
        command = shlex.join(words)
        return command if printable(command) == command else ""


@dataclass(frozen=True, kw_only=True)
class StudyOptions(Options):
    """What a study is asked to do."""

    recipe: str | Path = field(
        default="mnist",
        kw_only=False,
        metadata=option_info(
            "a TOML file, or the name of a recipe that comes with robustlab",
            command_line="text",
            by_place=True,
        ),
    )
    out: str | Path | None = option(
        None,
        "the run's folder; default runs/NAME, of a quick run runs/NAME-quick; other data than the "
        "recipe's, or another seed than 0, are in its name too",
        **FOLDER,
    )
    dataset: str | None = option(None, "one of `ls datasets`; default: what the recipe says")
    data_root: str | Path | None = field(default=None, metadata=DATA_ROOT)
    device: DeviceChoice = option("auto", "where to compute; auto takes a GPU if there is one")
    precision: PrecisionChoice = option(
        "auto", "of the matrix products in training; auto takes bf16 where it is faster"
    )
    seed: int = option(0, SEED)
    quick: bool = option(False, "a few epochs on a part of the images, to see everything work")
    overwrite: bool = field(default=False, metadata=OVERWRITE)
    progress: "Progress | None" = field(default=None, metadata=PROGRESS, compare=False)


def _can_be_typed(value: object) -> bool:
    """Return whether the command line accepts a value's text: a plain value, or a unit's spec.

    A unit of the user's own code has no text: its spec does not say where the code is.
    """
    if isinstance(value, list | tuple):
        return all(map(_can_be_typed, value))
    if not hasattr(value, "brief"):
        return value is None or isinstance(value, bool | int | float | str)
    from robustlab.core.installed import is_library

    return is_library(type(value)) and all(map(_can_be_typed, vars(value).values()))


def _plain(value: object) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "brief"):  # a unit
        return repr(value)
    if callable(value):  # a model, which may have any of the attributes below: Lightning's has a dtype
        return type(value).__name__
    if hasattr(value, "dtype"):
        return f"{value.dtype} {tuple(value.shape)}"  # type: ignore[attr-defined]
    if hasattr(value, "take"):
        return f"{len(value)} images"  # type: ignore[arg-type]
    return type(value).__name__
