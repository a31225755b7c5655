"""Follows the functions of a cell: they run on `Term`s, which compute as arrays do and remember how they came about.

So the arithmetic of a step is read from the function that computes it, the library's or one's own, and is typed nowhere
else. The names of terms are those of the variables that hold them.
"""

from __future__ import annotations

import functools
import itertools
import sys
import threading
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from elman.cells.activations import ACTIVATIONS, Activation, Bounded
from elman.cells.cell import Given
from elman.cells.sources import inside
from elman.checks import Array

_ids, _now = itertools.count(), threading.local()
_PASSED = {"copy", "astype", "reshape", "ravel", "squeeze"}  # the same numbers in the same order


@dataclass(eq=False, repr=False)
class Term(NDArrayOperatorsMixin):
    """An array with what it was computed by: an operation, and the terms and numbers that went into it."""

    value: Array
    operation: str = "given"
    parts: tuple[Any, ...] = ()
    start: int = 0  # of "slice": where it begins along the last axis of its part
    order: int = field(default_factory=lambda: next(_ids))
    line: int = field(default_factory=lambda: getattr(_now, "line", 0))  # of the function that is followed

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return np.array(self.value, dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        options.pop("out", None)  # x += y makes a new term
        value = getattr(ufunc, method)(*map(_plain, inputs), **_plain(options))
        if method != "__call__" or isinstance(value, tuple):
            return _unfolded(value, ufunc.__name__, inputs)
        zeros, ones = ([isinstance(part, (int, float)) and part == n for part in inputs] for n in (0, 1))
        for kind, idle in (("add", zeros), ("multiply", ones)):  # what is not there, such as a peephole
            if ufunc.__name__ == kind and any(idle):
                return inputs[1 - idle.index(True)]
        return Term(np.asarray(value), ufunc.__name__, inputs)

    def __array_function__(self, function: Any, kinds: Any, arguments: Any, options: Any) -> Any:
        if function is np.dot and not options and arguments[0].ndim and np.ndim(arguments[1]):
            return np.matmul(*arguments)
        value = function(*_plain(arguments), **_plain(options))
        last = options.get("axis", arguments[-1] if len(arguments) > 2 - (function is np.concatenate) else 0)
        if function is np.hstack or (function is np.concatenate and last in (-1, value.ndim - 1)):
            return Term(value, "concatenate", tuple(arguments[0]))
        if function in (np.split, np.array_split) and last in (-1, self.ndim - 1):
            starts = np.cumsum([0, *(part.shape[-1] for part in value)]).tolist()
            return [Term(part, "slice", (arguments[0],), start) for part, start in zip(value, starts, strict=False)]
        flat = not options and all(isinstance(part, (Term, float, int, np.ndarray)) for part in arguments)
        return _unfolded(value, function.__name__, arguments if flat else tuple(_terms((arguments, options))))

    def __getitem__(self, key: Any) -> Any:
        value = self.value[_plain(key)]
        last = key[-1] if isinstance(key, tuple) and len(key) in (2, self.ndim) else key if self.ndim == 1 else None
        others = key[:-1] if isinstance(key, tuple) else ()
        if isinstance(last, slice) and last.step in (None, 1) and all(one in (slice(None), ...) for one in others):
            return Term(value, "slice", (self,), last.indices(self.value.shape[-1])[0])
        return _unfolded(value, "part", (self,))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = getattr(self.value, name)
        if name == "T":
            return Term(found, "transpose", (self,))
        if not callable(found):
            return found

        def method(*arguments: Any, **options: Any) -> Any:
            value = found(*_plain(arguments), **_plain(options))
            axis = options.get("axis", arguments[0] if arguments else None)
            same = name in _PASSED or (name == "sum" and axis == 0 and self.ndim == 2)  # the batch is of one
            return _unfolded(value, "same" if same else name, (self,))

        return method

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Any]:
        return iter([self[i] for i in range(len(self))])

    def __bool__(self) -> bool:
        return bool(self.value)


def _unfolded(value: Any, operation: str, parts: tuple[Any, ...]) -> Any:
    if isinstance(value, (tuple, list)):
        return type(value)([_unfolded(one, operation, parts) for one in value])
    return Term(np.asarray(value), operation, parts) if isinstance(value, (np.ndarray, np.generic)) else value


def _plain(value: Any) -> Any:
    """Terms as the arrays that they hold."""
    if isinstance(value, Term):
        return value.value
    if isinstance(value, (tuple, list)):
        return type(value)([_plain(part) for part in value])
    return {name: _plain(part) for name, part in value.items()} if isinstance(value, dict) else value


def _terms(value: Any) -> Iterator[Term]:
    if isinstance(value, (tuple, list, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _terms(part)
    elif isinstance(value, Term):
        yield value


def follow(function: Callable[..., Any], *arguments: Any) -> tuple[Any, dict[int, tuple[str, bool]]]:
    """What a function returns for terms, and under which names it held them, by their `order`; whether in a dict."""
    names: dict[int, tuple[str, bool]] = {}
    own, code = _followed(function), code_of(function)

    def note(frame: types.FrameType, event: str, _: Any) -> Any:
        for name, value in frame.f_locals.items():
            several = value.items() if isinstance(value, dict) else [("", value)]
            for key, one in several:
                if isinstance(one, Term) and one.operation != "given":
                    names.setdefault(one.order, (f"{name}_{key}" if key else name, bool(key)))
        _now.line = frame.f_lineno
        return note

    before = sys.gettrace()
    sys.settrace(lambda frame, event, _: note if frame.f_code is code else None)
    try:
        return own(*arguments), names
    finally:
        sys.settrace(before)
        _now.line = 0


def code_of(function: Any) -> Any:
    """The code of a function in Python; None where there is none."""
    return getattr(inside(function), "__code__", None)


# Functions of the library would turn terms into arrays: wherever a function can find one, another stands for it.


def _followed(value: Any) -> Any:
    if isinstance(value, (Activation, Bounded)):
        return _Gate(value)
    if isinstance(value, Given):
        value = functools.partial(value.function, **value.keywords)
    if isinstance(value, functools.partial):
        parts = [_followed(part) for part in value.args]
        keywords = {name: _followed(part) for name, part in value.keywords.items()}
        return functools.partial(_followed(value.func), *parts, **keywords)
    if isinstance(value, types.ModuleType) and value.__name__.partition(".")[0] == "elman":
        return _Module(value)
    if isinstance(value, Mapping) and any(callable(part) for part in value.values()):
        return {name: _followed(part) for name, part in value.items()}
    if not isinstance(value, types.FunctionType) or (value.__module__ or "").partition(".")[0] == "numpy":
        return value
    for name, known in ACTIVATIONS.items():
        if value is known.function:
            return _function(name, value)
        if value is known.derivative:
            return _derivative(name, value)
    return _Function(value)


class _Module:
    def __init__(self, module: types.ModuleType) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return _followed(getattr(self._module, name))


class _Function:
    """A function in Python, made anew when it is called: all that it can find is followed too."""

    def __init__(self, function: types.FunctionType) -> None:
        self._function = function

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        f = self._function
        outside = {name: _followed(f.__globals__[name]) for name in f.__code__.co_names if name in f.__globals__}
        cells = [types.CellType(_followed(cell.cell_contents)) for cell in f.__closure__ or ()]
        own = types.FunctionType(
            f.__code__, {**f.__globals__, **outside}, f.__name__, f.__defaults__, tuple(cells) or None
        )
        own.__kwdefaults__ = f.__kwdefaults__
        return own(*arguments, **options)


def _function(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def applied(x: Any, **parameters: Any) -> Any:
        return Term(function(_plain(x), **parameters), name, (x,)) if isinstance(x, Term) else function(x, **parameters)

    return applied


def _derivative(name: str, function: Any) -> Callable[..., Any]:
    def applied(y: Any, **parameters: Any) -> Any:
        if name in ("sigmoid", "tanh"):
            return y * (1 - y) if name == "sigmoid" else 1 - y * y
        if name == "identity":
            return 1.0
        return _function(f"{name}'", function)(y, **parameters)

    return applied


class _Gate:
    """An activation of a gate, bounded or not."""

    def __init__(self, gate: Activation | Bounded) -> None:
        self._gate, self._clip = gate, gate.clip if isinstance(gate, Bounded) else None
        self._act = gate.activation if isinstance(gate, Bounded) else gate
        self._name = self._act.name

    def __call__(self, a: Any) -> Any:
        if self._clip is not None:
            a = Term(np.clip(_plain(a), -self._clip, self._clip), "clip", (a, self._clip))
        return a if self._name == "identity" else Term(self._gate(_plain(a)), self._name, (a,))

    def derivative(self, y: Any) -> Any:
        if self._clip is None:
            return _derivative(self._name, self._act.derivative)(y)
        name = "clip'" if self._name == "identity" else f"clipped_{self._name}'"
        return Term(self._gate.derivative(_plain(y)), name, (y,))
