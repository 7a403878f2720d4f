"""A list of eps and `--models` on the command line: output, exit codes, wrong input."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from robustlab.cli.main import app
from robustlab.cli.model_list import read_model_list
from robustlab.core.errors import RobustlabError

NETS = """
import torch
from torch import nn

def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(20, 3)).eval()

def other():
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(20, 3)).eval()

class Rounded(nn.Module):
    def forward(self, logits):
        return (1000 * logits).round() / 1000

def flat():
    return nn.Sequential(make(), Rounded()).eval()

def data():
    torch.manual_seed(2)
    images = 0.3 + 0.4 * torch.rand(12, 1, 4, 5)
    return images, make()(images).argmax(dim=1)
"""

FEW = ("--attacks", "fgsm", "--no-certify", "--no-checks")


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_list_of_eps(place: Path) -> None:
    many = ("evaluate", "nets.py:make", "--dataset", "nets.py:data", "--out", "all", *FEW)
    done = call(*many, "--threat", "linf(eps=[1/255, 8/255])")
    assert done.exit_code == 0, done.output
    assert "linf(eps=1/255)" in done.output
    assert "Comparison: all/comparison.html" in done.output
    folders = sorted(folder.name for folder in (place / "all").iterdir() if folder.is_dir())
    assert folders == ["nets.py-make-linf-1-255", "nets.py-make-linf-8-255"]
    results = json.loads((place / "all" / folders[0] / "results.json").read_text())
    assert "'linf(eps=[1/255, 8/255])'" in results["command"]
    by_eps = call(*many, "--norm", "linf", "--eps", "[1/255, 8/255]", "--json")
    assert [run["eps"] for run in json.loads(by_eps.stdout)["runs"]] == [1 / 255, 8 / 255]


def test_the_models_of_a_file(place: Path) -> None:
    (place / "list.txt").write_text(
        "# two networks\n\nnets.py:make --name first\nnets.py:other --scale 2 --mean=0.5 --std 0.25\n"
    )
    done = call("evaluate", "--models", "list.txt", "--dataset", "nets.py:data", "--out", "all", *FEW)
    assert done.exit_code == 0, done.output
    results = [json.loads(file.read_text()) for file in sorted((place / "all").glob("*/results.json"))]
    assert [one["subject"]["name"] for one in results] == ["first", "nets-other"]
    assert "2" in results[1]["subject"]["preprocessing"]
    assert not results[0]["subject"]["preprocessing"]


def test_a_model_that_fails_ends_with_2_and_the_others_are_there(place: Path) -> None:
    (place / "list.txt").write_text("nets.py:make\nnets.py:nothing\nnets.py:other\n")
    done = call("evaluate", "--models", "list.txt", "--dataset", "nets.py:data", "--out", "all", *FEW)
    assert done.exit_code == 2
    assert "Traceback" not in done.output
    assert "not evaluated: nets.py-nothing" in done.stderr
    assert "Comparison: all/comparison.html" in done.output


def test_a_file_of_one_model_is_one_evaluation(place: Path) -> None:
    (place / "list.txt").write_text("nets.py:make\n")
    done = call("evaluate", "--models", "list.txt", "--dataset", "nets.py:data", "--out", "all", *FEW)
    assert done.exit_code == 0, done.output
    assert "Report:" in done.output


@pytest.mark.usefixtures("place")
def test_strict_looks_at_every_run() -> None:
    many = ("evaluate", "nets.py:flat", "--dataset", "nets.py:data", "--threat", "linf(eps=[0.01, 0.02])")
    done = call(*many, "--out", "all", "--attacks", "fgsm", "--no-certify", "--strict")
    assert done.exit_code == 1, done.output
    assert done.stderr.count("red flag:") >= 2
    assert "nets.py-flat-linf-0.01" in done.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "can't read the list of models"),
        ("", "holds no model"),
        ("# mnist_cnn\n", "holds no model"),
        ("mnist_cnn --threat linf(eps=0.1)", "can't read '--threat linf(eps=0.1)'"),
        ("mnist_cnn --scale", "can't read '--scale'"),
        ("mnist_cnn --scale two", "--scale must be a number"),
        ("mnist_cnn --crop 2.5", "--crop must be a number"),
        ("mnist_cnn\nmnist_cnn --name 'a", "line 2: No closing quotation"),
        ("mnist_cnn --name a b", "can't read '--name a b'"),
    ],
    ids=["absent", "empty", "comment", "option", "no value", "word", "fraction", "quote", "two values"],
)
def test_a_wrong_file_is_refused(place: Path, content: str | None, words: str) -> None:
    if content is not None:
        (place / "list.txt").write_text(content)
    done = call("evaluate", "--models", "list.txt")
    assert done.exit_code == 2
    assert "Traceback" not in done.output
    assert words in " ".join(done.stderr.split())


def test_lines_are_read_as_in_a_shell(place: Path) -> None:
    lines = [
        '"timm(resnet18, pretrained=False)"',
        'timm(resnet50, classes=10) --weights "my w.pt"',
        "http://a/b#c  # a server",
    ]
    (place / "list.txt").write_text("\n".join(lines))
    assert read_model_list("list.txt") == [
        {"model": "timm(resnet18, pretrained=False)"},
        {"model": "timm(resnet50, classes=10)", "weights": "my w.pt"},
        {"model": "http://a/b#c"},
    ]
    (place / "list.txt").write_bytes("\ufeffmnist_cnn\t--name a\r\n".encode())
    assert read_model_list("list.txt") == [{"model": "mnist_cnn", "name": "a"}]
    (place / "list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RobustlabError, match="can't read"):
        read_model_list("list.txt")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nets.py:make", "--models", "list.txt"), "give either MODEL or --models"),
        ((), "the model is missing"),
        (("nets.py:make", "--threat", "linf(eps=[])"), "an empty list of eps"),
        (("nets.py:make", "--threat", "linf(eps=[0.1, 3])"), "eps"),
    ],
    ids=["both", "none", "no eps", "large eps"],
)
def test_wrong_arguments_are_refused(place: Path, arguments: tuple[str, ...], words: str) -> None:
    (place / "list.txt").write_text("nets.py:make\n")
    done = call("evaluate", *arguments, "--dataset", "nets.py:data")
    assert done.exit_code == 2
    assert "Traceback" not in done.output
    assert words in " ".join(done.stderr.split())


@pytest.mark.usefixtures("place")
def test_elsewhere_the_error_names_what_takes_a_list() -> None:
    done = call("certify", "nets.py:make", "--dataset", "nets.py:data", "--threat", "linf(eps=[0.1, 0.2])")
    assert done.exit_code == 2
    assert "`robustlab evaluate`" in " ".join(done.stderr.split())
