"""The classifier that is evaluated: where it comes from, and what identifies it."""

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from robustlab.core import seeding, user_code
from robustlab.core.calling import UserCodeError, ask, calling
from robustlab.core.errors import ModelFileError, RobustlabError, SetupError, did_you_mean
from robustlab.core.isolation import working_folder
from robustlab.core.text import a_kind, one_line, printable, shown
from robustlab.evaluation.guarded import logits_of
from robustlab.evaluation.identity import describe, hash_tensors
from robustlab.models.checkpoints import kind_of, load_weights
from robustlab.models.files import load_network
from robustlab.models.zoo import load_from_zoo, zoo_names

_LONGEST_NAME = 100


@dataclass(frozen=True, kw_only=True)
class LoadedClassifier:
    """A classifier, ready to be attacked.

    Attributes:
        model: images (N, C, H, W) in [0, 1] to logits (N, K), in eval mode.
        network: the user's own one, which the model may put something in front of; its weights are hashed.
        name: short, for people.
        source: where it came from.
        code: the hash of what the weights do not say: the classes' code, their settings, the user's file.
        preprocessing: what was put in front of the network at the user's wish, in words; empty: nothing.
        remarks: what the user must know of how it was loaded.
    """

    model: nn.Module
    network: nn.Module
    name: str
    source: str
    code: str
    preprocessing: str = ""
    remarks: tuple[str, ...] = ()

    def sha256(self) -> str:
        """Return the hash of all parameters and buffers, those that are not saved included."""
        with calling("the model", " when its weights were read"):
            return hash_tensors(self.network)


def load_classifier(
    model: str | nn.Module,
    *,
    weights: str | None = None,
    network: str | None = None,
    name: str | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> LoadedClassifier:
    """Load a classifier.

    Args:
        model: ``FILE.py:NAME`` or ``package.module:NAME``, a network or a function that is called with no
            argument; the folder of a study's run; a ``.safetensors`` file that `save_network` wrote; a
            TorchScript file; the name of a network of the zoo (also where the working directory holds a file
            of that name); or the network itself.
        weights: a file of weights to load into it; see `load_weights`.
        network: which network of the run.
        name: what to call it; default: a name made from the other arguments.
        note: where to say that a user's file takes long to import.

    Raises:
        SetupError, ModelFileError: there is no such thing, or it is no classifier.
    """
    here = working_folder() or Path()  # before the model's own code may change it
    of_zoo = isinstance(model, str) and model in zoo_names()
    if network is not None and (of_zoo or not (isinstance(model, str) and Path(model).is_dir())):
        raise SetupError("a network can only be named with the folder of a study's run as the model")
    if isinstance(model, nn.Module):
        loaded, default, source, file_hash = model, type(model).__name__, "Python", ""
    elif of_zoo:
        loaded, default, source, file_hash = load_from_zoo(model), model, f"the zoo's {model}", ""
    elif user_code.is_user_code(model):
        loaded, file_hash = user_code.call(model, note)
        if not isinstance(loaded, nn.Module):
            raise SetupError(f"{model} returned {a_kind(loaded)}, not a torch.nn.Module")
        default, source = f"{Path(model.rpartition(':')[0]).stem}-{model.rpartition(':')[2]}", model
    elif kind_of(Path(model)) == "torchscript":
        loaded, file_hash, default, source = _script(Path(model)), "", Path(model).stem, model
    else:
        path = _network_file(model, network)
        loaded, file_hash, source = load_network(path), "", str(path)
        default = path.stem if network is None and path == Path(model) else f"{Path(model).name}-{path.stem}"
    remark = ""
    with calling("the model", " when it was read"):
        _check_values(loaded)
        if weights is not None:
            remark = load_weights(loaded, here / weights)
            default, source = Path(weights).stem, f"{source} with {weights}"
        code = hashlib.sha256((file_hash + describe(loaded)).encode()).hexdigest()
    return LoadedClassifier(
        model=loaded,
        network=loaded,
        name=one_line(name or default, _LONGEST_NAME),
        source=printable(source),
        code=code,
        remarks=(remark,) if remark else (),
    )


def _check_values(model: nn.Module) -> None:
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(value):
            raise SetupError(f"the model's {name} has no shape yet; show the model one image first")
        if value.is_meta:
            raise SetupError(f"the model's {name} is on the meta device, without values; build it on another")


def _script(path: Path) -> nn.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch would rather export
            script: nn.Module = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
            return script
    except Exception as error:  # a damaged file fails anywhere in the reader
        raise ModelFileError(f"{path} is a TorchScript file that can't be read; it may be damaged") from error


def _network_file(model: str, network: str | None) -> Path:
    path = Path(model)
    if path.is_dir():
        if (path / "run.json").exists() and not (path / "manifest.json").exists():
            raise SetupError(
                f"{path} holds a study that did not end: its networks may be of two different runs; "
                "run the same command again, or give the file of one network"
            )
        found = {file.stem: file for file in sorted((path / "models").glob("*.safetensors"))}
        if not found:
            raise SetupError(f"{path} holds no trained networks; expected the folder of a study's run")
        if network is None and len(found) == 1:
            return next(iter(found.values()))
        if network not in found:
            hint = "" if network is None else did_you_mean(network, found)
            wrong = "" if network is None else f"there is no network {shown(network)}{hint}; "
            raise SetupError(f"{path}: {wrong}name a network; it has: {', '.join(found)}")
        return found[network]
    if path.suffix in {".pt", ".pth", ".ckpt", ".bin", ".pt2"}:
        if kind_of(path) == "export":
            raise SetupError(
                f"{path} is a torch.export program; write a function that returns "
                f"torch.export.load({path.name!r}).module(), and give --model FILE.py:FUNCTION"
            )
        raise SetupError(
            f"{path} holds weights, but not the network they belong to; "
            f"give --model FILE.py:FUNCTION --weights {path}"
        )
    if path.suffix == ".safetensors":
        return path
    raise SetupError(
        f"no model {shown(model)}{did_you_mean(model, zoo_names())}; give FILE.py:FUNCTION, the folder of a "
        f"study's run, a .safetensors file, or a network of the zoo: {', '.join(zoo_names())}"
    )


def class_count(model: nn.Module, images: Tensor) -> int:
    """Return how many classes a model tells apart, from its answer to images (N, C, H, W).

    Raises:
        RobustlabError: it refuses the images, changes them, or returns something other than logits.
    """
    shown = images.clone()
    with torch.no_grad(), seeding.isolated(0):
        classes = logits_of(model, shown).shape[1]
    if not torch.equal(shown, images):
        raise RobustlabError(
            "the model changes the images it is given, by an operation in place (such as images.sub_(mean)); "
            "every figure would be of other images: let it work on a copy"
        )
    return classes


def in_fastest_layout(model: nn.Module, images: Tensor) -> nn.Module:
    """Put a network that belongs to us into channels-last layout, unless its code can't do with that."""
    # About one and a half times as fast on processors with AVX-512 (LOG.md). Some reshapes fail in it, and
    # weights of three-dimensional convolutions refuse it.
    try:
        with torch.no_grad(), seeding.isolated(0), calling("the model"):
            model.to(memory_format=torch.channels_last)
            ask(model, images)
    except UserCodeError as error:
        if error.quits:
            raise
        model.to(memory_format=torch.contiguous_format)
    return model
