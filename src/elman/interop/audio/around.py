"""What the readers of this room share: sizes out of JSON, and what stands around a network in such files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from elman import checks
from elman.interop.chain import dense, network_of
from elman.interop.files import refused
from elman.layers import Add, Layer, Scale
from elman.network import Network


def whole(source: str, place: str, value: Any, least: int = 1) -> int:
    """A size, or a number of channels."""
    if type(value) is not int or value < least:
        raise refused(source, place, f"a whole number from {least} up", checks.show(value))
    return value


def around(
    source: str, layers: Mapping[str, Layer], width: int, out: int, skip: int = 0, gains: Sequence[float] = (1, 1)
) -> Network:
    """Layers in a row, by name, from `width` features to `out`, and what stands around them.

    The first `skip` features of the input are added to the output; as in NumPy, one alone is added to each that comes
    out. Gains are factors of the first input, and of the output.
    """
    if width > 2**20:  # of which a layer without weights tells nothing
        raise refused(source, "the features that come in", f"at most {2**20:,}", f"{width:,}")
    nodes: dict[str, Any] = dict(layers)
    first = "x"
    if gains[0] != 1 and nodes:
        first, begin = "in_gain", next(iter(nodes))
        nodes = {first: (Scale(width, 0.0, [gains[0], *[1.0] * (width - 1)]), "x"), **nodes}
        nodes[begin] = (nodes[begin], first)
    if skip and nodes:
        last, taken = [*nodes][-1], min(skip, width)
        if taken not in (1, out):
            raise refused(source, "the inputs that are added to the output", f"1 or {out}", f"{taken}")
        if taken < width or taken < out:
            dtype = next((layer.dtype for layer in layers.values() if layer.dtype is not None), np.float32)
            W = np.eye(width, taken, dtype=dtype).repeat(out // taken, axis=1)
            nodes["skip"] = (dense(W), first)
        nodes["sum"] = (Add(), last, "skip" if "skip" in nodes else first)
    if gains[1] != 1 and nodes:
        nodes["out_gain"] = Scale(out, 0.0, gains[1])
    return network_of(nodes, source)
