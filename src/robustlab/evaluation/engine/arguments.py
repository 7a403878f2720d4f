"""Checks what an evaluation is asked, before anything is loaded: a mistake is named with what is accepted."""

from collections.abc import Sequence
from types import UnionType
from typing import get_args

from torch import nn

from robustlab.attacks import Attack, Mode
from robustlab.core.device import DeviceChoice, PrecisionChoice
from robustlab.core.errors import SpecError, did_you_mean
from robustlab.core.inputs import check_module
from robustlab.core.threat import ThreatModel
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
    "threat": (str | ThreatModel, "a spec such as 'linf(eps=0.3)', or a threat model"),
    "attacks": (str | Attack | Ensemble | Sequence, "specs, attacks or ensembles"),
    "eight_bit": _SWITCH,
    "curve": _SWITCH,
    "checks": _SWITCH,
    "certify": _SWITCH,
    "surrogates": (list | tuple, "a list of models"),
    "out": _TEXT,
}
_CHOICES = {"mode": Mode, "device": DeviceChoice, "precision": PrecisionChoice}
_LEAST = {"n": 1, "samples": 1, "batch_size": 1, "seed": 0}


def check(options: EvaluationOptions) -> None:
    """Check the types and ranges of all options but images and labels, which are checked where they are read.

    Raises:
        SpecError: one of them is not what it should be.
    """
    if callable(options.model):
        check_module("model", options.model)
    for name, (kind, accepted) in _KINDS.items():
        _check_kind(name, getattr(options, name), kind, accepted)
    for surrogate in options.surrogates:
        _check_kind("a surrogate", surrogate, *_MODEL)
    for name, choice in _CHOICES.items():
        value, words = getattr(options, name), get_args(choice)
        if value not in words:
            hint = did_you_mean(value, words) if isinstance(value, str) else ""
            raise SpecError(f"{name} must be one of {', '.join(words)}; found {value!r}{hint}")
    for name, least in _LEAST.items():
        value = getattr(options, name)
        optional = EvaluationOptions.__dataclass_fields__[name].default is None
        # To Python, True is a number.
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not (optional and value is None) and not (whole and value >= least):
            raise SpecError(f"{name} must be a whole number, at least {least}; found {value!r}")


def _check_kind(name: str, value: object, kind: type | UnionType, accepted: str) -> None:
    if not isinstance(value, kind):
        raise SpecError(f"{name} must be {accepted}; found a {type(value).__name__}")
