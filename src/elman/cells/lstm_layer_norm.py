"""The layer-normalized LSTM (Ba, Kiros, Hinton 2016, "Layer Normalization", supplementary equations 20-22).

    LN(a) = (a - mean(a)) / sqrt(variance(a) + 1e-5)        over all units of a, row by row
    a = gain_x LN(x Wx) + gain_h LN(h Wh) + b
    i, f, g, o = sigmoid(a_i), sigmoid(a_f), tanh(a_g), sigmoid(a_o)
    c' = f c + i g
    h' = o tanh(gain_c LN(c') + bias_c)

x (B, I), h and c (B, H); Wx (I, 4H), Wh (H, 4H), gain_x, gain_h and b (4H,), gates side by side in the order i, f, g,
o; gain_c and bias_c (H,). As in the paper, each product is normalized over all 4H units together, and c' itself goes on
as it is. The paper's biases of the first two normalizations stand in one sum with b, so b alone is kept. Others differ:
TensorFlow 1 (LayerNormBasicLSTMCell) normalizes each gate by itself, x Wx and h Wh already added; TensorFlow Addons
and PyTorch's example `custom_lstms.py` hand the normalized c' on as the next state. Under recurrent dropout m h stands
for h in the product, with a mask m (B, H).

There is no kernel; tests are in tests/test_layer_norm_lstm.py, tests/test_gradients.py.
"""

from __future__ import annotations

import numpy as np

from elman.cells.cell import Arrays, Cell, Kept, built_in_cell, masked
from elman.cells.functions import sigmoid, sigmoid_derivative, tanh, tanh_derivative
from elman.cells.lstm_variants import ACTIVATIONS
from elman.checks import Array

EPSILON = 1e-5


def normalize(a: Array, epsilon: float) -> tuple[Array, Array]:
    """Rows with mean 0 and variance 1, and what they were multiplied by, (..., 1)."""
    centered = a - a.mean(-1, keepdims=True)
    scale = 1 / np.sqrt((centered * centered).mean(-1, keepdims=True) + epsilon)
    return centered * scale, scale


def normalize_derivative(normal: Array, scale: Array, dnormal: Array) -> Array:
    """The gradient by a, from what `normalize` returned and the gradient of its rows."""
    return scale * (dnormal - dnormal.mean(-1, keepdims=True) - normal * (dnormal * normal).mean(-1, keepdims=True))


def step(x: Array, state: Arrays, weights: Arrays, mask: Array | None = None) -> tuple[Arrays, Kept, Kept]:
    h, c = state
    Wx, Wh, b, gain_x, gain_h, gain_c, bias_c = weights
    nx, sx = normalize(x @ Wx, EPSILON)  # (B, 4H), (B, 1)
    nh, sh = normalize(masked(h, mask) @ Wh, EPSILON)
    a_i, a_f, a_g, a_o = np.split(gain_x * nx + gain_h * nh + b, 4, axis=-1)  # (B, H) each
    i, f, g, o = sigmoid(a_i), sigmoid(a_f), tanh(a_g), sigmoid(a_o)
    c_next = f * c + i * g
    nc, sc = normalize(c_next, EPSILON)
    tanh_c = tanh(gain_c * nc + bias_c)
    normal = {"nx": nx, "sx": sx, "nh": nh, "sh": sh, "nc": nc, "sc": sc}
    kept = {"i": i, "f": f, "g": g, "o": o, "tanh_c": tanh_c, **normal}
    return (o * tanh_c, c_next), kept, {"a_i": a_i, "a_f": a_f, "a_g": a_g, "a_o": a_o}


def step_derivative(
    x: Array, state: Arrays, weights: Arrays, kept: Kept, dnext: Arrays, mask: Array | None = None
) -> tuple[Array, Arrays, Arrays, Kept]:
    (h, c), (dh, dc) = state, dnext
    Wx, Wh, b, gain_x, gain_h, gain_c, bias_c = weights
    i, f, g, o, tanh_c = kept["i"], kept["f"], kept["g"], kept["o"], kept["tanh_c"]
    nx, nh, nc = kept["nx"], kept["nh"], kept["nc"]
    dtanh_c = dh * o
    dlc = dtanh_c * tanh_derivative(tanh_c)  # (B, H), of gain_c LN(c') + bias_c
    dc = dc + normalize_derivative(nc, kept["sc"], dlc * gain_c)
    di, df, dg, do = dc * g, dc * c, dc * i, dh * tanh_c
    da_i, da_f = di * sigmoid_derivative(i), df * sigmoid_derivative(f)
    da_g, da_o = dg * tanh_derivative(g), do * sigmoid_derivative(o)
    da = np.concatenate([da_i, da_f, da_g, da_o], axis=-1)  # (B, 4H)
    dpx = normalize_derivative(nx, kept["sx"], da * gain_x)  # of x Wx
    dph = normalize_derivative(nh, kept["sh"], da * gain_h)  # of h Wh
    dgains = ((da * nx).sum(0), (da * nh).sum(0), (dlc * nc).sum(0))
    dweights = (x.T @ dpx, masked(h, mask).T @ dph, da.sum(0), *dgains, dlc.sum(0))
    inside = {"a_i": da_i, "a_f": da_f, "a_g": da_g, "a_o": da_o}
    by_name = {"c": dc, "tanh_c": dtanh_c, "i": di, "f": df, "g": dg, "o": do, **inside}
    return dpx @ Wx.T, (masked(dph @ Wh.T, mask), dc * f), dweights, by_name


def layer_norm_cell() -> Cell:
    """The cell of the layer-normalized LSTM. It has no compiled kernel."""
    return built_in_cell(
        step,
        step_derivative,
        name="lstm",
        weights={
            "Wx": ("input", "gates"),
            "Wh": ("hidden", "gates"),
            **dict.fromkeys(("b", "gain_x", "gain_h"), ("gates",)),
            **dict.fromkeys(("gain_c", "bias_c"), ("hidden",)),
        },
        states=("h", "c"),
        gates=("i", "f", "g", "o"),
        starts={"gain_x": 1.0, "gain_h": 1.0, "gain_c": 1.0, "bias_c": 0.0},
        options={"layer_norm": True},
        activations=ACTIVATIONS,
    )
