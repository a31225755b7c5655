"""Makes the files of a folder beside this one: networks and checkpoints as one version of elman writes them.

    PYTHONPATH=src python tests/golden/files/make.py v1       # at commit c9701e6, whose files have version 1
    PYTHONPATH=src python tests/golden/files/make.py v2       # at commit 2a00382: no dtype without weights, a checksum

A new version of the format gets a folder of its own; those that are there stay as they are. `expected.json` holds x and
y of each network, rounded as the weights are, so that the files stay small. Each network comes in float32 and float64.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

import elman
from elman.layers import LastSteps

FOLDER = Path(__file__).parent
LEAKY = {"Wx": ("input", "hidden"), "Wh": ("hidden", "hidden")}


def networks(dtype, dtyped):
    """Every kind of layer with every kind of option; `dtyped` is the dtype of layers without weights, if any."""
    d, w = {"dtype": dtype}, dtyped
    elu = elman.Activation("elu", alpha=0.3)
    return {
        "tokens": [
            elman.Embedding(6, 3, **d),
            elman.Dropout(0.25, per_sequence=True, **w),
            elman.GRU(3, 2, False, bidirectional=True, activations={"n": elu}, clip=2.0, **d),
            elman.MergeDirections("ave", **w),
            elman.Network([elman.LSTM(2, 3, zoneout=(0.1, 0.2), **d), elman.LayerNorm(3, **d)]),
            elman.GRU(3, 2, learned_state=True, recurrent_dropout=0.5, **d),
            elman.LastStep(**w),
            elman.Dense(2, 3, elu, **d),
            elman.Activate("softmax", **w),
        ],
        "features": [
            elman.Masking(0.5, **w),
            elman.Reverse(**w),
            elman.RNN(3, 4, activation="relu", clip=1.5, zoneout=0.125, **d),
            elman.Network([elman.Network([elman.Activate(elu, **w), elman.Dense(4, 2, **d)]), elman.Dropout(0.5, **w)]),
            LastSteps(2, 2, **w),
        ],
        "both": [elman.LSTM(3, 2, bidirectional=True, **d), elman.LastStep(bidirectional=True, **w)],
        "normed": [elman.LSTM(3, 2, layer_norm=True, **d), elman.MeanOverTime(**w)],
        "variant": [
            elman.LSTM(3, 4, peepholes=True, projection=2, cell_clip=3.0, activations={"g": "softsign"}, **d),
            elman.LSTM(2, 3, coupled=True, clip=2.0, **d),
            elman.MaxOverTime(**w),
        ],
        "weightless": [elman.Dropout(0.5, **w), elman.Reverse(**w), elman.LastStep(**w)],
        "own_cell": [elman.Recurrent(leaky(), 3, 2, learned_state=True, **d)],
    }


def leaky():
    """The cell of a user; its functions are no part of a file."""

    def step(x, state, weights):
        (h,), (Wx, Wh) = state, weights
        n = np.tanh(x @ Wx + h @ Wh)
        return (0.5 * h + 0.5 * n,), {"n": n}

    def step_derivative(x, state, weights, kept, dnext):
        (h,), (Wx, Wh), (dh,) = state, weights, dnext
        da = 0.5 * dh * (1 - kept["n"] ** 2)
        return da @ Wx.T, (0.5 * dh + da @ Wh.T,), (x.T @ da, h.T @ da)

    return elman.Cell("leaky", LEAKY, ("h",), step, step_derivative, options={"leak": [0.5, {"of": "h"}]})


def inputs(name, rng):
    """A batch of two sequences of 5 steps."""
    if name == "tokens":
        return rng.integers(0, 6, (2, 5))
    x = rng.normal(size=(2, 5, 3)).round(2)
    x[1, [0, 3]] = 0.5  # masked, where there is a Masking
    return x


def fitted(path, epochs=2):
    """A network, and the losses of a run with windows that is kept at `path`."""
    net = elman.Network([elman.GRU(2, 2, seed=0), elman.Dropout(0.25), elman.Dense(2, 1, seed=1)])
    x = np.sin(np.arange(24.0)).reshape(1, 12, 2)
    options = {"optimizer": elman.Adam(0.01), "truncate": 4, "epochs": epochs, "seed": 0, "progress": False}
    history = elman.fit(net, x, x.sum(-1), loss="squared_error", checkpoint=path, **options)
    return net, history.loss


def main(folder):
    expected = {}
    for dtype in ("float32", "float64"):
        for name, layers in networks(dtype, {"dtype": dtype} if folder == "v1" else {}).items():
            rng = np.random.default_rng(len(name))
            net = elman.Network(layers)
            for array in net.parameters.values():
                array[...] = rng.normal(size=array.shape).round(3)
            net.save(FOLDER / folder / f"{name}_{dtype}.safetensors")
            x = inputs(name, rng)
            expected[f"{name}_{dtype}"] = {"x": x.tolist(), "y": net(x)[0].astype(float).round(9).tolist()}
    if folder == "v1":  # those of later versions: golden/checkpoints
        _, loss = fitted(FOLDER / folder / "checkpoint.safetensors")
        expected["checkpoint"] = {"loss": [float(value) for value in loss]}
    (FOLDER / folder / "expected.json").write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
