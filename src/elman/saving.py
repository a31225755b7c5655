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
            raise FormatError(
                f"a saved network must hold networks of elman alone, and layers of one's own by names that elman has "
                f"not. Got {layer!r}."
            )
        twin = kind.from_parameters(layer.config, layer.weights)
        lost = [name for name in vars(layer) if name not in vars(twin) and not name.startswith("_")]
        if lost:
            must = f"{kind.__name__} must set in setup all that it keeps, of its options alone"
            raise FormatError(f"{must}. Got {', '.join(lost)} from elsewhere.")
    return describe_config(net)


def describe_config(net: Layer) -> Any:
    """The config of a network or a layer as plain JSON, its cells by their names and options."""
    return json.loads(json.dumps(net.config, default=_cell_config))


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


def read_file(path: Any) -> tuple[str, bytes]:
    """The bytes of a file, with the name under which errors speak of them."""
    if isinstance(path, (bytes, bytearray, memoryview)):
        return "the bytes", bytes(path)
    name = check_source("path", path)
    with open(name, "rb") as file:
        return show(name), file.read()


#: What is described in a header under a key.
_KINDS = {
    "elman": "a network, which elman.load reads",
    "elman_checkpoint": "a checkpoint, with which elman.fit goes on",
    "elman_estimator": "an estimator, which elman.load reads",
}
_HEAD = 2**20
_KEY = re.compile(rb'"(elman\w*)":\s*"')


def beginning(path: Any) -> bytes:
    """The first bytes of a file, by its path or its content: what tells its kind."""
    if isinstance(path, (bytes, bytearray, memoryview)):
        return bytes(path[:_HEAD])
    with open(check_source("path", path), "rb") as file:
        return file.read(_HEAD)


def key_of(head: bytes) -> str | None:
    """The key of the description in a safetensors file, of which these are the first bytes; None where it has none."""
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


_NETWORK = ("layers", "nodes", "outputs")  # the last two of graphs alone


def read_network(
    entry: Any, tensors: Mapping[str, Array], version: int, cells: Mapping[str, Cell], kinds: Mapping[str, type[Layer]]
) -> Network:
    """The network of a description, from the tensors that are its own; see `network_entry`."""
    _check_fields(entry, _NETWORK, "the network")
    return _build(_layers(entry, "the network", version, cells, kinds), tensors)


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


def _layers(
    config: Any, place: str, version: int, cells: Mapping[str, Cell], kinds: Mapping[str, type[Layer]]
) -> dict[str, Any]:
    """The config of a network, as one of this version and with its cells; refuses one of another form."""
    for name in [name for name in ("nodes", "outputs") if name in config]:
        if not all(isinstance(part, dict if name == "nodes" else str) for part in field(config, name, list, place)):
            raise FormatError(
                f"{name} of {place} must be a list of nodes, or of their names. Got {show(config[name])}."
            )
    found = enumerate(field(config, "layers", list, place))
    layers = [_layer(entry, f"layer {i} of {place}", version, cells, kinds) for i, entry in found]
    return {**{name: config[name] for name in _NETWORK if name in config}, "layers": layers}


def _layer(
    entry: Any, place: str, version: int, cells: Mapping[str, Cell], kinds: Mapping[str, type[Layer]]
) -> dict[str, Any]:
    """The same of a layer, its type a class; an option with a type is a layer in it."""
    if not isinstance(entry, dict):
        raise FormatError(f"{place} must be an object. Got {show(entry)}.")
    kind = _kind(entry.get("type"), kinds)
    if kind is kinds["Network"]:
        _check_fields(entry, ("type", *_NETWORK), place)
        return {**_layers(entry, place, version, cells, kinds), "type": kind}
    if "cell" in entry:
        cell, of_cell = field(entry, "cell", dict, place), f"the cell of {place}"
        _check_fields(cell, ("name", "options"), of_cell)
        name, options = field(cell, "name", str, of_cell), field(cell, "options", dict, of_cell)
        entry = {**entry, "cell": _find_cell(name, options, cells)}
    elif version == 1 and "dtype" not in kind._known_options():
        entry = {key: value for key, value in entry.items() if key != "dtype"}
    inner = {name: _layer(value, f"{name} of {place}", version, cells, kinds)
             for name, value in entry.items() if isinstance(value, dict) and "type" in value}  # fmt: skip
    return {**entry, **inner, "type": kind}


def _kind(name: Any, kinds: Mapping[str, type[Layer]]) -> type[Layer]:
    """The class of a layer, by its name."""
    if isinstance(name, str) and name.isidentifier() and name not in kinds:
        raise FormatError(
            f"the layer {show(name)} must be given where it is one of your own: elman.load(path, layers=[...]). "
            f"Got none of that name.{hint(name, kinds)}"
        )
    return kinds[choice("the type of a layer", name, kinds)]


def _build(config: Any, tensors: Mapping[str, Array]) -> Network:
    net = LAYERS["Network"].from_parameters(config, tensors)
    for name, array in net.weights.items():
        if tensors[name].dtype != array.dtype:
            raise FormatError(f"the tensor {name!r} must be {array.dtype}. Got {tensors[name].dtype}.")
    extra = sorted(set(tensors) - set(net.weights))
    if extra:
        raise FormatError(f"each tensor must belong to a layer of the description. Got {', '.join(extra)} too.")
    return cast("Network", net)


def _cell_config(value: Any) -> Any:
    """A cell as JSON: its name and options."""
    if isinstance(value, Cell):
        return {"name": value.name, "options": dict(value.options)}
    raise TypeError(f"a layer's config must be JSON. Got {show(value)}.")


def _find_cell(name: str, options: Mapping[str, Any], cells: Mapping[str, Cell]) -> Cell:
    cell = cells.get(name)
    if cell is None and name in CELLS:
        check_names(f"the cell {name!r}", options, defaults(CELLS[name]))
        cell = CELLS[name](**options)
    if cell is None:
        raise FormatError(f"the cell {name!r} must be given: elman.load(path, cells={{{name!r}: cell}}). Got none.")
    if cell.options != frozen(options):
        raise FormatError(f"the cell {name!r} must have the options {options}. Got {dict(cell.options)}.")
    return cell
