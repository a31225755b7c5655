"""`from_keras` and `to_keras` of functional models that branch and join: random ones, against Keras itself."""

from __future__ import annotations

import logging
import os
import re
import zipfile

import numpy as np
import pytest

import elman
from elman.interop.keras.reader import from_keras
from elman.interop.keras.writer import to_keras

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore:.*mask:UserWarning"),  # a layer that loses it: nothing behind it needs it
    pytest.mark.filterwarnings("ignore:.*masked steps must stand last:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*softmax over axis:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*structure of `inputs`:UserWarning"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # torch and numpy
]
os.environ["KERAS_BACKEND"] = "torch"
keras = pytest.importorskip("keras")
pytest.importorskip("torch").set_num_threads(1)
logging.getLogger("absl").setLevel(logging.ERROR)  # that .h5 is a legacy format
L = keras.layers
ACTIVATIONS = ["tanh", "relu", "gelu", "selu", "silu", "softmax", "linear", "hard_sigmoid", "elu"]
WRITTEN: list[bool] = []


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)


def shuffled(model, rng):
    """The model with every weight drawn anew; variances stay over 0."""
    for weight in model.weights:
        drawn = rng.standard_normal(weight.shape) * 0.5
        if "int" not in str(weight.dtype):
            weight.assign(np.abs(drawn) + 0.3 if "variance" in weight.name else drawn)
    return model


class Value:
    """A tensor, of how many features and steps, and whether steps of it are masked."""

    def __init__(self, tensor, width, steps=None, masked=False):
        self.tensor, self.width, self.steps, self.masked = tensor, width, steps, masked
        self.read = False

    def __call__(self):
        self.read = True
        return self.tensor


class Drawn:
    """A random functional model with an example."""

    def __init__(self, seed):
        self.rng = rng = np.random.default_rng(seed)
        self.time, self.batch = int(rng.integers(5, 9)), 3
        self.masked = bool(rng.random() < 0.3)
        self.fixed = self.time if rng.random() < 0.6 else None
        self.inputs, self.data, self.values, self.memories = [], {}, [], []
        self.started = None
        self.real = np.ones((self.batch, self.time), bool)
        for i in range(int(rng.integers(1, 4))):
            self.input(f"in{i}", "steps" if i == 0 else str(rng.choice(["steps", "vector", "tokens"])))
        for _ in range(int(rng.integers(3, 10))):
            self.node()
        left = [value for value in self.values if not value.read]
        self.outputs = [self.leaf(value) for value in left]
        self.model = shuffled(keras.Model(self.inputs, [value() for value in self.outputs]), rng)

    def leaf(self, value):
        """An output has a layer of its own, so that no input comes out."""
        return self.row(L.Dense(int(self.rng.integers(1, 4)), activation="tanh"), value, 0)

    def input(self, name, kind):
        rng, width = self.rng, int(self.rng.integers(1, 4))
        if kind == "vector":
            self.inputs.append(keras.Input((width,), name=name))
            self.data[name] = rng.standard_normal((self.batch, width)).astype("f4")
            self.values.append(Value(self.inputs[-1], width))
        elif kind == "tokens":
            self.inputs.append(keras.Input((self.fixed,), dtype="int32", name=name))
            self.data[name] = rng.integers(0, 6, (self.batch, self.time)).astype("int32")
            self.values.append(Value(L.Embedding(6, width)(self.inputs[-1]), width, self.time))
        else:
            self.inputs.append(keras.Input((self.fixed, width), name=name))
            x = rng.standard_normal((self.batch, self.time, width)).astype("f4")
            value = Value(self.inputs[-1], width, self.time)
            if self.masked and name == "in0":
                self.real = rng.random((self.batch, self.time)) < 0.6
                self.real[:, 0] = True
                x[~self.real] = 0.5
                value = Value(L.Masking(0.5)(value()), width, self.time, True)
            self.data[name] = x
            self.values.append(value)

    def row(self, layer, value, width, steps=-1):
        """The value that a layer makes of another."""
        made = Value(layer(value()), 0, value.steps if steps == -1 else steps, value.masked and steps == -1)
        made.width = made.tensor.shape[-1]
        return made

    def pick(self, test=lambda value: True):
        fitting = [value for value in self.values if test(value)]
        return fitting[max(self.rng.integers(len(fitting)), self.rng.integers(len(fitting)))] if fitting else None

    def node(self):
        value, rng = self.pick(), self.rng
        choices = ["dense", "norm", "activation", "scale", "join", "join"]
        choices += ["recurrent", "recurrent", "both"] * (value.steps is not None)
        choices += ["pool", "attention"] * (value.steps is not None)
        choices += ["conv", "window", "flatten"] * (value.steps is not None and not value.masked)
        choices += ["repeat"] * (value.steps is None)
        made = getattr(self, str(rng.choice(choices)))(value)
        if made is not None:
            self.values.append(made)

    def dense(self, value):
        layer = L.Dense(int(self.rng.integers(1, 4)), activation=str(self.rng.choice(ACTIVATIONS)))
        return self.row(L.TimeDistributed(layer) if value.steps and self.rng.random() < 0.2 else layer, value, 0)

    def norm(self, value):
        options = {"center": bool(self.rng.random() < 0.8), "scale": bool(self.rng.random() < 0.8)}
        kind = L.BatchNormalization if self.rng.random() < 0.6 else L.LayerNormalization
        return self.row(kind(epsilon=0.01, **options), value, 0)

    def activation(self, value):
        layers = [L.Activation(str(self.rng.choice(ACTIVATIONS))), L.LeakyReLU(0.2), L.Dropout(0.3), L.GaussianNoise(1)]
        return self.row(layers[self.rng.integers(4)], value, 0)

    def scale(self, value):
        rng = self.rng
        mean, variance = rng.standard_normal(value.width).tolist(), (rng.random(value.width) + 0.5).tolist()
        layers = [L.Rescaling(0.5, offset=-1.0), L.Rescaling([2.0] * value.width), L.Normalization()]
        layers += [L.Normalization(mean=mean, variance=variance, invert=i) for i in (False, True)]
        return self.row(layers[rng.integers(5)], value, 0)

    def join(self, value):
        alike = [v for v in self.values if (v.steps, v.masked) == (value.steps, value.masked)]
        others = [alike[self.rng.integers(len(alike))] for _ in range(self.rng.integers(1, 3))]
        same = all(other.width == value.width for other in others)
        kinds = [L.Concatenate] + [L.Add, L.Multiply, L.Average] * same + [L.Subtract] * (same and len(others) == 1)
        made = Value(None, 0, value.steps, value.masked)
        made.tensor = kinds[self.rng.integers(len(kinds))]()([value(), *(other() for other in others)])
        made.width = made.tensor.shape[-1]
        return made

    def recurrent(self, value):
        rng, kind = self.rng, [L.SimpleRNN, L.GRU, L.LSTM][self.rng.integers(3)]
        units, sequences = int(rng.integers(2, 4)), bool(rng.random() < 0.5)
        layer = kind(units, return_sequences=sequences, return_state=True, use_bias=bool(rng.random() < 0.8))
        before = [states for of, size, states in self.memories if (of, size) == (kind, units)]
        given = before[rng.integers(len(before))] if before and rng.random() < 0.7 else None
        given = None if value.masked else given  # Keras 3 loses the mask
        if given is None and not value.masked and rng.random() < 0.4:
            given = [self.first(units) for _ in range(1 + (kind is L.LSTM))]
        if given is None and not value.masked and self.started is None and rng.random() < 0.3:
            layer.name = "started"
            self.started = [rng.standard_normal((self.batch, units)).astype("f4") for _ in range(1 + (kind is L.LSTM))]
            given = [keras.Input((units,), name=f"state{i}") for i in range(len(self.started))]
            self.inputs += given
            self.data |= {f"state{i}": array for i, array in enumerate(self.started)}
        y, *states = layer(value(), initial_state=given)
        self.memories.append((kind, units, states))
        self.values += [Value(state, units) for state in states if rng.random() < 0.6]
        return Value(y, units, value.steps if sequences else None, value.masked and sequences)

    def first(self, units):
        """A vector that may be a first state: one that is there, an input too, or one that a layer makes."""
        vectors = [value for value in self.values if value.steps is None]
        if not vectors:
            self.input(f"in{len(self.data)}", "vector")
            vectors = self.values[-1:]
        value = vectors[self.rng.integers(len(vectors))]
        if value.width == units and value.tensor not in self.inputs and self.rng.random() < 0.6:
            return value()
        made = L.Dense(units, activation="tanh")(value())
        self.values.append(Value(made, units))
        return self.values[-1]()

    def both(self, value):
        rng, sequences = self.rng, bool(self.rng.random() < 0.5)
        kinds = [L.SimpleRNN, L.GRU, L.LSTM]
        first, options = kinds[rng.integers(3)], {"return_sequences": sequences}
        if not value.masked and rng.random() < 0.4:
            given = [self.first(2) for _ in range(4 if first is L.LSTM else 2)] if rng.random() < 0.6 else None
            layer = L.Bidirectional(
                first(2, return_state=True, **options), merge_mode=str(rng.choice(["concat", "sum"]))
            )
            y, *states = layer(value(), initial_state=given)
            self.values += [Value(state, 2) for state in states if rng.random() < 0.5]
            return Value(y, y.shape[-1], value.steps if sequences else None)
        other = kinds[rng.integers(3)](2, go_backwards=True, **options) if rng.random() < 0.3 else None
        mode = str(rng.choice(["concat", "sum", "mul", "ave", "None"]))
        if mode == "None" and not value.masked:
            a, b = L.Bidirectional(first(2, **options), backward_layer=other, merge_mode=None)(value())
            self.values.append(Value(a, 2, value.steps if sequences else None))
            return Value(b, 2, value.steps if sequences else None)
        layer = L.Bidirectional(first(2, **options), backward_layer=other, merge_mode="sum" if mode == "None" else mode)
        return self.row(layer, value, 0, -1 if sequences else None)

    def pool(self, value):
        layer = L.GlobalAveragePooling1D() if value.masked or self.rng.random() < 0.5 else L.GlobalMaxPooling1D()
        return self.row(layer, value, 0, None)

    def attention(self, value):
        memory = self.pick(lambda other: other.steps is not None and other.width == value.width)
        rng = self.rng
        layers = [L.AdditiveAttention(use_scale=bool(rng.random() < 0.7))]
        layers += [L.Attention(use_scale=bool(rng.random() < 0.5), score_mode=m) for m in ("dot", "concat")]
        made = Value(None, value.width, value.steps, value.masked)
        made.tensor = layers[rng.integers(3)]([value(), memory()])
        return made

    def conv(self, value):
        rng = self.rng
        padding = str(rng.choice(["same", "causal", "valid"]))
        width = int(rng.integers(1, 4))
        if padding == "valid":
            width = min(width, value.steps)
        stride = int(rng.integers(1, 3))
        dilation = int(rng.integers(1, 3)) if stride == 1 and (padding != "valid" or 2 * width < value.steps) else 1
        options = {"strides": stride, "dilation_rate": dilation, "padding": padding}
        layer = L.Conv1D(int(rng.integers(1, 4)), width, activation=str(rng.choice(ACTIVATIONS)), **options)
        span = (width - 1) * dilation if padding == "valid" else 0
        return self.row(layer, value, 0, (value.steps - span - 1) // stride + 1)

    def window(self, value):
        rng, width = self.rng, int(self.rng.integers(1, 4))
        padding = "valid" if width <= value.steps and rng.random() < 0.5 else "same"
        stride = int(rng.integers(1, 3))
        layer = [L.MaxPooling1D, L.AveragePooling1D][rng.integers(2)](width, stride, padding=padding)
        return self.row(layer, value, 0, (value.steps - (width if padding == "valid" else 1)) // stride + 1)

    def flatten(self, value):
        return self.row(L.Flatten(), value, 0, None) if self.fixed else None

    def repeat(self, value):
        return self.row(L.RepeatVector(self.time), value, 0, self.time)

    # What it computes.

    def theirs(self, model):
        found = model([self.data[tensor.name] for tensor in self.inputs])
        return [numbers(part) for part in (found if isinstance(found, list) else [found])]

    def ours(self, net):
        x = {name: self.data[name] for name in net.inputs} if len(net.inputs) > 1 else None
        single = next(iter(self.data.values())) if x is None and net.inputs == ("x",) else None
        x = x or (self.data[net.inputs[0]] if single is None else single)
        state = None
        if self.started is not None:
            given = tuple(self.started) if len(self.started) > 1 else self.started[0]
            of = [name for name, layer in zip(net.names, net.layers, strict=True) if layer.stateful]
            state = [given if name.split("/")[0] == "started" or net.graph.is_list else None for name in of]
        y, _ = net(x, state)
        return list(y.values()) if isinstance(y, dict) else [y]

    def check(self, want, got, tolerance=1e-5):
        assert len(want) == len(got) == len(self.outputs)
        for value, theirs, ours in zip(self.outputs, want, got, strict=True):
            if value.masked:
                theirs = theirs[self.real]
                ours = ours[np.arange(self.time) < self.real.sum(1)[:, None]]
            np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def written(net, path):
    """Whether Keras has all of a network; where not, the reason must be one that is known."""
    reasons = "Masking must|Reverse must|LastSteps|units must|LastStep|number of features|no vector beside"
    try:
        to_keras(net, path)
    except elman.FormatError as error:
        if re.search(reasons, str(error)) is None:
            raise
    return path.exists()


@pytest.mark.parametrize("seed", range(170))
def test_random_functional_models(seed, tmp_path):
    drawn = Drawn(seed)
    path = tmp_path / ("model.h5" if seed % 3 == 2 else "model.keras")
    drawn.model.save(path)
    net = from_keras(path if seed % 5 else path.read_bytes())
    want, got = drawn.theirs(drawn.model), drawn.ours(net)
    drawn.check(want, got)
    for once, twice in zip(got, drawn.ours(net), strict=True):
        np.testing.assert_array_equal(once, twice)
    if drawn.started is not None or seed % 2:
        return  # states that come in from outside are arguments of a call here, and no input of the file
    WRITTEN.append(written(net, tmp_path / "back.keras"))
    if not WRITTEN[-1]:
        return
    opened = keras.saving.load_model(tmp_path / "back.keras")
    feeds = [drawn.data[name] for name in (net.inputs if net.inputs != ("x",) else drawn.data)]
    if any(len(tensor.shape) != feed.ndim for tensor, feed in zip(opened.inputs, feeds, strict=True)):
        return  # what no layer over time reads may be a vector or a sequence
    back = opened(feeds if len(feeds) > 1 else feeds[0])
    drawn.check(want, [numbers(part) for part in (back if isinstance(back, list) else [back])])
    drawn.check(want, drawn.ours(from_keras(tmp_path / "back.keras")))


def test_most_were_written_back():
    assert not WRITTEN or sum(WRITTEN) > len(WRITTEN) // 2


def test_an_encoder_and_a_decoder_in_both_ways(tmp_path):
    """States go from node to node; those that come out are the state of the network."""
    source, target = keras.Input((None, 3), name="source"), keras.Input((None, 2), name="target")
    _, *states = L.LSTM(5, return_state=True, name="encoder")(source)
    y, h, c = L.LSTM(5, return_sequences=True, return_state=True, name="decoder")(target, initial_state=states)
    model = keras.Model([source, target], [L.Dense(4, activation="softmax", name="word")(y), h, c])
    rng = np.random.default_rng(0)
    shuffled(model, rng)
    model.save(tmp_path / "model.keras")
    net = from_keras(tmp_path / "model.keras")
    x = {"source": rng.normal(size=(2, 7, 3)).astype("f4"), "target": rng.normal(size=(2, 4, 2)).astype("f4")}
    want = [numbers(part) for part in model(list(x.values()))]
    got, (_, end) = net(x)
    for ours, theirs in zip((got, *end), want, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    to_keras(net, tmp_path / "back.keras")
    back = keras.saving.load_model(tmp_path / "back.keras")
    np.testing.assert_allclose(numbers(back(list(x.values()))), want[0], rtol=1e-5, atol=1e-5)


def translated(s, t):
    """The usual translator: both directions of the encoder side by side."""
    _, fh, fc, bh, bc = L.Bidirectional(L.LSTM(4, return_state=True), name="enc")(s)
    given = [L.Concatenate()([fh, bh]), L.Concatenate()([fc, bc])]
    return L.LSTM(8, return_sequences=True, name="dec")(t, initial_state=given)


def by_layers(s, t):
    _, h, c = L.LSTM(4, return_state=True, name="enc")(s)
    given = [L.Dense(5, activation="tanh")(h), L.Dense(5)(c)]
    return L.LSTM(5, return_sequences=True, name="dec")(t, initial_state=given)


def side_by_side(s, t):
    _, h, c = L.LSTM(4, return_state=True, name="enc")(s)
    return L.Concatenate()([h, c, L.GRU(3)(t)])


def exchanged(s, t):
    y, h, c = L.LSTM(4, return_state=True, return_sequences=True, name="enc")(s)
    z = L.Bidirectional(L.GRU(4), name="both")(y, initial_state=[c, L.Average()([h, c])])
    return L.Add()([z, L.GRU(8, go_backwards=True)(t)])


def backwards(s, t):
    both = L.Bidirectional(L.LSTM(4, return_state=True), backward_layer=L.LSTM(4, go_backwards=True, return_state=True))
    y, *states = both(s)
    z, h = L.GRU(4, return_state=True)(t, initial_state=states[3])
    return L.Concatenate()([y, *states[1:3], z, h])


def caption(v, t):
    """An image, as a vector, starts the words."""
    e = L.Dense(5, activation="relu")(v)
    return L.GRU(5, return_sequences=True, name="dec")(t, initial_state=e)


def twice(v, t):
    return L.LSTM(7, return_sequences=True, name="dec")(t, initial_state=[v, v])


def half(v, t):
    return L.LSTM(7, return_sequences=True, name="dec")(t, initial_state=[v, L.Dense(7)(v)])


@pytest.mark.parametrize("make", [translated, by_layers, side_by_side, exchanged, backwards, caption, twice, half])
@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_states_that_are_values_and_states_that_layers_make(make, ending, tmp_path):
    vector = make in (caption, twice, half)
    s = keras.Input((7,) if vector else (None, 3), name="s")
    t = keras.Input((None, 2), name="t")
    rng = np.random.default_rng(0)
    model = shuffled(keras.Model([s, t], L.Dense(3)(make(s, t))), rng)
    x = {"s": rng.standard_normal((3, 7) if vector else (3, 6, 3)), "t": rng.standard_normal((3, 4, 2))}
    x = {name: part.astype("f4") for name, part in x.items()}
    model.save(tmp_path / f"model{ending}")
    net, want = from_keras(tmp_path / f"model{ending}"), numbers(model([x["s"], x["t"]]))
    to_keras(net, tmp_path / "back.keras")
    back = keras.saving.load_model(tmp_path / "back.keras")
    for _ in range(2):
        for got in (
            net(x)[0],
            from_keras(tmp_path / "back.keras")(x)[0],
            numbers(back([x[name] for name in net.inputs])),
        ):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_keras_3_loses_the_mask_of_a_layer_that_is_given_its_states():
    source, state = keras.Input((6, 2)), keras.Input((3,))
    for sequences in (True, False):
        y = L.GRU(3, return_sequences=sequences)(L.Masking()(source), initial_state=state)
        model = keras.Model([source, state], L.Dense(2, name="out")(y))
        if sequences:
            with pytest.warns(UserWarning, match="masked steps must stand last"):
                from_keras(model)
        else:
            with pytest.raises(elman.FormatError, match="its steps must not be masked"):
                from_keras(model)


def test_a_mask_that_a_nested_model_is_called_with():
    inside, source = keras.Input((6, 3)), keras.Input((6, 3))
    inner = keras.Model(inside, L.GRU(2)(inside))
    mask = keras.ops.any(keras.ops.not_equal(source, 0.5), axis=-1)
    with pytest.raises(elman.FormatError, match="its mask must be that of the layers before it"):
        from_keras(keras.Model(source, L.Dense(2)(inner(source, mask=mask))))


def test_both_outputs_of_a_bidirectional_layer_that_gives_its_states():
    source = keras.Input((6, 3))
    layer = L.LSTM(2, return_sequences=True, return_state=True)
    forward, backward, *_ = L.Bidirectional(layer, merge_mode=None)(source)
    model = shuffled(keras.Model(source, [L.GRU(3)(backward), L.Dense(2)(forward)]), np.random.default_rng(3))
    x = np.random.default_rng(4).normal(size=(2, 6, 3)).astype("f4")
    for ours, theirs in zip(from_keras(model)(x)[0].values(), model(x), strict=True):
        np.testing.assert_allclose(ours, numbers(theirs), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("first", ["channels_first", "channels_last"])
def test_a_decoder_from_vectors_and_the_order_in_which_flatten_reads(first, tmp_path):
    source, vector = keras.Input((4, 3)), keras.Input((2,))
    flat = keras.Model(source, L.Dense(2)(L.Flatten(data_format=first)(source)))
    if first == "channels_first":
        with pytest.raises(elman.FormatError, match="data_format must be 'channels_last'"):
            from_keras(flat)
        return
    y = L.GRU(2, return_sequences=True)(L.RepeatVector(5)(L.Dropout(0.1)(L.Dense(3, activation="relu")(vector))))
    for model, x in (
        (flat, np.random.default_rng(2).normal(size=(3, 4, 3))),
        (keras.Model(vector, y), np.ones((3, 2))),
    ):
        shuffled(model, np.random.default_rng(1)).save(tmp_path / "model.keras")
        net = from_keras(tmp_path / "model.keras")
        np.testing.assert_allclose(net(x)[0], numbers(model(x)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", range(40))
def test_a_mask_that_ends_before_a_layer_uses_it(seed, tmp_path):
    """Every step is there in Keras, and here, at its place."""
    rng = np.random.default_rng(seed)
    real = rng.random((3, 8)) < 0.6
    x = rng.normal(size=(3, 8, 3)).astype("f4") * real[..., None]
    tokens, source = rng.integers(1, 5, (3, 8)) * real, keras.Input((8, 3), name="x")
    inputs, values, words = {"x": x}, [L.Masking()(source)], keras.Input((8,), dtype="int32", name="t")
    if seed % 2:
        inputs["t"] = tokens.astype("int32")
        values.append(L.Embedding(5, 3, mask_zero=True)(words))
    pointwise = [lambda: L.Dense(3, "tanh"), lambda: L.Dropout(0.1), L.LayerNormalization, lambda: L.Rescaling(2.0)]
    values = [pointwise[rng.integers(4)]()(value) for value in values]
    ends = [lambda y: L.Conv1D(4, 2)(y), lambda y: L.MaxPooling1D(2)(y), lambda y: L.Flatten()(y)]
    ends += [lambda y: L.GlobalMaxPooling1D()(y), lambda y: L.Add()([y, L.GRU(3, return_sequences=True)(source)])]
    ends += [lambda y: L.SimpleRNN(2)(L.Concatenate()([source, y]))]
    ends += [lambda y: L.LSTM(2)(L.Conv1D(2, 3, padding="causal")(L.Masking()(y)))]
    y = L.Average()(values) if len(values) > 1 else values[0]
    y = ends[rng.integers(len(ends))](y)
    y = L.GRU(2, return_sequences=True)(y) if len(y.shape) == 3 else y
    model = shuffled(keras.Model([source, words][: len(inputs)], y), rng)
    model.save(tmp_path / "model.keras")
    net = from_keras(tmp_path / "model.keras")
    want = numbers(model([inputs[tensor.name] for tensor in model.inputs]))
    given = {name: inputs[name] for name in net.inputs} if len(net.inputs) > 1 else x
    for _ in range(2):
        np.testing.assert_allclose(net(given)[0], want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", range(12))
def test_attention_with_a_key_of_its_own(seed, tmp_path):
    rng = np.random.default_rng(seed)
    sizes, kind = rng.permutation([2, 3, 4]).tolist(), [L.Attention, L.AdditiveAttention][seed % 2]
    options = {} if seed % 2 else {"score_mode": ["dot", "concat"][seed // 2 % 2]}
    query, value = keras.Input((5, sizes[0]), name="q"), keras.Input((None, sizes[1]), name="v")
    key = L.Dense(sizes[0])(value) if seed % 3 else keras.Input((None, sizes[0]), name="k")
    inputs = [query, value] if seed % 3 else [query, value, key]
    y = kind(use_scale=bool(rng.random() < 0.6), **options)([query, value, key])
    model = shuffled(keras.Model(inputs, L.Dense(2)(y)), rng)
    steps = {"q": 5, "v": 7, "k": 7}
    x = {t.name: rng.normal(size=(3, steps[t.name], t.shape[-1])).astype("f4") for t in inputs}
    model.save(tmp_path / "model.keras")
    net = from_keras(tmp_path / "model.keras")
    for _ in range(2):
        np.testing.assert_allclose(net(x)[0], numbers(model(list(x.values()))), rtol=1e-5, atol=1e-5)


def attention_with_units(rng, seed):
    config = {"units": 5, "kind": ["dot", "additive"][seed % 2], "scaled": False if seed % 4 == 0 else None}
    attention = elman.Attention(4, 3, seed=seed, **config)
    attention.b[:] = rng.normal(size=5)
    nodes = {"query": (elman.GRU(3, 4, seed=1), "x"), "memory": (elman.RNN(3, 3, seed=2), "x")}
    return {**nodes, "attention": (attention, "query", "memory"), "end": elman.Dense(3, 2, seed=3)}


def padded_by_a_pair(rng, seed):
    front = int(rng.integers(0, 3))
    conv = elman.Conv1d(3, 4, 3, padding=(front, 2 - front), activation="relu", seed=seed)
    return {"conv": (conv, "x"), "rnn": (elman.GRU(3, 4, seed=1), "x"), "sum": (elman.Add(), "conv", "rnn")}


def masked_branches(rng, seed):
    first = {"mask": (elman.Masking(0.0), "x"), "gru": elman.GRU(3, 4, seed=seed), "one": elman.LastStep()}
    other = {"lstm": (elman.LSTM(3, 4, seed=seed + 1), "mask"), "two": elman.LastStep()}
    return {**first, **other, "both": (elman.Multiply(), "one", "two"), "out": elman.Dense(4, 2, seed=2)}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("build", [attention_with_units, padded_by_a_pair, masked_branches])
def test_networks_that_need_more_layers_there(build, seed, tmp_path):
    rng = np.random.default_rng(seed)
    net, path = elman.Network(build(rng, seed)), tmp_path / "net.keras"
    x = rng.normal(size=(3, 7, 3)).astype("f4")
    if build is masked_branches:
        x[rng.random((3, 7)) < 0.3] = 0
        x[:, 0] = 1
    to_keras(net, path)
    want = net(x)[0]
    np.testing.assert_allclose(numbers(keras.saving.load_model(path)(x)), want, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(from_keras(path)(x)[0], want, rtol=1e-6, atol=1e-6)


def test_a_masked_graph_with_two_layers_of_one_class_is_refused(tmp_path):
    nodes = masked_branches(np.random.default_rng(0), 0) | {"lstm": (elman.GRU(3, 4), "mask")}
    with pytest.raises(elman.FormatError, match="one layer with weights of each class"):
        to_keras(elman.Network(nodes), tmp_path / "net.keras")


def test_nested_models_and_weights_alone_of_graphs(tmp_path):
    inner_in = keras.Input((None, 3))
    inner = keras.Model(inner_in, [L.GRU(4, return_sequences=True)(inner_in), L.BatchNormalization()(inner_in)])
    source = keras.Input((None, 3), name="x")
    a, b = inner(L.Dense(3)(source))
    model = shuffled(keras.Model(source, L.Concatenate()([a, L.Dense(2)(b)])), np.random.default_rng(1))
    x = np.random.default_rng(2).normal(size=(2, 5, 3)).astype("f4")
    (tmp_path / "arch.json").write_text(model.to_json())
    model.save_weights(tmp_path / "m.weights.h5")
    for end in ("keras", "h5"):
        model.save(tmp_path / f"m.{end}")
    nets = [from_keras(tmp_path / "m.keras"), from_keras(tmp_path / "m.h5"), from_keras(model)]
    nets.append(from_keras(tmp_path / "m.weights.h5", like=tmp_path / "arch.json"))
    for net in nets:
        np.testing.assert_allclose(net(x)[0], numbers(model(x)), rtol=1e-5, atol=1e-5)
    to_keras(nets[0], tmp_path / "back.keras")
    with zipfile.ZipFile(tmp_path / "back.keras") as archive:
        (tmp_path / "w.weights.h5").write_bytes(archive.read("model.weights.h5"))
    filled = from_keras(tmp_path / "w.weights.h5", like=nets[0])
    np.testing.assert_array_equal(filled(x)[0], nets[0](x)[0])


def test_a_last_step_that_comes_out_beside_its_sequence(tmp_path):
    nodes = {"g": (elman.GRU(3, 4, seed=0), "a"), "d": elman.Dense(4, 2, seed=1), "l": (elman.LastStep(), "g")}
    net = elman.Network(nodes, outputs=("d", "l"))
    net.save(tmp_path / "net.safetensors")
    done = elman.convert(tmp_path / "net.safetensors", tmp_path / "net.keras")
    assert [check.difference is not None for check in done.checks] == [True, True]
