"""The exports of a folder, loaded when they are first used, so that its import stays cheap."""

TYPE_CHECKING = False  # as in robustlab/__init__.py
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any


def lazy(
    package: str, exports: "Mapping[str, Sequence[str]]"
) -> "tuple[Callable[[str], Any], Callable[[], list[str]]]":
    """Return ``__getattr__`` and ``__dir__`` of a package.

    Args:
        package: its name.
        exports: the modules that define the exported names, each with its names.
    """
    homes = {name: module for module, names in exports.items() for name in names}

    def load(name: str) -> "Any":
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        import importlib

        return getattr(importlib.import_module(homes[name]), name)

    return load, lambda: [*homes]
