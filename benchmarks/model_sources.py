"""One whole evaluation of a model of each source, up to its report; prints the table of docs/models.md.

    pip install -e ".[models,dev]"
    python benchmarks/model_sources.py                     # all, in minutes: WRN-28-10 and ViT-B/16 are large
    python benchmarks/model_sources.py timm "random forest"

The models are made on the spot, nothing is downloaded. Most have random weights: the passes are those of a
real model, but the robust accuracy says nothing. The images are parts of two photos that come with
scikit-learn. Their labels are what the model's own library answers, so the clean accuracy is 100 % if
robustlab gives the model the images as its owner does. A text is typed as ``robustlab evaluate TEXT``, a
Python object goes to `robustlab.evaluate`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits, load_sample_images
from sklearn.ensemble import RandomForestClassifier
from torch import Tensor, nn

import robustlab
from robustlab.core import seeding
from robustlab.core.errors import SetupError
from robustlab.core.progress import Progress
from robustlab.models.sources.library import imported
from robustlab.runs.evaluation import Evaluation

THREAT = "linf(eps=4/255)"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A model, and what its own library answers.

    Attributes:
        model: what one types, in the folder of the model's files; or the object, in Python.
        answers: from images (N, C, H, W) in [0, 1] to logits (N, K), or to classes (N,).
        images: (N, C, H, W), uint8.
        typed: what the table shows for an object.
        weights: the file of ``--weights``.
        close: called at the end.
    """

    model: Any
    answers: Callable[[Tensor], Tensor]
    images: Tensor
    typed: str = ""
    weights: str | None = None
    close: Callable[[], None] = lambda: None

    @property
    def labels(self) -> Tensor:
        """The library's own answers (N,)."""
        with torch.no_grad():
            found = self.answers(self.images / 255)
        return found if found.ndim == 1 else found.argmax(dim=1)

    @property
    def shown(self) -> str:
        """What one types, for the table."""
        text = self.typed or (f'"{self.model}"' if "(" in self.model else self.model)
        return text if self.weights is None else f"{text} --weights {self.weights}"


def parts_of_photos(n: int, side: int) -> Tensor:
    """Return squares (n, 3, side, side) of two photos, uint8."""
    photos = torch.from_numpy(np.stack(load_sample_images().images)).permute(0, 3, 1, 2)
    places = torch.Generator().manual_seed(0)
    parts = []
    for at in range(n):
        top, left = (int(torch.randint(size - side, (), generator=places)) for size in photos.shape[2:])
        parts.append(photos[at % 2, :, top : top + side, left : left + side])
    return torch.stack(parts)


def small_network() -> nn.Module:
    """Return a network of images (N, 3, 32, 32) for ten classes."""
    with seeding.isolated(1):
        first, second = nn.Conv2d(3, 8, 3, 2), nn.Conv2d(8, 16, 3, 2)
        return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), nn.Linear(784, 10)).eval()


def own_code(folder: Path) -> Row:
    """Return the network of a user's file."""
    import wide_resnet

    (folder / "wide_resnet.py").write_bytes(Path(wide_resnet.__file__).read_bytes())
    return Row(model="wide_resnet.py:network", answers=wide_resnet.network(), images=parts_of_photos(2, 32))


def lightning_module(folder: Path) -> Row:
    """Return a Lightning module as it is after `fit`."""
    import lightning

    class Digits(lightning.LightningModule):
        """Trains a classifier of digits."""

        def __init__(self) -> None:
            super().__init__()
            self.network = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.network(images)
            return logits

        def training_step(self, batch: Any, index: int) -> Tensor:
            del index
            images, labels = batch
            return nn.functional.cross_entropy(self(images), labels)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=0.01)

    images, labels = digits()
    data = torch.utils.data.TensorDataset(images[20:].float() / 255, labels[20:])
    with seeding.isolated(0):
        module = Digits()
        trainer = lightning.Trainer(
            max_epochs=3, accelerator="cpu", default_root_dir=folder, logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(module, torch.utils.data.DataLoader(data, batch_size=64))
    return Row(model=module, typed="evaluate(module)", answers=module.eval(), images=images[:20])


def of_torchvision(name: str, folder: Path) -> Row:
    """Return a network of torchvision, and its weights in a file."""
    from torchvision import models

    with seeding.isolated(0):
        network = models.get_model(name).eval()
        if hasattr(network, "heads"):  # those of a new ViT are zero
            nn.init.normal_(network.heads.head.weight, std=0.02)
    torch.save(network.state_dict(), folder / f"{name}.pt")
    images = parts_of_photos(4, 224)
    return Row(model=f"torchvision({name})", weights=f"{name}.pt", answers=network, images=images)


def of_timm(folder: Path) -> Row:
    """Return a network of timm, with weights in a file, behind the preprocessing that timm states."""
    timm = imported("timm", "timm")
    with seeding.isolated(0):
        network = timm.create_model("mobilenetv3_small_100", pretrained=False).eval()
    torch.save(network.state_dict(), folder / "mobilenet.pt")
    transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=network))
    return Row(
        model="timm(mobilenetv3_small_100, pretrained=False)",
        weights="mobilenet.pt",
        answers=lambda images: network(transform(images)),
        images=parts_of_photos(4, 256),
    )


def of_transformers(folder: Path) -> Row:
    """Return a ViT that a configuration makes, and its folder."""
    transformers = imported("transformers", "hf")
    with seeding.isolated(0):
        config = transformers.ViTConfig(
            hidden_size=96, num_hidden_layers=4, num_attention_heads=3, intermediate_size=192, image_size=64,
            patch_size=8, id2label=dict(enumerate(["temple", "flower", "sky"])),
        )  # fmt: skip
        model = transformers.ViTForImageClassification(config).eval()
    processor = transformers.ViTImageProcessor(size={"height": 64, "width": 64})
    for part in (model, processor):
        part.save_pretrained(folder / "my_vit")

    def answers(images: Tensor) -> Tensor:
        logits: Tensor = model(**processor(list(images), do_rescale=False, return_tensors="pt")).logits
        return logits

    return Row(model="hf(./my_vit)", answers=answers, images=parts_of_photos(8, 96))


def onnx_file(folder: Path) -> Row:
    """Return a network of an ONNX file."""
    network = small_network()
    options: dict[str, Any] = {"input_names": ["images"], "output_names": ["logits"], "dynamo": False}
    options["dynamic_axes"] = {"images": {0: "n"}, "logits": {0: "n"}}
    torch.onnx.export(network, (torch.rand(1, 3, 32, 32),), str(folder / "net.onnx"), **options)
    return Row(model="net.onnx", answers=by_onnxruntime(folder / "net.onnx"), images=parts_of_photos(8, 32))


def onnx_without_gradients(folder: Path) -> Row:
    """Return a network of an ONNX file with an operation that onnx2torch does not know."""
    onnx, row = imported("onnx", "onnx"), onnx_file(folder)
    file = onnx.load(str(folder / "net.onnx"))
    last = file.graph.node[-1]
    last.output[0] = "plain"
    file.graph.node.append(onnx.helper.make_node("Shrink", ["plain"], ["logits"], lambd=0.01, bias=0.01))
    onnx.save(file, str(folder / "box.onnx"))
    return Row(model="box.onnx", answers=by_onnxruntime(folder / "box.onnx"), images=row.images)


def by_onnxruntime(file: Path) -> Callable[[Tensor], Tensor]:
    """Return an ONNX file as a function."""
    session = imported("onnxruntime", "onnx").InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def keras_file(folder: Path) -> Row:
    """Return a model of Keras 3 in a file; Keras takes (N, H, W, C)."""
    from robustlab.models.sources.keras import _keras

    keras = _keras()  # on its torch backend
    layers = keras.layers
    parts = [layers.Input((32, 32, 3)), layers.Conv2D(8, 3, 2, activation="relu"), layers.Flatten()]
    model = keras.Sequential([*parts, layers.Dense(10)])
    model.save(folder / "net.keras")

    def answers(images: Tensor) -> Tensor:
        return torch.from_numpy(model.predict(images.permute(0, 2, 3, 1).numpy(), verbose=0))

    return Row(model="net.keras", answers=answers, images=parts_of_photos(8, 32))


def torchscript_file(folder: Path) -> Row:
    """Return a network in a file of TorchScript."""
    script: Any = torch.jit.trace(small_network(), torch.rand(2, 3, 32, 32))  # type: ignore[no-untyped-call]
    script.save(str(folder / "net.pt"))
    return Row(model="net.pt", answers=script, images=parts_of_photos(8, 32))


def exported_file(folder: Path) -> Row:
    """Return a network in a file of torch.export."""
    program = torch.export.export(small_network(), (torch.rand(1, 3, 32, 32),))
    torch.export.save(program, folder / "net.pt2")
    return Row(model="net.pt2", answers=small_network(), images=parts_of_photos(8, 32))


def digits() -> tuple[Tensor, Tensor]:
    """Return scikit-learn's digits (1797, 1, 8, 8), uint8, and their classes."""
    values, labels = load_digits(return_X_y=True)
    return torch.from_numpy(values / 16 * 255).to(torch.uint8).reshape(-1, 1, 8, 8), torch.from_numpy(labels)


def random_forest(_: Path) -> Row:
    """Return a random forest of scikit-learn, which has no gradient."""
    images, labels = digits()
    forest = RandomForestClassifier(20, random_state=0).fit(
        (images[20:] / 255).flatten(1).numpy(), labels[20:]
    )

    def answers(images: Tensor) -> Tensor:
        return torch.from_numpy(forest.predict(images.flatten(1).numpy()))

    return Row(model=forest, typed="evaluate(forest)", answers=answers, images=images[:10])


FUNCTION = """
import numpy as np

def predict(images):
    '''Returns probabilities (N, 2): is it bright?'''
    bright = 1 / (1 + np.exp(-20 * (images.mean(axis=(1, 2, 3)) - 0.5)))
    return np.stack([1 - bright, bright], axis=1)
"""


def prediction_function(folder: Path) -> Row:
    """Return a function that predicts, in a user's file."""
    (folder / "my.py").write_text(FUNCTION)
    return Row(model="predict(my.py:predict)", answers=_bright, images=parts_of_photos(4, 32))


def _bright(images: Tensor) -> Tensor:
    made: dict[str, Any] = {}
    exec(FUNCTION, made)
    return torch.from_numpy(made["predict"](images.numpy()))


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        """Answer about images as a user's server does."""
        images = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["images"]
        answer = json.dumps({"probabilities": _bright(torch.tensor(images)).tolist()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Print nothing."""


def http_server(_: Path) -> Row:
    """Return the address of a server in this process."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close() -> None:
        server.shutdown()
        server.server_close()

    address = f"http://127.0.0.1:{server.server_port}/predict"
    shown = "http://127.0.0.1:PORT/predict"
    return Row(model=address, typed=shown, answers=_bright, images=parts_of_photos(2, 16), close=close)


ROWS: dict[str, Callable[[Path], Row]] = {
    "your own code, WRN-28-10": own_code,
    "Lightning, after fit": lightning_module,
    "torchvision, ResNet-18": lambda folder: of_torchvision("resnet18", folder),
    "torchvision, ViT-B/16": lambda folder: of_torchvision("vit_b_16", folder),
    "timm, MobileNetV3": of_timm,
    "transformers, a ViT of a configuration": of_transformers,
    "ONNX": onnx_file,
    "ONNX, with an operation that onnx2torch lacks": onnx_without_gradients,
    "Keras 3": keras_file,
    "TorchScript": torchscript_file,
    "torch.export": exported_file,
    "scikit-learn, random forest": random_forest,
    "a function": prediction_function,
    "an HTTP server": http_server,
}


def given(row: Row, folder: Path) -> dict[str, Any]:
    """Return the images and weights as options of `robustlab.evaluate`; a text gets files in a folder."""
    if not isinstance(row.model, str):
        return {"images": row.images, "labels": row.labels}
    np.savez(folder / "images.npz", images=row.images.numpy(), labels=row.labels.numpy())
    return {"dataset": "npz(images.npz)"} | ({"weights": row.weights} if row.weights else {})


def evaluated(row: Row, folder: Path) -> Evaluation:
    """Evaluate a model up to its report, as its owner would, and return the figures."""
    options = given(row, folder) | {"threat": THREAT, "out": folder / "run"}
    if isinstance(row.model, str):
        words = [f"--{name}={value}" for name, value in options.items()]
        command = [sys.executable, "-m", "robustlab", "evaluate", row.model, *words]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
    else:
        robustlab.evaluate(row.model, progress=Progress(), **options)
    if not (folder / "run" / "report.html").is_file():
        raise FileNotFoundError("the evaluation wrote no report")
    return Evaluation.model_validate_json((folder / "run" / "results.json").read_text())


def line(name: str, row: Row, found: Evaluation) -> str:
    """Return a line of the table."""
    passes = f"{found.forwards:,} + {found.backwards:,} passes"
    kind = "gradients"
    if found.subject.black_box:
        passes, kind = f"{found.forwards:,} queries", f"a black box, {found.subject.black_box}"
    size = "x".join(map(str, found.images.shape))
    shares = [f"{figure.value:.0%}".replace("%", " %") for figure in (found.clean, found.robust)]
    cells = [
        name,
        f"`{row.shown}`",
        f"{found.images.n} of {size}",
        kind,
        passes,
        f"{found.seconds:.0f} s",
        *shares,
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", help="only the models whose names hold one of these words")
    words = parser.parse_args().words
    warnings.simplefilter("ignore")  # of the libraries, while they make files
    print("| model | what one types | images | what comes out | cost | time | clean | robust |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for name, make in ROWS.items():
        if words and not any(word.lower() in name.lower() for word in words):
            continue
        with tempfile.TemporaryDirectory() as place:
            try:
                row = make(Path(place))
            except (ModuleNotFoundError, SetupError) as error:
                print(f"| {name} | {error} | | | | | | |", flush=True)
                continue
            try:
                print(line(name, row, evaluated(row, Path(place))), flush=True)
            finally:
                row.close()


if __name__ == "__main__":
    main()
