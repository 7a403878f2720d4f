"""The folders of the package build on one another in one direction, and the library does not print."""

import ast
from pathlib import Path

import pytest

from robustlab.core.spec import units
from robustlab.threats import ThreatModel

PACKAGE = Path(__file__).parents[1] / "src" / "robustlab"
LAYERS = ["core", "runs", "threats", "data", "models", "attacks", "certify", "training", "defenses"]
LAYERS += ["detectors", "evaluation", "study", "report", "exporters", "cli"]
MODULES = sorted(PACKAGE.rglob("*.py"))


def allowed(layer: str) -> set[str]:
    return {"core", "runs", "report"} if layer == "report" else set(LAYERS[: LAYERS.index(layer) + 1])


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


def test_a_public_class_has_a_name_of_its_own() -> None:
    homes: dict[str, list[str]] = {}
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(str(module.relative_to(PACKAGE)))
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}


def asks_for_a_name(node: ast.AST) -> bool:
    """Tell whether code decides by a threat model's name: it compares one, or looks one up."""
    if isinstance(node, ast.Compare):
        parts = [node.left, *node.comparators]
    elif isinstance(node, ast.Dict):
        parts = [key for key in node.keys if key is not None]
    elif isinstance(node, ast.Subscript):
        parts = [node.slice]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
        parts = list(node.args)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
        classes = {kind.__name__ for kind in units(ThreatModel).values()}
        return any(isinstance(part, ast.Name) and part.id in classes for part in ast.walk(node.args[1]))
    else:
        return False
    names = units(ThreatModel)
    sides = [side.elts if isinstance(side, ast.Tuple | ast.Set) else [side] for side in parts]
    return any(
        (isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value in names)
        or (isinstance(part, ast.Attribute) and part.attr == "name" and "threat" in ast.unparse(part.value))
        or (isinstance(part, ast.Attribute) and part.attr == "norm")
        for side in sides
        for part in side
    )


@pytest.mark.parametrize(
    "code", ["x == 'l0'", "threat.name in a", "{'l1': 2}", "a.get(s.threat.name)", "a[r.norm]"]
)
def test_such_code_is_recognised(code: str) -> None:
    assert any(map(asks_for_a_name, ast.walk(ast.parse(code))))


def test_a_threat_model_is_asked_for_its_geometry_and_not_for_its_name() -> None:
    # The aliases are what users of other libraries type.
    inside = ("threats/", "core/aliases.py")
    outside = [m for m in MODULES if not m.relative_to(PACKAGE).as_posix().startswith(inside)]
    found = [
        f"{module.relative_to(PACKAGE)}: {ast.unparse(node)}"
        for module in outside
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if asks_for_a_name(node)
    ]
    assert found == []
