"""One file for a fitted estimator: its arguments, its networks, and all that predictions need; no pickle, ever.

A safetensors file with a description under the key "elman_estimator": the name of the class, the arguments as
`get_params` has them, and the fitted attributes, in the form of `elman.estimators.values`. Which attributes there are
the classes say themselves: those that they annotate and give no value.
"""

from __future__ import annotations

import json
import os
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from elman.cells import Cell
from elman.checks import FormatError, MissingExtraError, hint, shorten, show
from elman.estimators.extra import check_is_fitted
from elman.estimators.values import Reader, Writer, check_fields, read_part
from elman.files import check_path, replace
from elman.layers import Layer
from elman.network import Network
from elman.saving import described, field, own_parts, read_described, read_file

KEY = "elman_estimator"
ESTIMATOR_VERSION = 1
_OPTIONAL = ("feature_names_in_",)  # of what is fitted

#: The estimators of the library by name.
ESTIMATORS: dict[str, type[Fitted]] = {}


class Fitted:
    """The part of an estimator that goes into a file."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__module__.startswith("elman."):
            ESTIMATORS[cls.__name__] = cls

    def _keep(self, arguments: dict[str, Any]) -> None:
        """Sets the arguments of the class as they are, as scikit-learn wants it; `arguments` are its locals."""
        vars(self).update({name: value for name, value in arguments.items() if name != "self"})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the whole fitted estimator into one safetensors file; see `elman.load`.

        It holds the arguments and all that was fitted: networks, scaling, classes, columns, clocks, and of a forecaster
        the end of its series. The file is replaced whole or not at all. Raises `FormatError`, naming the argument,
        for what no file holds, as functions and losses of your own, and for subclasses of your own; `ValueError` or
        `OSError` where `path` cannot be that of a file; all before anything is written.
        """
        check_is_fitted(self)
        check_path("path", path)
        replace(path, _content(self))

    def to_network(self) -> Network:
        """What the fitted estimator computes as one `elman.Network`, with its scaling as `elman.Scale` layers.

        From features in their own units to what `predict_proba` gives, in the order of `classes_`; of a regressor or a
        forecaster what `predict` gives; both to rounding in the `dtype`. With `embedding` it takes the places of tokens
        in `tokens_`. That of a forecaster takes a window (batch, window, variables) and gives the forecasts of all
        steps, one after another, (batch, horizon x variables). It is a copy. `elman.to_onnx`, `elman.to_c` and the
        other writers take an estimator, and write this network.

        Raises `ValueError`, naming the option, where predictions are more than a network: the gaps, differences and
        many series of a forecaster, the sampling of text; or where the dtype holds too few digits of a feature.
        """
        check_is_fitted(self)
        return self._network()

    def _network(self) -> Network:
        raise NotImplementedError

    def _facts(self) -> Iterator[tuple[str, Any, Any]]:
        """What must agree in a file for the fitted attributes to belong together: its name, what it is, and must be."""
        raise NotImplementedError


def _content(estimator: Any) -> bytes:
    kind = type(estimator)
    if ESTIMATORS.get(kind.__name__) is not kind:
        raise FormatError(f"an estimator must be one of {', '.join(ESTIMATORS)} to be saved. Got {kind.__name__}.")
    params, writer, known = estimator.get_params(deep=False), Writer(), _fitted(kind)
    fitted = {name: value for name, value in vars(estimator).items() if name not in params}
    if unknown := [name for name in fitted if name not in known]:
        raise FormatError(f"a saved {kind.__name__} must have the attributes of fit alone. Got {unknown[0]} too.")
    description = {
        "version": ESTIMATOR_VERSION,
        "estimator": kind.__name__,
        "params": {name: writer.write(value, name) for name, value in params.items()},
        "fitted": {name: _of_fit(writer, name, fitted[name]) for name in known if name in fitted},
        "parts": writer.parts,
    }
    try:  # before it replaces another file
        _built(json.loads(json.dumps(description)), Reader(writer.tensors, *own_parts(writer.cells, writer.layers)))
    except Exception as error:
        raise FormatError(f"a file of {kind.__name__} must come back as it was. Got {_told(error)}") from error
    return described(KEY, description, writer.tensors)


def _of_fit(writer: Writer, name: str, value: Any) -> Any:
    try:
        return writer.write(value, name)
    except FormatError as error:
        raise FormatError(f"what fit keeps of its data must go into a file. {error}") from None


def _told(error: Exception) -> str:
    """What went wrong where something was built of a description, by this library or by the three of tables."""
    return str(error) if isinstance(error, FormatError) else f"{type(error).__name__}: {shorten(str(error))}."


def _fitted(kind: type[Fitted]) -> dict[str, Any]:
    """The attributes that `fit` sets, with their types."""
    params = kind._get_param_names()  # type: ignore[attr-defined]  # of scikit-learn's base
    hints = typing.get_type_hints(kind)
    return {name: of for name, of in hints.items() if name not in params and not hasattr(kind, name)}


def load(
    path: str | os.PathLike[str] | bytes, cells: Mapping[str, Cell] | None = None, layers: Iterable[type[Layer]] = ()
) -> Any:
    """The estimator in a file that `save` wrote; see `elman.load`."""
    own = own_parts(cells, layers)
    name, content = read_file(path)
    try:
        description, tensors = read_described(content, KEY, ESTIMATOR_VERSION)
        return _built(description, Reader(tensors, *own))
    except (MissingExtraError, MemoryError):
        raise
    except Exception as error:  # also those of the libraries of tables
        must = "" if isinstance(error, FormatError) else "its description must be one that save writes. Got "
        raise FormatError(f"{name} cannot be loaded: {must}{_told(error)}") from error


def _built(description: Any, reader: Reader) -> Any:
    name = field(description, "estimator", str, "its description")
    if name not in ESTIMATORS:
        raise FormatError(
            f"the estimator must be one of {', '.join(ESTIMATORS)}. Got {show(name)}.{hint(name, ESTIMATORS)}"
        )
    for part in field(description, "parts", list, "its description"):
        reader.parts.append(read_part(reader, part))
    params, fitted = (
        {key: reader.read(value) for key, value in field(description, part, dict, "its description").items()}
        for part in ("params", "fitted")
    )
    kind: Any = ESTIMATORS[name]
    if more := sorted(set(params) - set(kind._get_param_names())):  # what is left out has its default, as it had then
        raise FormatError(f"params must be arguments of {name}. Got {show(more[0])}.")
    hints = _fitted(kind)
    check_fields(name, fitted, {key: hints[key] for key in hints if key in fitted or key not in _OPTIONAL})
    if reader.tensors:
        raise FormatError(f"each tensor must belong to the description. Got {show(next(iter(reader.tensors)))} too.")
    estimator = kind(**params)
    vars(estimator).update(fitted)
    for what, is_so, must in estimator._facts():
        if is_so != must:
            raise FormatError(f"{what} must be {show(must)}, as the rest of the file has it. Got {show(is_so)}.")
    return estimator
