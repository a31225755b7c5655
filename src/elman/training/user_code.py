"""Code of a user's own: what a class was written with, what a function reads, and whose they are.

Python runs the code, so nothing here can know all that it will do; what a function may read without naming it
(`DYNAMIC`) is told to the caller.
"""

from __future__ import annotations

import dis
import importlib
import inspect
import sys
import types
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

#: What Python, `dataclass` and `typing` put into classes by themselves, beside methods.
_OF_EVERY_CLASS = (
    "module qualname doc dict weakref hash slots slotnames annotations annotate annotate_func annotations_cache "
    "firstlineno static_attributes classcell classdictcell match_args dataclass_fields dataclass_params parameters "
    "orig_bases abstractmethods type_params protocol_attrs non_callable_proto_members"
)
DYNAMIC = {"globals", "eval", "exec", "__import__"}  #: functions that read what the code does not name


def name_of(kind: type | types.FunctionType) -> str:
    """The qualified name of a class or a function, with the module of what is installed."""
    if is_ours(kind.__module__):  # may move to another file
        return f"elman.{kind.__qualname__}"
    # The module of a user's own is another one in a script, a notebook, a new process.
    return f"{kind.__module__}.{kind.__qualname__}" if installed(kind.__module__) else kind.__qualname__


def is_ours(module: str | None) -> bool:
    return (module or "").partition(".")[0] == "elman"


def is_written(name: str, part: Any) -> bool:
    """Whether a part of a class was written by its author, rather than put there by Python."""
    if isinstance(part, (types.MemberDescriptorType, types.GetSetDescriptorType)) or name == "_abc_impl":
        return False
    if not (name.startswith("__") and name.endswith("__")):
        return True
    function = inspect.unwrap(part) if callable(part) else part
    made = "__create_fn__" in getattr(getattr(function, "__code__", None), "co_qualname", "")
    of_dataclass = made or getattr(function, "__module__", None) == "dataclasses"  # by the fields, told elsewhere
    return name.strip("_") not in _OF_EVERY_CLASS.split() and not of_dataclass


def is_own_method(part: Any) -> bool:
    """Whether a part of a class is a method, written by a user."""
    if not isinstance(part, (types.FunctionType, staticmethod, classmethod, property)):
        return False
    function = part.fget if isinstance(part, property) else getattr(part, "__func__", part)
    return not installed(getattr(function, "__module__", None))


def installed(name: str | None) -> bool:
    """Whether a module is of Python or of an installed package, whose code is told by its name."""
    top = (name or "").partition(".")[0]
    if top == "elman" or top in sys.stdlib_module_names:
        return True
    file = getattr(sys.modules.get(name or ""), "__file__", None)
    return file is not None and not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts)


def read_by(function: types.FunctionType, closed: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """What a function calls of `DYNAMIC`; what it closes over, and reads of globals and imports, by names."""
    codes, steps = [function.__code__], list[dis.Instruction]()
    for code in codes:  # grows: functions within the function
        codes += [part for part in code.co_consts if isinstance(part, types.CodeType)]
        steps += dis.get_instructions(code)
    names = {step.argval for step in steps if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    known = function.__globals__
    found = {**closed, **{f"global {name}": known[name] for name in names & known.keys()}}
    for i, step in enumerate(steps):
        if step.opname == "IMPORT_NAME":
            name = "." * steps[i - 2].argval + step.argval  # its level; the names after it come between
            if name.partition(".")[0] not in sys.stdlib_module_names:  # which are told by their names, in the code
                with suppress(Exception):  # it is for the function to say what then happens
                    found[f"global import {step.argval}"] = importlib.import_module(name, known.get("__package__"))
    attributes = {name for code in codes for name in code.co_names}
    parts = {key: part for name, value in found.items() for key, part in _within(name, value, attributes).items()}
    return ", ".join(sorted(names & DYNAMIC - known.keys())), parts


def _within(name: str, value: Any, attributes: set[str]) -> dict[str, Any]:
    """A value by its name; of a module of a user's own what code may read there, modules within too."""
    if not isinstance(value, types.ModuleType) or installed(value.__name__):
        return {name: value}
    if not {"getattr", "vars", "__dict__"}.isdisjoint(attributes):
        return {name: value}  # all of it
    found: dict[str, Any] = {}
    waiting, seen = [(name, value)], {id(value)}
    for place, module in waiting:  # grows
        for other in sorted(attributes & vars(module).keys()):
            part = vars(module)[other]
            if not isinstance(part, types.ModuleType) or installed(part.__name__):
                found[f"{place}.{other}"] = part
            elif id(part) not in seen:
                seen.add(id(part))
                waiting.append((f"{place}.{other}", part))
    return found
