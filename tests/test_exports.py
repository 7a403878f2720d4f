"""What plug-ins and programs import from a folder: the names exist, and the folder itself loads fast."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

import robustlab

LAZY = ["robustlab", "robustlab.core", "robustlab.runs", "robustlab.evaluation", "robustlab.evaluation.jobs"]
PACKAGES = [module.name for module in pkgutil.walk_packages(robustlab.__path__, "robustlab.") if module.ispkg]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_name_exists(package: str) -> None:
    module = importlib.import_module(package)
    for name in getattr(module, "__all__", ()):
        assert name in dir(module)
        assert getattr(module, name) is not None


@pytest.mark.parametrize("package", LAZY[1:])
def test_a_lazy_export_is_the_object_of_its_home(package: str) -> None:
    module = importlib.import_module(package)
    assert set(dir(module)) == set(module.__all__)
    submodules = {found.name for found in pkgutil.iter_modules(module.__path__)}
    assert not submodules & set(module.__all__), "an import of the module would hide the name"
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        module.nothing  # noqa: B018 (it raises)


def test_these_folders_load_nothing_heavy() -> None:
    code = f"import sys, {', '.join(LAZY)}; print({{'torch', 'pydantic', 'numpy'}} & {{*sys.modules}})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"
