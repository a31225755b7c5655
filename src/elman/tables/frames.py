"""Tables and single columns of pandas, polars, Arrow and whatever else narwhals reads, in one form; and back.

Columns are found by their labels, as the user's library has them: text, whole numbers, or tuples of several levels. The
levels of a pandas index are columns too where the index says more than 0, 1, 2, ...; other libraries have none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from elman.checks import Array, ShapeError, describe, missing_extra
from elman.tables.places import Where, few, has, show

try:
    import narwhals as nw
except ImportError:
    raise missing_extra("the estimators of elman", "sklearn") from None

MOST_COLUMNS = 100_000  #: of a table


@dataclass(frozen=True)
class Level:
    """The label of a level of a pandas index that has no name."""

    position: int
    count: int  #: of levels

    def __str__(self) -> str:
        return "the index" if self.count == 1 else f"level {self.position} of the index"

    __repr__ = __str__


@dataclass(frozen=True, eq=False)
class Frame:
    """A table, or a single column as a table of one."""

    title: str  #: what errors call it
    native: Any  #: the table of the user's library
    labels: tuple[Hashable, ...]  #: of the columns, all different
    levels: tuple[Hashable, ...]  #: of the levels of a pandas index; none where the index counts 0, 1, 2, ...
    single: bool = False  #: whether it came as a single column
    name: Hashable = None  #: of the single column, as its library has it

    @classmethod
    def read(cls, title: str, value: Any) -> Frame:
        """`value` as a frame, nothing of it copied.

        Raises `TypeError` where narwhals does not read it as a table in memory, `ValueError` where two columns have
        one label, and `ShapeError` where there are more columns than `MOST_COLUMNS`.
        """
        shape = value.shape if has(value, "shape") else ()
        if isinstance(shape, tuple) and len(shape) == 2 and shape[1] > MOST_COLUMNS:
            raise ShapeError(f"{title} must have at most {MOST_COLUMNS:,} columns. Got {shape[1]:,}.")
        _check_different(title, value)
        table = nw.from_native(value, pass_through=True, eager_only=True, allow_series=True)
        if not isinstance(table, (nw.DataFrame, nw.Series)):
            kind = f"{type(value).__module__.partition('.')[0]}.{type(value).__qualname__}"
            hint = "; .collect() makes a table of it" if has(type(value), "collect") else ""
            raise TypeError(f"{title} must be a table of pandas, polars or Arrow in memory. Got a {kind}{hint}.")
        if isinstance(table, nw.DataFrame):
            native = table.to_native()
            return cls(title, native, tuple(table.columns), _levels(native))
        label = table.name if table.name not in (None, "") else "value"
        native = table.alias(label if isinstance(label, str) else "value").to_frame().to_native()
        return cls(title, native, (label,), _levels(native), True, table.name)

    def with_index(self, label: Hashable) -> Frame:
        """The frame with a level more, where this is the name of an index that counts 0, 1, 2, ..."""
        if label is None or self.levels or not isinstance(label, Hashable) or label in self.labels:
            return self
        return replace(self, levels=(label,)) if label in _names(self.native) else self

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return int(self.native.shape[0])

    @property
    def known(self) -> tuple[Hashable, ...]:
        """The labels of all that can have a role."""
        return (*self.labels, *self.levels)

    @cached_property
    def _places(self) -> dict[Hashable, int]:
        return {label: i for i, label in enumerate(self.labels)}

    def called(self, label: Hashable) -> str:
        """A column or level in an error."""
        if label in self._places:
            return f"the column {few([label])}"
        return str(label) if isinstance(label, Level) else f"the level {few([label])} of the index"

    def column(self, label: Hashable) -> nw.Series[Any]:
        """A column, or a level of the index.

        Raises `ShapeError` where there is none of this label, `ValueError` where there is more than one.
        """
        levels = self.levels or _names(self.native)
        found = (label in self._places) + levels.count(label)
        if found == 0:
            raise ShapeError(f"{self.title} must have the column {few([label])}. Got {few(self.known)}.")
        if found > 1:
            where = "a column and a level of its index" if label in self._places else "two levels of its index"
            raise ValueError(f"{self.title} must have one column {few([label])}. Got {where} of this name.")
        if label in self._places:
            return self._at(self._places[label])
        level = self.native.index.get_level_values(levels.index(label))
        return nw.from_native(level.to_series().reset_index(drop=True), series_only=True)

    def _at(self, place: int) -> nw.Series[Any]:
        native = self.native
        if has(native, "iloc"):
            return nw.from_native(native.iloc[:, place], series_only=True)
        column = native.get_column(self.labels[place]) if has(native, "get_column") else native.column(place)
        return nw.from_native(column, series_only=True)

    def stated(self, label: Hashable) -> Any:
        """The frequency that a pandas index states; None where the label is none of an index, or it states none."""
        is_index = len(self.levels) == 1 and label == self.levels[0]
        return getattr(self.native.index, "freq", None) if is_index else None

    @cached_property
    def plain(self) -> Array:
        """Which columns (columns,) are plain numbers, which NumPy holds as such."""
        if has(self.native, "iloc"):
            dtypes: Iterable[Any] = self.native.dtypes
            return np.array([isinstance(dtype, np.dtype) and dtype.kind in "fiu" for dtype in dtypes], bool)
        schema = nw.from_native(self.native, eager_only=True).schema
        return np.array([dtype.is_numeric() for dtype in schema.values()], bool)

    def is_plain(self, label: Hashable) -> bool:
        """Whether it is the label of such a column."""
        return label in self._places and bool(self.plain[self._places[label]])

    def numbers(self, places: Array) -> Array:
        """Plain columns by their places (rows, places) in float64, NaN where a value is missing."""
        if not len(places):
            return np.empty((self.rows, 0))
        every = len(places) == len(self.labels) and (places == np.arange(len(places))).all()
        if has(self.native, "iloc"):
            return np.asarray((self.native if every else self.native.iloc[:, places]).to_numpy(), np.float64)
        if has(self.native, "column_names"):  # Arrow refuses whole numbers that float64 rounds, if it is not told
            parts = [self.native.column(int(place)).cast("float64", safe=False) for place in places]
            return np.stack([part.to_numpy() for part in parts], axis=1)
        table = nw.from_native(self.native, eager_only=True)
        chosen = table if every else table[:, places.tolist()]  # by place: polars takes some names for patterns
        return np.asarray(chosen.select(nw.all().cast(nw.Float64)).to_numpy(), np.float64)

    def empty(self) -> Frame:
        """The frame without its rows: what `write` needs of it, to be kept with a fitted estimator."""
        return replace(self, native=emptied(self.native))

    def part(self) -> Frame:
        """The frame without an index that numbers its rows as those of a longer table: 20, 21, 22, ..."""
        if len(self.levels) != 1 or getattr(self.native.index.dtype, "kind", "O") not in "iu":
            return self
        return replace(self, levels=()) if (np.diff(self.native.index.to_numpy()) == 1).all() else self

    def write(self, columns: Mapping[Any, Any], index: Sequence[Hashable] = (), single: bool = False) -> Any:
        """A table of the user's library, or with `single` its one column that is not in `index`.

        `columns` are arrays, columns of that library, or lists of entries of the column of this frame that has the
        same label, whose dtype they get. Those in `index` become the levels of a pandas index.
        """
        made = {label: self._made(label, values) for label, values in columns.items()}
        levels, home = [made.pop(label) for label in index], library(self.native)
        if not has(self.native, "iloc"):
            if single:
                (column,) = made.values()
                return column.alias(self.name or "") if has(column, "alias") else column
            return home.DataFrame(made) if has(home, "DataFrame") else home.table(made)
        table = home.DataFrame(dict(enumerate(made.values())))
        table.columns = self._header(list(made))
        names = [None if isinstance(label, Level) else label for label in index]
        if len(levels) == 1:
            table.index = home.Index(levels[0], dtype=levels[0].dtype, name=names[0])
        elif levels:
            table.index = home.MultiIndex.from_arrays(levels, names=names)
        return table.iloc[:, 0].rename(self.name) if single else table

    def _made(self, label: Hashable, values: Any) -> Any:
        if isinstance(values, (list, np.ndarray)):
            return like(self.column(label).to_native() if isinstance(values, list) else self.native, values)
        values = nw.to_native(values, pass_through=True)
        return values.reset_index(drop=True) if has(values, "iloc") else values

    def _header(self, labels: list[Hashable]) -> Any:
        old, home = self.native.columns, library(self.native)
        if old.nlevels > 1 and all(isinstance(label, tuple) and len(label) == old.nlevels for label in labels):
            return home.MultiIndex.from_tuples(labels, names=old.names)
        return home.Index(labels, name=old.name if old.nlevels == 1 else None, tupleize_cols=False)


def is_table(value: Any) -> bool:
    """Whether it is a table, or one column of one; an array or an index is none."""
    if isinstance(value, (np.ndarray, list, tuple, type)):
        return False
    if has(type(value), "columns", "column_names"):
        return True
    if not has(type(value), "to_frame", "combine_chunks"):
        return False
    return isinstance(nw.from_native(value, pass_through=True, allow_series=True), nw.Series)


def check_no_groups(name: str, value: Any) -> None:
    """Refuses groups of a table, pairs of a name and a table, and mappings to tables: what they say would be lost."""
    if type(value).__name__.endswith("GroupBy"):
        hint = "[group for _, group in ...] makes one of groups"
    elif isinstance(value, Mapping) and any(map(is_table, value.values())):
        hint = "list(....values()) makes one"
    elif (
        isinstance(value, (list, tuple))
        and value
        and all(isinstance(part, tuple) and [is_table(entry) for entry in part] == [False, True] for part in value)
    ):
        hint = "[group for _, group in ...] leaves out their names"
    else:
        return
    raise TypeError(f"{name} must be a list of tables. Got {describe(value)}; {hint}.")


def is_category(column: nw.Series[Any]) -> bool:
    """Whether the entries of a column are some of a few: categories of pandas and polars, dictionaries of Arrow."""
    return isinstance(column.dtype, (nw.Categorical, nw.Enum))


def library(native: Any) -> Any:
    """The module that a table or column of the user comes from."""
    return nw.from_native(native, allow_series=True).implementation.to_native_namespace()


def emptied(native: Any) -> Any:
    """A table or column without its rows, which keeps nothing of them in memory."""
    if has(native, "iloc"):
        return native.iloc[:0].copy()
    if has(native, "clear"):
        return native.clear()
    return native.schema.empty_table() if has(native, "schema") else like(native, [])


def like(native: Any, values: list[Any] | Array) -> Any:
    """A column of the library of another; a list has the dtype of that one too."""
    home = library(native)
    if isinstance(values, list):
        if has(home, "Series"):
            return home.Series(values, dtype=native.dtype)
        return home.chunked_array([home.array(values, type=native.type)])
    values = np.ascontiguousarray(values)
    return home.Series(values) if has(home, "Series") else home.chunked_array([values])


def _names(native: Any) -> tuple[Hashable, ...]:
    """The names of the levels of a pandas index."""
    return tuple(name for name in native.index.names if name is not None) if has(native, "iloc") else ()


def _levels(native: Any) -> tuple[Hashable, ...]:
    """The labels of the levels of a pandas index that says more than the number of the row."""
    if not has(native, "iloc"):
        return ()
    index, names = native.index, native.index.names
    kind = getattr(getattr(index, "dtype", None), "kind", "O")
    if len(names) == 1 and kind in "iu" and np.array_equal(index.to_numpy(), np.arange(len(index))):
        return ()
    return tuple(Level(i, len(names)) if name is None else name for i, name in enumerate(names))


def _check_different(title: str, table: Any) -> None:
    """Refuses a table two columns of which have one label."""
    labels = table.columns if has(table, "iloc") and has(table, "columns") else getattr(table, "column_names", ())
    double = next((label for label, count in Counter(labels).items() if count > 1), None)
    if double is not None:
        raise ValueError(f"{title} must have columns of different names. Got {few([double])} more than once.")


def first_entry(column: nw.Series[Any], where: Where) -> str:
    """The first entry of a column that is there, and its place, in an error."""
    row = int(np.argmin(np.asarray(column.is_null().to_numpy(), bool)))
    return f"{show(entries_of(column)[row])} at {where((row,))}"


def entries_of(column: nw.Series[Any]) -> list[Any]:
    """The entries of a column as objects of Python; dates beyond those of Python as NumPy has them."""
    try:
        sparse = column.dtype == nw.Unknown and column.to_numpy().dtype.kind in "biuf"  # in pandas
        return column.to_numpy().tolist() if sparse else column.to_list()
    except (OverflowError, ValueError):
        return list(column.to_numpy())


def to_numpy(value: Any) -> Any:
    """The array of a Series of pandas, polars or Arrow, or of a frame; anything else as it is."""
    if isinstance(value, (np.ndarray, list, tuple)) or not has(value, "to_numpy", "columns", "column_names"):
        return value
    native = nw.from_native(value, pass_through=True, allow_series=True)
    if isinstance(native, nw.Series) and has(value, "unify_dictionaries") and native.dtype == nw.Categorical:
        return np.array(native.to_list(), object)  # Arrow's own array has another entry where there is none
    return native.to_numpy() if isinstance(native, (nw.DataFrame, nw.Series)) else value
