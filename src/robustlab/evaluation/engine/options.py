"""What an evaluation is asked to do."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from robustlab.attacks import Mode
from robustlab.core.device import DeviceChoice, PrecisionChoice
from robustlab.core.text import printable
from robustlab.data import Split
from robustlab.evaluation.ensembles import Attacks
from robustlab.evaluation.preprocessing import Constants
from robustlab.threats import ThreatModel


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """What an evaluation is asked to do; `robustlab.evaluate` explains the fields."""

    model: str | nn.Module
    weights: str | None = None
    network: str | None = None
    name: str | None = None
    mean: Constants | None = None
    std: Constants | None = None
    scale: float = 1.0
    dataset: str | Split = "mnist"
    data_root: str | None = None
    images: Tensor | None = None
    labels: Tensor | None = None
    threat: str | ThreatModel = "linf(eps=0.3)"
    attacks: Attacks = "standard"
    n: int | None = None
    mode: Mode = "verdict"
    eight_bit: bool = False
    curve: bool = False
    checks: bool = True
    certify: bool = True
    samples: int | None = None
    surrogates: Sequence[str | nn.Module] = ()
    device: DeviceChoice = "auto"
    precision: PrecisionChoice = "auto"
    batch_size: int | None = None
    seed: int = 0
    out: str | None = None
    overwrite: bool = False

    def asked(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them."""
        return {name: _plain(getattr(self, name)) for name in self.__dataclass_fields__}

    def command(self) -> str:
        """Return what to type to have the same evaluation again; empty if the command line can't say it."""
        given = {
            name: getattr(self, name)
            for name, option in self.__dataclass_fields__.items()
            if name != "overwrite" and _plain(getattr(self, name)) != _plain(option.default)
        }
        words = ["robustlab", "evaluate"]
        for name, value in given.items():
            if name in {"mean", "std"} and not isinstance(value, str):
                value = ",".join(
                    repr(float(number)) for number in (value if isinstance(value, list | tuple) else [value])
                )
            flag = "-n" if name == "n" else f"--{_FLAGS.get(name, name).replace('_', '-')}"
            for item in value if isinstance(value, list | tuple) else [value]:
                if isinstance(item, nn.Module | Tensor | Split):
                    return ""
                if isinstance(item, bool):
                    words.append(flag if item else flag.replace("--", "--no-"))
                else:
                    words += [flag, str(item)]
        command = shlex.join(words)
        return command if printable(command) == command else ""


_FLAGS = {"surrogates": "surrogate"}


def _plain(value: object) -> Any:
    if isinstance(value, nn.Module):
        return type(value).__name__
    if isinstance(value, Tensor):
        return f"{value.dtype} {tuple(value.shape)}"
    if isinstance(value, Split):
        return f"{len(value)} images"
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)
