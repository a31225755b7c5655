"""A network as C: one C99 header and source that run it step by step, without elman, Python or allocation."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from elman.checks import Array, FormatError, ShapeError, show
from elman.files import check_path, path_text, replace_all
from elman.interop.c.cells import recurrent
from elman.interop.c.layers import POINTWISE
from elman.interop.c.source import Model, Stage, check_name, write
from elman.interop.chain import Fitted, as_layer, layers_of
from elman.interop.files import named
from elman.layers import Dropout, Embedding, LastStep, Layer, Recurrent
from elman.layers.nesting import flat_nodes, placed_layers
from elman.network import Network
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
    layers = layers_of(net)
    network = net if isinstance(net, Network) else Network(layers)
    stages, notes = _stages(network)
    tokens = _tokens(network)
    inputs = tokens or network.input_size
    assert inputs is not None
    model = Model(name, inputs, tokens is not None, stages)
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


def _tokens(net: Network) -> int | None:
    """How many tokens a network knows that takes them."""
    _, first = next(placed_layers(net))
    return first.count if isinstance(first, Embedding) else None


def _stages(net: Network) -> tuple[list[Stage], list[str]]:
    """The layers that have something to do in a step, and what is said about their weights."""
    walked = list(placed_layers(net))
    check_steps(flat_nodes(net)[0], 1)
    width = _tokens(net) or net.input_size
    if width is None:
        raise ShapeError(f"net must have a layer that takes a certain number of features. Got {show(net)}.")
    stages = []
    for path, layer in walked:
        if not isinstance(layer, (Dropout, LastStep)):
            stages.append(_stage(path, layer, width))
            width = stages[-1].part.outputs
    infinite = sum(int((~np.isfinite(table)).sum()) for stage in stages for table in stage.part.tables.values())
    notes = ["The weights were rounded from float64 to float32."] if net.dtype == np.float64 else []
    notes += [f"Not finite, and written as NAN or INFINITY: {infinite} of the weights."] if infinite else []
    return stages, notes


def _stage(path: str, layer: Layer, width: int) -> Stage:
    with named(f"layer {path}"):
        if isinstance(layer, Recurrent):
            part = recurrent(layer, width)
        elif type(layer) in POINTWISE:
            part = POINTWISE[type(layer)](layer, width)
        else:
            names = ", ".join(kind.__name__ for kind in POINTWISE)
            raise FormatError(f"it must be recurrent or one of {names} for C. Got {show(layer)}.")
    tables = {key: _single(f"{path}.{key}", values) for key, values in part.tables.items()}
    options = ", ".join(f"{key}={value!r}" for key, value in layer.config.items() if key != "dtype")
    return Stage(path, type(layer).__name__, options, width, dataclasses.replace(part, tables=tables))


def _single(name: str, values: Array) -> Array:
    """float32; refuses numbers that would become infinite."""
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    wrong = np.isinf(single) & np.isfinite(values)
    if wrong.any():
        raise FormatError(f"{name} must hold numbers of float32 for C. Got {values[wrong][0]}.")
    return single


def _report(model: Model, header_file: Path, source_file: Path, notes: list[str]) -> CReport:
    parts = [stage.part for stage in model.stages]
    weights = sum(part.weights_bytes for part in parts)
    state = sum(part.state_bytes for part in parts) or 1
    scratch = 4 * (sum(model.buffers) + max(part.scratch for part in parts))
    multiply_adds, calls = sum(part.multiply_adds for part in parts), sum(part.calls for part in parts)
    head = ("", "layer", "inputs", "outputs", "weights, B", "state, B", "multiply-adds", "exp, tanh ...")
    rows: list[tuple[str, ...]] = [head]
    for stage, part in zip(model.stages, parts, strict=True):
        sizes = (stage.inputs, part.outputs, part.weights_bytes, part.state_bytes, part.multiply_adds, part.calls)
        rows.append((stage.path, stage.kind, *(f"{size:,}" for size in sizes)))
    lines = [
        f"{model.name}: a recurrent network, one step at a time. Written by elman.to_c.",
        "",
        *_aligned(rows),
        "",
        f"weights {weights:>11,} bytes, constant",
        f"state   {state:>11,} bytes, one {model.name}_state for each sequence",
        f"scratch {scratch:>11,} bytes, arrays on the stack during a step",
        f"a step  {multiply_adds:>11,} multiply-adds with weights, {calls:,} calls of exp, tanh ...",
        *([""] * bool(notes)),
        *notes,
    ]
    text = "\n".join(lines)
    return CReport(
        model.name, header_file, source_file, weights, state, scratch, multiply_adds, calls, tuple(notes), text
    )


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """A table of which the first two columns begin, and the others end, in one place."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            f"{cell:<{width}}" if i < 2 else f"{cell:>{width}}"
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
