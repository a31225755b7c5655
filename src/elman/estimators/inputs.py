"""X in the forms in which users have it, read as a list of sequences; nothing is copied that need not be.

list     a list (or an object array) of sequences: arrays or frames (time_i, features), or (time_i,)
array    (n, time, features)
table    (n, time): a row is one sequence of one feature; an array, nested lists, or a frame
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from elman import checks
from elman.checks import Array, DtypeError, ShapeError
from elman.estimators import tokens
from elman.estimators.extra import BaseEstimator, check_array, validate_data
from elman.estimators.features import QUESTION, ask_about_rows, check_order, warn_of_ids_and_times
from elman.tables.columns import Columns
from elman.tables.frames import Frame, check_no_groups, is_table, to_numpy
from elman.tables.places import Where, check_finite, counted, entries, few, has, is_number, real_numbers, show, words

InputForm = Literal["list", "array", "table"]


@dataclass(frozen=True)
class Inputs:
    """n sequences (time_i, features) of finite real numbers, or (time_i,) of places of tokens in `tokens_`.

    `form` is that in which they came, `columns` those of frames, `indexes` the index of a table of pandas or of each
    sequence, and `kept` what else the estimator keeps after fit.
    """

    parts: list[Array]
    form: InputForm
    columns: Columns | None = None
    indexes: Any = None
    kept: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.parts)

    @property
    def features(self) -> int:
        """Features per step."""
        return int(self.parts[0].shape[-1])

    @property
    def described(self) -> str:
        """How X was read, in words."""
        low, high = int(self.lengths.min()), int(self.lengths.max())
        steps = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        known = self.kept["tokens_"]
        what = counted(self.features, "feature") if known is None else f"tokens, {len(known):,} different ones"
        if self.columns is not None and self.form == "list":
            what = f"{counted(len(self.columns.columns), 'feature')}: {self.columns.describe()}"
        return f"{counted(len(self), 'sequence')} of {steps} step{'s' * (high > 1)}, {_ROWS[self.form]}{what}"

    @property
    def names(self) -> list[str]:
        """What errors call each feature; those of one column have one name."""
        return names_of(self.columns, self.features)

    @property
    def lengths(self) -> Array:
        """(n,): the number of steps of each sequence."""
        return np.array([len(part) for part in self.parts], np.int64)

    def take(self, indices: Array) -> Inputs:
        """The chosen sequences."""
        return replace(self, parts=[self.parts[i] for i in indices])

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
    check_no_groups("X", X)
    nested = isinstance(X, (list, tuple))
    X = _unwrap(X)
    rank = checks.rank(X)
    alike = not reset and (estimator._form == "table") == (rank == 2 and not isinstance(X, list))
    columns = estimator._columns if alike else None
    if known is not None or (reset and estimator.embedding is not None):
        return _read_tokens(X, known)
    if isinstance(X, list):
        inputs = _read_list(X, columns, reset)
    elif rank == 3:
        inputs = Inputs(_read_array(X), "array")
    elif rank == 2:
        inputs = _read_table(estimator, X, columns, reset, nested)
        if not reset and estimator._form != "table":
            if not nested or inputs.features != estimator.network_.input_size or (len(X) > 1 and X.shape[1] == 1):
                raise _one_sequence(X, estimator.network_.input_size)
            inputs = replace(inputs, form="list")  # lists of equal length
    elif rank == 1 and not reset and estimator._form != "table" and np.asarray(X).dtype.kind in "biuf":
        raise _one_sequence(X, estimator.network_.input_size)
    else:
        raise _no_form(X)
    if alike and inputs.form != "table":
        _compare_names(estimator, columns, inputs.columns)
    if not reset and inputs.features != estimator.network_.input_size:
        raise ShapeError(
            f"X must have {estimator.network_.input_size} features per step, as in fit. Got {inputs.features}."
        )
    if reset and inputs.form != "table":
        warn_of_ids_and_times(inputs.parts, inputs.names)
        inputs.kept.update(_names_to_keep(inputs))
    inputs.kept.update(_form=inputs.form, _columns=inputs.columns, tokens_=None)
    return inputs


def _names_to_keep(inputs: Inputs) -> dict[str, Any]:
    """The attributes of scikit-learn for the features of sequences: how many, and labels that frames give them."""
    if inputs.columns is None:
        return {"n_features_in_": inputs.features}
    labels = inputs.columns.labels
    names = np.array([*labels, None], object)[:-1]  # a tuple is one label
    return {"n_features_in_": len(labels)} | ({} if _is_counted(inputs.columns) else {"feature_names_in_": names})


def _is_counted(columns: Columns) -> bool:
    """Whether the columns are labelled 0, 1, 2, ..., as pandas does for those that have no names."""
    return columns.labels == tuple(range(len(columns.columns)))


def _compare_names(estimator: Any, fitted: Columns | None, columns: Columns | None) -> None:
    """Warns in scikit-learn's words where names are there in fit alone, or now alone."""
    name = type(estimator).__name__
    if columns is None and fitted is not None:
        if any(column.kind == "category" for column in fitted.columns):
            raise TypeError(f"X must have the columns {few(fitted.labels)}, as in fit, categories too. Got arrays.")
        if not _is_counted(fitted):
            words = f"X does not have valid feature names, but {name} was fitted with feature names"
            warnings.warn(words, UserWarning, stacklevel=5)
    elif columns is not None and fitted is None and not _is_counted(columns):
        words = f"X has feature names, but {name} was fitted without feature names"
        warnings.warn(words, UserWarning, stacklevel=5)


def _one_sequence(X: Any, features: int) -> ShapeError:
    """The error of one bare array or table where fit had several sequences."""
    rows = ", list(x) where each row is a sequence" if features == 1 and checks.rank(X) == 2 else ""
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
    """A list or column of sequences as a list, anything else as it is, nested lists of equal length as an array."""
    X = to_numpy(X) if is_table(X) and checks.rank(X) == 1 else X
    if has(X, "__array__") and not has(X, "shape"):
        X = checks.plain_array("X", X)
    if (
        isinstance(X, np.ndarray)
        and X.dtype == object
        and X.ndim not in (0, 2)
        and any(checks.rank(part) for part in X)
    ):
        X = [part.tolist() if getattr(part, "dtype", None) == np.dtype(object) else part for part in X]
    if not isinstance(X, (list, tuple)):
        return X
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


def _read_list(X: list[Any], columns: Columns | None, reset: bool) -> Inputs:
    frames = [Frame.read(f"X[{i}]", value) if is_table(value) else None for i, value in enumerate(X)]
    for frame in frames:
        if frame is not None:
            check_order(frame)
    indexes = [getattr(frame and frame.native, "index", None) for frame in frames]
    tables = [frame for frame in frames if frame is not None and not frame.single]
    if not tables:
        return Inputs(_read_parts(X, reset), "list", None, indexes)
    if len(tables) < len(X):
        i = next(i for i, frame in enumerate(frames) if frame is None or frame.single)
        raise TypeError(
            f"X must hold frames alone, or arrays alone: the columns of arrays have no names. "
            f"Got {checks.describe(X[i])} for X[{i}] beside frames with the columns {few(tables[0].labels)}."
        )
    columns = columns or Columns.read(tables, where=words("step"))
    parts = [columns.numbers(frame, words("step")) for frame in tables]
    names = names_of(columns, columns.width)
    for i, part in enumerate(parts):
        if part.size == 0:
            raise ShapeError(f"X[{i}] must have at least one step and one feature. Got {tables[i].native.shape}.")
        check_finite("X", part, _in_sequence(i, names))
    return Inputs(parts, "list", columns, indexes)


def names_of(columns: Columns | None, width: int) -> list[str]:
    """What errors call each feature."""
    if columns is None:
        return [f"feature {j}" for j in range(width)]
    return [f"column {column.label!r}" for column in columns.columns for _ in column.names]


def _read_parts(X: list[Any], reset: bool) -> list[Array]:
    parts: list[Array] = []
    whole = reset
    for i, value in enumerate(X):
        name = f"X[{i}]"
        given = _plain(name, value)
        whole = whole and given.ndim == 1 and given.dtype.kind in "iu"
        try:
            part = real_numbers(name, given, words("step", "feature"))
        except DtypeError as error:
            raise DtypeError(
                f"{error}{' Tokens need embedding=16.' if given.ndim == 1 and given.dtype.kind in 'OU' else ''}"
            ) from None
        part = part[:, None] if part.ndim == 1 else part
        if part.ndim != 2:
            raise ShapeError(f"{name} must have shape (time, features) or (time,). Got {part.shape}.")
        if part.size == 0:
            raise ShapeError(f"{name} must have at least one step and one feature. Got {part.shape}.")
        if parts and part.shape[1] != parts[0].shape[1]:
            raise ShapeError(f"{name} must have {parts[0].shape[1]} features, as X[0] has. Got {part.shape}.")
        check_finite("X", part, _in_sequence(i, names_of(None, part.shape[1])))
        parts.append(part)
    if whole:
        tokens.ask(parts[0][:, 0], certain=True)
    return parts


def _plain(name: str, value: Any) -> Array:
    """An array of a sequence, of objects only where they are of several kinds."""
    if isinstance(value, (str, bytes, dict)) or not has(value, "__len__", "shape"):
        error = ShapeError if is_number(value) else DtypeError
        raise error(f"{name} must be a sequence, an array or a frame (time, features) or (time,). Got {show(value)}.")
    part = entries(name, to_numpy(value))
    return entries(name, part.tolist()) if part.dtype == object else part


def _read_tokens(X: Any, known: Array | None) -> Inputs:
    """Sequences of tokens: a list, or an array (n, time)."""
    form: InputForm = "list" if isinstance(X, list) else "array"
    if not isinstance(X, list) and not (isinstance(X, np.ndarray) and X.ndim == 2):
        must = "X must be a list of sequences of tokens, (time,) each, or an array (n, time), where embedding is given."
        hint = ": pass [x] for one sequence" if checks.rank(X) == 1 else ""
        raise ShapeError(f"{must} Got {checks.describe(X)}{hint}.")
    if not len(X):
        raise ShapeError(f"X must hold at least one sequence. Got {checks.describe(X)}.")
    for i, part in enumerate(X):
        if is_table(part) and len(part.shape) == 2:  # columns of several kinds are no array
            raise ShapeError(f"X[{i}] must have shape (time,), one token per step. Got {tuple(part.shape)}.")
    parts, known = tokens.encode([_plain(f"X[{i}]", part) for i, part in enumerate(X)], known)
    return Inputs(parts, form, kept={"n_features_in_": 1, "_form": form, "_columns": None, "tokens_": known})


def place(parts: list[Array], start: int, row: int) -> str:
    """Where a row of sequences one after another stands; the first is number `start` of X."""
    ends = np.cumsum([len(part) for part in parts])
    i = int(np.searchsorted(ends, row, side="right"))
    return f"sequence {start + i}, step {row - int(ends[i]) + len(parts[i])}"


def _in_sequence(i: int, names: list[str]) -> Where:
    return lambda index: f"sequence {i}, step {index[0]}, {names[index[1]]}"


def _read_array(X: Any) -> list[Array]:
    array = real_numbers("X", to_numpy(X), words("sequence", "step", "feature"))
    if array.size == 0:
        raise ShapeError(f"X must have at least one sequence, one step and one feature. Got {array.shape}.")
    check_finite("X", array, words("sequence", "step", "feature"))
    return list(array)


def _read_table(estimator: Any, X: Any, columns: Columns | None, reset: bool, nested: bool) -> Inputs:
    frame = Frame.read("X", X) if is_table(X) else None
    table = X
    if not reset and frame is not None and estimator._form == "table":
        validate_data(estimator, X, reset=False, skip_check_array=True)  # names in the order of fit
    if frame is not None:
        try:
            columns = columns or Columns.read([frame])
            table = columns.numbers(frame)
        except DtypeError as error:
            raise DtypeError(f"{error} {QUESTION}") from None
    if isinstance(table, np.ndarray) and table.dtype.kind in "OUS":
        try:
            table = real_numbers("X", table, words("sequence", "step"))
        except DtypeError as error:  # the end is what scikit-learn's own checks ask for
            raise DtypeError(f"{error} Each argument must be a number, a string be made a number before.") from None
    try:
        table = check_array(table, ensure_all_finite=False, estimator=estimator, input_name="X")
    except ValueError as error:
        raise ShapeError(f"{_FORMS} Got {checks.describe(table)}: {checks.shorten(str(error))}") from None
    if frame is None and reset and table.dtype.kind in "iu" and (nested or (table.shape[1] > 2 and table.min() >= 0)):
        tokens.ask(table[0], certain=nested)
    kept = BaseEstimator() if reset else estimator
    if reset or estimator._form == "table":  # the number of the columns, and their names
        validate_data(kept, table if frame is None else X, reset=reset, skip_check_array=True)
    array = checks.real_array("X", table)[:, :, None]
    check_finite("X", array, words("sequence", "step", "feature"))
    if reset:
        ask_about_rows(frame, columns, array[:, :, 0])
    index = getattr(X, "index", None) if has(X, "iloc") else None
    return Inputs(list(array), "table", columns if frame else None, index, dict(vars(kept)) if reset else {})
