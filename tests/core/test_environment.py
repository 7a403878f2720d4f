"""What is installed, where robustlab runs from, how much memory it took."""

import importlib.metadata
import os
import platform
import re
import subprocess
import sys

import pytest
import torch

from robustlab.core import environment
from robustlab.core.errors import SetupError


def test_versions_name_what_figures_depend_on() -> None:
    found = environment.versions()
    assert found["python"] == platform.python_version()
    assert found["torch"] == importlib.metadata.version("torch")
    assert set(found) >= {"robustlab", "torchvision", "numpy", "scipy", "scikit-learn", "safetensors"}
    assert "not installed" not in found.values()
    assert torch.__version__.startswith(found["torch"])


def test_a_missing_library_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_REPORTED", ("no-such-library",))
    assert environment.versions()["no-such-library"] == "not installed"


def test_torchvision_that_fits_passes() -> None:
    environment.check_torchvision()


def test_torchvision_that_does_not_fit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(SetupError) as caught:
        environment.check_torchvision()
    for fragment in (
        "torchvision",
        f"torch {environment.versions()['torch']}",
        "pip install torch torchvision",
    ):
        assert fragment in str(caught.value)


def test_the_revision_is_a_commit_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    revision = environment.git_revision()
    assert revision is None or re.fullmatch(r"[0-9a-f]{40}(-dirty)?", revision)

    def no_git(*_: object, **__: object) -> None:
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", no_git)
    assert environment.git_revision() is None


@pytest.mark.skipif(sys.platform == "win32", reason="os.sysconf is missing there")
def test_peak_memory_is_in_megabytes() -> None:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6
    assert 50 < environment.peak_memory_mb() < physical
