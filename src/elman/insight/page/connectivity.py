"""How much an output hangs on an input: the norm of a gradient, for every pair of steps.

    C[t, s] = | d y_t[k] / d x_s |,  k the largest output at step t

Each row is one sequence of a batch whose only gradient of the output stands at its step. Of tokens, x_s is the vector
that the embedding gives.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from elman.checks import Array
from elman.insight.trees import mapped
from elman.network import Network

CELLS = 50_000  #: entries of the matrix that are shown, at most
COST = 4_000_000  #: steps that are computed for it, at most
AT_ONCE = 4_000_000  #: numbers of the states in one batch


def connectivity(net: Any, x: Array, span: slice, state: Any = None) -> tuple[Array, Array] | str:
    """For one sequence x (time, ...): the matrix (rows, time) and the steps of its rows, or why there is none.

    `state` is that before the first step, of one sequence. Rows are those steps of the output that are in `span`, or as
    many as there is time and room for, evenly; the one row of a network that gives one vector per sequence is 0.
    """
    if isinstance(net, Network):
        if len(net.inputs) > 1 or net.graph.named:
            return "A network with several inputs or outputs has no such matrix."
        if net.takes_tokens:
            if not net.graph.is_list or len(net.layers) < 2:
                return "A network of tokens has such a matrix where its layers are a list."
            x, net = net.layers[0](x)[0], Network(list(net.layers[1:]))
    y, _ = net(x, state)
    if y.ndim == 1:
        rows, outputs = np.zeros(1, np.int64), y[None]
    else:
        shown = range(len(y))[span]
        count = min(len(shown), max(2, CELLS // len(shown)), max(2, COST // len(x)))
        rows, outputs = np.unique(np.linspace(shown[0], shown[-1], count).round().astype(np.int64)), y
    largest = outputs[rows].argmax(-1)
    width = max((getattr(layer, "hidden_size", 1) for layer in net.layers or (net,)), default=1)
    chunk = max(1, AT_ONCE // (len(x) * max(width, x.shape[-1])))
    parts = []
    for begin in range(0, len(rows), chunk):
        own = slice(begin, begin + chunk)
        count = len(rows[own])
        copies = np.repeat(x[None], count, 0)
        starts = mapped(lambda part, n=count: np.repeat(part[..., None, :], n, axis=-2), state)  # type: ignore[misc]
        made, _, tape = net.forward(copies, starts)
        dy = np.zeros_like(made)
        place = (largest[own],) if y.ndim == 1 else (rows[own], largest[own])
        dy[(np.arange(count), *place)] = 1
        with np.errstate(over="ignore", invalid="ignore"):  # what explodes is shown as such
            parts.append(np.linalg.norm(net.backward(tape, dy)[0].astype(np.float64), axis=-1))
    return np.concatenate(parts), rows
