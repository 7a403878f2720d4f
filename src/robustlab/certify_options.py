"""The options of ``robustlab certify``: those of an evaluation that have a meaning without an attack."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from robustlab.core.options import EvaluationMode, PrecisionChoice, option
from robustlab.options import FOLDER, EvaluationOptions

if TYPE_CHECKING:
    from robustlab.certify import Certifier


@dataclass(frozen=True, kw_only=True)
class CertifyOptions(EvaluationOptions):
    """What a search for certificates is asked to do."""

    job: ClassVar[str] = "certify"
    proofs_only: ClassVar[bool] = True

    certifier: "str | Certifier" = option(
        "auto(work=1e8)",
        "what looks for certificates: auto, ibp, crown, alpha_crown and so on; `ls certifiers` lists all. "
        "The default takes more time for each image than auto in an evaluation",
        command_line="text",
        accepted="a certifier's spec, or a certifier",
    )
    out: str | Path | None = option(
        None, "the run's folder; default runs/certify-NAME-DATASET-NORM-EPS-HASH", **FOLDER
    )

    # Options of an evaluation that are not offered here, with their values.
    attacks: tuple[()] = field(default=(), init=False)
    effort: None = field(default=None, init=False)
    mode: EvaluationMode = field(default="verdict", init=False)
    target: None = field(default=None, init=False)
    eight_bit: bool = field(default=False, init=False)
    curve: bool = field(default=False, init=False)
    checks: bool = field(default=False, init=False)
    certify: bool = field(default=True, init=False)
    eot_samples: None = field(default=None, init=False)
    surrogates: tuple[()] = field(default=(), init=False)
    precision: PrecisionChoice = field(default="fp32", init=False)
