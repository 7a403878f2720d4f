"""Options that are written once, for Python, the command line and the checks.

An option is a field of a dataclass; `option` adds what the type and the default do not state. Nothing
here loads torch, so that the command line can show its help at once.
"""

import dataclasses
import functools
import inspect
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    ParamSpec,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from annotated_types import Ge, Le

from robustlab.core.arguments import (
    LARGEST_COUNT,
    LARGEST_WHOLE,
    MAX_SAMPLES,
    check_choice,
    check_kind,
    check_text,
    check_whole,
    known_names,
)
from robustlab.core.errors import SpecError
from robustlab.core.progress import Progress

DeviceChoice = Literal["auto", "cpu", "cuda", "mps"]
PrecisionChoice = Literal["auto", "fp32", "bf16"]
Effort = Literal["quick", "standard", "thorough"]
"""How much of its list the ensemble ``standard`` does."""
Mode = Literal["verdict", "max-loss"]
"""``"verdict"`` stops at an image's first success; ``"max-loss"`` spends the full budget on every image."""
EvaluationMode = Literal["verdict", "max-loss", "test-set"]
"""As `Mode`, on the images that are not broken yet; ``"test-set"``: each attack with its full budget on all
images, including misclassified ones."""


class Strict:
    """What `pydantic.Strict` is: to pydantic, True is 1 and "2" is 2 otherwise."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        return {**handler(source), "strict": True}


Class = Annotated[int, Strict(), Ge(0), Le(LARGEST_COUNT)]
Count = Annotated[int, Strict(), Ge(1), Le(LARGEST_COUNT)]
Flag = Annotated[bool, Strict()]
Number = Annotated[float, Strict()]
NaturalInt = Annotated[int, Strict(), Ge(0)]
PositiveInt = Annotated[int, Strict(), Ge(1)]
Samples = Annotated[int, Strict(), Ge(1), Le(MAX_SAMPLES)]

P = ParamSpec("P")
OptionsT = TypeVar("OptionsT")
RunT = TypeVar("RunT")


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptionInfo:
    """The description of an option.

    Attributes:
        help: its meaning, for ``--help`` and for Python.
        accepted: the accepted values, for messages; not needed for a text or a switch.
        flag: on the command line; default: the option's name.
        metavar: the placeholder of the value there, if not the type.
        by_place: whether it is positional on the command line; with `flag` given, both forms work.
        command_line: its type there: ``"text"``, ``"texts"`` (repeatable), or Python's type; None: only in
            Python.
    """

    help: str
    accepted: str = ""
    flag: str = ""
    metavar: str | None = None
    by_place: bool = False
    command_line: Literal["text", "texts", "as in Python"] | None = "as in Python"


def option_info(help: str, **more: Any) -> dict[str, OptionInfo]:  # noqa: A002 (as in typer)
    """Return the metadata of a field: its meaning, and `OptionInfo`'s other attributes."""
    return {"option": OptionInfo(help=help, **more)}


def option(default: Any, help: str, **more: Any) -> Any:  # noqa: A002
    """Return the field of an option with a default: its meaning, and `OptionInfo`'s other attributes."""
    return dataclasses.field(default=default, metadata=option_info(help, **more))


def options_of(kind: type) -> dict[str, tuple[dataclasses.Field[Any], OptionInfo]]:
    """Return the fields of a dataclass of options with their descriptions; not those with a fixed value."""
    return {field.name: (field, field.metadata["option"]) for field in dataclasses.fields(kind) if field.init}


def texts_for_paths(options: object) -> None:
    """Replace each `Path` among the values by its text, in lists too; from ``__post_init__``."""
    for name, value in vars(options).items():
        if isinstance(value, Path):
            object.__setattr__(options, name, str(value))
        elif isinstance(value, list | tuple) and any(isinstance(item, Path) for item in value):
            texts = [str(item) if isinstance(item, Path) else item for item in value]
            object.__setattr__(options, name, texts)


def check_options(options: Any, names: Mapping[str, Any]) -> None:
    """Check the type and the range of every option, as its annotation states them.

    Args:
        options: a dataclass of them.
        names: names in its annotations that its module has not loaded.

    Raises:
        SpecError: an option has a wrong type or value.
    """
    hints = get_type_hints(type(options), localns=dict(names))
    annotated = get_type_hints(type(options), localns=dict(names), include_extras=True)
    for name, (_, said) in options_of(type(options)).items():
        value, hint = getattr(options, name), hints[name]
        kinds = get_args(hint) if get_origin(hint) in {UnionType, Union} else (hint,)
        if value is None and NoneType in kinds:
            continue
        if get_origin(hint) is Literal:
            check_choice(name, value, get_args(hint))
        elif kinds[0] is int:
            check_whole(name, value, *_range(annotated[name]))
        elif said.accepted or set(kinds) <= {bool, str, Path, NoneType}:
            plain = tuple(get_origin(kind) or kind for kind in kinds)
            if isinstance(value, str) and str not in plain:  # a text is a sequence of texts, too
                plain = (NoneType,)
            accepted = said.accepted or ("True or False" if kinds[0] is bool else "a text or a path")
            check_kind(name, value, plain, accepted)
            if isinstance(value, str) and said.command_line != "texts":
                check_text(name, value)


def _range(hint: Any) -> tuple[int, int]:
    """Return the smallest and the largest whole number that a type such as ``Count | None`` allows."""
    limits = [limit for part in (hint, *get_args(hint)) for limit in getattr(part, "__metadata__", ())]
    least: Any = next((limit.ge for limit in limits if isinstance(limit, Ge)), 0)
    most: Any = next((limit.le for limit in limits if isinstance(limit, Le)), LARGEST_WHOLE)
    return least, most


def progress_of(options: Any, given: Progress | None) -> Progress:
    """Return where to show progress: the given object, or the one of the options, or nowhere.

    Raises:
        SpecError: the options' value is not accepted.
    """
    said = options_of(type(options))["progress"][1]
    check_kind("progress", options.progress, (Progress, NoneType), said.accepted)
    return next((progress for progress in (given, options.progress) if progress is not None), Progress())


def taking(options: Callable[P, OptionsT]) -> Callable[[Callable[[OptionsT], RunT]], Callable[P, RunT]]:
    """Let a function of a dataclass of options take them as arguments; their meanings join its docstring."""
    kind = cast("type", options)
    known, signature = options_of(kind), inspect.signature(kind)

    meanings = "\n".join(
        textwrap.fill(
            f"{key}: {said.help}.",
            100,
            initial_indent=" " * 4,
            subsequent_indent=" " * 8,
            break_on_hyphens=False,
        )
        for key, (_, said) in known.items()
    )

    def decorate(run: Callable[[OptionsT], RunT]) -> Callable[P, RunT]:
        @functools.wraps(run)
        def function(*args: P.args, **kwargs: P.kwargs) -> RunT:
            given: Any = known_names(run.__name__, [*known], kwargs)
            try:
                signature.bind(*args, **given)
            except TypeError as error:  # Python would name the dataclass
                raise SpecError(f"{run.__name__}: {error}") from None
            return run(options(*args, **given))

        before, mark, after = (inspect.getdoc(run) or "").partition("\n\nReturns:")
        function.__doc__ = f"{before}\n\nArgs:\n{meanings}{mark}{after}"
        returned = inspect.signature(run).return_annotation
        cast("Any", function).__signature__ = signature.replace(return_annotation=returned)
        return function

    return decorate
