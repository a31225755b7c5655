"""The gated recurrent unit, in both of its reset forms.

    r = sigmoid(x Wx_r + h Wh_r + b_r)      reset gate
    z = sigmoid(x Wx_z + h Wh_z + b_z)      update gate; z = 1 keeps the old state
    reset after the recurrent product (cuDNN, PyTorch; the default of Keras 3):
    n = tanh(x Wx_n + b_n + r (h Wh_n + bn))
    reset before it (Cho et al. 2014, "Learning Phrase Representations", section 2.3):
    n = tanh(x Wx_n + b_n + (r h) Wh_n)
    h' = (1 - z) n + z h

x (B, I), h (B, H); the gates stand side by side: Wx (I, 3H), Wh (H, 3H), b (3H,), in the order r, z, n; bn (H,).
Cho et al. write the paper's z for what keeps the old state, as here. Under recurrent dropout m h stands for h in the
products, with a mask m (B, H), and h alone in z h, as in Keras. With `activations` others stand for sigmoid and tanh,
and with `clip` what is inside them is bounded to +-clip, both as in the operator of ONNX.

The kernel is src/elman/kernels/gru.hpp and gru_reset_before.hpp, tests are in tests/test_gradients.py,
tests/test_kernels.py.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from elman import checks
from elman.cells.activations import Activation, Gate, bounded, clip_option, read_activations
from elman.cells.calling import one_step
from elman.cells.cell import Arrays, Cell, Kept, built_in_cell, masked
from elman.checks import Array

Acts: TypeAlias = Mapping[str, Gate]  # the activation of each gate
_ACTIVATIONS = {"r": Activation("sigmoid"), "z": Activation("sigmoid"), "n": Activation("tanh")}


def step_reset_after(
    x: Array, state: Arrays, weights: Arrays, mask: Array | None = None, *, act: Acts
) -> tuple[Arrays, Kept, Kept]:
    (h,) = state
    Wx, Wh, b, bn = weights
    xr, xz, xn = np.split(x @ Wx + b, 3, axis=-1)  # (B, H) each
    hr, hz, hn = np.split(masked(h, mask) @ Wh, 3, axis=-1)
    a_r, a_z, m = xr + hr, xz + hz, hn + bn
    r, z = act["r"](a_r), act["z"](a_z)
    a_n = xn + r * m
    n = act["n"](a_n)
    return ((1 - z) * n + z * h,), {"r": r, "z": z, "n": n, "m": m}, {"a_r": a_r, "a_z": a_z, "a_n": a_n}


def step_reset_after_derivative(
    x: Array, state: Arrays, weights: Arrays, kept: Kept, dnext: Arrays, mask: Array | None = None, *, act: Acts
) -> tuple[Array, Arrays, Arrays, Kept]:
    (h,), (dh,) = state, dnext
    Wx, Wh, b, bn = weights
    r, z, n, m = kept["r"], kept["z"], kept["n"], kept["m"]
    dn, dz = dh * (1 - z), dh * (h - n)
    da_n = dn * act["n"].derivative(n)
    dr, dm = da_n * m, da_n * r
    da_r, da_z = dr * act["r"].derivative(r), dz * act["z"].derivative(z)
    da = np.concatenate([da_r, da_z, da_n], axis=-1)  # (B, 3H), of x Wx + b
    dp = np.concatenate([da_r, da_z, dm], axis=-1)  # (B, 3H), of h Wh
    dweights = (x.T @ da, masked(h, mask).T @ dp, da.sum(0), dm.sum(0))
    by_name = {"r": dr, "z": dz, "n": dn, "m": dm, "a_r": da_r, "a_z": da_z, "a_n": da_n}
    return da @ Wx.T, (masked(dp @ Wh.T, mask) + dh * z,), dweights, by_name


def step_reset_before(
    x: Array, state: Arrays, weights: Arrays, mask: Array | None = None, *, act: Acts
) -> tuple[Arrays, Kept, Kept]:
    (h,) = state
    Wx, Wh, b = weights
    H, mh = h.shape[-1], masked(h, mask)
    xr, xz, xn = np.split(x @ Wx + b, 3, axis=-1)
    hr, hz = np.split(mh @ Wh[:, : 2 * H], 2, axis=-1)
    a_r, a_z = xr + hr, xz + hz
    r, z = act["r"](a_r), act["z"](a_z)
    a_n = xn + (r * mh) @ Wh[:, 2 * H :]
    n = act["n"](a_n)
    return ((1 - z) * n + z * h,), {"r": r, "z": z, "n": n}, {"a_r": a_r, "a_z": a_z, "a_n": a_n}


def step_reset_before_derivative(
    x: Array, state: Arrays, weights: Arrays, kept: Kept, dnext: Arrays, mask: Array | None = None, *, act: Acts
) -> tuple[Array, Arrays, Arrays, Kept]:
    (h,), (dh,) = state, dnext
    Wx, Wh, b = weights
    r, z, n, H, mh = kept["r"], kept["z"], kept["n"], h.shape[-1], masked(h, mask)
    dn, dz = dh * (1 - z), dh * (h - n)
    da_n = dn * act["n"].derivative(n)
    drh = da_n @ Wh[:, 2 * H :].T  # (B, H), of r m h
    dr = drh * mh
    da_r, da_z = dr * act["r"].derivative(r), dz * act["z"].derivative(z)
    da_rz = np.concatenate([da_r, da_z], axis=-1)
    da = np.concatenate([da_rz, da_n], axis=-1)  # (B, 3H)
    dh = dh * z + masked(drh * r + da_rz @ Wh[:, : 2 * H].T, mask)
    dWh = np.concatenate([mh.T @ da_rz, (r * mh).T @ da_n], axis=-1)
    by_name = {"r": dr, "z": dz, "n": dn, "a_r": da_r, "a_z": da_z, "a_n": da_n}
    return da @ Wx.T, (dh,), (x.T @ da, dWh, da.sum(0)), by_name


def gru_cell(
    reset_after: bool = True, *, clip: float | None = None, activations: Mapping[str, Any] | None = None
) -> Cell:
    """The GRU cell; `reset_after` chooses between its two forms."""
    checks.flag("reset_after", reset_after)
    acts, chosen = read_activations(activations, _ACTIVATIONS)
    variant = {**clip_option("clip", clip), **chosen}
    act = {gate: bounded(activation, variant.get("clip")) for gate, activation in acts.items()}
    weights = {"Wx": ("input", "gates"), "Wh": ("hidden", "gates"), "b": ("gates",)}
    kernel = "gru" if reset_after else "gru_reset_before"
    return built_in_cell(
        step_reset_after if reset_after else step_reset_before,
        step_reset_after_derivative if reset_after else step_reset_before_derivative,
        {"act": act},
        name="gru",
        weights={**weights, "bn": ("hidden",)} if reset_after else weights,
        states=("h",),
        gates=("r", "z", "n"),
        inner_biases={"bn": "n"} if reset_after else {},
        options={"reset_after": bool(reset_after), **variant},
        activations=acts,
        kernel=(f"{kernel}_general", variant.get("clip")) if variant else (kernel,),
    )


_cell_of_steps = functools.cache(gru_cell)  # made once for each form


def gru_step(x: Any, h: Any, Wx: Any, Wh: Any, b: Any, bn: Any = None, reset_after: bool = True) -> Array:
    """One step of the GRU: h' from x, h. Gate blocks r, z, n; z = 1 keeps the old state.

    Shapes: x (batch, input) or (input,); h (batch, hidden) or (hidden,); Wx (input, 3 hidden);
    Wh (hidden, 3 hidden); b (3 hidden,); bn (hidden,), the bias inside the reset product, for `reset_after` only
    (0 if left out). Returns h' in the shape of h, in float64 unless all arguments are float32. Raises `ShapeError`
    where a shape does not fit, `ValueError` for a `bn` without `reset_after`. Source: Cho et al. 2014, section 2.3.

    >>> gru_step([1.0], [0.5], [[0.0, 0.0, 1.0]], [[0.0, 0.0, 0.0]], [0.0, 0.0, 0.0]).round(6)
    array([0.630797])
    """
    cell = _cell_of_steps(checks.flag("reset_after", reset_after))
    weights: tuple[Any, ...] = (Wx, Wh, b)
    if not reset_after and bn is not None:
        raise ValueError("bn must be left out with reset_after=False, which has no such bias. Got a value.")
    if reset_after:
        Wh = checks.number_array("Wh", Wh)
        zeros = np.zeros(Wh.shape[:1], Wh.dtype)  # of Wh's dtype: it must not decide the result's
        weights = (Wx, Wh, b, zeros if bn is None else bn)
    return one_step(cell, x, (h,), weights)[0]
