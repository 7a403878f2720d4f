"""The modules that a user's file can import: those beside it and in the working directory.

Two files may have helpers of the same name, and a helper may be edited between two loads. So the modules of a
file are in `sys.modules` only while its code imports something: when it is loaded, and also when one of its
functions imports later, as a ``forward`` may. For this, its modules get their own ``__import__``.
"""

import ast
import builtins
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from robustlab.core.installed import is_library_file


class Scope(MetaPathFinder):
    """The modules of one file.

    Args:
        folders: where modules are searched for, in this order, before installed ones.
        hidden: a folder whose modules are loaded again from the disk, even if another file loaded them.
        package: a folder without ``__init__.py`` that counts as a package, for relative imports.
    """

    def __init__(
        self, folders: Sequence[Path], *, hidden: Path | None = None, package: Path | None = None
    ) -> None:
        self.folders = list(dict.fromkeys(str(folder) for folder in folders))
        self.modules: dict[str, ModuleType] = {}
        self.builtins = vars(builtins) | {"__import__": self._import}
        self._hidden, self._open, self._names = hidden, False, set[str]()
        if package is not None:
            self.modules[package.name] = ModuleType(package.name)
            self.modules[package.name].__path__ = [str(package)]

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Find a module for the file; the module gets the file's ``__import__``."""
        del target
        parent = name.rpartition(".")[0]
        if parent and parent not in self._names:
            return None
        spec = PathFinder.find_spec(name, path if parent else self.folders)
        # A folder without __init__.py, such as ./data, is ignored if an installed package has its name.
        if spec is None or (spec.origin is None and not parent and _is_installed(name)):
            return None
        if is_library_file(spec.origin or next(iter(spec.submodule_search_locations or ()), "")):
            return None
        if type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(self, name, spec.loader.path)
        self._names.add(name)
        return spec

    @contextmanager
    def open(self) -> Iterator[None]:
        """Let the block import the file's modules; others of the same names are removed meanwhile."""
        if self._open:
            yield
            return
        self._open, self._names = True, set(self.modules)
        aside = {name: module for name, module in list(sys.modules.items()) if self._hides(name, module)}
        for name in aside:
            del sys.modules[name]
        sys.modules.update(self.modules)
        sys.meta_path.insert(0, self)
        sys.path[:0] = self.folders
        try:
            yield
        finally:
            self._open = False
            sys.meta_path.remove(self)
            for folder in self.folders:
                with suppress(ValueError):  # the file may have changed it itself
                    sys.path.remove(folder)
            self.modules = {name: sys.modules.pop(name) for name in self._names if name in sys.modules}
            sys.modules.update(aside)

    def _hides(self, name: str, module: ModuleType) -> bool:
        if name in self.modules:
            return True
        # Read the attributes directly: some modules return a value for every name.
        own = getattr(module, "__dict__", {})
        place = own.get("__file__") or next(iter(own.get("__path__") or ()), None)
        if self._hidden is None or name == "__main__" or not isinstance(place, str) or is_library_file(place):
            return False
        return Path(place).resolve().is_relative_to(self._hidden)

    def _import(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Import with the file's own search path."""
        relative = kwargs.get("level", args[3] if len(args) > 3 else 0)
        top = name.partition(".")[0]
        if not relative and top in sys.modules and top not in self.modules and not self._has(top):
            return builtins.__import__(name, *args, **kwargs)
        with self.open():
            return builtins.__import__(name, *args, **kwargs)

    def _has(self, name: str) -> bool:
        places = [Path(folder) / name for folder in self.folders]
        return any(place.is_dir() or place.with_suffix(".py").is_file() for place in places)

    def load(self, path: Path, name: str) -> ModuleType:
        """Run a file as the module of this name, unless it is loaded; inside `open`."""
        if name in sys.modules:
            return sys.modules[name]
        package = name.rpartition(".")[0]
        if package:
            importlib.import_module(package)
        spec = importlib.util.spec_from_file_location(name, path, loader=_Loader(self, name, str(path)))
        if spec is None:
            raise ImportError(f"{path} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        self._names.add(name)
        sys.modules[name] = module
        _Loader(self, name, str(path)).exec_module(module)
        return module


class _Loader(SourceFileLoader):
    def __init__(self, scope: Scope, name: str, path: str) -> None:
        super().__init__(name, path)
        self._scope = scope

    def exec_module(self, module: ModuleType) -> None:
        # Functions use the builtins of the module that defines them.
        vars(module)["__builtins__"] = self._scope.builtins
        super().exec_module(module)


def scope_of(path: Path, prefix: str) -> tuple[str, Scope]:
    """Return a file's module name, and its scope of imports.

    A file of a package is ``package.file``, so that its relative imports work. In a folder without
    ``__init__.py`` the package begins below the working directory, if the file is there, else at the folder.
    If no such name is possible, it is a prefix and the file's own name.
    """
    folder, here, root = path.parent, Path.cwd(), path.parent
    while (root / "__init__.py").is_file():
        root = root.parent
    single = root == folder and not folder.is_relative_to(here)
    if root == folder:
        root = folder.parent if single else here
    parts = [*folder.relative_to(root).parts, path.stem]
    named = len(parts) > 1 and all(part.isidentifier() for part in parts)
    if not named or (not (root / parts[0] / "__init__.py").is_file() and _is_installed(parts[0])):
        return prefix + path.stem, Scope([folder, here], hidden=folder)
    if single:
        return ".".join(parts), Scope([folder, here], hidden=folder, package=folder)
    return ".".join(parts), Scope([folder, here, root], hidden=folder)


def _is_installed(name: str) -> bool:
    spec = PathFinder.find_spec(name) if name not in sys.builtin_module_names else None
    return name in sys.stdlib_module_names or (
        spec is not None and is_library_file(spec.origin or "<folder>")
    )


def hash_of_sources(path: Path, scope: Scope) -> str:
    """Return the hash of a file and of the modules that it imports from its folders, or may import later."""
    files, queue = {path}, [path]
    queue += [Path(file) for module in scope.modules.values() if (file := getattr(module, "__file__", None))]
    while queue:
        file = queue.pop()
        others = {other for other in _imported(file, scope) if not is_library_file(str(other))}
        queue += others - files
        files |= others | {file}
    contents = sorted((file.name, file.read_bytes()) for file in files if file.suffix == ".py")
    digest = hashlib.sha256()
    for name, content in contents:
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _imported(file: Path, scope: Scope) -> Iterator[Path]:
    """Yield the files in a scope's folders that a file's import statements name, wherever they stand."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names, folders = [alias.name for alias in node.names], scope.folders
        elif isinstance(node, ast.ImportFrom):
            module = [node.module] if node.module else []
            names = [".".join([*module, alias.name]) for alias in node.names] + module
            folders = [str(file.parents[node.level - 1])] if node.level else scope.folders
        else:
            continue
        for name in names:
            parts = name.split(".")
            # Python also runs the ``__init__.py`` of each package on the path.
            for places in (parts[:end] for end in range(1, len(parts) + 1)):
                bases = [Path(folder, *places) for folder in folders]
                choices = [
                    place for base in bases for place in (base / "__init__.py", base.with_suffix(".py"))
                ]
                yield from [place for place in choices if place.is_file()][:1]
