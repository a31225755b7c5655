"""Values of Python as plain JSON and tensors, and back: what files of estimators hold, none of which is ever executed.

None, truth values, numbers, text and lists stand for themselves. Of all else a row of `KINDS` makes an object with one
field, {"tuple": [1, 2]}. Arrays of numbers are tensors, called by their places. Networks and records, the library's own
dataclasses, stand in a list of parts, each once however often it is used, and are checked against their annotations.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin
from uuid import UUID

import numpy as np

from elman import saving
from elman.cells import Cell
from elman.checks import Array, FormatError, show
from elman.estimators.extra import StandardScaler
from elman.estimators.natives import NATIVES, ZONES
from elman.estimators.spec import WindowSpec
from elman.estimators.windows import Moments, Statistics
from elman.layers import LAYERS, Layer, Recurrent
from elman.layers.nesting import every_layer
from elman.network import Network
from elman.tables.clock import Clock, Timeline
from elman.tables.columns import Column, Columns
from elman.tables.frames import Frame, Level
from elman.tables.lines import Business, Even, Listed, Months, Offset
from elman.tables.long import TableForm, TablesForm
from elman.tables.panel import ArrayForm, Panel
from elman.tables.roles import Roles
from elman.tables.stamps import Stamps
from elman.training import CosineSchedule, LinearSchedule, StepSchedule
from elman.training.checkpoints import Checkpoint
from elman.training.history import History
from elman.training.losses import LOSSES

RECORDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        *(ArrayForm, Business, Checkpoint, Clock, Column, Columns, CosineSchedule, Even, Frame, History, Level),
        *(LinearSchedule, Listed, Moments, Months, Offset, Panel, WindowSpec, Roles, Stamps, Statistics, StepSchedule),
        *(TableForm, TablesForm, Timeline, *LOSSES.values()),
    )
}

#: Objects that are one of their kind, by name: what a dtype may be given as, and scikit-learn's global generator.
_NAMED = {"bool": bool, "float": float, "int": int, "str": str, "numpy.random": np.random} | {
    f"numpy.{name}": getattr(np, name) for name in ("float16", "float32", "float64", "int32", "int64")
}

#: By how many characters the dtype of an array of text may be longer than its entries.
_LONGER = 64


class Writer:
    """What is written: `parts`, which values refer to by their number, and `tensors`."""

    def __init__(self) -> None:
        self.parts: list[Any] = []
        self.tensors: dict[str, Array] = {}
        self.cells: dict[str, Cell] = {}  # of the networks
        self.layers: list[type[Layer]] = []  # their own, not the library's
        self._written: dict[int, tuple[int, Any]] = {}

    def write(self, value: Any, place: str) -> Any:
        """A value as JSON; raises `FormatError`, with its place, for what no file holds."""
        if value is None or type(value) in (bool, int, float, str):
            return value
        if type(value) is list:
            return self.each(value, place)
        for name, kind in KINDS.items():
            if kind.holds(value):
                return {name: kind.write(self, value, place)}
        raise FormatError(
            f"{place} must be what a file can hold: numbers, text, dates, arrays, containers of them, and the "
            f"library's own parts; no code. Got {show(value)}."
        )

    def each(self, values: Iterable[Any], place: str) -> list[Any]:
        """A list of values."""
        return [self.write(value, f"{place}.{i}") for i, value in enumerate(values)]

    def part(self, value: Any, describe: Callable[[], Any]) -> int:
        """The number of a part, written where it comes first."""
        if id(value) not in self._written:
            self.parts.append(describe())
            self._written[id(value)] = len(self.parts) - 1, value
        return self._written[id(value)][0]

    def tensor(self, array: Array, place: str) -> str:
        """The name of a tensor."""
        self.tensors[place] = array
        return place


class Reader:
    """Reads what a `Writer` wrote. Raises errors of any kind for what it did not, which the caller names."""

    def __init__(self, tensors: Mapping[str, Array], cells: Any, layers: Any) -> None:
        self.tensors, self.cells, self.layers = dict(tensors), cells, layers
        self.parts: list[Any] = []

    def read(self, entry: Any) -> Any:
        """The value of JSON."""
        if isinstance(entry, list):
            return [self.read(part) for part in entry]
        if not isinstance(entry, dict):
            return entry
        ((name, held),) = entry.items()
        return KINDS[name].read(self, held)

    def tensor(self, name: str) -> Array:
        """A tensor, which belongs to one value."""
        return self.tensors.pop(name).copy()


class Kind(NamedTuple):
    """Which values are of a kind, how one is written, with its place, and read."""

    holds: Callable[[Any], bool]
    write: Callable[[Writer, Any, str], Any]
    read: Callable[[Reader, Any], Any]


def _simple(
    kind: type | tuple[type, ...], write: Callable[[Any], Any], read: Callable[[Any], Any], exactly: bool = True
) -> Kind:
    """A kind whose values are told by plain JSON."""
    kinds = kind if isinstance(kind, tuple) else (kind,)
    return Kind(
        lambda value: type(value) in kinds if exactly else isinstance(value, kinds),
        lambda _, value, place: write(value),
        lambda _, held: read(held),
    )


# Arrays.


def _is_held(dtype: np.dtype[Any], kinds: str) -> bool:
    return dtype.kind in kinds and (dtype.kind not in "iuf" or dtype.itemsize <= 8)


def _as_long(dtype: np.dtype[Any], entries: list[Any]) -> np.dtype[Any]:
    """A dtype of text that is hardly longer than its entries."""
    if dtype.kind not in "US":
        return dtype
    longest = max(map(len, entries), default=0) + _LONGER
    return min(dtype, np.dtype(f"{dtype.kind}{longest}"), key=lambda one: one.itemsize)


def _write_array(writer: Writer, array: Array, place: str) -> Any:
    dtype = array.dtype.newbyteorder("=")
    if dtype.kind in "OUS":
        entries = array.ravel().tolist()
        return [_as_long(dtype, entries).str, list(array.shape), writer.each(entries, place)]
    counts = array.astype(np.int64) if dtype.kind in "Mm" else array.astype(dtype)
    return [dtype.str, writer.tensor(counts, place)]


def _read_array(reader: Reader, held: Any) -> Array:
    dtype, *shape, held = held
    dtype = np.dtype(dtype)
    if not shape:
        array = reader.tensor(held)
        if array.dtype != (np.int64 if dtype.kind in "Mm" else dtype):
            raise FormatError(f"an array of {dtype} must have a tensor of it. Got {array.dtype}.")
        return array.view(dtype)
    values = reader.read(held)
    kinds = {"O": object, "U": str, "S": bytes}[dtype.kind]
    if not all(isinstance(value, kinds) for value in values) or _as_long(dtype, values) != dtype:
        raise FormatError(f"an array must hold entries of its kind and length. Got {dtype}.")
    array = np.empty(len(values), dtype)
    for i, value in enumerate(values):  # a tuple is one entry
        array[i] = value
    return array.reshape(shape[0])


def _write_number(value: Any) -> Any:
    dtype = np.dtype(value.dtype)
    return [dtype.str, int(value.astype(np.int64)) if dtype.kind in "Mm" else value.item()]


def _read_number(held: Any) -> Any:
    dtype, value = np.dtype(held[0]), held[1]
    if dtype.kind == "U":
        return np.str_(value)
    return np.array(value, np.int64).view(dtype)[()] if dtype.kind in "Mm" else np.array(value, dtype)[()]


# Parts.


def _write_record(writer: Writer, record: Any, place: str) -> Any:
    names = _hints(type(record))  # type: ignore[arg-type]  # a class can be hashed
    return writer.part(
        record,
        lambda: [
            type(record).__name__,
            {name: writer.write(getattr(record, name), f"{place}.{name}") for name in names},
        ],
    )


def _write_network(writer: Writer, net: Network, place: str) -> Any:
    def describe() -> Any:
        tensors = {name: writer.tensor(array, f"{place}.{name}") for name, array in net.weights.items()}
        inside = list(every_layer(net))
        writer.layers += [type(layer) for layer in inside if type(layer).__name__ not in LAYERS]
        writer.cells |= {layer.cell.name: layer.cell for layer in inside if isinstance(layer, Recurrent)}
        return ["Network", saving.network_entry(net), saving.NETWORK_VERSION, tensors]

    return writer.part(net, describe)


def read_part(reader: Reader, entry: Any) -> Any:
    """A network or a record, whose own parts were read before."""
    kind, fields, *rest = entry
    if kind == "Network":
        version, tensors = rest
        own = {name: reader.tensor(place) for name, place in tensors.items()}
        return saving.read_network(fields, own, version, reader.cells, reader.layers)
    values = {name: reader.read(value) for name, value in fields.items()}
    check_fields(kind, values, _hints(RECORDS[kind]))
    return RECORDS[kind](**values)


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    """The fields of a record, with the types that they are annotated with."""
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else kind._fields
    return {name: hints[name] for name in names}


def check_fields(owner: str, values: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
    """Refuses values that are not all those of a record, or not of their types."""
    for name in {**values, **hints}:
        if name not in values or name not in hints or not fits(values[name], hints[name]):
            got = show(values[name]) if name in values else "none"
            raise FormatError(f"{name} of a {owner} must be what it is there. Got {got}.")


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of the type of an annotation."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in inner)
    if origin is Literal:
        return value in inner
    if hint is Any:
        return True
    kind = origin or (type(None) if hint is None else hint)
    if not isinstance(value, (int, float) if kind is float else kind):
        return False
    value = typing.cast(Any, value)
    if kind is tuple and inner[-1:] != (...,):
        return len(value) == len(inner) and all(map(fits, value, inner))
    if kind in (tuple, list):
        return all(fits(part, inner[0]) for part in value)
    if kind is dict:
        return all(fits(key, inner[0]) and fits(part, inner[1]) for key, part in value.items())
    return True


# The table.


def _state_of(generator: np.random.RandomState) -> Any:
    name, keys, *rest = generator.get_state(legacy=True)
    return [name, np.asarray(keys).tolist(), *rest]


def _generator(state: Any) -> np.random.RandomState:
    generator = np.random.RandomState()
    generator.set_state((*state[:1], np.array(state[1], np.uint32), *state[2:]))
    return generator


def _scaler(fields: Any) -> Any:
    scaler = StandardScaler()
    known = {"mean_", "scale_", "var_", "n_features_in_", "n_samples_seen_", *vars(scaler)}
    arrays = [fields[name] for name in ("mean_", "scale_", "var_")]
    if set(fields) != known or not all(fits(array, np.ndarray) and array.dtype == np.float64 for array in arrays):
        raise FormatError(f"a StandardScaler must have {', '.join(sorted(known))}. Got {show(fields)}.")
    if any(array.shape != (fields["n_features_in_"],) for array in arrays):
        raise FormatError("a StandardScaler must have a number for each feature. Got others.")
    vars(scaler).update(fields)
    return scaler


KINDS: dict[str, Kind] = {
    "tuple": Kind(
        lambda value: type(value) is tuple, Writer.each, lambda reader, held: tuple([reader.read(one) for one in held])
    ),
    "dict": Kind(
        lambda value: type(value) is dict,
        lambda writer, value, place: [
            [writer.write(key, place), writer.write(one, f"{place}.{key}")] for key, one in value.items()
        ],
        lambda reader, held: {reader.read(key): reader.read(one) for key, one in held},
    ),
    "bytes": _simple(bytes, bytes.hex, bytes.fromhex),
    "array": Kind(
        lambda value: type(value) is np.ndarray and _is_held(value.dtype, "biufMmUSO"), _write_array, _read_array
    ),
    "number": Kind(
        lambda value: isinstance(value, np.generic) and _is_held(value.dtype, "biufMmU"),
        lambda _, value, place: _write_number(value),
        lambda _, held: _read_number(held),
    ),
    "dtype": _simple(np.dtype, lambda dtype: dtype.str, np.dtype, exactly=False),
    "named": Kind(
        lambda value: any(value is one for one in _NAMED.values()),
        lambda _, value, place: next(name for name, one in _NAMED.items() if value is one),
        lambda _, name: _NAMED[name],
    ),
    "part": Kind(
        lambda value: isinstance(value, Network) or RECORDS.get(type(value).__name__) is type(value),
        lambda writer, value, place: (_write_network if isinstance(value, Network) else _write_record)(
            writer, value, place
        ),
        lambda reader, number: reader.parts[number],
    ),
    "scaler": Kind(
        lambda value: type(value) is StandardScaler,
        lambda writer, value, place: writer.write(vars(value), place),
        lambda reader, held: _scaler(reader.read(held)),
    ),
    "generator": _simple(np.random.RandomState, _state_of, _generator),
    "date": _simple(date, date.isoformat, date.fromisoformat),
    "timedelta": _simple(
        timedelta, lambda span: [span.days, span.seconds, span.microseconds], lambda held: timedelta(*held)
    ),
    "decimal": _simple(Decimal, str, Decimal),
    "fraction": _simple(Fraction, str, Fraction),
    "uuid": _simple(UUID, str, UUID),
    "path": _simple(PurePath, str, Path, exactly=False),
    "datetime": Kind(
        lambda value: type(value) is datetime,
        lambda writer, value, place: [
            value.replace(tzinfo=None, fold=0).isoformat(),
            value.fold,
            writer.write(value.tzinfo, place),
        ],
        lambda reader, held: datetime.fromisoformat(held[0]).replace(fold=held[1], tzinfo=reader.read(held[2])),
    ),
    "time": _simple(time, time.isoformat, time.fromisoformat),
    **{name: Kind(*row) for name, row in {**ZONES, **NATIVES}.items()},
}
