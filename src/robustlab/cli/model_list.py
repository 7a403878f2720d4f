"""The file of ``robustlab evaluate --models``: a model on each line, with options of its own behind it."""

import re
import shlex
from pathlib import Path

from robustlab.core.errors import DataError, SpecError
from robustlab.core.text import shown
from robustlab.core.untrusted import read_bytes

OWN = ("weights", "network", "name", "mean", "std", "scale", "resize", "crop")
"""The options that a line may have."""

_OPTION = re.compile(rf"(?P<name>{'|'.join(OWN)})[ =](?P<value>.*)")
_COMMENT = re.compile(r"(?:^|\s)#")
_LARGEST = 1_000_000


def read_model_list(file: str) -> list[dict[str, object]]:
    """Read the models of a file, each with its options.

    A line is what follows ``robustlab evaluate``: ``net.onnx --scale 255``. What follows a # at the start of
    a word is a comment. Paths are relative to the working directory.

    Raises:
        DataError, SpecError: the file can't be read, holds no model, or a line has a mistake.
    """
    try:
        text = read_bytes(Path(file), _LARGEST).decode("utf-8-sig")  # with the mark of some editors
    except (OSError, ValueError) as error:
        raise DataError(f"can't read the list of models {shown(file)}: {error}") from None
    lines = [_COMMENT.split(line)[0].strip() for line in text.splitlines()]
    models = [_read(line, f"{file}, line {n}") for n, line in enumerate(lines, start=1) if line]
    if not models:
        raise SpecError(f"{file} holds no model; expected a model on each line, such as mnist_cnn")
    return models


def _read(line: str, place: str) -> dict[str, object]:
    model, *options = re.split(r"\s--", line)
    quoted = _words(model, place)  # "timm(resnet18)", as in a shell
    found: dict[str, object] = {"model": quoted[0] if len(quoted) == 1 else model.strip()}
    for option in options:
        parts = _OPTION.fullmatch(option.strip())
        words = _words(parts["value"], place) if parts else []
        if parts is None or len(words) != 1:
            known = ", ".join(f"--{name}" for name in OWN)
            raise SpecError(
                f"{place}: can't read {shown(f'--{option}')}; behind the model a line may have {known}, each "
                "with a value"
            )
        found[parts["name"]] = _value(parts["name"], words[0], place)
    return found


def _words(text: str, place: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise SpecError(f"{place}: {error}") from None


def _value(name: str, text: str, place: str) -> object:
    kinds = {"scale": float, "resize": int, "crop": int}
    try:
        return kinds[name](text) if name in kinds else text
    except ValueError:
        raise SpecError(f"{place}: --{name} must be a number, found {shown(text)}") from None
