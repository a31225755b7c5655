"""Networks in files: one safetensors file with a description in its header; no pickle, ever.

The description is JSON under the key "elman": ``{"version": 2, "network": {"layers": [{"type": "LSTM", ...}]}}``.
In version 1 layers without weights had a dtype too, which had to be that of the others; it is left out when read.
Every size in it is checked against the tensors of the file, so that no description can ask for more memory than those.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from elman.cells import CELLS, Cell
from elman.checks import Array, FormatError, choice, hint, show
from elman.files import check_source, checksum, read_safetensors, replace, write_safetensors
from elman.layers import LAYERS, Layer
from elman.layers.nesting import computes_otherwise, every_layer
from elman.options import check_names, defaults, frozen

if TYPE_CHECKING:
    from elman.network import Network

NETWORK_VERSION = 2


def save(net: Network, path: str | os.PathLike[str]) -> None:
    """Writes `net` to `path`, whole or not at all; see `Network.save`."""
    replace(path, described("elman", {"version": NETWORK_VERSION, "network": network_entry(net)}, net.weights))


def network_entry(net: Layer) -> Any:
    """A network in a description, beside which its tensors stand; refuses what would not come back as it is.

    A network of one's own is loaded as a `Network`.
    """
    for layer in every_layer(net):
        kind = LAYERS["Network"] if layer is net else type(layer)
        if LAYERS.get(kind.__name__) is kind and not computes_otherwise(layer):
            continue
        if layer.layers or kind.__name__ in LAYERS:
            own = "layers of one's own by names that elman has not"
            raise FormatError(f"a saved network must hold networks of elman alone, and {own}. Got {layer!r}.")
        twin = kind.from_parameters(layer.config, layer.weights)
        lost = [name for name in vars(layer) if name not in vars(twin) and not name.startswith("_")]
        if lost:
            must = f"{kind.__name__} must set in setup all that it keeps, of its options alone"
            raise FormatError(f"{must}. Got {', '.join(lost)} from elsewhere.")
    return describe_config(net)


def describe_config(net: Layer) -> Any:
    """The config of a network or a layer as plain JSON, its cells by their names and options."""

    def cell(value: Any) -> Any:
        if isinstance(value, Cell):
            return {"name": value.name, "options": dict(value.options)}
        raise TypeError(f"a layer's config must be JSON. Got {show(value)}.")

    return json.loads(json.dumps(net.config, default=cell))


def load(
    path: str | os.PathLike[str] | bytes,
    cells: Mapping[str, Cell] | None = None,
    layers: Iterable[type[Layer]] = (),
) -> Network:
    """Reads a network that `Network.save` wrote; see `elman.load`."""
    cells, kinds = own_parts(cells, layers)
    name, content = read_file(path)
    try:
        description, tensors = read_described(content, "elman", NETWORK_VERSION)
        _check_fields(description, ("version", "network"), "its description")
        entry = field(description, "network", dict, "its description")
        return read_network(entry, tensors, description["version"], cells, kinds)
    except (ValueError, RecursionError) as error:  # what a file can cause; all else is a fault of the library
        raise FormatError(f"{name} cannot be loaded: {error}") from error


def own_parts(cells: Any, layers: Any) -> tuple[Mapping[str, Cell], dict[str, type[Layer]]]:
    """The cells of one's own, and all classes of layers, by the names that files call them."""
    cells = {} if cells is None else cells
    if not isinstance(cells, Mapping) or not all(isinstance(cell, Cell) for cell in cells.values()):
        raise TypeError(f"cells must be a mapping of names to cells, elman.Cell. Got {show(cells)}.")
    own = list(layers) if isinstance(layers, (list, tuple, set)) else [layers]
    for kind in own:
        if not (isinstance(kind, type) and issubclass(kind, Layer)):
            raise TypeError(f"layers must be a list of classes of layers. Got {show(layers)}.")
        if LAYERS.get(kind.__name__, kind) is not kind:
            raise ValueError(f"a layer of one's own must have a name that elman has not. Got {kind.__name__!r}.")
    return cells, {**LAYERS, **{kind.__name__: kind for kind in own}}


def read_file(path: Any, most: int | None = None) -> tuple[str, bytes]:
    """The bytes of a file, or the first ones of it, with the name under which errors speak of them."""
    if isinstance(path, (bytes, bytearray, memoryview)):
        return "the bytes", bytes(path[:most])
    name = check_source("path", path)
    with open(name, "rb") as file:
        return show(name), file.read(most)


#: What is described in a header under a key.
_KINDS = {
    "elman": "a network, which elman.load reads",
    "elman_checkpoint": "a checkpoint, with which elman.fit goes on",
    "elman_estimator": "an estimator, which elman.load reads",
}
_KEY = re.compile(rb'"(elman\w*)":\s*"')


def key_of(path: Any) -> str | None:
    """The key of the description in a safetensors file, by its path or its content; None where it has none."""
    head = read_file(path, 2**20)[1]
    found = _KEY.search(head) if head[8:9] == b"{" else None
    return next((key for key in _KINDS if found and key.encode() == found[1]), None)


def described(key: str, description: Mapping[str, Any], tensors: Mapping[str, Array]) -> bytes:
    """The content of a file of arrays with their description."""
    text = json.dumps(description)
    return write_safetensors(tensors, {key: text, "checksum": checksum(tensors, text)})


def read_described(content: bytes, key: str, newest: int) -> tuple[Any, dict[str, Array]]:
    """A description and its arrays; refuses, with a `FormatError`, other kinds and versions, and what was changed."""
    tensors, metadata = read_safetensors(content)
    if key not in metadata:
        what = next(
            (f"it is {kind}" for other, kind in _KINDS.items() if other in metadata), "it was not written by elman"
        )
        raise FormatError(f"its header must have the field {key!r}. Got none: {what}.")
    text = metadata[key]
    try:
        description = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"its description must be JSON. Got an error: {error}.") from None
    version = field(description, "version", int, "its description")
    if not 1 <= version <= newest:
        must = f"from 1 to {newest}"
        raise FormatError(f"the field 'version' must be {must}. Got {show(version)}: it was written by another elman.")
    whole = checksum(tensors, text)
    if metadata.get("checksum", whole if version == 1 else None) != whole:  # version 1 had none
        raise FormatError("its content must have the checksum that it names. Got another: the file was changed.")
    return description, tensors


def read_network(
    entry: Any, tensors: Mapping[str, Array], version: int, cells: Mapping[str, Cell], kinds: Mapping[str, type[Layer]]
) -> Network:
    """The network of a description, from the tensors that are its own; see `network_entry`."""

    def options(given: Mapping[str, Any], place: str) -> dict[str, Any]:
        """Classes and cells in the place of JSON, as `from_parameters` takes them, and checks all the rest."""
        return {name: option(name, value, place) for name, value in given.items()}

    def option(name: str, value: Any, place: str) -> Any:
        if name == "layers" and isinstance(value, list):
            return [option("", part, f"layer {i} of {place}") for i, part in enumerate(value)]
        if name == "cell":
            return _find_cell(value, f"the cell of {place}", cells)
        if not isinstance(value, dict) or "type" not in value:
            return value
        kind = value["type"]
        if isinstance(kind, str) and kind.isidentifier() and kind not in kinds:
            must = f"the layer {show(kind)} must be given where it is one of your own: elman.load(path, layers=[...])"
            raise FormatError(f"{must}. Got none of that name.{hint(kind, kinds)}")
        kind = kinds[choice("the type of a layer", kind, kinds)]
        if version == 1 and "dtype" not in kind._known_options() and kind is not kinds["Network"]:
            value = {name: part for name, part in value.items() if name != "dtype"}
        return options(value, f"{name} of {place}" if name else place) | {"type": kind}

    if not isinstance(entry, dict):
        raise FormatError(f"the network must be an object. Got {show(entry)}.")
    net = LAYERS["Network"].from_parameters(options(entry, "the network"), tensors)
    for name, array in net.weights.items():
        if tensors[name].dtype != array.dtype:
            raise FormatError(f"the tensor {name!r} must be {array.dtype}. Got {tensors[name].dtype}.")
    extra = sorted(set(tensors) - set(net.weights))
    if extra:
        raise FormatError(f"each tensor must belong to a layer of the description. Got {', '.join(extra)} too.")
    return cast("Network", net)


def field(value: Any, name: str, kind: type, place: str) -> Any:
    """A field of a JSON object, of the type that it must have."""
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, kind) or isinstance(found, bool):
        must = {int: "a whole number", dict: "an object", list: "a list", str: "a text"}[kind]
        got = show(found) if isinstance(value, dict) and name in value else "none"
        raise FormatError(f"{place} must have the field {name!r}, {must}. Got {got}.")
    return found


def _check_fields(value: Mapping[str, Any], known: tuple[str, ...], place: str) -> None:
    more = [name for name in value if name not in known]
    if more:
        raise FormatError(f"{place} must have the fields {', '.join(known)} alone. Got {show(more[0])} too.")


def _find_cell(entry: Any, place: str, cells: Mapping[str, Cell]) -> Cell:
    """The cell of a description, one of one's own or of the library."""
    name, options = field(entry, "name", str, place), field(entry, "options", dict, place)
    _check_fields(entry, ("name", "options"), place)
    cell = cells.get(name)
    if cell is None and name in CELLS:
        check_names(f"the cell {name!r}", options, defaults(CELLS[name]))
        cell = CELLS[name](**options)
    if cell is None:
        raise FormatError(f"the cell {name!r} must be given: elman.load(path, cells={{{name!r}: cell}}). Got none.")
    if cell.options != frozen(options):
        raise FormatError(f"the cell {name!r} must have the options {options}. Got {dict(cell.options)}.")
    return cell
