"""X in the forms in which users have it, read as a list of sequences; nothing is copied that need not be.

list     a list (or an object array) of sequences: arrays or frames (time_i, features), or (time_i,)
array    (n, time, features)
table    (n, time): a row is one sequence of one feature; an array, nested lists, or a frame
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from elman import checks
from elman.checks import Array, DtypeError, ShapeError
from elman.estimators.extra import BaseEstimator, check_array, validate_data
from elman.estimators.features import warn_of_ids_and_times
from elman.tables.frames import as_frame, to_numpy
from elman.tables.places import Where, check_finite, entries, has, is_number, real_numbers, show, words

Form = Literal["list", "array", "table"]


@dataclass(frozen=True)
class Inputs:
    """n sequences (time_i, features) of finite real numbers, or (time_i,) of places of tokens in `tokens_`.

    `form` is that in which they came, `kept` the attributes that the estimator keeps of them after fit.
    """

    parts: list[Array]
    form: Form
    kept: dict[str, Any]

    def __len__(self) -> int:
        return len(self.parts)

    @property
    def features(self) -> int:
        """Features a step."""
        return int(self.parts[0].shape[-1])

    @property
    def described(self) -> str:
        """How X was read, in words."""
        low, high = int(self.lengths.min()), int(self.lengths.max())
        steps = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        tokens = self.kept["tokens_"]
        what = counted(self.features, "feature") if tokens is None else f"tokens, {len(tokens):,} different ones"
        return f"{counted(len(self), 'sequence')} of {steps} step{'s' * (high > 1)}, {_ROWS[self.form]}{what}"

    @property
    def lengths(self) -> Array:
        """(n,): the number of steps of each sequence."""
        return np.array([len(part) for part in self.parts], np.int64)

    def take(self, indices: Array) -> Inputs:
        """The chosen sequences."""
        return Inputs([self.parts[i] for i in indices], self.form, self.kept)

    def chunks(self, steps: int) -> Iterator[list[Array]]:
        """The sequences in their order, as many at a time as have no more than so many steps together."""
        chunk: list[Array] = []
        count = 0
        for part in self.parts:
            if chunk and count + len(part) > steps:
                yield chunk
                chunk, count = [], 0
            chunk.append(part)
            count += len(part)
        yield chunk


_ROWS = {"list": "", "array": "", "table": "the rows of a table, "}


def counted(count: int, noun: str) -> str:
    """1 sequence, 2 sequences."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


_FORMS = (
    "X must be a list of sequences, arrays or frames (time, features) or (time,); an array (n, time, features); or a "
    "table (n, time), whose rows are sequences."
)


def read_inputs(estimator: Any, X: Any, *, reset: bool) -> Inputs:
    """X as `Inputs`, everything about it checked.

    With `reset` it is the X of fit, and the estimator keeps `kept` once it is trained. Without it X must have the
    features of fit, and one bare array is no list of sequences where fit had one. A table follows the rules of
    scikit-learn for tables: its columns are the features, and their number and names must be the same again.
    """
    known = None if reset else estimator.tokens_
    nested = isinstance(X, (list, tuple))
    X = _unwrap(X)
    rank = checks.rank(X)
    if known is not None or (reset and estimator.embedding is not None):
        return _read_tokens(X, known)
    if isinstance(X, list):
        inputs = Inputs(_read_list(X, reset), "list", {})
    elif rank == 3:
        inputs = Inputs(_read_array(X), "array", {})
    elif rank == 2:
        inputs = _read_table(estimator, X, reset, nested)
        if not reset and estimator._form != "table":
            if not nested:
                raise _one_sequence(X, estimator.network_.input_size)
            inputs = replace(inputs, form="list")  # lists of equal length
    else:
        raise _no_form(X)
    if not reset and inputs.features != estimator.network_.input_size:
        raise ShapeError(
            f"X must have {estimator.network_.input_size} features a step, as in fit. Got {inputs.features}."
        )
    if reset and inputs.form != "table":
        warn_of_ids_and_times(inputs.parts, [f"feature {j}" for j in range(inputs.features)])
        inputs.kept.update(n_features_in_=inputs.features)
    inputs.kept.update(_form=inputs.form, tokens_=None)
    return inputs


def _one_sequence(X: Any, features: int) -> ShapeError:
    """The error of one bare array or table where fit had several sequences."""
    rows = ", list(x) where each row is a sequence" if features == 1 else ""
    return ShapeError(
        f"X must be a list of sequences, or an array (n, time, {features}), as in fit. Got {checks.describe(X)}: "
        f"pass [x] for one sequence{rows}."
    )


def _no_form(X: Any) -> Exception:
    """The error of an X in no form that it can have."""
    if not isinstance(X, np.ndarray) or X.ndim == 0:
        return TypeError(f"{_FORMS} Got {show(X.item() if isinstance(X, np.ndarray) else X)}.")
    if X.ndim == 1 and X.dtype.kind in "biuf":
        return ShapeError(f"{_FORMS} Got {checks.describe(X)}. Reshape your data: [X] is one sequence of one feature.")
    if X.ndim == 1 and len(X):
        return DtypeError(f"{_FORMS} Got {show(X[0])} for a sequence.")
    return ShapeError(f"{_FORMS} Got {checks.describe(X)}.")


def _unwrap(X: Any) -> Any:
    """A list of sequences as a list, anything else as it is, nested lists of equal length as an array."""
    if (
        isinstance(X, np.ndarray)
        and X.dtype == object
        and X.ndim not in (0, 2)
        and any(checks.rank(part) for part in X)
    ):
        X = [part.tolist() if getattr(part, "dtype", None) == np.dtype(object) else part for part in X]
    if not isinstance(X, (list, tuple)):
        return checks.plain_array("X", X) if has(X, "__array__") and not has(X, "shape") else X
    if len(X) == 0:
        raise ShapeError("X must hold at least one sequence. Got an empty list.")
    if any(not isinstance(part, (list, tuple)) and checks.rank(part) for part in X):
        return list(X)
    if all(isinstance(part, (str, bytes)) or not has(part, "__len__") for part in X):
        return entries("X", X)  # numbers, or what is no sequence
    try:
        return entries("X", X)
    except ShapeError:  # lists of unequal length
        return list(X)


def _read_list(X: list[Any], reset: bool) -> list[Array]:
    parts: list[Array] = []
    tokens = reset
    columns: list[str] | None = None
    for i, value in enumerate(X):
        name = f"X[{i}]"
        frame = as_frame(value, name)
        if frame is not None:
            if columns not in (None, frame.columns):
                raise ValueError(f"{name} must have the columns {columns}, as the frames before. Got {frame.columns}.")
            columns, value = frame.columns, _of_frame(name, frame, "step")
        elif isinstance(value, (str, bytes, dict)) or not has(value, "__len__", "shape"):
            raise _not_a_sequence(name, value)
        given = _plain(name, value)
        tokens = tokens and given.ndim == 1 and given.dtype.kind in "iu"
        part = _real(name, given)
        part = part[:, None] if part.ndim == 1 else part
        if part.ndim != 2:
            raise ShapeError(f"{name} must have shape (time, features) or (time,). Got {part.shape}.")
        if part.size == 0:
            raise ShapeError(f"{name} must have at least one step and one feature. Got {part.shape}.")
        if parts and part.shape[1] != parts[0].shape[1]:
            raise ShapeError(f"{name} must have {parts[0].shape[1]} features, as X[0] has. Got {part.shape}.")
        check_finite("X", part, _in_sequence(i))
        parts.append(part)
    if tokens:
        raise _tokens_or_numbers(parts[0][:, 0])
    return parts


def _plain(name: str, value: Any) -> Array:
    """An array of a sequence, of objects only where they are of several kinds."""
    part = entries(name, to_numpy(value))
    return entries(name, part.tolist()) if part.dtype == object else part


def _real(name: str, part: Array) -> Array:
    try:
        return real_numbers(name, part, words("step", "feature"))
    except DtypeError as error:
        raise DtypeError(f"{error}{' Tokens need embedding=16.' if part.ndim == 1 else ''}") from None


def _tokens_or_numbers(part: Array) -> DtypeError:
    """The error of lists of whole numbers, which may be either."""
    begin = ", ".join(f"{entry:.0f}" for entry in part[:3])
    return DtypeError(
        "X must hold floats where its whole numbers are values; where they are tokens, embedding=16 gives each a "
        f"vector of 16 numbers. Got sequences of whole numbers, of which X[0] begins with {begin}."
    )


def _read_tokens(X: Any, known: Array | None) -> Inputs:
    """Sequences of whole numbers or text as places in the sorted tokens, those of fit where they are `known`."""
    form: Form = "list" if isinstance(X, list) else "array"
    if not isinstance(X, list) and not (isinstance(X, np.ndarray) and X.ndim == 2):
        must = "X must be a list of sequences of tokens, (time,) each, or an array (n, time), where embedding is given."
        raise ShapeError(f"{must} Got {checks.describe(X)}.")
    parts = [_tokens(f"X[{i}]", value) for i, value in enumerate(X)]
    like = parts[0] if known is None else known
    for i, part in enumerate(parts):
        if part.dtype.kind != like.dtype.kind:
            must, of = _TOKENS[like.dtype.kind], "X[0]" if known is None else "fit"
            raise DtypeError(f"X[{i}] must hold {must}, as {of} has. Got {show(part[0])} at step 0.")
    rows = np.concatenate(parts)
    tokens = np.unique(rows) if known is None else known
    codes = np.minimum(np.searchsorted(tokens, rows), len(tokens) - 1)
    if (wrong := tokens[codes] != rows).any():
        (row,) = checks.first(wrong)
        raise ValueError(f"X must hold tokens that fit has seen. Got {show(rows[row])} at {place(parts, 0, row)}.")
    split = np.split(codes, np.cumsum([len(part) for part in parts])[:-1])
    return Inputs(split, form, {"n_features_in_": 1, "_form": form, "tokens_": tokens})


_TOKENS = {"i": "whole numbers", "U": "text"}


def _tokens(name: str, value: Any) -> Array:
    """The tokens (time,) of a sequence, whole numbers as int64 or text."""
    if isinstance(value, (str, bytes, dict)) or not has(value, "__len__", "shape"):
        raise _not_a_sequence(name, value)
    part = _plain(name, value)
    if part.ndim != 1 or not len(part):
        raise ShapeError(f"{name} must have shape (time,), one token per step. Got {part.shape}.")
    if part.dtype.kind == "u" and part.max() < 2**63:
        part = part.astype(np.int64)
    if part.dtype.kind not in _TOKENS:
        step = next((i for i, entry in enumerate(part.tolist()) if type(entry) is not int or abs(entry) >= 2**63), 0)
        must = "tokens, whole numbers of 64 bits or text"
        raise DtypeError(f"{name} must hold {must}. Got {show(part[step])} at step {step}.")
    return part.astype(np.int64) if part.dtype.kind == "i" else part


def place(parts: list[Array], start: int, row: int) -> str:
    """Where a row of sequences one after another stands; the first is number `start` of X."""
    ends = np.cumsum([len(part) for part in parts])
    i = int(np.searchsorted(ends, row, side="right"))
    return f"sequence {start + i}, step {row - int(ends[i]) + len(parts[i])}"


def _not_a_sequence(name: str, value: Any) -> Exception:
    error = ShapeError if is_number(value) else DtypeError
    return error(f"{name} must be a sequence, an array or a frame (time, features) or (time,). Got {show(value)}.")


def _in_sequence(i: int) -> Where:
    return lambda index: words("sequence", "step", "feature")((i, *index))


def _read_array(X: Any) -> list[Array]:
    array = real_numbers("X", to_numpy(X), words("sequence", "step", "feature"))
    if array.size == 0:
        raise ShapeError(f"X must have at least one sequence, one step and one feature. Got {array.shape}.")
    check_finite("X", array, words("sequence", "step", "feature"))
    return list(array)


def _read_table(estimator: Any, X: Any, reset: bool, nested: bool) -> Inputs:
    frame = as_frame(X, "X")
    table = X if frame is None else _of_frame("X", frame, "row")
    if isinstance(table, np.ndarray) and table.dtype.kind in "OUS":
        try:
            table = real_numbers("X", table, words("sequence", "step"))
        except DtypeError as error:  # the end is what scikit-learn's own checks ask for
            raise DtypeError(f"{error} Each argument must be a number, a string be made a number before.") from None
    try:
        table = check_array(table, ensure_all_finite=False, estimator=estimator, input_name="X")
    except ValueError as error:
        raise ShapeError(f"{_FORMS} Got {checks.describe(table)}: {checks.shorten(str(error))}") from None
    if nested and reset and table.dtype.kind in "iu":
        raise _tokens_or_numbers(table[0])
    kept = BaseEstimator() if reset else estimator
    if reset or estimator._form == "table":  # the number of the columns, and their names
        validate_data(kept, X if frame is not None else table, reset=reset, skip_check_array=True)
    array = checks.real_array("X", table)[:, :, None]
    check_finite("X", array, words("sequence", "step", "feature"))
    return Inputs(list(array), "table", dict(vars(kept)) if reset else {})


def _of_frame(name: str, frame: Any, row: str) -> Array:
    """The numbers (rows, columns) of a frame, truth values among them; a column of another kind is named."""
    if all(dtype.is_numeric() for dtype in frame.schema.values()):
        return np.asarray(frame.to_numpy())
    columns = [
        real_numbers(f"{name}, column {column.name!r},", column.to_numpy(), words(row))
        for column in frame.iter_columns()
    ]
    return np.stack(columns, axis=1)
