"""The options --norm and --eps: another way to write --threat."""

from typing import Annotated, Any

import typer

from robustlab.core.errors import SpecError
from robustlab.core.text import shown

Norm = Annotated[
    str | None,
    typer.Option(metavar="NORM", help="With --eps, in the place of --threat: linf, l2, l1 or l0."),
]
Eps = Annotated[
    str | None,
    typer.Option(metavar="EPS", help="The largest distance on the pixel scale [0, 1], such as 8/255."),
]


def read_threat(context: typer.Context, given: dict[str, Any], norm: str | None, eps: str | None) -> None:
    """Set the option ``threat`` to what --norm and --eps say, if one of them is given.

    Raises:
        SpecError: one of the two is missing, or --threat is given, too.
    """
    if norm is None and eps is None:
        return
    source = context.get_parameter_source("threat")
    asked = source is not None and source.name != "DEFAULT"
    given["threat"] = threat_of(norm, eps, given["threat"] if asked else None)


def threat_of(norm: str | None, eps: str | None, threat: str | None = None) -> str:
    """Return the spec of the threat model of --norm and --eps, with eps as typed.

    Args:
        norm, eps: as given on the command line.
        threat: --threat, if it was given.

    Raises:
        SpecError: one of the two is missing, or both ways are used at once.
    """
    if threat is not None:
        raise SpecError(f"--threat {shown(threat)} already says norm and eps: leave out --norm and --eps")
    if norm is None:
        raise SpecError(f"--eps needs a norm: add --norm linf, or write --threat {shown(f'linf(eps={eps})')}")
    if eps is None:
        raise SpecError(f"--norm needs eps: add --eps 8/255, or write --threat {shown(f'{norm}(eps=8/255)')}")
    return f"{norm}(eps={eps})"
