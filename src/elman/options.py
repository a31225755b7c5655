"""Options: what was chosen when a layer or a cell was made. They are fixed from then on.

A layer computes with its options, writes them into files and shows them, so they must be one truth: nothing may change
one of them in one place alone.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from elman import checks

REQUIRED = inspect.Parameter.empty  #: stands for the default of an option that has none
_ANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class ReadOnly(dict[str, Any]):
    """A dictionary that cannot be changed."""

    _WORDS = "options cannot be changed in place; layer.replace(...) gives a new layer with others"

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        given = [*map(checks.show, args), *(f"{name}={checks.show(value)}" for name, value in kwargs.items())]
        raise TypeError(f"{self._WORDS}. Got {', '.join(given) or 'a call that empties them'}.")

    __setitem__ = __delitem__ = __ior__ = _refuse
    update = setdefault = pop = popitem = clear = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)  # pickle would else fill an empty one, item by item

    def __deepcopy__(self, memo: Any) -> ReadOnly:
        return type(self)({name: copy.deepcopy(value, memo) for name, value in self.items()})


class LiveArrays(ReadOnly):
    """Name -> array: the arrays may be written into, but none can be put in the place of another."""

    _WORDS = "an array among parameters is written into, parameters[name][...] = value, or assigned, layer.Wx = value"


def frozen(value: Any, depth: int = 0) -> Any:
    """The value with dictionaries and lists in it, and those in them, made such that none can be changed."""
    if isinstance(value, ReadOnly):
        return value
    if depth > 50:
        raise ValueError(f"options must be nested at most 50 deep. Got {checks.show(value)} in one.")
    if isinstance(value, Mapping):
        return ReadOnly({key: frozen(part, depth + 1) for key, part in value.items()})
    return tuple(frozen(part, depth + 1) for part in value) if isinstance(value, (list, tuple)) else value


@functools.lru_cache(maxsize=256)
def defaults(function: Callable[..., Any]) -> Mapping[str, Any]:
    """Argument name -> default of a function or method, in order; `REQUIRED` where it has none."""
    named = [part for part in inspect.signature(function).parameters.values() if part.kind not in _ANY]
    return {part.name: part.default for part in named if part.name != "self"}


def check_names(owner: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Refuses options that `owner` does not have."""
    for name in given:
        if name in known:
            continue
        if name == "dtype":
            raise no_dtype(owner, given[name])
        must = f"the options of {owner} must be among {', '.join(known)}" if known else f"{owner} must have no options"
        raise ValueError(f"{must}. Got {name!r}.{checks.hint(name, known)}")
    missing = [name for name, default in known.items() if default is REQUIRED and name not in given]
    if missing:
        raise ValueError(f"the options of {owner} must hold {', '.join(missing)}. Got {', '.join(given) or 'none'}.")


def no_dtype(owner: str, value: Any) -> checks.KindError:
    """The error of a dtype for what takes none."""
    return checks.KindError(
        f"dtype must be left out: {owner} has none of its own, it computes in that of the weights in its network, or "
        f"of x where there are none; astype converts weights. Got {checks.show(value)}."
    )
