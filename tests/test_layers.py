"""The folders of the package build on one another in one direction, and the library does not print."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "robustlab"
LAYERS = ["core", "data", "models", "training", "attacks", "certify", "defenses", "detectors", "evaluation"]
LAYERS += ["study", "report", "cli"]
MODULES = sorted(PACKAGE.rglob("*.py"))


def allowed(layer: str) -> set[str]:
    return {"core", "report"} if layer == "report" else set(LAYERS[: LAYERS.index(layer) + 1])


def imported_layers(tree: ast.Module) -> set[str]:
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    parts = [name.split(".") for name in names if name.split(".")[0] == "robustlab"]
    return {name[1] for name in parts if len(name) > 1 and name[1] in LAYERS}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_builds_on_earlier_folders_only(module: Path) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert "print" not in {function.id for function in called if isinstance(function, ast.Name)}
    layer, *rest = module.relative_to(PACKAGE).parts
    if rest:
        assert layer in LAYERS, f"add {layer} to the layers"
        assert imported_layers(tree) <= allowed(layer)
