"""Checks the options of an evaluation before anything is loaded; an error names the accepted values."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, get_args, get_type_hints

import numpy as np
from torch import Tensor, nn

from robustlab.attacks import Attack, Criterion
from robustlab.certify import Certifier, as_certifier
from robustlab.core.arguments import check_kind, check_text
from robustlab.core.inputs import check_module
from robustlab.core.options import check_options, options_of
from robustlab.core.progress import Progress
from robustlab.core.spec import Unit
from robustlab.data import Dataset, Split
from robustlab.data.own import OwnImages
from robustlab.evaluation.coordinator.goals import as_goal
from robustlab.evaluation.engines import Engine, as_engine
from robustlab.evaluation.ensembles import Ensemble
from robustlab.options import EvaluationOptions
from robustlab.threats import ThreatModel

_NAMES = {
    "Attack": Attack,
    "Certifier": Certifier,
    "Criterion": Criterion,
    "Dataset": Dataset,
    "Engine": Engine,
    "Ensemble": Ensemble,
    "OwnImages": OwnImages,
    "Progress": Progress,
    "Split": Split,
    "Tensor": Tensor,
    "ThreatModel": ThreatModel,
    "nn": nn,
    "np": np,
}


def check(options: EvaluationOptions) -> None:
    """Check all options except those that are checked when they are read, such as images.

    Raises:
        RobustlabError: an option has a wrong type or value.
    """
    if callable(options.model):
        check_module("model", options.model)
    check_options(options, _NAMES)
    (_, said), what = options_of(EvaluationOptions)["model"], "a surrogate"
    for surrogate in options.surrogates:
        check_kind(what, surrogate, str | nn.Module, said.accepted)
        if isinstance(surrogate, str):
            check_text(what, surrogate)


_BUILDERS: Mapping[type, Callable[[Any], Any]] = {
    Certifier: as_certifier,
    Criterion: as_goal,
    Engine: as_engine,
}
"""For kinds of units, the functions that return one from itself or its spec."""

UNITS: Mapping[str, Callable[[Any], Any]] = {
    name: _BUILDERS[kind]
    for name, hint in get_type_hints(EvaluationOptions, localns=_NAMES).items()
    for kind in get_args(hint)
    if kind in _BUILDERS
}
"""The options whose annotations name such a kind, with the functions that return the unit."""

UNIT_KINDS = [name for name, kind in _NAMES.items() if isinstance(kind, type) and issubclass(kind, Unit)]
"""The kinds of units in the annotations of options."""


def with_units(options: EvaluationOptions) -> EvaluationOptions:
    """Return the options with units instead of specs, where `UNITS` has the option.

    A class of a user's file is imported here, before the model's code may change the working directory. A
    wrong spec is refused even if the evaluation does not use it.

    Raises:
        RobustlabError: an option has a wrong type or value, or a user's file can't be imported.
    """
    check(options)
    offered = options_of(type(options)).keys() & UNITS.keys()
    return replace(options, **{name: UNITS[name](getattr(options, name)) for name in offered})
