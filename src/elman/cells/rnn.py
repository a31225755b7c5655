"""The simple recurrent network (Elman 1990, "Finding Structure in Time", Cognitive Science 14, figure 2).

    h' = act(x Wx + h Wh + b)        with `clip` of what is bounded to +-clip, as in the operator of ONNX

x (B, I) input, h (B, H) hidden state, Wx (I, H), Wh (H, H), b (H,); B examples are rows. Under recurrent dropout m h
stands for h in the product, with a mask m (B, H).

The kernel is src/elman/kernels/rnn.hpp, tests are in tests/test_gradients.py, tests/test_kernels.py.
"""

from __future__ import annotations

import functools
from typing import Any

from elman.cells.activations import Activation, Gate, as_activation, bounded, clip_option
from elman.cells.calling import one_step
from elman.cells.cell import Arrays, Cell, Kept, built_in_cell, masked
from elman.checks import Array


def step(
    x: Array, state: Arrays, weights: Arrays, mask: Array | None = None, *, act: Gate
) -> tuple[Arrays, Kept, Kept]:
    (h,) = state
    Wx, Wh, b = weights
    a_h = x @ Wx + masked(h, mask) @ Wh + b  # (B, H)
    h_next = act(a_h)
    return (h_next,), {"h": h_next}, {"a_h": a_h}


def step_derivative(
    x: Array, state: Arrays, weights: Arrays, kept: Kept, dnext: Arrays, mask: Array | None = None, *, act: Gate
) -> tuple[Array, Arrays, Arrays, Kept]:
    (h,), (dh,) = state, dnext
    Wx, Wh, b = weights
    da = dh * act.derivative(kept["h"])  # (B, H), of what stands inside act
    return da @ Wx.T, (masked(da @ Wh.T, mask),), (x.T @ da, masked(h, mask).T @ da, da.sum(0)), {"a_h": da}


def rnn_cell(activation: str | dict[str, Any] | Activation = "tanh", *, clip: float | None = None) -> Cell:
    """The cell of the simple recurrent network with an activation of the table."""
    activation, clip_chosen = as_activation(activation), clip_option("clip", clip)
    act = bounded(activation, clip_chosen.get("clip"))
    return built_in_cell(
        step,
        step_derivative,
        {"act": act},
        name="rnn",
        weights={"Wx": ("input", "gates"), "Wh": ("hidden", "gates"), "b": ("gates",)},
        states=("h",),
        gates=("h",),
        options={"activation": activation.to_config(), **clip_chosen},
        activations={"h": activation},
        kernel=("rnn", clip_chosen.get("clip")),
    )


_cell_of_steps = functools.lru_cache(maxsize=64)(rnn_cell)  # made once for each activation


def rnn_step(x: Any, h: Any, Wx: Any, Wh: Any, b: Any, activation: str | Activation = "tanh") -> Array:
    """One step of the simple recurrent network, h' = act(x Wx + h Wh + b).

    Shapes: x (batch, input) or (input,); h (batch, hidden) or (hidden,); Wx (input, hidden); Wh (hidden, hidden);
    b (hidden,). Returns h' in the shape of h, in float64 unless all arguments are float32. Raises `ShapeError`
    where a shape does not fit and `ValueError` for an unknown activation. Source: Elman 1990, figure 2.

    >>> import numpy as np
    >>> rnn_step([0.2, -0.1], [0.5], [[1.0], [2.0]], [[0.4]], [0.1]).round(6)
    array([0.291313])
    """
    return one_step(_cell_of_steps(as_activation(activation)), x, (h,), (Wx, Wh, b))[0]
