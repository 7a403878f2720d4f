"""The classifier to evaluate: its source and its identity."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from robustlab.core import seeding
from robustlab.core.calling import UserCodeError, ask, calling
from robustlab.core.class_names import class_names_of
from robustlab.core.errors import SetupError
from robustlab.core.inputs import check_unchanged
from robustlab.core.isolation import working_folder
from robustlab.core.text import one_line, printable
from robustlab.defenses.base import ComposedDefense
from robustlab.defenses.loading import ARTICLES, load, source
from robustlab.evaluation.checked_model import logits_of
from robustlab.evaluation.identity import describe, hash_tensors
from robustlab.models.black_box import BlackBox
from robustlab.models.checkpoints import load_weights
from robustlab.models.preprocessing import Preprocessing
from robustlab.models.sources import FromRun, Loaded, Source
from robustlab.shipped import zoo_names

_LONGEST_NAME = 100
_ONLY_OF_A_RUN = "a network can only be named with the folder of a study's run as the model"


@dataclass(frozen=True, kw_only=True)
class LoadedClassifier:
    """A classifier, ready to be attacked.

    Attributes:
        model: images (N, C, H, W) in [0, 1] to logits (N, K), in eval mode.
        network: the user's own network, to which the model may add layers in front; its weights are hashed.
        name: a short name for users.
        source: its source, as text.
        code: the hash of all except the weights: the classes' code, their settings, the user's file.
        file: the hash of the file that determines the network alone; empty: its weights are hashed.
        preprocessing: what is in front of the network: its source's preprocessing, or that of the options.
        class_names: of the logits in their order, if the source or the network itself states them.
        remarks: notes for the user on the loading.
    """

    model: nn.Module
    network: nn.Module
    name: str
    source: str
    code: str
    file: str = ""
    preprocessing: Preprocessing | None = None
    class_names: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def sha256(self) -> str:
        """Return the hash of all parameters and buffers, also of those that are not saved, or of its file."""
        if self.file:
            return self.file
        with calling("the model", " when its weights were read"):
            return hash_tensors(self.network)


def load_classifier(
    model: str | Path | nn.Module,
    *,
    weights: str | Path | None = None,
    network: str | None = None,
    name: str | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> LoadedClassifier:
    """Load a classifier.

    Args:
        model: a text as `defenses.loading.load` takes it, or the network itself.
        weights: a file of weights to load into it; see `load_weights`.
        network: which network of the run.
        name: its name; default: a name made from the other arguments.
        note: called with a message if the import of a user's file takes long.

    Raises:
        SetupError, ModelFileError: it does not exist, or is not a classifier.
    """
    here = working_folder() or Path()  # the model's own code may change the working directory
    if isinstance(model, nn.Module):
        if network is not None:
            raise SetupError(_ONLY_OF_A_RUN)
        called = model.name if isinstance(model, BlackBox) else type(model).__name__
        loaded = Loaded(network=model, name=called, origin="Python")
    else:
        loaded = load(_named(str(model), network), note)
    return classifier_of(loaded, name=name, weights=weights, folder=here)


def classifier_of(
    loaded: Loaded,
    *,
    name: str | None = None,
    weights: str | Path | None = None,
    folder: Path = Path(),
) -> LoadedClassifier:
    """Return a network as the classifier of an evaluation, with its identity.

    Args:
        loaded: the network.
        name: the classifier's name; default: the network's.
        weights: a file of weights to load into it; see `load_weights`.
        folder: the folder to which that path is relative.

    Raises:
        SetupError, ModelFileError: it is not a classifier, or the weights do not fit.
    """
    if loaded.network_kind not in {None, "classifier"}:
        raise SetupError(f"{loaded.origin} is {ARTICLES[str(loaded.network_kind)]}, not a classifier")
    default, origin, remarks = loaded.name, loaded.origin, list(loaded.remarks)
    with calling("the model", " when it was read"):
        _check_values(loaded.network)
        if weights is not None:
            remarks.append(load_weights(loaded.network, folder / weights))
            default, origin = Path(weights).stem, f"{origin} with {weights}"
        described = repr(loaded.preprocessing) if loaded.determined else describe(loaded.whole)
        code = hashlib.sha256((loaded.files + described).encode()).hexdigest()
    return LoadedClassifier(
        model=loaded.whole,
        network=loaded.network,
        name=one_line(name or default, _LONGEST_NAME),
        source=printable(origin),
        code=code,
        file=loaded.files if loaded.determined and weights is None else "",
        preprocessing=loaded.preprocessing,
        class_names=loaded.class_names or _names_in(loaded.network),
        remarks=tuple(remark for remark in remarks if remark),
    )


def _names_in(network: nn.Module) -> tuple[str, ...]:
    """Return the names of the classes that a network, a part of it or a black box's own object states."""
    for part in network.modules():
        owners: list[object] = [part]
        if isinstance(part, BlackBox):
            owners = [part.predict]
            owners += [getattr(part.predict, name, None) for name in ("described_as", "estimator")]
        for owner in owners:
            if names := class_names_of(owner):
                return names
    return ()


def _check_values(model: nn.Module) -> None:
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(value):
            raise SetupError(f"the model's {name} has no shape yet; show the model one image first")
        if value.is_meta:
            raise SetupError(f"the model's {name} is on the meta device, without values; build it on another")


def _named(model: str, network: str | None) -> Source | ComposedDefense:
    if network is None:
        return source(model)
    if model in zoo_names() or not Path(model).is_dir():
        raise SetupError(_ONLY_OF_A_RUN)
    return FromRun(folder=model, network=network)


def class_count(model: nn.Module, images: Tensor) -> int:
    """Return the number of a model's classes, from its answer to images (N, C, H, W).

    Raises:
        RobustlabError: the model refuses the images, changes them, or returns something other than logits.
    """
    shown = images.clone()
    with torch.no_grad(), seeding.isolated(0):
        classes = logits_of(model, shown).shape[1]
    check_unchanged(shown, images)
    return classes


def in_fastest_layout(model: nn.Module, images: Tensor) -> nn.Module:
    """Put a network that robustlab loaded into channels-last layout, unless its code fails with it."""
    # About one and a half times as fast on processors with AVX-512 (LOG.md, "Speed of gradients and
    # training"). Some reshapes fail in it, and weights of three-dimensional convolutions refuse it.
    try:
        with torch.no_grad(), seeding.isolated(0), calling("the model"):
            model.to(memory_format=torch.channels_last)
            ask(model, images)
    except UserCodeError as error:
        if error.quits:
            raise
        model.to(memory_format=torch.contiguous_format)
    return model
