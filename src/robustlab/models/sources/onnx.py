"""A network of an ONNX file: converted to torch, or run by onnxruntime without gradients."""

import warnings
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from robustlab.core.calling import in_one_line
from robustlab.core.errors import ModelFileError, did_you_mean
from robustlab.core.spec import BareText, register
from robustlab.core.text import one_line, shown
from robustlab.models.sources.base import Loaded, Note, Source
from robustlab.models.sources.declared import in_declared_input
from robustlab.models.sources.library import file_of, hash_of, imported, loading

_TOLERANCE = 1e-3
"""Of the converted network's logits, relative to the largest one."""
_TYPES = {"tensor(double)": torch.float64, "tensor(float16)": torch.float16, "tensor(uint8)": torch.uint8}
_LONGEST_REASON = 100
_SIDES = (32, 224, 28, 64, 96, 128, 160, 256, 299, 384, 512)
"""The sides of images that are tried where the network leaves them open."""

_sessions: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()


class OnnxRuntime(nn.Module):
    """An ONNX network that onnxruntime runs: a black box without gradients.

    The file is kept as a buffer, so it is hashed as weights are, and the module can be pickled.
    """

    black_box: ClassVar[bool] = True
    content: Tensor

    def __init__(self, content: bytes, output: str) -> None:
        super().__init__()
        self.register_buffer("content", torch.frombuffer(bytearray(content), dtype=torch.uint8))
        self.output = output
        self.training = False

    @property
    def session(self) -> Any:
        """The session of onnxruntime, made on first use."""
        if self not in _sessions:
            ort = imported("onnxruntime", "onnx")
            options = ort.SessionOptions()
            options.log_severity_level = 4  # its errors are raised, and need not be printed
            content = self.content.cpu().numpy().tobytes()
            _sessions[self] = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        return _sessions[self]

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Return the file's output for an input of the declared shape."""
        (given, *_) = self.session.get_inputs()
        values = images.cpu().to(_TYPES.get(given.type, torch.float32)).numpy()
        (answer,) = self.session.run([self.output], {given.name: values})
        return torch.from_numpy(answer).to(images.device)


@register("onnx")
class FromOnnx(Source):
    """A network of an ONNX file, converted to torch where possible; its path means the same."""

    path: BareText
    """The path of a ``.onnx`` file."""
    output: BareText | None = None
    """The output with the logits, if the network has several."""

    def load(self, note: Note) -> Loaded:
        del note
        path = file_of(self.path)
        imported("onnxruntime", "onnx")
        with loading(self.path, "it is not an ONNX file, or it is damaged"):
            model = imported("onnx", "onnx").load(str(path))  # with weights that lie in files beside it
            content = model.SerializeToString()
            (outer, *_), names = _inputs_and_outputs(content)
        output = self._output(names)
        black_box = OnnxRuntime(content, output)
        declared = [size if isinstance(size, int) else None for size in outer.shape]
        network, remarks = _converted(model, names.index(output), black_box, declared, path.name)
        wrapped, on_input = in_declared_input(network or black_box, declared)
        return Loaded(
            network=wrapped,
            name=path.stem,
            origin=self.path if self.output is None else self.brief(),
            files=hash_of(content, self.output or ""),
            determined=True,
            remarks=(*remarks, *on_input),
        )

    def _output(self, names: Sequence[str]) -> str:
        wished = self.output or (names[0] if len(names) == 1 else "logits")
        if wished not in names:
            hint = did_you_mean(wished, names) if self.output else ""
            offered = one_line(", ".join(names), _LONGEST_REASON)
            raise ModelFileError(
                f"{self.path} has no output {shown(wished)}{hint}; it has {offered}: name the one with the "
                f"logits, onnx({self.path}, output=NAME)"
            )
        return wished


class _OneOutput(nn.Module):
    """A converted network with several outputs, as a function to one of them."""

    def __init__(self, network: nn.Module, at: int) -> None:
        super().__init__()
        self.network, self.at = network, at
        self.training = network.training

    def forward(self, images: Tensor) -> Tensor:
        answers: Sequence[Tensor] = self.network(images)
        return answers[self.at]


def _inputs_and_outputs(content: bytes) -> tuple[Any, list[str]]:
    session = OnnxRuntime(content, "").session
    return session.get_inputs(), [output.name for output in session.get_outputs()]


def _shapes(declared: Sequence[int | None]) -> Iterator[tuple[int, ...]]:
    """Yield shapes with usual sizes where a network leaves them open; the channels may be first or last."""
    batch, *rest = declared
    sides = _SIDES if None in rest else (1,)
    for side, channels, place, first in product(sides, (3, 1), (0, -1), (2, 1)):
        filled = [side if size is None else size for size in rest]
        if len(rest) == 3 and rest[place] is None:
            filled[place] = channels
        yield (batch or first, *filled)


def _agree(network: nn.Module, black_box: OnnxRuntime, declared: Sequence[int | None]) -> bool | None:
    """Return whether two networks answer alike to a random input; None if no input is known."""
    for shape in dict.fromkeys(_shapes(declared)):
        images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        try:
            expected = black_box(images)
        except Exception:  # the network refuses these sizes in any way
            continue
        if expected.isfinite().all():
            gap, largest = (network(images) - expected).abs().max(), expected.abs().max()
            return bool(gap <= _TOLERANCE * largest)  # False for NaN
    return None


def _converted(
    model: Any, at: int, black_box: OnnxRuntime, declared: Sequence[int | None], name: str
) -> tuple[nn.Module | None, tuple[str, ...]]:
    """Return the network in torch, or None if it can't be converted, and what the user must know of it."""
    convert = imported("onnx2torch", "onnx").convert
    without_gradients = f"{name} runs in onnxruntime, without gradients, since"
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            network: nn.Module = convert(model).eval()
            if len(black_box.session.get_outputs()) > 1:
                network = _OneOutput(network, at)
            agree = _agree(network, black_box, declared)
    except Exception as error:  # of an operation that onnx2torch does not know, or of any other kind
        reason = one_line(in_one_line(error), _LONGEST_REASON)
        return None, (f"{without_gradients} onnx2torch can't convert it ({reason})",)
    if agree is None:
        return network, (
            f"what onnx2torch made of {name} could not be compared with onnxruntime, since the file leaves "
            "the size of its input open; compare the clean accuracy with the one that you know",
        )
    if not agree:
        return None, (f"{without_gradients} the network that onnx2torch made of it has other answers",)
    return network, ()
