"""X in the forms in which users have it, read as a list of sequences; nothing is copied that need not be.

list     a list (or an object array) of sequences: arrays or frames (time_i, features), or (time_i,)
array    (n, time, features)
table    (n, time): a row is one sequence of one feature; an array, nested lists, or a frame
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from elman import checks
from elman.checks import Array, DtypeError, ShapeError
from elman.estimators.extra import check_array, validate_data
from elman.tables.frames import as_frame, to_numpy
from elman.tables.places import Where, check_finite, entries, has, is_number, real_numbers, show, words

Form = Literal["list", "array", "table"]


@dataclass(frozen=True)
class Inputs:
    """n sequences (time_i, features) of finite real numbers, and the form in which they came."""

    parts: list[Array]
    form: Form

    def __len__(self) -> int:
        return len(self.parts)

    @property
    def features(self) -> int:
        """Features a step."""
        return int(self.parts[0].shape[1])

    @property
    def lengths(self) -> Array:
        """(n,): the number of steps of each sequence."""
        return np.array([len(part) for part in self.parts], np.int64)

    def take(self, indices: Array) -> Inputs:
        """The chosen sequences."""
        return Inputs([self.parts[i] for i in indices], self.form)

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


_FORMS = (
    "X must be a list of sequences, arrays or frames (time, features) or (time,); an array (n, time, features); or a "
    "table (n, time), whose rows are sequences."
)


def read_inputs(estimator: Any, X: Any, *, reset: bool) -> Inputs:
    """X as `Inputs`, everything about it checked.

    With `reset` its number of features is kept as the estimator's `n_features_in_`, as in fit; without it, it must
    be that of fit. A table follows the rules of scikit-learn for tables: its columns are the features, and their
    number and names must be the same again.
    """
    X = _unwrap(X)
    rank = checks.rank(X)
    if isinstance(X, list):
        inputs = Inputs(_read_list(X), "list")
    elif rank == 3:
        inputs = Inputs(_read_array(X), "array")
    elif rank == 2:
        inputs = Inputs(_read_table(estimator, X, reset), "table")
    else:
        raise _no_form(X)
    if reset:
        estimator._on_table = inputs.form == "table"
        if not estimator._on_table:
            estimator.n_features_in_ = inputs.features
            vars(estimator).pop("feature_names_in_", None)  # of a table in a fit before
    elif inputs.features != estimator.network_.input_size:
        raise ShapeError(
            f"X must have {estimator.network_.input_size} features a step, as in fit. Got {inputs.features}."
        )
    return inputs


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


def _read_list(X: list[Any]) -> list[Array]:
    parts: list[Array] = []
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
        part = real_numbers(name, to_numpy(value), words("step", "feature"))
        part = part[:, None] if part.ndim == 1 else part
        if part.ndim != 2:
            raise ShapeError(f"{name} must have shape (time, features) or (time,). Got {part.shape}.")
        if part.size == 0:
            raise ShapeError(f"{name} must have at least one step and one feature. Got {part.shape}.")
        if parts and part.shape[1] != parts[0].shape[1]:
            raise ShapeError(f"{name} must have {parts[0].shape[1]} features, as X[0] has. Got {part.shape}.")
        check_finite("X", part, _in_sequence(i))
        parts.append(part)
    return parts


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


def _read_table(estimator: Any, X: Any, reset: bool) -> list[Array]:
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
    if reset or estimator._on_table:  # the number of the columns, and their names
        validate_data(estimator, X if frame is not None else table, reset=reset, skip_check_array=True)
    array = checks.real_array("X", table)[:, :, None]
    check_finite("X", array, words("sequence", "step", "feature"))
    return list(array)


def _of_frame(name: str, frame: Any, row: str) -> Array:
    """The numbers (rows, columns) of a frame, truth values among them; a column of another kind is named."""
    if all(dtype.is_numeric() for dtype in frame.schema.values()):
        return np.asarray(frame.to_numpy())
    columns = [
        real_numbers(f"{name}, column {column.name!r},", column.to_numpy(), words(row))
        for column in frame.iter_columns()
    ]
    return np.stack(columns, axis=1)
