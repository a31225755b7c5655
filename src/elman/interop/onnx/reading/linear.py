"""Products with known weights, and rows of a known table."""

from __future__ import annotations

from typing import Any

import numpy as np

from elman.checks import Array
from elman.interop.onnx.reading.graph import Node
from elman.interop.onnx.reading.known import floats
from elman.interop.onnx.reading.parts import PICK, Part
from elman.interop.onnx.reading.positions import Signal, signal_of
from elman.interop.onnx.reading.views import view


def dense(node: Node, x: Signal, W: Array, b: Array | None, position: int = -1) -> Signal:
    """A product of the features and W (input, output)."""
    if not x.ids.ndim:
        raise node.refused("its input", "of at least one axis", "one number")
    position %= x.ids.ndim
    width = x.shape[position]
    if W.ndim != 2 or W.dtype.kind != "f" or W.shape[0] != width:
        raise node.refused("its weights", f"({width}, output) floats", f"{W.shape} of {W.dtype}")
    found = view(node, x, position)
    stage, part = found.stage, found.stage.part
    if part is not None and part.kind == PICK:  # what takes some features goes into the weights
        node.take(part.config["width"] * W.shape[1] * W.itemsize)
        wide = np.zeros((part.config["width"], W.shape[1]), W.dtype)
        np.add.at(wide, part.config["columns"], W)
        stage, W = stage.reads[0], wide
    config = {"input_size": len(W), "output_size": W.shape[1], "activation": "identity"}
    arrays = {"W": W} if b is None else {"W": W, "b": b}
    return found.signal(found.flow.then(stage, Part("Dense", config, arrays), node.place, W.shape[1]))


def gemm(node: Node, x: Any, W: Any, C: Any = None) -> Signal:
    """A product of rows, and a sum."""
    x, matrix = signal_of(node, x), floats(node, W)
    if node.attributes["transA"] or x.ids.ndim != 2:
        raise node.refused("its first input", "(rows, features), not transposed", f"{x.shape}")
    if node.attributes["transB"]:
        matrix = matrix.T
    if node.attributes["alpha"] != 1:
        node.take(matrix.nbytes)
        matrix = matrix * matrix.dtype.type(node.attributes["alpha"])
    if C is None or not node.attributes["beta"]:
        return dense(node, x, matrix, None)
    bias, width = floats(node, C), matrix.shape[-1]
    if bias.size not in (1, width) or bias.size != (bias.shape[-1] if bias.ndim else 1):
        raise node.refused("its third input", f"one number, or ({width},)", f"{bias.shape}")
    if node.attributes["beta"] != 1:
        bias = bias * bias.dtype.type(node.attributes["beta"])
    return dense(node, x, matrix, bias.ravel() if bias.size == width else bias.ravel().repeat(width))


def embedding(node: Node, table: Array, tokens: Signal) -> Signal:
    """Rows of a known table by the tokens of an input."""
    if table.ndim != 2 or table.dtype.kind != "f" or node.attributes["axis"] not in (0, -2):
        raise node.refused("its table", "(tokens, features) floats, and its axis 0", f"{table.shape} of {table.dtype}")
    if not all(stage.tokens for stage in tokens.flow.sources(tokens.ids)):
        raise node.refused("its indices", "an input of the graph, of integers", f"what comes from {tokens.place}")
    found = view(node, tokens, None)
    part = Part("Embedding", {"count": table.shape[0], "size": table.shape[1]}, {"W": table})
    stage = found.flow.then(found.stage, part, node.place, table.shape[1])
    return Signal(found.flow, type(found)(**{**vars(found), "position": tokens.ids.ndim}).lay(stage))
