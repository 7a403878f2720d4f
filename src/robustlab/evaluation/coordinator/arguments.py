"""Checks what an evaluation is asked, before anything is loaded: a mistake is named with what is accepted."""

import numpy as np
from torch import Tensor, nn

from robustlab.attacks import Attack
from robustlab.certify import Certifier
from robustlab.core.arguments import check_kind, check_text
from robustlab.core.inputs import check_module
from robustlab.core.options import check_options, options_of
from robustlab.core.progress import Progress
from robustlab.data import Split
from robustlab.evaluation.engines import Engine
from robustlab.evaluation.ensembles import Ensemble
from robustlab.options import EvaluationOptions
from robustlab.threats import ThreatModel

_NAMES = {
    "Attack": Attack,
    "Certifier": Certifier,
    "Engine": Engine,
    "Ensemble": Ensemble,
    "Progress": Progress,
    "Split": Split,
    "Tensor": Tensor,
    "ThreatModel": ThreatModel,
    "nn": nn,
    "np": np,
}


def check(options: EvaluationOptions) -> None:
    """Check all options but those that are checked where they are read, as images and threat models are.

    Raises:
        RobustlabError: one of them is not what it should be.
    """
    if callable(options.model):
        check_module("model", options.model)
    check_options(options, _NAMES)
    (_, said), what = options_of(EvaluationOptions)["model"], "a surrogate"
    for surrogate in options.surrogates:
        check_kind(what, surrogate, str | nn.Module, said.accepted)
        if isinstance(surrogate, str):
            check_text(what, surrogate)
