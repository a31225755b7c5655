"""The rules of the house: floors, what an import loads, short rooms, names, docstrings, types."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import elman

PACKAGE = Path(elman.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
FLOORS = {
    "checks": 0, "showing": 0, "files": 0, "drawing": 0, "options": 0, "sequences": 0, "datasets": 0,
    "cells": 1,
    "kernels": 2, "engine": 2,
    "layers": 3, "graph": 3, "network": 3, "packed": 3, "streaming": 3, "initializers": 3, "saving": 3,
    "training": 4, "tables": 4,
    "estimators": 5,
    "interop": 6, "opening": 6, "insight": 6, "cluster": 6,
    "cli": 7, "__main__": 7,
}  # fmt: skip


def module_name(file: Path) -> str:
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(("elman", *(p for p in parts if p != "__init__")))


def room(name: str) -> str:
    return name.split(".")[1]


def imports(file: Path) -> set[str]:
    """The modules of elman that a file imports, in its functions too; those for type checkers left out."""
    tree = ast.parse(file.read_text())
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names if alias.name.startswith("elman"))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "elman":
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in MODULES else str(node.module))
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return found


MODULES = {module_name(file): file for file in FILES}


@pytest.mark.parametrize("name", [n for n in MODULES if n != "elman"])
def test_a_file_imports_from_its_floor_or_lower_ones(name):
    for other in imports(MODULES[name]):
        assert other != "elman", f"{name} must import the room it needs, not the whole house"
        assert FLOORS[room(other)] <= FLOORS[room(name)], f"{name} imports {other} from a floor above"


def test_imports_have_no_circles():
    order = TopologicalSorter({name: imports(file) for name, file in MODULES.items()})
    assert len(list(order.static_order())) >= len(MODULES)


def test_no_name_hides_a_module():
    """A function called like the module beside it would hide it from `help` and `inspect`."""
    for name, file in MODULES.items():
        if file.name == "__init__.py":
            package = importlib.import_module(name)
            for module in pkgutil.iter_modules(package.__path__, f"{name}."):
                if module.name not in MODULES:
                    continue
                try:
                    found = importlib.import_module(module.name)
                except ModuleNotFoundError:  # of PyTorch, which make test does not install
                    continue
                short = module.name.rpartition(".")[2]
                assert getattr(package, short) is found, f"{name}.{short} must be the module {module.name}"
                assert inspect.getdoc(found) == ast.get_docstring(ast.parse(MODULES[module.name].read_text()))
    rooms = {name.split(".")[1] for name in MODULES if "." in name}
    assert not rooms & set(elman.__all__)


@pytest.mark.parametrize("name", MODULES)
def test_rooms_are_short(name):
    assert len(MODULES[name].read_text().splitlines()) <= 400


def test_no_drawers_for_leftovers():
    drawers = {"utils", "util", "common", "helpers", "misc"}
    assert not drawers & {part for name in MODULES for part in name.split(".")}


def loaded_by(statement: str) -> set[str]:
    """The top-level packages outside the standard library that a statement loads in a new process."""
    code = f"{statement}\nimport sys\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return set(out.split()) - set(sys.stdlib_module_names) - {"__main__", "__mp_main__"}


def test_importing_elman_loads_numpy_alone():
    assert loaded_by("import elman") - loaded_by("import numpy") == {"elman"}


def test_exported_names():
    """The names at run time are those of docs/api.txt, and those of the stub that type checkers read."""
    snapshot = (Path(__file__).parent.parent / "docs" / "api.txt").read_text()
    assert sorted(elman.__all__) == sorted(re.findall(r"^(?:class )?(\w+)", snapshot, re.MULTILINE))
    assert set(elman.__all__) <= set(dir(elman))
    with pytest.raises(AttributeError, match="LSTMM"):
        elman.LSTMM  # noqa: B018
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text())
    typed = [
        (alias.asname, node.module) for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    assert sorted(typed) == sorted(elman._MODULES.items())
    for name, module in typed:
        assert getattr(elman, name) is getattr(importlib.import_module(module), name)


def public_objects() -> list[tuple[str, object]]:
    found = []
    for name in elman.__all__:
        try:
            value = getattr(elman, name)
        except elman.MissingExtraError:  # without an extra its names cannot be looked at
            continue
        if inspect.isclass(value) or inspect.isfunction(value):
            found.append((name, value))
            if inspect.isclass(value):
                for member, function in vars(value).items():
                    if inspect.isfunction(function) and not member.startswith("_"):
                        found.append((f"{name}.{member}", function))
    return found


@pytest.mark.parametrize(("name", "value"), public_objects(), ids=lambda v: v if isinstance(v, str) else "")
def test_public_names_have_docstrings(name, value):
    assert inspect.getdoc(value), f"{name} must have a docstring"


def test_every_top_level_function_and_class_has_an_example():
    """One example that runs; exceptions and bases that are not called are left out."""
    silent = {"DtypeError", "FormatError", "MissingExtraError", "ShapeError", "Layer", "Tape", "History", "Recurrent"}
    silent |= {"Loss", "Optimizer"}  # docs/own.md has them
    for name, value in public_objects():
        if "." not in name and name not in silent:
            assert ">>>" in (inspect.getdoc(value) or ""), f"{name} must have an example"


def test_types_are_shipped_and_the_version_is_the_package_s():
    from importlib.metadata import version

    assert (PACKAGE / "py.typed").exists()
    assert elman.__version__ == version("elman")


@pytest.mark.parametrize("name", MODULES)
def test_modules_open_with_a_docstring(name):
    assert ast.get_docstring(ast.parse(MODULES[name].read_text()))
