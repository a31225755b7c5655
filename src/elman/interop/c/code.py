"""A network as C: one C99 header and source that run it step by step, without elman, Python or allocation."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from elman.checks import Array, FormatError, ShapeError, show
from elman.files import check_path, path_text, replace_all
from elman.interop.c.cells import recurrent
from elman.interop.c.layers import PARTS, Part
from elman.interop.c.source import Argument, Model, Stage, check_name, write
from elman.interop.chain import Fitted, as_layer, input_widths, nodes_of, row_of
from elman.interop.files import named
from elman.layers import AveragePool1d, Dropout, LastStep, Layer, MaxPool1d, Recurrent
from elman.layers.nesting import Flat, LastState, flat_nodes
from elman.packed import check_steps


@dataclasses.dataclass(frozen=True, repr=False)
class CReport:
    """What `elman.to_c` wrote, and what a step of it takes; printed, a table."""

    name: str
    header: Path
    source: Path
    weights_bytes: int  #: of constants
    state_bytes: int  #: sizeof(NAME_state)
    scratch_bytes: int  #: of arrays on the stack during a step
    multiply_adds: int  #: a step, in products with weights
    calls: int  #: a step, of exp, tanh and the like
    notes: tuple[str, ...]  #: what is not as in the network
    text: str  #: the whole report, as the header has it

    def __repr__(self) -> str:
        return f"{self.header}, {self.source.name}\n{self.text}"


def to_c(net: Layer | Fitted, path: str | os.PathLike[str], name: str | None = None) -> CReport:
    """Writes a network as C: `path`.c and `path`.h, which run it one step at a time, as `net.stream()` does.

    C99 that asks for <math.h> alone: no allocation, no variables but those of the caller, weights as constants. All
    is computed in float32; the results are those of the stream to rounding. All names in the files begin with `name`,
    which is the file's name if left out, so that several networks fit in one program.

    Parameters
    ----------
    net
        A network, a layer, or a fitted estimator (its `to_network`), that can go step by step.
        Networks in float64 are rounded to float32, and the report says
        so. Weights that are not finite are kept as NAN and INFINITY, and the report counts them.
    path
        Where to write, without an ending or with ".c". Both files are replaced, or none.
    name
        How names in C begin: letters, digits and underscores, a letter first.

    Returns
    -------
    report
        Bytes of weights, of a state, and of the arrays on the stack during a step; how many multiply-adds and calls of
        functions a step takes. Printed, it is a table, which stands in the header too.

    Raises `ShapeError` for what cannot go step by step, as `net.stream()` does, `FormatError` for a cell or a layer of
    your own, `ValueError` for a name that is none in C.

    >>> import elman, tempfile
    >>> from elman.interop.c.code import to_c
    >>> net = elman.Network([elman.LSTM(3, 8, seed=0), elman.Dense(8, 2, seed=1)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = to_c(net, folder + "/model")
    >>> print(report.text)
    model: a recurrent network, one step at a time. Written by elman.to_c.
    <BLANKLINE>
       layer  inputs  outputs  weights, B  state, B  multiply-adds  exp, tanh ...
    0  LSTM        3        8       1,536        64            352             40
    1  Dense       8        2          72         0             16              0
    <BLANKLINE>
    weights       1,608 bytes, constant
    state            64 bytes, one model_state for each sequence
    scratch         128 bytes, arrays on the stack during a step
    a step          368 multiply-adds with weights, 40 calls of exp, tanh ...

    The header describes each function. A program, main.c, that runs three steps of this network::

        #include <stdio.h>
        #include "model.h"

        int main(void) {
            const float x[3][model_inputs] = {{0.5f, -1.0f, 2.0f}, {1.5f, 0.0f, 0.0f}, {0.0f, 1.0f, -0.5f}};
            float y[model_outputs];
            model_state state;
            model_init(&state);
            for (int t = 0; t < 3; t++) {
                model_step(&state, x[t], y);
                printf("%f %f\\n", (double)y[0], (double)y[1]);
            }
        }

    It is compiled with ``cc -std=c99 -O2 main.c model.c -lm``.
    """
    net = as_layer(net)
    header_file, source_file, name = _places(path, name)
    model, notes = _model(name, net)
    report = _report(model, header_file, source_file, notes)
    header_text, source_text = write(model, report.text, header_file.name)
    # The source first: beside any other header it says #error.
    replace_all({source_file: source_text.encode(), header_file: header_text.encode()})
    return report


def _places(path: str | os.PathLike[str], name: str | None) -> tuple[Path, Path, str]:
    """The header, the source, and how names begin."""
    text = path_text("path", path)
    stem = Path(text[:-2] if text.endswith((".c", ".h")) else text)
    name = stem.name if name is None else name
    check_name(name)
    if not stem.name or any(character in stem.name for character in '"\\\n\r'):
        raise ValueError(f"path must name a file that C can include. Got {show(stem.name)}.")
    header_file, source_file = stem.with_name(stem.name + ".h"), stem.with_name(stem.name + ".c")
    for file in (header_file, source_file):
        check_path("path", file)
    return header_file, source_file, name


def _model(name: str, net: Layer) -> tuple[Model, list[str]]:
    """What is exported: the layers that have something to do in a step; and what is said about their weights."""
    network, nodes, outputs = nodes_of(net, states=True)
    check_steps(flat_nodes(network)[0], len(network.inputs))
    places, labels = _names(node.place for node in nodes), _names(network.inputs)
    inputs, widths, stages = [], [], list[Stage]()
    for value, (label, (known, _, tokens), features) in enumerate(
        zip(labels, network.takes, input_widths(network), strict=True)
    ):
        width, more = tokens or features, f"_{label}" * (len(labels) > 1)
        if width is None:
            must = "net must have a layer that takes a certain number of features"
            which = "" if len(labels) == 1 else f" of the input {known!r}"
            raise ShapeError(f"{must}{which}. Got {show(net)}.")
        kind, size = ("x", "inputs") if tokens is None else ("token", "tokens")
        inputs.append(Argument(f"{kind}{more}", f"{size}{more}", width, value))
        widths.append(width)
    values = list(range(len(inputs)))
    for node, place in zip(nodes, places, strict=True):
        read = tuple([values[j] for j in node.reads])
        if isinstance(node.layer, _PASSED):
            values.append(read[0])
            continue
        values.append(len(inputs) + len(stages))
        if isinstance(node.layer, LastState):
            state, width = f"s->{node.layer.state}_{stages[read[0] - len(inputs)].place}", node.layer.output_size or 0
            stages.append(Stage(node.place, place, read, "", "", 0, Part("", width), state))
            widths.append(width)
            continue
        stages.append(_stage(node, place, read, [widths[j] for j in read]))
        widths.append(stages[-1].part.outputs)
    labels = _names(network.graph.values[len(inputs) + i] for i in network.graph.outputs)
    gives = []
    for label, value in zip(labels, [values[j] for j in outputs], strict=True):
        more = f"_{label}" * (len(labels) > 1)
        gives.append(Argument(f"y{more}", f"outputs{more}", widths[value], value))
    infinite = sum(int((~np.isfinite(table)).sum()) for stage in stages for table in stage.part.tables.values())
    notes = ["The weights were rounded from float64 to float32."] if network.dtype == np.float64 else []
    notes += [f"Not finite, and written as NAN or INFINITY: {infinite} of the weights."] if infinite else []
    return Model(name, inputs, gives, stages), notes


def _names(names: Iterable[str]) -> list[str]:
    """Names as parts of those of C, each another one."""
    found: list[str] = []
    for name in names:
        label = re.sub(r"\W", "_", name, flags=re.ASCII)
        while label in found:
            label += "_"
        found.append(label)
    return found


#: Those whose steps pass as they are; pools that go step by step are of one step.
_PASSED = (AveragePool1d, Dropout, LastStep, MaxPool1d)
_WRITERS: dict[type[Layer], Callable[..., Part]] = {Recurrent: recurrent, **PARTS}


def _stage(node: Flat, place: str, reads: tuple[int, ...], widths: list[int]) -> Stage:
    layer = node.layer
    with named(f"layer {node.place}"):
        write = row_of(_WRITERS, layer)
        if write is None:
            names = ", ".join(kind.__name__ for kind in PARTS)
            raise FormatError(f"it must be recurrent or one of {names} for C. Got {show(layer)}.")
        part = write(layer, *widths)
    tables = {key: _single(f"{node.place}.{key}", values) for key, values in part.tables.items()}
    options = ", ".join(f"{key}={value!r}" for key, value in layer.config.items() if key != "dtype")
    part = dataclasses.replace(part, tables=tables)
    return Stage(node.place, place, reads, type(layer).__name__, options, sum(widths), part)


def _single(name: str, values: Array) -> Array:
    """float32; refuses numbers that would become infinite."""
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    wrong = np.isinf(single) & np.isfinite(values)
    if wrong.any():
        raise FormatError(f"{name} must hold numbers of float32 for C. Got {values[wrong][0]}.")
    return single


def _report(model: Model, header_file: Path, source_file: Path, notes: list[str]) -> CReport:
    parts = [stage.part for stage in model.layers]
    weights = sum(part.weights_bytes for part in parts)
    state = sum(part.state_bytes for part in parts) or 1
    scratch = 4 * (sum(model.rooms[1]) + max((part.scratch for part in parts), default=0))
    multiply_adds, calls = sum(part.multiply_adds for part in parts), sum(part.calls for part in parts)
    head = ("", "layer", "inputs", "outputs", "weights, B", "state, B", "multiply-adds", "exp, tanh ...")
    rows: list[tuple[str, ...]] = [head]
    for stage, part in zip(model.layers, parts, strict=True):
        numbers = (stage.inputs, part.outputs, part.weights_bytes, part.state_bytes, part.multiply_adds, part.calls)
        rows.append((stage.path, stage.kind, *(f"{each:,}" for each in numbers)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = []
    for row in rows:
        cells = zip(row, widths, strict=True)
        table.append("  ".join(f"{cell:{'<' if i < 2 else '>'}{width}}" for i, (cell, width) in enumerate(cells)))
    lines = [
        f"{model.name}: a recurrent network, one step at a time. Written by elman.to_c.",
        "",
        *table,
        "",
        f"weights {weights:>11,} bytes, constant",
        f"state   {state:>11,} bytes, one {model.name}_state for each sequence",
        f"scratch {scratch:>11,} bytes, arrays on the stack during a step",
        f"a step  {multiply_adds:>11,} multiply-adds with weights, {calls:,} calls of exp, tanh ...",
        *([""] * bool(notes)),
        *notes,
    ]
    sizes = weights, state, scratch, multiply_adds, calls
    return CReport(model.name, header_file, source_file, *sizes, tuple(notes), "\n".join(lines))
