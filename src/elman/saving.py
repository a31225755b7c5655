"""Networks in files: one safetensors file with a description in its header; no pickle, ever.

The description is JSON under the key "elman": ``{"version": 1, "network": {"layers": [{"type": "LSTM", ...}]}}``.
Every size in it is checked against the tensors of the file, so that no description can ask for more memory than those.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from elman.cells import CELLS, Cell
from elman.checks import Array, FormatError, show
from elman.files import replace
from elman.layers import Layer
from elman.network import Network

VERSION = 1


def save(net: Network, path: str | os.PathLike[str]) -> None:
    """Writes `net` to `path`, whole or not at all; see `Network.save`."""
    from safetensors.numpy import save as to_bytes

    description = json.dumps({"version": VERSION, "network": describe_config(net)})
    tensors = {name: np.ascontiguousarray(array) for name, array in net.parameters.items()}
    replace(path, to_bytes(tensors, metadata={"elman": description}))


def describe_config(net: Layer) -> Any:
    """The config of a network or a layer as plain JSON, its cells by their names and options."""
    return json.loads(json.dumps(net.config, default=_cell_config))


def load(path: str | os.PathLike[str], cells: Mapping[str, Cell] | None = None) -> Network:
    """Reads a network that `Network.save` wrote; its outputs are the same to the last bit.

    `cells` gives the cells of your own that the file names, name -> `elman.Cell`. Raises `FormatError`, naming the
    file and the field, for a file that is cut short, of another kind or version, or whose shapes do not fit;
    `FileNotFoundError` where there is none. Nothing in a file is ever executed.

    >>> import elman, tempfile, numpy as np
    >>> net = elman.Network([elman.RNN(2, 3, seed=0)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     net.save(folder + "/net.safetensors")
    ...     same = elman.load(folder + "/net.safetensors")
    >>> np.array_equal(net.layers[0].Wx, same.layers[0].Wx)
    True
    """
    from safetensors import SafetensorError, safe_open

    name = os.fspath(path)
    if not os.path.isfile(name):
        raise FileNotFoundError(f"path must be a file. Got {show(name)}, which is none.")
    try:
        with safe_open(name, framework="numpy") as file:
            # A safetensors header cannot claim more than the file holds, so this takes no more memory than the file.
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, TypeError, AttributeError) as error:
        raise FormatError(f"{name!r} must be a whole safetensors file of elman. Got an error: {error}.") from None
    try:
        return _build(_description(metadata), tensors, cells or {})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FormatError(f"{name!r} cannot be loaded: {_reason(error)}") from error


def _description(metadata: Mapping[str, str]) -> Any:
    """The description in a file's header."""
    if "elman" not in metadata:
        raise FormatError("its header must have the field 'elman'. Got none: it was not written by elman.")
    description = json.loads(metadata["elman"])
    version = description.get("version")
    if version != VERSION:
        raise FormatError(f"the field 'version' must be {VERSION}. Got {version!r}: it was written by another elman.")
    return description["network"]


def _build(config: Any, tensors: Mapping[str, Array], cells: Mapping[str, Cell]) -> Network:
    net = Network.from_parameters(_with_cells(config, cells), tensors)
    for name, array in net.parameters.items():
        if tensors[name].dtype != array.dtype:
            raise FormatError(f"the tensor {name!r} must be {array.dtype}. Got {tensors[name].dtype}.")
    extra = sorted(set(tensors) - set(net.parameters))
    if extra:
        raise FormatError(f"each tensor must belong to a layer of the description. Got {', '.join(extra)} too.")
    return net


def _reason(error: Exception) -> str:
    """The error's own words; those of a missing or mistaken field name it."""
    if isinstance(error, KeyError):
        return f"its description must have the field {error}. Got none."
    return (
        str(error) if isinstance(error, ValueError) else f"its description must fit the layers. Got an error: {error}."
    )


def _cell_config(value: Any) -> Any:
    """A cell as JSON: its name and options."""
    if isinstance(value, Cell):
        return {"name": value.name, "options": dict(value.options)}
    raise TypeError(f"a layer's config must be JSON. Got {show(value)}.")


def _with_cells(config: Any, cells: Mapping[str, Cell]) -> Any:
    """The description with each named cell put in its place."""
    layers = []
    for entry in config["layers"]:
        if "layers" in entry:
            entry = {**entry, **_with_cells(entry, cells)}
        elif "cell" in entry:
            entry = {**entry, "cell": _find_cell(entry["cell"]["name"], entry["cell"]["options"], cells)}
        layers.append(entry)
    return {"layers": layers}


def _find_cell(name: str, options: Mapping[str, Any], cells: Mapping[str, Cell]) -> Cell:
    cell = cells.get(name) or (CELLS[name](**options) if name in CELLS else None)
    if cell is None:
        raise FormatError(f"the cell {name!r} must be given: elman.load(path, cells={{{name!r}: cell}}). Got none.")
    if dict(cell.options) != options:
        raise FormatError(f"the cell {name!r} must have the options {options}. Got {dict(cell.options)}.")
    return cell
