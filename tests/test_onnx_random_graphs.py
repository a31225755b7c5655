"""Random graphs, whose branches part and join again, beside ONNX Runtime; and a detector of voice, by chunks."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import numpy_helper

import elman
from elman.checks import FormatError
from elman.interop.onnx.reading.reader import from_onnx, read_onnx
from onnx_models import Parts, TensorProto, helper, random_state, recurrent, session

FAR = 2**63 - 1
ORDERS = {"btf": (0, 1, 2), "bft": (0, 2, 1), "tbf": (1, 0, 2)}  # of batch, time and features


class Drawn:
    """A graph that grows: values as (name, width, order of axes); vectors have the order "bf"."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.parts = parts = Parts(self.rng)
        self.values, self.recurrent = [], 0
        widths = {"x": 3, **({"other": int(self.rng.integers(1, 4))} if self.rng.integers(2) else {})}
        for name, width in widths.items():
            order = "tbf" if name == "x" else ["btf", "bft", "tbf"][self.rng.integers(3)]
            sizes = ("batch", "time", width)
            parts.inputs[name] = (np.float32, tuple(sizes[axis] for axis in ORDERS[order]))
            self.values.append((name, width, order))
            self.values.append(self.dense(self.values[-1]))  # tells what its axes are
        if self.rng.integers(3) == 0:
            parts.inputs["facts"] = (np.float32, ("batch", 2))
            self.values.append(self.dense(("facts", 2, "bf")))

    def add(self, op, *inputs, **attributes):
        return self.parts.add(op, *inputs, **attributes)

    def weights(self, *shape):
        return self.parts.weights(f"w{len(self.parts.tensors)}", *shape, scale=0.4)

    def number(self, value):
        return self.parts.tensor(f"n{len(self.parts.tensors)}", np.float32(value))

    def moved(self, value, order):
        name, width, old = value
        if old == order or old == "bf":
            return value
        perm = [ORDERS[old].index(axis) for axis in ORDERS[order]]
        return self.add("Transpose", name, perm=perm), width, order

    def one(self, steps=None):
        fitting = [v for v in self.values if steps is None or (v[2] != "bf") == steps]
        return fitting[self.rng.integers(len(fitting))]

    # What can be done.

    def dense(self, value):
        name, width, order = self.moved(value, ["btf", "tbf"][self.rng.integers(2)])
        out = int(self.rng.integers(2, 6))
        y = self.add("MatMul", name, self.weights(width, out))
        return (self.add("Add", y, self.weights(out)) if self.rng.integers(2) else y), out, order

    def conv(self, value):
        name, width, order = self.moved(value, "bft")
        out, k, d = (int(self.rng.integers(low, high)) for low, high in ((2, 5), (1, 4), (1, 3)))
        span = (k - 1) * d
        left = int(self.rng.integers(0, span + 1))
        more = {"pads": [left, span - left]} if self.rng.integers(3) else {"auto_pad": "SAME_UPPER"}
        d = d if "pads" in more else 1
        bias = [self.weights(out)] if self.rng.integers(2) else []
        return self.add("Conv", name, self.weights(out, width, k), *bias, dilations=[d], **more), out, order

    def pool(self, value):
        name, width, order = self.moved(value, "bft")
        op, k = ["MaxPool", "AveragePool"][self.rng.integers(2)], int(self.rng.integers(2, 4))
        return self.add(op, name, kernel_shape=[k], pads=[(k - 1) // 2, k - 1 - (k - 1) // 2]), width, order

    def norm(self, value):
        name, width, order = self.moved(value, "bft")
        variance = self.parts.tensor(f"v{len(self.parts.tensors)}", self.rng.uniform(0.5, 2, width).astype(np.float32))
        given = [self.weights(width) for _ in range(3)]
        return self.add("BatchNormalization", name, *given, variance), width, order

    def layer_norm(self, value):
        name, width, order = self.moved(value, "btf")
        return self.add("LayerNormalization", name, self.weights(width), epsilon=0.1), width, order

    def activation(self, value):
        name, width, order = value
        op = ["Relu", "Tanh", "Sigmoid", "Erf", "Selu", "HardSwish", "Softplus", "Neg", "Elu"][self.rng.integers(9)]
        return self.add(op, name), width, order

    def clip(self, value):
        name, width, order = value
        top = [self.number(0.8)] if self.rng.integers(2) else []
        return self.add("Clip", name, self.number(-0.3), *top), width, order

    def power(self, value):
        name, width, order = value
        y = self.add("Pow", self.add("Tanh", name), self.number(2))
        return (self.add("Sqrt", self.add("Add", y, self.number(0.1))) if self.rng.integers(2) else y), width, order

    def scale(self, value):
        name, width, order = value
        shape = (width,) if order != "bft" else (width, 1)
        return self.add(["Add", "Mul", "Sub", "Div"][self.rng.integers(3)], name, self.weights(*shape)), width, order

    def cut(self, value):
        name, width, order = value
        axis = order.index("f")
        start, end = 0, int(self.rng.integers(1, width + 1))
        if self.rng.integers(2):
            start, end = end - 1, FAR
        found = min(end, width) - start
        return self.add("Slice", name, *(self.parts.integers(n) for n in (start, end, axis))), found, order

    def layer(self, value):
        name, width, _ = self.moved(value, "tbf")
        self.recurrent += 1
        direction = ["forward", "reverse", "bidirectional"][self.rng.integers(3)]
        states = ["none", "row", "input", "zeros"][self.rng.integers(3)]
        op = ["RNN", "GRU", "LSTM"][self.rng.integers(3)]
        outputs, hidden, directions = recurrent(
            self.parts, name, width, op, place=self.recurrent, direction=direction, states=states
        )
        if self.rng.integers(3) == 0:
            self.parts.outputs += outputs[1:]
        if self.rng.integers(4) == 0 and directions == 1:
            return self.add("Squeeze", outputs[1], self.parts.integers(0)), hidden, "bf"
        y = self.add("Transpose", outputs[0], perm=[0, 2, 1, 3])
        return self.add("Reshape", y, self.parts.integers(0, 0, -1)), directions * hidden, "tbf"

    def summary(self, value):
        name, width, order = self.moved(value, "btf")
        how = self.rng.integers(3)
        if how == 2:
            return (
                self.add("Gather", name, self.parts.tensor(f"i{len(self.parts.tensors)}", np.int64(-1)), axis=1),
                width,
                "bf",
            )
        return self.add(["ReduceMean", "ReduceMax"][how], name, axes=[1], keepdims=0), width, "bf"

    def joined(self, value):
        other = self.one()
        while other[2] == "bf" and value[2] != "bf" and self.rng.integers(3):
            other = self.one()
        if "bf" in (value[2], other[2]) and value[2] != other[2]:
            vector, steps = (value, other) if value[2] == "bf" else (other, self.moved(value, "btf"))
            steps = self.moved(steps, "btf")
            vector = self.add("Unsqueeze", vector[0], self.parts.integers(1)), vector[1], "btf"
            return self.sum(steps, vector) if steps[1] == vector[1] or 1 in (steps[1], vector[1]) else self.dense(steps)
        other = self.moved(other, value[2])
        if value[1] == other[1] and self.rng.integers(2):
            return self.sum(value, other)
        axis = value[2].index("f")
        return self.add("Concat", value[0], other[0], axis=axis), value[1] + other[1], value[2]

    def sum(self, a, b):
        op = ["Add", "Mul", "Sub"][self.rng.integers(3)]
        return self.add(op, a[0], b[0]), max(a[1], b[1]), a[2]

    def grow(self, count):
        steps = [self.dense, self.conv, self.norm, self.layer_norm, self.activation, self.clip, self.power, self.scale]
        steps += [self.cut, self.layer, self.summary, self.pool, *[self.joined] * 5]
        for _ in range(count):
            value, step = self.one(), steps[self.rng.integers(len(steps))]
            if value[2] == "bf" and step in (
                self.conv,
                self.norm,
                self.layer_norm,
                self.layer,
                self.summary,
                self.pool,
            ):
                value, step = value, self.dense
            self.values.append(step(value))
        last = self.values[-1 - int(self.rng.integers(3)) :]
        self.parts.outputs += [name for name, _, _ in last if name not in self.parts.inputs]
        self.parts.outputs = list(dict.fromkeys(self.parts.outputs))
        return self.parts.model(17)


def arguments_of(reading, parts, rng, batch, time):
    sizes = {"batch": batch, "time": time}
    xs = {}
    for root in reading.assembly.roots:
        axes = [axis.role for axis in root.axes]
        width = next(n for n in parts.inputs[root.name][1] if isinstance(n, int))
        xs[root.name] = rng.standard_normal([*(sizes[r] for r in ("batch", "time") if r in axes), width]).astype(
            np.float32
        )
    net = reading.network
    state = None
    if any(part is not None and part.given for _, part in reading.assembly.recurrent):
        state = [
            _state(layer, part, batch, rng)
            for layer, (_, part) in zip(
                [layer for layer in net.layers if layer.stateful], reading.assembly.recurrent, strict=True
            )
        ]
    x = xs if len(xs) > 1 or not net.graph.is_list else next(iter(xs.values()))
    return {"x": x if len(net.inputs) > 1 else next(iter(xs.values())), "state": state}


def _state(layer, part, batch, rng):
    if part is None or not part.given:
        return None
    return random_state(layer, batch, rng, np.float32)


@pytest.mark.peer
@pytest.mark.parametrize("seed", range(160))
def test_random_graphs(seed):
    drawn = Drawn(seed)
    model = drawn.grow(3 + seed % 12)
    reading, runtime, rng = read_onnx(model), session(model), np.random.default_rng(seed)
    for batch, time in ((3, 6), (2, 9)):
        arguments = arguments_of(reading, drawn.parts, rng, batch, time)
        feeds = reading.feed(**arguments)
        needed = {value.name for value in runtime.get_inputs()}
        assert set(feeds) <= needed
        for name in needed - set(feeds):  # an input of nodes that no output needs
            shape = [{"batch": batch, "time": time}.get(n, n) for n in drawn.parts.inputs[name][1]]
            feeds[name] = np.zeros(shape, np.float32)
        found = reading.results(*reading.network(**arguments))
        for (name, array), want in zip(found.items(), runtime.run(None, feeds), strict=True):
            np.testing.assert_allclose(array, want, rtol=1e-5, atol=1e-5 * max(1, np.abs(want).max()), err_msg=name)
            assert array.shape == want.shape


# A detector of voice, as Silero's: a short-time transform, convolutions, a cell, a convolution.

CHUNK, HIDDEN = 128, 6


def detector(nested=False):
    """The model for two sampling rates, each a branch of a switch; its state is (2, batch, hidden)."""
    parts = Parts(np.random.default_rng(0))
    parts.inputs |= {"input": (np.float32, ("batch", CHUNK)), "state": (np.float32, (2, "batch", HIDDEN))}
    parts.inputs["sr"] = (np.int64, ())
    condition = parts.add("Equal", "sr", parts.tensor("rate", np.int64(16000)))
    outputs = ["output", "stateN"]
    branches = {f"{name}_branch": _branch(window) for name, window in (("then", 32), ("else", 16))}
    if nested:
        again = helper.make_node("If", [condition], ["y", "s"], "inside", **branches)
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", "s")]
        branches = {name: helper.make_graph([again], "outer", [], ends) for name in branches}
    parts.nodes.append(helper.make_node("If", [condition], outputs, "switch", **branches))
    parts.outputs += outputs
    return parts.model(17)


def _branch(window):
    parts, bins = Parts(np.random.default_rng(window)), window // 2 + 1
    x = parts.add("Unsqueeze", "input", parts.integers(1))
    both = parts.add("Conv", x, parts.weights("transform", 2 * bins, 1, window, scale=0.2), strides=[window // 2])
    real = parts.add("Slice", both, parts.integers(0), parts.integers(bins), parts.integers(1))
    imaginary = parts.add("Slice", both, parts.integers(bins), parts.integers(FAR), parts.integers(1))
    two = parts.tensor("two", np.float32(2))
    x = parts.add("Sqrt", parts.add("Add", parts.add("Pow", real, two), parts.add("Pow", imaginary, two)))
    width, time = bins, CHUNK // (window // 2) - 1
    while time > 1:
        weights = parts.weights(f"c{time}", 7, width, 3, scale=0.2), parts.weights(f"d{time}", 7)
        x = parts.add("Relu", parts.add("Conv", x, *weights, pads=[1, 1], strides=[2]))
        width, time = 7, (time + 1) // 2
    x = parts.add("Unsqueeze", parts.add("Squeeze", x, parts.integers(-1)), parts.integers(0))
    h, c = (
        parts.add(
            "Unsqueeze", parts.add("Gather", "state", parts.tensor(f"at{i}", np.int64(i)), axis=0), parts.integers(0)
        )
        for i in (0, 1)
    )
    weights = parts.weights("W", 1, 4 * HIDDEN, width), parts.weights("R", 1, 4 * HIDDEN, HIDDEN)
    _, h, c = parts.add("LSTM", x, *weights, "", "", h, c, count=3, hidden_size=HIDDEN)
    state = parts.add("Concat", h, c, axis=0)
    x = parts.add("Unsqueeze", parts.add("Squeeze", h, parts.integers(0)), parts.integers(-1))
    x = parts.add("Sigmoid", parts.add("Conv", parts.add("Relu", x), parts.weights("V", 1, HIDDEN, 1)))
    y = parts.add("ReduceMean", parts.add("Squeeze", x, parts.integers(1)), axes=[1])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in (y, state)]
    tensors = [numpy_helper.from_array(array, name) for name, array in parts.tensors.items()]
    return helper.make_graph(parts.nodes, "branch", [], ends, tensors)


@pytest.mark.peer
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("rate", [16000, 8000])
def test_a_detector_of_voice_runs_chunk_by_chunk(rate, nested):
    model, rng = detector(nested), np.random.default_rng(rate)
    net, runtime = from_onnx(model.SerializeToString(), given={"sr": rate}), session(model)
    theirs = rng.standard_normal((2, 3, HIDDEN)).astype(np.float32)
    state = [(theirs[0], theirs[1])]
    for _ in range(5):
        x = rng.standard_normal((3, CHUNK)).astype(np.float32)
        want, theirs = runtime.run(None, {"input": x, "state": theirs, "sr": np.array(rate)})
        y, state = net(x[:, :, None], state)
        np.testing.assert_allclose(y, want, atol=1e-5)
        np.testing.assert_allclose(np.stack(state[0]), theirs, rtol=1e-5, atol=1e-5)


def test_a_switch_that_nothing_decides_is_named():
    words = r"the node 'switch' \(If\): its condition .* follows from 'sr': a switch, .* given=\{'sr': 16000\}"
    with pytest.raises(FormatError, match=words):
        from_onnx(detector())
    with pytest.raises(FormatError, match=r"given must be named like inputs of the graph\. Got rate"):
        from_onnx(detector(), given={"rate": 16000})


# Names, weights of 8 bits, and what a graph has around its layers.


def small(build, outputs=None, x=("batch", "time", 3), **inputs):
    parts = Parts(np.random.default_rng(0))
    parts.inputs |= {"x": (np.float32, x), **inputs}
    made = build(parts)
    parts.outputs += made if isinstance(made, list) else [made]
    for node in parts.nodes:
        for group in (node.input, node.output):
            group[:] = [(outputs or {}).get(name, name) for name in group]
    parts.outputs = [(outputs or {}).get(name, name) for name in parts.outputs]
    return parts.model()


def test_names_of_outputs():
    model = small(
        lambda p: [p.add("Relu", "x"), p.add("Tanh", "x"), p.add("Sigmoid", "x"), p.add("Identity", "x")],
        {"Relu0_0": "a.b", "Tanh1_0": "y_reverse", "Sigmoid2_0": "dense", "Identity3_0": "x.y"},
    )
    net = from_onnx(model)
    assert (net.inputs, net.config["outputs"]) == (("x",), ("a_b", "y_reverse_", "dense", "x_y"))
    x = np.random.default_rng(1).standard_normal((2, 4, 3)).astype(np.float32)
    for got, want in zip(net(x)[0].values(), session(model).run(None, {"x": x}), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-6)


def test_weights_of_eight_bits():
    def build(parts):
        W = parts.tensor("W", np.array([[3, -2], [100, 7], [-128, 127]], np.int8))
        scale, zero = parts.tensor("s", np.float32([0.02, 0.03])), parts.tensor("z", np.array([3, -1], np.int8))
        return parts.add("MatMul", "x", parts.add("DequantizeLinear", W, scale, zero, axis=1))

    model = small(build)
    x = np.random.default_rng(1).standard_normal((2, 4, 3)).astype(np.float32)
    W = (np.array([[3, -2], [100, 7], [-128, 127]]) - [3, -1]) * [0.02, 0.03]
    want = x @ W  # ONNX Runtime would make x of 8 bits too
    np.testing.assert_allclose(from_onnx(model)(x)[0], want, rtol=1e-5, atol=1e-5)
    scale = np.float32(0.1)
    model = small(lambda p: p.add("QuantizeLinear", "x", p.tensor("s", scale), p.tensor("z", np.uint8(3))))
    with pytest.raises(FormatError, match=r"\(QuantizeLinear\): .* computes with numbers of 8 bits"):
        from_onnx(model)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda p: p.add("Pad", "x", p.integers(0, 2, 0, 0, 2, 0), mode="reflect"), "of the kind 'reflect'"),
        (
            lambda p: p.add("InstanceNormalization", "x", p.weights("s", 3), p.weights("b", 3)),
            "Got InstanceNormalization",
        ),
        (
            lambda p: p.add("Conv", p.add("Transpose", "x", perm=[0, 2, 1]), p.weights("W", 4, 1, 2), group=3),
            "of all features, or of those of each group. Got group 3",
        ),
    ],
)
def test_what_no_layer_does_is_named(build, words):
    with pytest.raises(FormatError, match=words):
        from_onnx(small(build))


def test_one_feature_of_each_step_and_features_by_their_steps():
    """A signal without features before a layer, and all steps of each feature side by side, as PyTorch flattens."""

    def build(parts):
        y = parts.add("Conv", parts.add("Unsqueeze", "x", parts.integers(1)), parts.weights("W", 4, 1, 3))
        return parts.add("Gemm", parts.add("Flatten", parts.add("Relu", y)), parts.weights("V", 4 * 6, 2))

    model = small(build, x=("batch", 8))
    x = np.random.default_rng(1).standard_normal((3, 8)).astype(np.float32)
    net = from_onnx(model)
    np.testing.assert_allclose(net(x[:, :, None])[0], session(model).run(None, {"x": x})[0], rtol=1e-5, atol=1e-5)
    assert [type(layer).__name__ for layer in net.layers] == ["Conv1d", "LastSteps", "Dense"]


LAYERS = {
    "convolution": lambda: [elman.Conv1d(3, 4, 3, seed=0), elman.GRU(4, 5, seed=1)],
    "causal": lambda: [elman.Conv1d(3, 4, 3, dilation=2, padding="causal", seed=0), elman.GRU(4, 5, seed=1)],
    "pool": lambda: [elman.MaxPool1d(2, 1, "same"), elman.Dense(3, 2, seed=0)],
    "repeat": lambda: [elman.LSTM(3, 4, seed=1), elman.LastStep(), elman.Repeat(5), elman.GRU(4, 2, seed=2)],
    "sum": lambda: {
        "a": (elman.GRU(3, 4, seed=0), "x"),
        "b": (elman.Conv1d(3, 4, 3, seed=1), "x"),
        "c": (elman.Add(), "a", "b"),
        "d": (elman.Concatenate(), "a", "c"),
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "lengths"),
    [(name, lengths) for name in LAYERS for lengths in (False, True) if name != "repeat" or not lengths],
)
def test_what_is_written_comes_back(name, lengths, tmp_path):
    net = elman.Network(LAYERS[name]())
    elman.to_onnx(net, tmp_path / "net.onnx", lengths=lengths)
    back = from_onnx(tmp_path / "net.onnx")
    x = np.random.default_rng(0).standard_normal((2, 7, 3)).astype(np.float32)
    more = {"lengths": [7, 5]} if lengths else {}
    for _ in range(2):
        np.testing.assert_array_equal(back(x, **more)[0], net(x, **more)[0])
    kinds = [[type(layer).__name__ for layer in each.layers] for each in (net, back)]
    assert kinds[0] == kinds[1]


def test_the_last_step_as_pytorch_gathers_it():
    parts = Parts(np.random.default_rng(0))
    parts.inputs |= {"x": (np.float32, ("batch", "time", 3)), "n": (np.int64, ("batch",))}
    y = parts.add("Tanh", parts.add("MatMul", "x", parts.weights("W", 3, 4)))
    at = parts.add("Reshape", parts.add("Sub", "n", parts.tensor("one", np.int64(1))), parts.integers(-1, 1, 1))
    at = parts.add("Expand", at, parts.integers(1, 1, 4))
    parts.outputs.append(parts.add("Squeeze", parts.add("GatherElements", y, at, axis=1), parts.integers(1)))
    model, lengths = parts.model(), np.array([5, 2])
    x = np.random.default_rng(1).standard_normal((2, 5, 3)).astype(np.float32)
    y, _ = from_onnx(model)(x, lengths=lengths)
    np.testing.assert_allclose(y, session(model).run(None, {"x": x, "n": lengths})[0], atol=1e-6)
