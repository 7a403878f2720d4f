"""What the project says of itself agrees in all places, and the wheel holds what robustlab needs."""

import email
import importlib.util
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import robustlab
from robustlab.shipped import check_texts, shipped_recipes

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOW = (ROOT / ".github" / "workflows" / "test.yml").read_text()
YAML = ["action.yml", "CITATION.cff", ".pre-commit-config.yaml", ".github/workflows/test.yml"]


def field(name: str) -> str:
    (value,) = re.findall(rf'^{name}: "?([^"\n]+)"?$', (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    return str(value)


def test_the_version_is_the_same_everywhere() -> None:
    assert field("version") == robustlab.__version__
    newest, *_ = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest in {"Unreleased", robustlab.__version__}


def test_the_version_is_known_without_torch() -> None:
    code = "import sys, robustlab; print(robustlab.__version__, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{robustlab.__version__} False\n"


def test_license_and_address_are_the_same_everywhere() -> None:
    assert field("license") == PROJECT["license"]
    home = PROJECT["urls"]["Homepage"]
    assert field("repository-code") == home
    assert all(address.startswith(home) for address in PROJECT["urls"].values())
    assert home in (ROOT / "SECURITY.md").read_text()


def test_the_workflow_covers_the_supported_versions() -> None:
    (line,) = re.findall(r"^ +python: (\[.*\])$", WORKFLOW, re.MULTILINE)
    tested = re.findall(r"[\d.]+", line)
    prefix = "Programming Language :: Python :: 3."
    assert tested == [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if c.startswith(prefix)]
    assert PROJECT["requires-python"] == f">={tested[0]}"
    assert f'python: "{tested[0]}", torch: oldest' in WORKFLOW
    oldest = re.findall(
        r"^([\w-]+)==([\d.]+)\.\*$", (ROOT / ".github" / "oldest.txt").read_text(), re.MULTILINE
    )
    assert {name for name, _ in oldest} == {"torch", "torchvision"}
    assert {f"{name}>={version}" for name, version in oldest} <= set(PROJECT["dependencies"])


def test_the_hooks_are_those_of_make_lint() -> None:
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert lint
    wanted = [line.replace("$(BIN)", ".venv/bin").removesuffix(" .") for line in lint[1].split("\n\t")]
    hooks = re.findall(r"entry: (.*?) --force-exclude", (ROOT / ".pre-commit-config.yaml").read_text())
    assert hooks == [line.strip().removesuffix(" .") for line in wanted]


@pytest.mark.parametrize("name", YAML)
def test_yaml_can_be_read(name: str) -> None:
    if not importlib.util.find_spec("yaml"):
        pytest.skip("PyYAML is not installed")
    assert importlib.import_module("yaml").safe_load((ROOT / name).read_text())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (file,) = folder.glob("*.whl")
    return zipfile.ZipFile(file)


def test_the_wheel_holds_all_of_the_package(wheel: zipfile.ZipFile) -> None:
    source = ROOT / "src"
    files = {
        path.relative_to(source).as_posix()
        for path in (source / "robustlab").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    files |= {f"robustlab/recipes/{name}.toml" for name in shipped_recipes()}
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == files | {"robustlab/report/flags.md"}


def test_the_wheel_says_what_it_is(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith("METADATA"))
    metadata = email.message_from_string(wheel.read(name).decode())
    assert metadata["Version"] == robustlab.__version__
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())


def test_a_package_index_can_show_the_readme(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith("METADATA"))
    metadata = email.message_from_string(wheel.read(name).decode())
    assert metadata["Description-Content-Type"] == "text/markdown"
    shown = str(metadata.get_payload())
    home = PROJECT["urls"]["Homepage"]
    pictures = home.replace("//github.com", "//raw.githubusercontent.com") + "/main/"
    link = re.compile(r"(!?)\[[^\]]*\]\(([^)]*)\)")
    absolute = [
        target if target.startswith("http") else (pictures if mark else f"{home}/blob/main/") + target
        for mark, target in link.findall((ROOT / "README.md").read_text())
    ]
    assert [target for _, target in link.findall(shown)] == absolute
    assert len(absolute) > 10
    assert any(target.startswith(pictures) for target in absolute)


def test_checks_can_be_explained_from_the_wheel(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    code = "import robustlab.shipped as s; print(s.__file__, len(s.check_texts()))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(tmp_path / "robustlab" / "shipped.py"), str(len(check_texts()))]
