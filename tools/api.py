"""Every public signature, one per line: python tools/api.py > docs/api.txt (make api)."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator

import elman


def lines() -> Iterator[str]:
    """The names of `elman.__all__` with their signatures; of a class also its public methods and properties."""
    for name in sorted(elman.__all__):
        value = getattr(elman, name)
        if inspect.isclass(value):
            yield f"class {name}{_signature(value)}"
            yield from _members(name, value)
        elif callable(value):
            yield f"{name}{_signature(value)}"
        else:
            yield f"{name}: {type(value).__name__}"
            for member in sorted(value.__all__) if inspect.ismodule(value) else ():
                yield f"    {name}.{member}{_signature(getattr(value, member))}"


def _is_the_same(member: str, cls: type, base: type) -> bool:
    """Whether a class fills in a method of its base, or inherits it from the same other one."""
    own, of_base = (inspect.getattr_static(kind, member, None) for kind in (cls, base))
    if not (inspect.isfunction(own) and inspect.isfunction(of_base)):
        return own is of_base
    return member == "setup" or _signature(own) == _signature(of_base)


def _members(name: str, cls: type) -> Iterator[str]:
    for member in sorted(dir(cls)):
        value = inspect.getattr_static(cls, member)
        if (member.startswith("_") and member != "__call__") or re.fullmatch(r"set_\w+_request", member):
            continue
        home = next(base for base in cls.__mro__ if member in vars(base))
        if not home.__module__.startswith("elman") or (home is not cls and home.__name__ in elman.__all__):
            continue  # a base has it: one of another library, or one that stands in this list
        if any(_is_the_same(member, cls, base) for base in cls.__mro__[1:] if base is elman.Layer):
            continue  # what a layer computes itself: `elman.Layer` says what it is; options stand in the constructor
        if isinstance(value, (staticmethod, classmethod)):
            value = value.__func__
        if inspect.isfunction(value):
            yield f"    {name}.{member}{_signature(value)}"
        elif not dataclasses.is_dataclass(cls):
            yield f"    {name}.{member}"


def _signature(value: object) -> str:
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):  # of another library, as exceptions have it
        return ""
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty, default=_plain(parameter.default))
        for parameter in signature.parameters.values()
        if parameter.name != "self"
    ]
    return re.sub(r"'(<\w+>)'", r"\1", str(inspect.Signature(parameters)))


def _plain(value: object) -> object:
    """A default whose repr is the same in every process."""
    return f"<{type(value).__name__}>" if " at 0x" in repr(value) else value


if __name__ == "__main__":
    print("\n".join(lines()))
