"""The command line as a user meets it: output, exit codes, wrong input."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import robustlab
from robustlab.cli import tables
from robustlab.cli.main import app
from robustlab.evaluation.checks import BUILT_IN
from robustlab.evaluation.checks.gradient_free import Interior

TINY = Path(__file__).parents[1] / "recipes" / "tiny.toml"


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def one_line_error(result: Result) -> str:
    """Return the error of a call that failed as a user's mistake should."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("robustlab: error:")]
    assert len(lines) == 1, result.stderr
    return lines[0]


def process(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "robustlab", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, check=False, timeout=120
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    result = call("study", TINY, "--out", folder)
    assert result.exit_code == 0, result.output
    return folder


def test_study_prints_tables_and_where_the_report_is(finished: Path) -> None:
    result = call("study", TINY, "--out", finished)
    assert result.exit_code == 0
    assert "A tiny study" in result.stdout
    assert "holds" in result.stdout
    assert "report.html" in result.stdout
    assert "kept from an earlier run" in result.stderr


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_no_digit_is_lost_on_a_narrow_terminal(
    width: int, finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    run = robustlab.load_run(finished)
    assert isinstance(run, robustlab.Run)
    tables.show_results(run)
    shown = capsys.readouterr().out.partition("Report:")[0]
    rows = json.loads((finished / "results.json").read_text())["rows"]
    for row in rows:
        if row["variant"] != "pixel" or width > 20:  # of two readings there is room for one
            assert f"{100 * row['accuracy']['value']:.2f} %" in shown
    assert max(map(len, shown.splitlines())) <= width
    assert "…" not in shown


@pytest.mark.parametrize("width", [20, 40, 80])
@pytest.mark.parametrize("command", [["ls"], ["ls", "pgd"], ["doctor"]], ids=" ".join)
def test_texts_are_whole_on_a_narrow_terminal(
    command: list[str], width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "500")
    wide = call(*command).stdout
    monkeypatch.setenv("COLUMNS", str(width))
    shown = call(*command).stdout
    assert max(map(len, shown.splitlines())) <= width
    assert "…" not in shown.replace("eps=…", "")
    if command != ["ls", "pgd"]:  # a list with heads repeats them
        assert len("".join(shown.split())) == len("".join(wide.split()))


def test_study_quiet_prints_red_flags_alone(finished: Path) -> None:
    run = robustlab.load_run(finished)
    assert isinstance(run, robustlab.Run)
    flags = [f"red flag: {row}: {flag.found}\n" for row, flag in run.results.red_flags]
    result = call("study", TINY, "--out", finished, "--quiet")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "".join(flags))
    # The VAE of the tiny study learns so little that its row is at chance; all others are in order.
    assert {row.partition(" (")[0] for row, _ in run.results.red_flags} <= {"VAE, FGSM of the baseline"}


def test_study_json_prints_only_results(finished: Path) -> None:
    result = call("study", TINY, "--out", finished, "--json")
    assert json.loads(result.stdout) == json.loads((finished / "results.json").read_text())


def test_report_is_written_anew(finished: Path) -> None:
    page = finished / "report.html"
    before = page.read_bytes()
    page.unlink()
    assert call("report", finished).exit_code == 0
    assert page.read_bytes() == before


def test_report_of_no_run(tmp_path: Path) -> None:
    assert "holds no finished run" in one_line_error(call("report", tmp_path))


def test_no_display_is_no_error(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    result = call("report", finished, "--open")
    assert result.exit_code == 0
    assert "no display" in result.stderr


@pytest.mark.parametrize(
    "kind", ["attacks", "criteria", "gradients", "defenses", "detectors", "datasets", "models"]
)
def test_ls_lists_each_kind(kind: str) -> None:
    result = call("ls", kind, "--json")
    assert len(json.loads(result.stdout)[kind]) >= 2


def test_ls_explains_a_unit() -> None:
    found = json.loads(call("ls", "apgd", "--json").output)
    assert "arXiv:2003.01690" in found["source"]
    by_name = {argument.pop("name"): argument for argument in found["arguments"]}
    assert list(by_name) == ["steps", "loss", "targets", "restarts", "rho", "start", "gradient"]
    assert by_name["rho"]["accepted"] == "above 0, at most 1"
    assert by_name["rho"]["default"] == 0.75
    assert "share of steps" in by_name["rho"]["meaning"]
    assert "dlr" in by_name["loss"]["accepted"].split(", ")
    assert "estimator" in by_name["gradient"]["meaning"]
    assert json.loads(call("ls", "spsa", "--json").output)["kind"] == "attack", "and not the gradient"
    both = json.loads(call("ls", "thresholded", "--json").output)
    assert (both["kind"], [other["kind"] for other in both["same_name"]]) == ("defense", ["model"])
    pages = call("ls", "thresholded").output
    assert "thresholded  defense" in pages
    assert "thresholded  model" in pages
    table = call("ls", "apgd").output
    assert "share of steps" in " ".join(table.split())
    heading, row = (line for line in table.splitlines() if line.startswith(("argument", "targets")))
    for column, begins in {"default": "0", "accepted": "at least 0", "what it means": "How many"}.items():
        assert row[heading.index(column) :].startswith(begins), table


def test_ls_tells_what_a_name_is() -> None:
    assert json.loads(call("ls", "mnist_cnn", "--json").output) == {
        "zoo": {"mnist_cnn": "The study's baseline CNN, undefended"}
    }
    assert {"datasets", "recipes"} <= json.loads(call("ls", "mnist", "--json").output).keys()
    assert "mnist_cnn" in json.loads(call("ls", "zoo", "--json").output)["zoo"], "and not the source"
    assert "did you mean 'mnist_cnn'" in call("ls", "mnist_cn").output
    arguments = json.loads(call("ls", "corruption", "--json").output)["arguments"]
    assert arguments[1]["accepted"] == "at least 1, at most 5"
    assert arguments[1]["default"] is None
    assert "default" not in arguments[0], "it must be given"


@pytest.mark.parametrize(
    "kind",
    [
        *("attacks", "augmentations", "averagings", "certifiers", "checks", "defenses", "detectors"),
        *("engines", "ensembles", "exporters", "models", "objectives", "optimizers", "schedules", "threats"),
    ],
)
def test_every_argument_is_explained(kind: str) -> None:
    for signature in json.loads(call("ls", kind, "--json").output)[kind]:
        name = signature.partition("(")[0]
        found = json.loads(call("ls", name, "--json").output)
        assert found["name"] == name
        assert found["text"]
        assert all(argument["meaning"] for argument in found["arguments"]), found


def test_ls_tells_what_a_failed_check_means() -> None:
    listed = json.loads(call("ls", "checks", "--json").output)["checks"]
    assert len(listed) == len(BUILT_IN)
    for unit in BUILT_IN:
        assert listed[unit.id] == f"{unit.title}. If not: {unit.meaning}"
    found = json.loads(call("ls", "random-points", "--json").output)
    assert (found["name"], found["kind"]) == ("random-points", "check")
    assert Interior.expected in found["text"]
    assert Interior.meaning in found["text"]
    attack = json.loads(call("ls", "random_points", "--json").output)
    assert (attack["name"], attack["kind"]) == ("random_points", "attack")
    assert "did you mean 'zero-gradients'" in call("ls", "zero_gradients").output
    assert "no-gradient" in call("ls", "checks").output


def test_ls_of_a_misspelt_kind() -> None:
    assert "did you mean 'attacks'" in one_line_error(call("ls", "atacks"))


def test_doctor_shows_the_machine() -> None:
    result = call("doctor", "--json")
    found = json.loads(result.stdout)
    assert {"versions", "device", "threads", "instruction set", "limited by"} <= found.keys()
    assert result.exit_code == (2 if found["problems"] else 0)


def test_unknown_recipe() -> None:
    assert "did you mean 'mnist'" in one_line_error(call("study", "mnits"))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("epochs = 4", "epoch = 4", "did you mean 'epochs'"),
        ("epochs = 4", 'epochs = "many"', "networks.baseline.epochs"),
        ("epochs = 4", "epochs = 0", "greater than or equal to 1"),
        ('attacks = "fgsm"', 'attacks = "fgms"', "did you mean 'fgsm'"),
        ("eps=0.25*scale)", "eps=2.5*scale)", "less than or equal to 1"),
        ("eps=0.25*scale)", "eps=-0.1*scale)", "greater than or equal to 0"),
        ("clean > fgsm", "clean > fgms", "did you mean 'fgsm'"),
        ('model = "baseline"', 'model = "basline"', "did you mean 'baseline'"),
        ('model = "baseline"', 'model = "vae"', "vae is an autoencoder; expected a classifier"),
        ("schema = 2", "schema = 99", "newer"),
        ("schema = 2", "schema = 1", "[[rows]] on, attack, crafted_on -> [[evaluations]] model, attacks"),
        ("[data]", "[data", "TOML"),
    ],
)
def test_mistake_in_a_recipe(tmp_path: Path, old: str, new: str, expected: str) -> None:
    recipe = tmp_path / "wrong.toml"
    recipe.write_text(TINY.read_text().replace(old, new, 1))
    assert expected in one_line_error(call("study", recipe, "--out", tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_folder_of_another_study(finished: Path) -> None:
    assert "belongs to study 'tiny', not to study 'mnist'" in one_line_error(
        call("study", "mnist", "--out", finished)
    )
    other_seed = one_line_error(call("study", TINY, "--out", finished, "--seed", 1))
    assert "seed 0, not 1; choose another folder with --out, or replace it with --overwrite" in other_seed


def test_folder_of_a_newer_robustlab(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"store_version": 99, "study": "tiny"}')
    assert "newer robustlab" in one_line_error(call("study", TINY, "--out", tmp_path))


def test_folder_that_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    assert "holds no run" in one_line_error(call("study", TINY, "--out", tmp_path))
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_unwritable_output(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot write" in one_line_error(call("study", TINY, "--out", tmp_path / "file" / "run"))


@pytest.fixture
def no_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without the files and without a network."""

    def no_network(*_: object, **__: object) -> None:
        raise RuntimeError("no network")

    monkeypatch.setattr("torchvision.datasets.MNIST.download", no_network)
    monkeypatch.setenv("ROBUSTLAB_DATA", str(tmp_path / "elsewhere"))
    monkeypatch.setattr("platformdirs.user_cache_path", lambda _: tmp_path / "cache")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("no_mnist")
def test_auto_falls_back_on_the_digits_and_says_so(tmp_path: Path) -> None:
    result = call("study", TINY, "--dataset", "auto", "--out", tmp_path / "run", "--quick", "--quiet")
    assert result.exit_code == 0
    assert "instead of the recipe's dataset" in result.stderr
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["dataset"]["name"] == "digits"
    assert "no network" in results["dataset"]["fallback"]
    page = (tmp_path / "run" / "report.html").read_text()
    assert 0 < page.find("no network") < page.find("<table"), "the report says it too late"


@pytest.mark.usefixtures("no_mnist")
def test_mnist_nowhere(tmp_path: Path) -> None:
    message = one_line_error(call("study", TINY, "--dataset", "mnist", "--out", tmp_path / "run"))
    assert "Looked in" in message
    assert str(tmp_path / "elsewhere") in message
    assert "train-images-idx3-ubyte" in message


def test_truncated_mnist_is_not_passed_over(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte").write_bytes(b"\0" * 100)
    result = call("study", TINY, "--dataset", "auto", "--data-root", tmp_path, "--out", tmp_path / "run")
    assert "train-images-idx3-ubyte is truncated" in one_line_error(result)


def test_full_disk_loses_nothing(tmp_path: Path) -> None:
    # The kernel refuses to let any file grow beyond 100 KB, as a full disk would.
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "from robustlab.cli.main import main\n"
        f"sys.argv = ['robustlab', 'study', {str(TINY)!r}, '--out', {str(tmp_path / 'run')!r}, '--quiet']\n"
        "main()\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 2, result.stderr
    assert "cannot write" in result.stderr
    assert "Traceback" not in result.stderr
    after = process("study", TINY, "--out", tmp_path / "run", "--quiet")
    assert after.returncode == 0, after.stderr


def test_torchvision_that_does_not_match_torch(tmp_path: Path) -> None:
    # A mismatched build fails on import with just this error.
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    for command in (["study", TINY, "--out", tmp_path / "run"], ["doctor"]):
        result = process(*command, PYTHONPATH=str(tmp_path))
        assert result.returncode == 2, result.stderr
        said = " ".join((result.stdout + result.stderr).split())
        assert "does not match torch" in said
        assert "pip install torch torchvision" in said
