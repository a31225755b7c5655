"""Long short-term memory with a forget gate (Gers, Schmidhuber, Cummins 2000, "Learning to Forget", section 3).

    i = sigmoid(x Wx_i + h Wh_i + b_i)      input gate
    f = sigmoid(x Wx_f + h Wh_f + b_f)      forget gate
    g =    tanh(x Wx_g + h Wh_g + b_g)      candidate
    o = sigmoid(x Wx_o + h Wh_o + b_o)      output gate
    c' = f c + i g
    h' = o tanh(c')

x (B, I), h and c (B, H); the gates stand side by side: Wx (I, 4H), Wh (H, 4H), b (4H,), in the order i, f, g, o.
Under recurrent dropout m h stands for h in the products, with a mask m (B, H); c is never masked.

The kernel is src/elman/kernels/lstm.hpp, tests are in tests/test_gradients.py, tests/test_kernels.py.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from elman import checks
from elman.cells.calling import one_step
from elman.cells.cell import Arrays, Cell, Kept, built_in_cell, masked
from elman.cells.functions import sigmoid, sigmoid_derivative, tanh, tanh_derivative
from elman.cells.lstm_layer_norm import layer_norm_cell
from elman.cells.lstm_variants import ACTIVATIONS, lstm_variant
from elman.checks import Array


def step(x: Array, state: Arrays, weights: Arrays, mask: Array | None = None) -> tuple[Arrays, Kept, Kept]:
    h, c = state
    Wx, Wh, b = weights
    a_i, a_f, a_g, a_o = np.split(x @ Wx + masked(h, mask) @ Wh + b, 4, axis=-1)  # (B, H) each
    i, f, g, o = sigmoid(a_i), sigmoid(a_f), tanh(a_g), sigmoid(a_o)
    c_next = f * c + i * g
    tanh_c = tanh(c_next)
    kept = {"i": i, "f": f, "g": g, "o": o, "tanh_c": tanh_c}
    return (o * tanh_c, c_next), kept, {"a_i": a_i, "a_f": a_f, "a_g": a_g, "a_o": a_o}


def step_derivative(
    x: Array, state: Arrays, weights: Arrays, kept: Kept, dnext: Arrays, mask: Array | None = None
) -> tuple[Array, Arrays, Arrays, Kept]:
    (h, c), (dh, dc) = state, dnext
    Wx, Wh, b = weights
    i, f, g, o, tanh_c = kept["i"], kept["f"], kept["g"], kept["o"], kept["tanh_c"]
    dtanh_c = dh * o
    dc = dc + dtanh_c * tanh_derivative(tanh_c)  # c' acts through h' too
    di, df, dg, do = dc * g, dc * c, dc * i, dh * tanh_c
    da_i, da_f = di * sigmoid_derivative(i), df * sigmoid_derivative(f)
    da_g, da_o = dg * tanh_derivative(g), do * sigmoid_derivative(o)
    da = np.concatenate([da_i, da_f, da_g, da_o], axis=-1)  # (B, 4H), of what stands inside the gates
    dweights = (x.T @ da, masked(h, mask).T @ da, da.sum(0))
    inside = {"a_i": da_i, "a_f": da_f, "a_g": da_g, "a_o": da_o}
    by_name = {"c": dc, "tanh_c": dtanh_c, "i": di, "f": df, "g": dg, "o": do, **inside}
    return da @ Wx.T, (masked(da @ Wh.T, mask), dc * f), dweights, by_name


def lstm_cell(
    layer_norm: bool = False,
    *,
    peepholes: bool = False,
    coupled: bool = False,
    projection: int | None = None,
    clip: float | None = None,
    cell_clip: float | None = None,
    activations: Mapping[str, Any] | None = None,
) -> Cell:
    """The LSTM cell, or the one of `elman.cells.lstm_layer_norm`, or one of `elman.cells.lstm_variants`."""
    variant = lstm_variant(peepholes, coupled, projection, clip, cell_clip, activations)
    if checks.flag("layer_norm", layer_norm):
        if variant is not None:
            raise ValueError(f"layer_norm must be False together with {', '.join(variant.options)}. Got True.")
        return layer_norm_cell()
    if variant is not None:
        return variant
    return built_in_cell(
        step,
        step_derivative,
        name="lstm",
        weights={"Wx": ("input", "gates"), "Wh": ("hidden", "gates"), "b": ("gates",)},
        states=("h", "c"),
        gates=("i", "f", "g", "o"),
        activations=ACTIVATIONS,
        kernel=("lstm",),
    )


_cell_of_steps = functools.cache(lstm_cell)  # made once


def lstm_step(x: Any, h: Any, c: Any, Wx: Any, Wh: Any, b: Any) -> tuple[Array, Array]:
    """One step of the LSTM: h', c' from x, h, c. Gate blocks i, f, g, o.

    Shapes: x (batch, input) or (input,); h, c (batch, hidden) or (hidden,); Wx (input, 4 hidden);
    Wh (hidden, 4 hidden); b (4 hidden,). Returns h', c' in the shape of h, in float64 unless all arguments are
    float32. Raises `ShapeError` where a shape does not fit. Source: Gers et al. 2000, section 3.

    >>> h, c = lstm_step([1.0], [0.0], [0.5], [[0.0, 0.0, 1.0, 0.0]], [[0.0, 0.0, 0.0, 0.0]], [0.0, 0.0, 0.0, 0.0])
    >>> h.round(6), c.round(6)
    (array([0.2793]), array([0.630797]))
    """
    h_next, c_next = one_step(_cell_of_steps(), x, (h, c), (Wx, Wh, b))
    return h_next, c_next
