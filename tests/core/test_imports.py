"""What a user's file can import: as in Python itself, and each file its own modules."""

import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from robustlab.core import user_code
from robustlab.core.errors import SetupError
from robustlab.evaluation.subject import load_classifier

NET = """
import torch
{imports}

class Net(torch.nn.Module):
    def forward(self, images):
        {late}
        return images.flatten(1)[:, :2] * SCALE
"""

Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def put(name: str, content: str) -> None:
        path = tmp_path / "work" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")

    return put


def answer(reference: str) -> float:
    before = set(sys.modules), list(sys.path), sys.argv
    logits: Tensor = load_classifier(reference).model(torch.ones(1, 1, 2, 2))
    assert (set(sys.modules), sys.path, sys.argv) == before
    return float(logits[0, 0])


def net(imports: str = "", late: str = "") -> str:
    return NET.format(imports=imports, late=late or "# nothing is imported here")


@pytest.mark.parametrize(
    ("imports", "late"),
    [
        ("from models.layers import SCALE", ""),
        ("from .layers import SCALE", ""),
        ("from layers import SCALE", ""),
        ("", "from models.layers import SCALE"),
        ("", "from .layers import SCALE"),
        ("", "from layers import SCALE"),
        ("import layers", "SCALE = layers.SCALE"),
        ("", "import models.layers; SCALE = models.layers.SCALE"),
    ],
)
@pytest.mark.parametrize("package", [False, True])
def test_a_file_imports_as_in_python(imports: str, late: str, *, package: bool, write: Write) -> None:
    write("models/layers.py", "from root import SCALE")
    write("root.py", "SCALE = 3.0")
    write("models/cnn.py", net(imports, late))
    if package:
        write("models/__init__.py", "")
    assert answer("models/cnn.py:Net") == 3
    if not {"from layers import SCALE", "import layers"} & {imports, late}:  # that only works beside a file
        assert answer("models.cnn:Net") == 3


def test_a_relative_import_works_outside_the_working_directory(write: Write, tmp_path: Path) -> None:
    write("../elsewhere/layers.py", "SCALE = 4.0")
    write("../elsewhere/cnn.py", net(late="from .layers import SCALE"))
    assert answer(f"{tmp_path}/elsewhere/cnn.py:Net") == 4


def test_helpers_of_one_name_stay_apart_also_later(write: Write) -> None:
    for folder, scale in (("one", 2.0), ("two", 5.0)):
        write(f"{folder}/helper.py", f"SCALE = {scale}\nCALLS = []")
        late = "import helper; helper.CALLS.append(1); SCALE = helper.SCALE + 100 * (len(helper.CALLS) - 1)"
        write(f"{folder}/net.py", net(late=late))
    one, two = (load_classifier(f"{folder}/net.py:Net").model for folder in ("one", "two"))
    images = torch.ones(1, 1, 2, 2)
    # The helper that a forward pass has changed is the same one at the next pass.
    assert [float(model(images)[0, 0]) for model in (one, two, one, two)] == [2, 5, 102, 105]
    assert "helper" not in sys.modules


def test_a_file_that_is_imported_late_decides_the_identity(write: Write) -> None:
    write("net.py", net(late="from helper import SCALE"))
    write("helper.py", "from deeper import SCALE")
    codes = []
    for scale in (1.0, 1.0, 2.0):
        write("deeper.py", f"SCALE = {scale}")
        codes.append(load_classifier("net.py:Net").code)
    assert codes[0] == codes[1] != codes[2]


def test_a_package_that_is_installed_is_not_hidden_by_a_folder(write: Write) -> None:
    write("torch/notes.txt", "")
    write("numpy/net.py", net("import numpy as np\nSCALE = float(np.float64(2))"))
    assert answer("numpy/net.py:Net") == 2


def test_an_installed_module_is_named_like_any_other() -> None:
    model = load_classifier("torchvision.models:squeezenet1_1").model
    assert type(model).__name__ == "SqueezeNet"


@pytest.mark.parametrize("reference", ["nothing.here:Net", "nothing:Net", "json:Net"])
def test_modules_that_are_not_there(reference: str, write: Write) -> None:
    write("unused.py", "")
    with pytest.raises(SetupError, match=r"there is no module|can't be imported|has no function"):
        load_classifier(reference)


ARGUMENTS = "import argparse; A = argparse.ArgumentParser(); A.add_argument('--lr', default=2.0); "


def test_a_file_that_parses_arguments_gets_none(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["robustlab", "evaluate", "--model", "net.py:Net"])
    write("net.py", net(ARGUMENTS + "SCALE = A.parse_args().lr"))
    assert answer("net.py:Net") == 2
    write("net.py", net(ARGUMENTS.replace("default", "required=True, default") + "A.parse_args()"))
    with pytest.raises(
        SetupError, match=r"can't be imported: SystemExit: 2 .*a file must not exit when it is loaded"
    ):
        load_classifier("net.py:Net")


def test_a_file_that_works_on_import_is_named(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    monkeypatch.setattr(user_code, "_SLOW", 0.05)
    write("slow.py", net("import time; time.sleep(0.5); SCALE = 1.0"))
    write("fast.py", net("SCALE = 1.0"))
    load_classifier("slow.py:Net", note=notes.append)
    monkeypatch.setattr(user_code, "_SLOW", 0.5)
    load_classifier("fast.py:Net", note=notes.append)
    time.sleep(0.6)
    assert len(notes) == 1
    assert "slow.py has taken 0.05 s: this file runs code on import" in notes[0]


def test_a_package_in_any_folder_is_a_library_where_a_distribution_lists_it(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"hub_{uuid.uuid4().hex[:8]}"
    for kind in ("listed", "edited"):
        write(f"{kind}/{kind}_{name}/__init__.py", net("SCALE = 1.0"))
        record = (
            f"{kind}_{name}/__init__.py,,\n" if kind == "listed" else f"__editable__.{kind}_{name}.pth,,\n"
        )
        write(f"{kind}/{kind}_{name}-1.0.dist-info/RECORD", record)
        write(f"{kind}/{kind}_{name}-1.0.dist-info/METADATA", f"Name: {kind}_{name}\nVersion: 1.0\n")
        monkeypatch.syspath_prepend(str(tmp_path / "work" / kind))
    for kind, follows in (("listed", False), ("edited", True)):
        module = __import__(f"{kind}_{name}")
        first = load_classifier(module.Net()).code
        monkeypatch.setattr(module, "SCALE", 2.0)
        assert (load_classifier(module.Net()).code != first) is follows
