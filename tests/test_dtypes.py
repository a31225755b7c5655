"""Layers without weights have the dtype of their network; `astype`; files of former versions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import elman
from elman.layers import LAYERS, LastSteps
from elman.saving import NETWORK_VERSION
from golden.files import make
from test_options import KINDS, assert_same, facts, inputs, new


@pytest.mark.parametrize("kind", KINDS)
def test_astype(kind):
    layer = new(kind)
    double = layer.astype("float64")
    assert layer.astype(np.float32).config == layer.config
    back = double.astype("float32")
    assert_same(facts(back), facts(layer))
    for name, array in double.parameters.items():
        assert array.dtype == np.float64
        np.testing.assert_array_equal(array, layer.parameters[name])
    for twin in (back, layer.astype("float32")):
        assert not any(np.shares_memory(array, layer.parameters[name]) for name, array in twin.parameters.items())
    if double.parameters:
        assert double.dtype == np.float64
        assert facts(double)[2][0].dtype == np.float64
    with pytest.raises(ValueError, match="dtype must be 'float32' or 'float64'"):
        layer.astype("float16")


def test_a_number_that_float32_cannot_hold_is_refused():
    layer = new("Dense", dtype="float64")
    layer.W[1, 2] = 1e300
    with pytest.raises(ValueError, match=r"W must hold numbers that float32 can hold\. Got 1e\+300 at W\[1, 2\]"):
        elman.Network([layer]).astype("float32")


WEIGHTLESS = [kind for kind in KINDS if not new(kind).parameters]


@pytest.mark.parametrize("kind", WEIGHTLESS)
def test_a_layer_without_weights_has_no_dtype(kind):
    needed = KINDS[kind][0]
    for dtype in ("float32", "float64", np.float64, np.dtype("float32")):
        for make_one in (
            lambda dtype=dtype: LAYERS[kind](**needed, dtype=dtype),
            lambda dtype=dtype: LAYERS[kind](*needed.values(), *([0.0] * (kind == "Masking")), dtype),
            lambda dtype=dtype: new(kind).replace(dtype=dtype),
        ):
            with pytest.raises(TypeError, match=f"dtype must be left out: {kind} has none of its own"):
                make_one()
    assert new(kind).dtype is None
    assert "dtype" not in new(kind).config
    assert elman.Network([new(kind)]).dtype is None


@pytest.mark.parametrize("kind", WEIGHTLESS)
@pytest.mark.parametrize("nested", [False, True])
def test_without_weights_the_dtype_is_that_of_x(kind, nested):
    layer = elman.Network([new(kind), elman.Dropout(0.25)]) if nested else new(kind)
    for given, computed in {
        "float32": "float32",
        "float64": "float64",
        "int64": "float64",
        "float16": "float64",
    }.items():
        x = (10 * inputs(new(kind))).astype(given)
        for form in (x, list(x), x[0]):
            y, _, tape = layer.forward(form, rng=np.random.default_rng(0))
            assert {part.dtype for part in (y if isinstance(y, list) else [y])} == {np.dtype(computed)}
            dy = [np.ones(part.shape) for part in y] if isinstance(y, list) else np.ones(y.shape)
            for gradient in (dy, None):
                dx, _, _ = layer.backward(tape, gradient)
                if dx is not None:
                    assert {part.dtype for part in (dx if isinstance(dx, list) else [dx])} == {np.dtype(computed)}
    if not layer.needs_whole_sequences:
        net = layer if nested else elman.Network([layer])
        if kind in ("MaxOverTime", "MeanOverTime"):  # their running values need a known width
            net = elman.Network([elman.Scale(inputs(net).shape[-1], 0.0, 1.0), layer])
        for dtype in ("float32", "float64"):
            x = inputs(net, dtype)
            out = np.empty_like(net.stream(2).step(x[:, 0]))
            assert net.stream(2).step(x[:, 0], out).dtype == net.stream(2).run(x).dtype == dtype


def random_layers(rng, dtype, width):
    """Layers of mixed kinds, about half of them without weights."""
    layers = []
    for _ in range(int(rng.integers(3, 8))):
        options = [
            lambda: elman.Dropout(0.25, per_sequence=bool(rng.random() < 0.5)),
            elman.Reverse,
            lambda: elman.Masking(7.5),
            lambda: elman.Activate(str(rng.choice(["tanh", "softmax", "identity"]))),
            lambda: elman.LayerNorm(width, dtype=dtype),
            lambda: elman.Dense(width, width, "tanh", dtype, int(rng.integers(99))),
            lambda: elman.GRU(width, width, dtype=dtype, seed=int(rng.integers(99))),
            lambda: elman.Network([elman.Activate("relu"), elman.RNN(width, width, dtype=dtype), elman.Dropout(0.5)]),
        ]
        layers.append(options[int(rng.integers(len(options)))]())
    last = [elman.LastStep, elman.MeanOverTime, elman.MaxOverTime, lambda: LastSteps(width, 2)]
    return [*layers, elman.Dense(width, width, dtype=dtype, seed=1), last[int(rng.integers(4))]()]


@pytest.mark.parametrize("seed", range(12))
def test_layers_without_weights_follow_the_network(seed, tmp_path):
    dtype, other = ("float32", "float64") if seed % 2 else ("float64", "float32")
    net = elman.Network(random_layers(np.random.default_rng(seed), dtype, 3))
    assert net.dtype == dtype
    assert repr(net).splitlines()[0].endswith(dtype)
    x = np.random.default_rng(seed).normal(size=(2, 5, 3)).astype(other)
    for _ in range(2):
        y, state, tape = net.forward(x, rng=np.random.default_rng(0))
        dx, dstate, gradients = net.backward(tape, np.ones(y.shape))
        kinds = {
            array.dtype for array in (y, dx, *state, *dstate, *gradients.values()) if isinstance(array, np.ndarray)
        }
        assert kinds == {np.dtype(dtype)}
    net.save(tmp_path / "net.safetensors")
    again = elman.load(tmp_path / "net.safetensors")
    assert again.config == net.config
    np.testing.assert_array_equal(again(x)[0], net(x)[0])
    turned = net.astype(other)
    assert {array.dtype for array in turned.parameters.values()} == {np.dtype(other)}
    assert (turned.dtype, turned(x)[0].dtype) == (other, other)
    np.testing.assert_allclose(turned(x)[0], net(x)[0], rtol=1e-3, atol=1e-4)
    assert turned.astype(dtype).config == net.config
    small = net if dtype == "float32" else turned
    np.testing.assert_array_equal(small.astype("float64").astype("float32")(x)[0], small(x)[0])


def test_two_dtypes_in_one_network_are_refused_by_both_their_layers():
    words = r"layer 2, Dense, must have dtype float64, as layer 0, LSTM, has; astype gives it\. Got float32"
    with pytest.raises(ValueError, match=words):
        elman.Network([elman.LSTM(3, 8, dtype="float64"), elman.LastStep(), elman.Dense(8, 2)])
    inner = elman.Network([elman.Reverse(), elman.Dense(3, 3)])
    with pytest.raises(ValueError, match="layer 1, Dense, must have dtype float32, as layer 0, Network, has"):
        elman.Network([inner, elman.Dense(3, 3, dtype="float64")])
    with pytest.raises(TypeError, match="dtype must be left out: Network has none of its own"):
        elman.Network([elman.Dense(3, 3)], dtype="float64")


def test_writers_see_what_is_computed(tmp_path):
    net = elman.Network([elman.LSTM(3, 4, seed=0), elman.Dense(4, 2, seed=1)])
    changed = net.replace(layers=[net.layers[0], net.layers[1].replace(activation="relu")])
    elman.to_rtneural(changed, tmp_path / "net.json")
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    np.testing.assert_allclose(elman.from_rtneural(tmp_path / "net.json")(x)[0], changed(x)[0], rtol=1e-6)
    assert (changed(x)[0] != net(x)[0]).any()
    elman.to_c(changed, tmp_path / "net.c")
    assert "activation='relu'" in (tmp_path / "net.c").read_text()


# Files of former versions.

FOLDER = Path(make.__file__).parent
FILES = sorted(FOLDER.glob("v*/*_float*.safetensors"))


def test_there_are_files_of_every_version():
    assert len(FILES) == 2 * 14
    assert {path.parent.name for path in FILES} == {f"v{version}" for version in range(1, NETWORK_VERSION + 1)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_files_of_every_version_load(path, tmp_path):
    wanted = json.loads((path.parent / "expected.json").read_text())[path.stem]
    net = elman.load(path, cells={"leaky": make.leaky()})
    name, dtype = path.stem.rsplit("_", 1)
    assert net.dtype == (None if name == "weightless" else dtype)
    np.testing.assert_allclose(net(wanted["x"])[0], wanted["y"], atol=1e-6 if dtype == "float32" else 1e-8)
    same = elman.Network(make.networks(dtype, {})[name])
    assert (net.config == same.config) or name == "own_cell"
    net.save(tmp_path / "new.safetensors")  # what is written now is of the present version
    again = elman.load(tmp_path / "new.safetensors", cells={"leaky": make.leaky()})
    np.testing.assert_array_equal(again(wanted["x"])[0], net(wanted["x"])[0])


def test_a_checkpoint_of_version_1_goes_on(tmp_path):
    wanted = json.loads((FOLDER / "v1" / "expected.json").read_text())["checkpoint"]["loss"]
    path = tmp_path / "run.safetensors"
    for epochs in (2, 3):
        path.write_bytes((FOLDER / "v1" / "checkpoint.safetensors").read_bytes())
        net, loss = make.fitted(path, epochs)
        np.testing.assert_allclose(loss[:2], wanted, rtol=1e-6)
    straight, loss_of_one = make.fitted(None, 3)
    np.testing.assert_allclose(loss, loss_of_one, rtol=1e-5)
    for name, array in net.parameters.items():
        np.testing.assert_allclose(array, straight.parameters[name], rtol=1e-4, atol=1e-6)
