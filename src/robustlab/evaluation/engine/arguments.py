"""Checks what an evaluation is asked, before anything is loaded: a mistake is named with what is accepted."""

from collections.abc import Sequence
from types import UnionType
from typing import get_args

from torch import nn

from robustlab.attacks import Attack, Mode
from robustlab.core.arguments import (
    LARGEST_WHOLE,
    MOST_SAMPLES,
    check_choice,
    check_kind,
    check_text,
    check_whole,
)
from robustlab.core.device import DeviceChoice, PrecisionChoice
from robustlab.core.inputs import check_module
from robustlab.data import Split
from robustlab.evaluation.engine.options import EvaluationOptions
from robustlab.evaluation.ensembles import Ensemble

_MODEL = (str | nn.Module, "a torch.nn.Module, FILE.py:NAME, a study's run folder or a .safetensors file")
_TEXT = (str | None, "a text or a path")
_SWITCH = (bool, "True or False")

_KINDS: dict[str, tuple[type | UnionType, str]] = {
    "model": _MODEL,
    "weights": _TEXT,
    "network": _TEXT,
    "name": _TEXT,
    "dataset": (str | Split, "a name, FILE.py:NAME or a Split; tensors go into images= and labels="),
    "data_root": _TEXT,
    "attacks": (str | Attack | Ensemble | Sequence, "specs, attacks or ensembles"),
    "eight_bit": _SWITCH,
    "curve": _SWITCH,
    "checks": _SWITCH,
    "certify": _SWITCH,
    "surrogates": (list | tuple, "a list of models"),
    "out": _TEXT,
    "overwrite": _SWITCH,
}
_CHOICES = {"mode": Mode, "device": DeviceChoice, "precision": PrecisionChoice}
_RANGES = {
    "n": (1, LARGEST_WHOLE),
    "samples": (1, MOST_SAMPLES),
    "batch_size": (1, LARGEST_WHOLE),
    "seed": (0, LARGEST_WHOLE),
}


def check(options: EvaluationOptions) -> None:
    """Check the types and ranges of all options but images and labels, which are checked where they are read.

    Raises:
        SpecError: one of them is not what it should be.
    """
    if callable(options.model):
        check_module("model", options.model)
    for name, (kind, accepted) in _KINDS.items():
        check_kind(name, getattr(options, name), kind, accepted)
        if isinstance(getattr(options, name), str) and name != "attacks":
            check_text(name, getattr(options, name))
    for surrogate in options.surrogates:
        check_kind("a surrogate", surrogate, *_MODEL)
        if isinstance(surrogate, str):
            check_text("a surrogate", surrogate)
    for name, choice in _CHOICES.items():
        check_choice(name, getattr(options, name), get_args(choice))
    for name, (least, most) in _RANGES.items():
        value = getattr(options, name)
        optional = EvaluationOptions.__dataclass_fields__[name].default is None
        if not (optional and value is None):
            check_whole(name, value, least, most)
