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
    """Set the option ``threat`` to what --norm and --eps say, with eps as typed, if one of them is given.

    Raises:
        SpecError: one of the two is missing, or --threat is given, too.
    """
    if norm is None and eps is None:
        return
    source = context.get_parameter_source("threat")
    if source is not None and source.name != "DEFAULT":
        raise SpecError(
            f"--threat {shown(given['threat'])} already says norm and eps: leave out --norm and --eps"
        )
    if norm is None:
        raise SpecError(f"--eps needs a norm: add --norm linf, or write --threat {shown(f'linf(eps={eps})')}")
    if eps is None:
        raise SpecError(f"--norm needs eps: add --eps 8/255, or write --threat {shown(f'{norm}(eps=8/255)')}")
    given["threat"] = f"{norm}(eps={eps})"
