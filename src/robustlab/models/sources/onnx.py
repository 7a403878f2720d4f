"""A network of an ONNX file: converted to torch, or run by onnxruntime without gradients."""

import warnings
from collections.abc import Sequence
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
_ANY_SIZE = 32
"""Of an axis whose size the network leaves open."""

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
            options.log_severity_level = 3  # errors only
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
        network, reason = _converted(model, names.index(output), black_box, declared)
        remarks = [f"{path.name} runs in onnxruntime, without gradients, since {reason}"]
        wrapped, on_input = in_declared_input(network or black_box, declared)
        return Loaded(
            network=wrapped,
            name=path.stem,
            origin=self.path if self.output is None else self.brief(),
            files=hash_of(content, self.output or ""),
            determined=True,
            remarks=(*(() if network else remarks), *on_input),
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


def _differ(network: nn.Module, black_box: OnnxRuntime, declared: Sequence[int | None]) -> bool:
    """Return whether two networks answer differently to a random input; False if no input is known."""
    shape = [size or _ANY_SIZE for size in declared]
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    try:
        expected = black_box(images)
    except Exception:  # the sizes that the network leaves open are not any
        return False
    gap, largest = (network(images) - expected).abs().max(), expected.abs().max()
    return bool(gap > _TOLERANCE * largest)


def _converted(
    model: Any, at: int, black_box: OnnxRuntime, declared: Sequence[int | None]
) -> tuple[nn.Module | None, str]:
    """Return the network in torch, or None and the reason why it can't be converted."""
    convert = imported("onnx2torch", "onnx").convert
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            network: nn.Module = convert(model).eval()
            if len(black_box.session.get_outputs()) > 1:
                network = _OneOutput(network, at)
            if _differ(network, black_box, declared):
                return None, "the network that onnx2torch made of it has other answers"
    except Exception as error:  # of an operation that onnx2torch does not know, or of any other kind
        return None, f"onnx2torch can't convert it ({one_line(in_one_line(error), _LONGEST_REASON)})"
    return network, ""
