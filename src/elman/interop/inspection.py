"""What is in a file of weights: `inspect`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman import engine
from elman.checks import FormatError, MissingExtraError, ShapeError
from elman.files import Where, path_text
from elman.interop import formats
from elman.interop.conventions import CONVENTIONS
from elman.interop.formats import Format
from elman.layers import Directed, Recurrent
from elman.layers.nesting import LastState, flat_nodes, placed_layers
from elman.network import Network

_MOST = 40  # lines of what is in a file that cannot be loaded


@dataclass(frozen=True)
class LayerReport:
    """One layer of a network in a file."""

    layer: str  #: its class
    config: Mapping[str, Any]
    parameter_count: int
    shapes: dict[str, tuple[int, ...]]  #: parameter -> shape
    gates: tuple[str, ...]  #: of a recurrent layer, in the order of the file
    code: str  #: what runs a recurrent layer: "compiled kernel" or "plain equations"

    def __str__(self) -> str:
        return _told(self.layer, self.config)


def _told(kind: str, config: Mapping[str, Any]) -> str:
    """A layer in words, and those among its options."""
    options = {key: value for key, value in config.items() if key not in ("dtype", "type")}
    words = {
        key: _told(v["type"], v) if isinstance(v, Mapping) and "type" in v else repr(v) for key, v in options.items()
    }
    return f"{kind}({', '.join(f'{key}={word}' for key, word in words.items())})"


@dataclass(frozen=True, repr=False)
class Inspection:
    """What `inspect` found. Printed, it is a page."""

    path: str
    format: str  #: its name in `elman.interop.formats.FORMATS`
    version: str  #: of the format, and what wrote the file, as far as the file says
    size: int  #: of the file, in bytes
    network: Network | None  #: None where the file cannot be loaded
    refused: str  #: why it cannot be loaded
    contents: tuple[str, ...]  #: what the file holds, as it calls it
    layers: tuple[LayerReport, ...]
    not_finite: dict[str, str]  #: parameter -> how many NaN and infinite numbers it has
    streams: str  #: "" where it can go step by step, else why not
    states: tuple[str, ...]  #: of the recurrent layers, with their shapes for one sequence

    def __repr__(self) -> str:
        title = formats.FORMATS[self.format].title
        lines = [f"{self.path}: {title}{', ' if self.version else ''}{self.version}, {self.size:,} bytes"]
        if self.network is not None:
            return "\n".join([*lines, *self._network_lines(self.network)])
        told = [f"  {line}" for line in self.contents[:_MOST]] or ["  nothing that can be told"]
        more = [f"  and {len(self.contents) - _MOST} more"] * (len(self.contents) > _MOST)
        return "\n".join([*lines, f"cannot be loaded: {self.refused}", "it holds", *told, *more])

    def _network_lines(self, net: Network) -> list[str]:
        takes = ", ".join(
            f"{name + ' ' if len(net.inputs) > 1 else ''}"
            + ("tokens (batch, time)" if tokens else f"(batch, time, {width or 'features'})")
            for name, width, tokens in net.takes
        )
        nodes, chain = flat_nodes(net)[0], net.graph.is_chain
        values = [*net.inputs, *(node.place for node in nodes)]
        nodes = [node for node in nodes if not isinstance(node.layer, LastState)]
        reads = [", ".join(values[j] for j in node.reads) for node in nodes]
        places = [str(i) if chain else f"{node.place} <- {reads[i]}" for i, node in enumerate(nodes)]
        count = len(self.layers)
        kind = "" if net.dtype is None else f", {net.dtype}"
        lines = [f"{count} layer{'s' * (count > 1)}, {net.parameter_count:,} parameters{kind}; takes {takes}"]
        names, sizes = [str(layer) for layer in self.layers], [f"{layer.parameter_count:,}" for layer in self.layers]
        begin, left, right = (max(map(len, column)) for column in (places, names, sizes))
        begin = 0 if chain else begin
        for place, name, size, layer in zip(places, names, sizes, self.layers, strict=True):
            lines.append(f"  {place:<{begin}}  {name:<{left}} {size:>{right}}")
            if layer.code:
                gates = f"gates {', '.join(layer.gates)} in the file; " if layer.gates else ""
                lines.append(f"     {gates}run by the {layer.code}")
        finite = [f"{name} has {what}" for name, what in self.not_finite.items()]
        lines.append(f"states   {', '.join(self.states) or 'none'}")
        lines.append(f"streams  {'no: ' + self.streams if self.streams else 'yes'}")
        lines.append(f"weights  {'; '.join(finite) or 'all finite'}")
        return lines


def inspect(path: Where) -> Inspection:
    """What is in a file of elman or of another system (`elman.interop.formats`). Nothing in it is executed.

    The format is told by the content. Where the network can be loaded, the report has it, and says of each recurrent
    layer the order of its gates in the file and whether a compiled kernel runs it or the plain equations, several
    times slower. Where it cannot, the report says why, and what the file holds as far as that can be told.

    Raises `FormatError` for a file of no known format, `FileNotFoundError` where there is none.

    >>> import elman, os, tempfile
    >>> from elman.interop.inspection import inspect
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "net.json")
    ...     elman.interop.formats.write(elman.Network([elman.GRU(2, 3), elman.Dense(3, 1)]), path)
    ...     report = inspect(path)
    >>> report.format, report.layers[0].gates, report.states
    ('rtneural', ('z', 'r', 'n'), ('0.h (3,)',))
    """
    form = formats.find(path_text("path", path))
    net, reason, streams, version = None, "", "", ""
    contents: tuple[str, ...] = ()
    try:
        found = formats.read(path)
        net = found if isinstance(found, Network) else found.network_
    except (FormatError, MissingExtraError) as error:
        reason = str(error)
    with contextlib.suppress(FormatError, MissingExtraError):
        version, contents = form.outline(path) if form.outline else ("", ())
    try:
        if net is not None:
            net.stream()
    except ShapeError as error:
        streams = str(error)
    layers, states = _reports(net, form) if net else ([], [])
    return Inspection(
        path=os.fspath(path),
        format=form.name,
        version=version,
        size=os.path.getsize(path),
        network=net,
        refused=reason,
        contents=contents,
        layers=tuple(layers),
        not_finite=not_finite(net) if net else {},
        streams=streams,
        states=tuple(states),
    )


def not_finite(net: Network) -> dict[str, str]:
    """The parameters with NaN or infinite numbers among them, and how many: name -> "3 NaN, 1 infinite"."""
    found = {}
    for name, array in net.parameters.items():
        counts = {"NaN": int(np.isnan(array).sum()), "infinite": int(np.isinf(array).sum())}
        if any(counts.values()):
            found[name] = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    return found


def _reports(net: Network, form: Format) -> tuple[list[LayerReport], list[str]]:
    """The layers, and the states of the recurrent ones, with their shapes for one sequence."""
    layers, states = [], []
    for i, (place, layer) in enumerate(placed_layers(net)):
        parts = [*layer.directions.values()] if isinstance(layer, Directed) else []
        gates = {_gates(part, form) for part in parts}
        report = LayerReport(
            layer=type(layer).__name__,
            config=layer.config,
            parameter_count=layer.parameter_count,
            shapes={name: array.shape for name, array in layer.parameters.items()},
            gates=gates.pop() if len(gates) == 1 else (),
            code=max(
                [engine.runner(part.cell) for part in parts], default=""
            ),  # "plain equations" where any of both is
        )
        layers.append(report)
        each = [part.states() for part in parts]
        alike = len(each) == 2 and [*each[0].values()] == [*each[1].values()]
        widths = each[0] if alike else layer.states() if parts else {}
        shapes = {name: (2, width) if alike else (width,) for name, width in widths.items()}
        states += [f"{i if net.graph.is_chain else place}.{name} {shape}" for name, shape in shapes.items()]
    return layers, states


def _gates(layer: Recurrent, form: Format) -> tuple[str, ...]:
    """The gates in the order of the file."""
    try:
        return tuple(CONVENTIONS[form.convention or "elman"].for_cell(layer.cell).gates or ())
    except ValueError:  # a cell that the convention does not have
        return layer.cell.gates
