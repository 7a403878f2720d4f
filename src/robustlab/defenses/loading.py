"""Loads the network that a text names: ``mnist_cnn``, ``my.py:make``, ``run(runs/mnist, baseline)``, ...

The same text serves ``--model``, recipes and Python. A composition's parts are again such texts:
``purifier(network=run(runs/mnist, vae), classifier=mnist_cnn)``.
"""

import hashlib
import itertools
from collections.abc import Callable, Mapping
from contextlib import chdir
from pathlib import Path

from robustlab.core.errors import SetupError, SpecError, did_you_mean
from robustlab.core.isolation import working_folder
from robustlab.core.spec import called, parse, units
from robustlab.core.text import one_line, shown
from robustlab.core.user_code import is_user_code
from robustlab.defenses.base import ComposedDefense, Defense
from robustlab.models.checkpoints import kind_of
from robustlab.models.sources import (
    FromCode,
    FromFile,
    FromRun,
    FromServer,
    FromZoo,
    Loaded,
    Note,
    Source,
)
from robustlab.models.sources.saved import SUFFIXES
from robustlab.shipped import zoo_names

_LONGEST_PART = 30
_LIBRARIES = ("torchvision(NAME)", "timm(NAME)", "hf(OWNER/NAME)")
_PICKLES = {".pkl", ".pickle", ".joblib", ".skops"}
_NONE: Mapping[str, Callable[[], Loaded]] = {}
ARTICLES = {
    "autoencoder": "an autoencoder",
    "classifier": "a classifier",
    "diffusion model": "a diffusion model",
    "gan": "a GAN",
}


Known = Mapping[str, Callable[[], Loaded]]
"""Names of networks in a context, such as those of a recipe, with the functions that load them."""


def load(text: str | Source | ComposedDefense, note: Note = lambda _: None, known: Known = _NONE) -> Loaded:
    """Load a network, or compose one of several.

    Args:
        text: a spec of a source or a composed defense; or for short the name of a network of the zoo,
            ``FILE.py:NAME``, ``package.module:NAME``, a file, or the folder of a study's run.
        note: called with a message if the import of a user's file takes long.
        known: names that have another meaning in this context.

    Raises:
        SetupError, ModelFileError, SpecError: the network does not exist, or can't be loaded.
    """
    if isinstance(text, str) and text in known:
        return known[text]()
    named = source(text) if isinstance(text, str) else text
    return named.load(note) if isinstance(named, Source) else _composed(named, note, known)


def source(text: str) -> Source | ComposedDefense:
    """Return the unit of a text, without loading a network.

    Raises:
        SetupError, SpecError: the text does not name a network.
    """
    if text in zoo_names():
        return FromZoo(network=text)
    if text in units(Source):
        return parse(Source, text)
    if (name := called(text)) is not None:
        compositions = [key for key, unit in units(Defense).items() if issubclass(unit, ComposedDefense)]
        if name in compositions:
            return parse(Defense, text)  # type: ignore[return-value]
        if name in units(Source):
            return parse(Source, text)
        if name in units(Defense):
            raise SpecError(f"{name} is a way to train; to use its network give run(FOLDER, NETWORK)")
        known = [*units(Source), *compositions]
        raise SpecError(f"unknown source {shown(name)}{did_you_mean(name, known)}; known: {', '.join(known)}")
    if text.startswith(("http://", "https://")):
        return FromServer(url=text)
    if is_user_code(text):
        return FromCode(reference=text)
    path = Path(text)
    if _is_folder(text):
        return FromRun(folder=text)
    if path.suffix in SUFFIXES or kind_of(path) == "torchscript":
        return FromFile(path=text)
    if path.suffix in _PICKLES:
        raise SetupError(
            f"{shown(text)} runs code when it is read; give FILE.py:FUNCTION, a function of yours that loads "
            "it and returns the classifier"
        )
    if "(" in text:
        raise SpecError(
            f"can't parse model {shown(text)}; expected for example {Source.example}; put a path with "
            'spaces or brackets in quotes: run("/data/run 1", baseline)'
        )
    raise SetupError(
        f"no model {shown(text)}{did_you_mean(text, zoo_names())}; give FILE.py:FUNCTION, the folder of a "
        f"study's run, a file of a network, {', '.join(_LIBRARIES)}, or a network of the zoo: "
        f"{', '.join(zoo_names())}"
    )


def _is_folder(text: str) -> bool:
    try:
        # pathlib reads an empty path as the working folder.
        return text != "" and Path(text).is_dir()
    except (OSError, ValueError):  # for example too long for a path
        return False


def _composed(defense: ComposedDefense, note: Note, known: Known) -> Loaded:
    here, parts = working_folder() or Path(), {}
    for text in defense.networks:
        with chdir(here):  # the code of one part may have changed it
            parts[text] = load(text, note, known)
    for argument, needed in defense.network_kinds.items():
        kind = parts[getattr(defense, argument)].network_kind
        if kind not in {None, needed}:
            raise SpecError(
                f"{defense.name}: {argument} must be {ARTICLES[needed]}; "
                f"{getattr(defense, argument)} is {ARTICLES[kind or '']}"
            )
    names = [one_line(part.name, _LONGEST_PART) for part in parts.values()]
    files = [part.files for part in parts.values()]
    remarks = [part.remarks + part.in_front for part in parts.values()]
    return Loaded(
        network=defense.compose({text: part.whole for text, part in parts.items()}),
        name="-".join([defense.name, *names]),
        origin=repr(defense),
        network_kind="classifier",
        files=hashlib.sha256("".join(files).encode()).hexdigest() if any(files) else "",
        remarks=tuple(dict.fromkeys(itertools.chain(*remarks))),
    )
