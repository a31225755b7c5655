"""Right calls of every public callable with one or two arguments replaced by what nobody should pass.

`python malformed.py --calls 5000 --seed 0` prints what came of them as JSON. Each call ends in one of these ways:

    taken         it returned, without a warning, and what it returned is finite where all arguments were
    words         refused by the library: what must hold, then what was given
    warned        taken with a warning
    not finite    taken, and something that it returned is NaN or infinite although no argument was
    otherwise     an error in other words, or raised elsewhere
    hung          it did not return within `PATIENCE`

A crash of the process shows as a missing result; `faulthandler` then prints where it was.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import faulthandler
import io
import json
import os
import pathlib
import re
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import numpy as np

import elman
from malformed_calls import PACKAGE, Target, targets

ENDLESS = ("epochs", "length", "repeats")  # arguments that may rightly ask for work without end
PATIENCE = 10.0  # seconds for a call
LARGE = 1e15  # no right call gives such a number


class Raises:
    """Fails whatever it is asked."""

    def _fail(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("this object answers nothing")

    __repr__ = __str__ = __len__ = __iter__ = __array__ = __float__ = __index__ = __getitem__ = __fspath__ = _fail


class Lies:
    """Says that it is an array, and is none."""

    shape, ndim, dtype, size = (2, 3), 2, np.dtype(np.float32), 6

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        return "no array"


class Tensor:
    """An array of another library, which gives its numbers."""

    def __init__(self, array: Any) -> None:
        self.array = array
        self.shape, self.ndim, self.dtype = array.shape, array.ndim, "other.float32"

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.array.astype(dtype or self.array.dtype)


def circular() -> list[Any]:
    items: list[Any] = []
    items += [items, items]
    return items


def nested(depth: int) -> Any:
    items: Any = 1.0
    for _ in range(depth):
        items = [items]
    return items


def reordered(array: Any, rng: np.random.Generator) -> list[Any]:
    """Arrays that are nearly right: another rank, size, dtype or layout, or one wrong value."""
    near: list[Any] = [array.astype(object), array.astype("U")]
    if array.dtype.kind in "biuf":
        with np.errstate(all="ignore"):
            near += [array.astype(dtype) for dtype in (np.float16, np.longdouble, np.int64, bool, complex, ">f8")]
    near += [array[None], array[..., None], array.ravel(), array.T, np.asfortranarray(array), array.tolist()]
    if array.ndim:
        near += [array[:0], array[..., :-1], np.concatenate([array, array]), array[::-1], list(array)]
    if array.dtype.kind == "f" and array.size:
        for wrong in (np.nan, np.inf, -np.inf, 1e300, -1.0):
            changed = array.astype(float)
            changed.flat[rng.integers(array.size)] = wrong
            near.append(changed)
    masked = np.ma.array(array, mask=rng.random(array.shape) < 0.3)
    near += [masked, np.ma.array(array), Tensor(array), array.view(np.recarray)]
    if array.ndim == 2:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            near.append(np.matrix(array))
    return near


def zoo(right: Any, rng: np.random.Generator) -> Any:
    """One malformed value, sometimes close to the right one."""
    if isinstance(right, np.ndarray) and rng.random() < 0.5:
        near = reordered(np.asarray(right), rng)
        return near[rng.integers(len(near))]
    if isinstance(right, (list, tuple)) and len(right) and rng.random() < 0.4:
        i = int(rng.integers(len(right)))
        return type(right)([*right[:i], zoo(right[i], rng), *right[i + 1 :]])
    if isinstance(right, dict) and right and rng.random() < 0.4:
        key = list(right)[rng.integers(len(right))]
        changed = dict(right)
        names = [key, key, "other", "", 3, None, ("a",), np.str_("x"), b"W"]
        changed[names[rng.integers(len(names))]] = zoo(right[key], rng)
        return changed
    return EVERY[rng.integers(len(EVERY))]()


EVERY: list[Callable[[], Any]] = [
    lambda: None,
    lambda: np.nan,
    lambda: np.inf,
    lambda: -np.inf,
    lambda: -1,
    lambda: 0,
    lambda: 1,
    lambda: 2.5,
    lambda: 1e300,
    lambda: 10**400,
    lambda: -(10**400),
    lambda: 2**63,
    lambda: sys.maxsize,
    lambda: True,
    lambda: np.True_,
    lambda: np.float16(0.5),
    lambda: np.longdouble("1e4000"),
    lambda: np.int8(-3),
    lambda: np.uint64(2**64 - 1),
    lambda: np.str_("tanh"),
    lambda: np.datetime64("2020-01-01"),
    lambda: Fraction(1, 3),
    lambda: Decimal("NaN"),
    lambda: 1j,
    lambda: "",
    lambda: "x",
    lambda: "tanh",
    lambda: "1",
    lambda: "\ud800",
    lambda: "a\0b",
    lambda: "x" * 100_000,
    lambda: b"bytes",
    lambda: bytearray(b"\0\1"),
    lambda: memoryview(b"abcd"),
    list,
    dict,
    set,
    tuple,
    lambda: [None],
    lambda: [[]],
    lambda: [1, "a"],
    lambda: [[1.0], [1.0, 2.0]],
    lambda: [np.ones((2, 3)), np.ones((3, 2))],
    lambda: (1, 2, 3, 4, 5),
    lambda: {"a": 1},
    lambda: {1: 2},
    lambda: {1, 2},
    lambda: MappingProxyType({"W": np.ones(2)}),
    lambda: range(3),
    lambda: iter([1, 2]),
    lambda: (n for n in [1.0]),
    lambda: lambda *args, **kwargs: 1,
    lambda: lambda: None,
    lambda: np.tanh,
    lambda: len,
    object,
    lambda: object,
    lambda: dict,
    lambda: np.ndarray,
    lambda: Ellipsis,
    lambda: NotImplemented,
    lambda: slice(1, 2),
    lambda: warnings,
    Raises,
    Lies,
    lambda: [Raises()],
    lambda: Tensor(np.ones((2, 3), np.float32)),
    circular,
    lambda: nested(40),
    lambda: nested(2000),
    lambda: np.array(1.0),
    lambda: np.array(1),
    lambda: np.ones(3),
    lambda: np.ones((2, 3)),
    lambda: np.ones((2, 3, 4)),
    lambda: np.zeros((0, 3)),
    lambda: np.zeros((2, 0, 3)),
    lambda: np.full((2, 3), np.nan),
    lambda: np.array([None, 1.0], object),
    lambda: np.array(["a"]),
    lambda: np.zeros(2, [("a", "f4"), ("b", "f8")]),
    lambda: np.array(["2020-01-01"], "M8[D]"),
    lambda: np.broadcast_to(np.float64(1), (10**7, 10**7, 3)),
    lambda: np.broadcast_to(np.float32(1), (2**40, 3)),
    lambda: np.ma.array([1.0, 2.0], mask=[True, False]),
    lambda: np.ma.masked,
    lambda: pathlib.Path("no/such/file"),
    lambda: pathlib.Path(),
    lambda: "no/such/folder/file.safetensors",
    lambda: os.sep,
    lambda: io.StringIO("text"),
    lambda: io.BytesIO(b"\x89HDF"),
    lambda: np.random.default_rng(0),
    lambda: np.random.SeedSequence(1),
    lambda: np.dtype("f4,f8"),
    lambda: np.dtype(">f4"),
    lambda: np.float32,
    lambda: ValueError("an error"),
    lambda: type("", (), {})(),
]


@contextlib.contextmanager
def pandas_too() -> Iterator[None]:
    with contextlib.suppress(ImportError):
        import pandas as pd

        EVERY.extend(
            [
                lambda: pd.Series([1.0, None]),
                lambda: pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}),
                lambda: pd.NA,
                lambda: pd.Series(["a", "b"]),
                lambda: pd.date_range("2020-01-01", periods=3),
            ]
        )
    yield


class HungError(BaseException):
    """Raised where a call does not come back."""


def _alarm(*_: Any) -> None:
    raise HungError


def is_finite(value: Any, depth: int = 0) -> bool:
    """Whether all numbers in what a call returned, or was given, are finite, and their squares too."""
    value = getattr(value, "to_numpy", lambda: value)()
    if isinstance(value, (int, float, np.number)):
        return not isinstance(value, np.complexfloating) and bool(-LARGE < np.longdouble(value) < LARGE)
    if isinstance(value, np.ndarray):
        wide = value.dtype.kind in "fc" and value.size < 10**6
        return not wide or bool((np.abs(value.astype(np.complex128)) < LARGE).all())
    if isinstance(value, (list, tuple)) and depth < 5:
        return all(is_finite(part, depth + 1) for part in value)
    if isinstance(value, dict) and depth < 5:
        return all(is_finite(part, depth + 1) for part in value.values())
    return True


#: What must hold, then what was given; an extra that is missing is named with the command that installs it.
WORDS = re.compile(r"\b(must|cannot)\b.*(\bGot\b|pip install)", re.DOTALL)


def is_in_words(error: BaseException) -> bool:
    """Whether an error was raised in the library, in its own words, and not at length."""
    frames = traceback.extract_tb(error.__traceback__)
    message = str(error)
    return frames[-1].filename.startswith(PACKAGE) and bool(WORDS.search(message)) and len(message) < 3000


def kind_of(error: BaseException) -> str:
    """Errors of one kind have one text: where and what, without the numbers."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    file = frame.filename.split("site-packages/")[-1].replace(PACKAGE, "elman")
    try:
        message = re.sub(r"[0-9]+", "#", str(error))[:100]
    except Exception:
        message = "no text"
    return f"{type(error).__name__} in {file}, {frame.name}: {message}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def call(target: Target, replaced: dict[str, Any]) -> tuple[str, str]:
    """How a call with some arguments replaced ends, and the kind of that."""
    arguments = {name: make() for name, make in target.arguments.items()} | replaced
    with warnings.catch_warnings(record=True) as caught, _quiet():
        warnings.simplefilter("always")
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)
        faulthandler.dump_traceback_later(
            3 * PATIENCE, exit=True, file=sys.__stderr__
        )  # within a call that looks at no signals
        try:
            result = target.function(**arguments)
        except HungError:
            return "hung", ""
        except Exception as error:
            if is_in_words(error):
                return "words", ""
            return "otherwise", kind_of(error)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            faulthandler.cancel_dump_traceback_later()
    given_finite = all(is_finite(value) for value in replaced.values())
    unheard = (ResourceWarning,) if given_finite else (ResourceWarning, RuntimeWarning)  # infinity times 0 may be said
    ours = [w for w in caught if not issubclass(w.category, unheard)]
    if ours:
        return "warned", f"{ours[0].category.__name__}: {str(ours[0].message)[:100]}"
    if given_finite and not is_finite(result):
        return "not finite", ""
    return "taken", ""


def campaign(count: int, seed: int, only: str = "", log: Any = None) -> dict[str, Any]:
    """`count` calls, shared out evenly over the targets and their arguments."""
    rng = np.random.default_rng(seed)
    signal.signal(signal.SIGALRM, _alarm)
    chosen = [target for target in targets() if only in target.name]
    ends: collections.Counter[str] = collections.Counter()
    kinds: dict[str, dict[str, Any]] = {}
    for target in chosen:
        with _quiet(), contextlib.suppress(elman.MissingExtraError):  # without a limit: it may import a large library
            target.function(**{name: make() for name, make in target.arguments.items()})
    slots = [(target, name) for target in chosen for name in target.arguments if name not in target.fixed]
    for i in range(count):
        target, name = slots[i % len(slots)] if i < len(slots) else slots[rng.integers(len(slots))]
        names = {name}
        if rng.random() < 0.15:
            names.add(slots[rng.integers(len(slots))][1])
        spoiled = [n for n in names if n in target.arguments and n not in target.fixed]
        replaced = {n: zoo(target.arguments[n](), rng) for n in spoiled}
        if any(n in ENDLESS and isinstance(value, int) and value > 1000 for n, value in replaced.items()):
            continue
        said = f"{target.name}({', '.join(f'{n}={shown(value)}' for n, value in replaced.items())})"
        if log is not None:
            log.seek(0)
            log.write(f"{i} {said}"[:500].ljust(500))
            log.flush()
        end, kind = call(target, replaced)
        ends[end] += 1
        if end not in ("taken", "words"):
            entry = kinds.setdefault(f"{end}: {kind}", {"count": 0, "calls": []})
            entry["count"] += 1
            if len(entry["calls"]) < 5:
                entry["calls"].append(said)
    return {"ends": dict(ends), "kinds": dict(sorted(kinds.items(), key=lambda pair: -pair[1]["count"]))}


def shown(value: Any) -> str:
    """A malformed value in a report."""
    try:
        text = repr(value)
    except Exception:
        text = type(value).__name__
    return re.sub(r"\s+", " ", text)[:80].encode("ascii", "backslashreplace").decode()


def main() -> None:
    faulthandler.enable()
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="")
    parser.add_argument("--log", help="a file that names the call that runs")
    given = parser.parse_args()
    log = open(given.log, "w") if given.log else None  # noqa: SIM115
    with tempfile.TemporaryDirectory() as folder, pandas_too():
        os.chdir(folder)
        found = campaign(given.calls, given.seed, given.only, log)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
