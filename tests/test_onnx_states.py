"""States that layers make and states as values, in models of ONNX as others write them, beside ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

import elman

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from elman.interop.onnx.reading.reader import from_onnx  # noqa: E402
from elman.interop.onnx.writing.writer import to_onnx  # noqa: E402
from onnx_models import Parts  # noqa: E402

BATCH, STEPS, WIDTH = "batch", "steps", 3


class Model(Parts):
    """A graph with a sequence x (steps, batch, 3) and a vector v (batch, 4)."""

    def recurrent(self, op, x, width, hidden, first=(), both=False, lengths=""):
        wide, sides = {"LSTM": 4, "GRU": 3, "RNN": 1}[op] * hidden, 1 + both
        n = len(self.nodes)
        weights = [self.weights(f"W{n}", sides, wide, width), self.weights(f"R{n}", sides, wide, hidden)]
        weights.append(self.weights(f"B{n}", sides, 2 * wide))
        more = {"direction": "bidirectional"} if both else {}
        if op == "GRU":
            more["linear_before_reset"] = 1
        outputs = self.add(op, x, *weights, lengths, *first, count=2 + (op == "LSTM"), hidden_size=hidden, **more)
        return outputs if op == "LSTM" else [*outputs, ""]

    def dense(self, x, width, out, activation="Tanh"):
        W, b = self.weights(f"D{len(self.nodes)}", width, out), self.weights(f"b{len(self.nodes)}", out)
        return self.add(activation, self.add("Gemm", x, W, b))

    def one(self, x, axis=0):
        return self.add("Unsqueeze", x, self.integers(axis))

    def without(self, x, axis=0):
        return self.add("Squeeze", x, self.integers(axis))

    def steps(self, y, width):
        """Y (steps, directions, batch, hidden) as (steps, batch, width)."""
        return self.add("Reshape", self.add("Transpose", y, perm=[0, 2, 1, 3]), self.integers(0, 0, width))

    def side(self, state, i):
        return self.add("Gather", state, self.tensor(f"i{len(self.nodes)}", np.array(i, np.int64)), axis=0)


def an_image_starts_words(m):
    h = m.one(m.dense("v", 4, 5))
    return m.steps(m.recurrent("GRU", "x", WIDTH, 5, [h])[0], 5)


def an_image_starts_h_alone(m):
    """c stays 0, as it is left out."""
    return m.steps(m.recurrent("LSTM", "x", WIDTH, 5, [m.one(m.dense("v", 4, 5)), ""])[0], 5)


def constant_c(m):
    c = m.add("Expand", m.weights("c0", 1, 1, 5), m.add("Shape", h := m.one(m.dense("v", 4, 5))))
    return m.steps(m.recurrent("LSTM", "x", WIDTH, 5, [h, c])[0], 5)


def both_directions(m):
    wide = m.dense("v", 4, 6)
    parts = m.add("Split", wide, m.integers(3, 3), axis=1, count=2)
    h = m.add("Concat", *map(m.one, parts), axis=0)
    c = m.add("Concat", m.one(parts[1]), m.one(m.dense("v", 4, 3, "Sigmoid")), axis=0)
    return m.steps(m.recurrent("LSTM", "x", WIDTH, 3, [h, c], both=True)[0], 6)


def a_translator(m):
    """Both directions of the encoder side by side start the decoder."""
    _, h, c = m.recurrent("LSTM", "x", WIDTH, 2, both=True)
    given = [m.one(m.add("Concat", m.side(s, 0), m.side(s, 1), axis=1)) for s in (h, c)]
    return m.steps(m.recurrent("LSTM", "x", WIDTH, 4, given)[0], 4)


def a_bridge(m):
    """Of other widths than those of the encoder, by layers."""
    _, h, c = m.recurrent("LSTM", "x", WIDTH, 4)
    given = [m.one(m.dense(m.without(s), 4, 5)) for s in (h, c)]
    return m.steps(m.recurrent("LSTM", "x", WIDTH, 5, given)[0], 5)


def h_and_c_exchanged(m):
    _, h, c = m.recurrent("LSTM", "x", WIDTH, 4)
    return m.steps(m.recurrent("LSTM", "x", WIDTH, 4, [c, h])[0], 4)


def another_cell(m):
    _, _, c = m.recurrent("LSTM", "x", WIDTH, 4)
    return m.steps(m.recurrent("GRU", "x", WIDTH, 4, [c])[0], 4)


def h_and_c_side_by_side(m):
    _, h, c = m.recurrent("LSTM", "x", WIDTH, 4)
    return m.dense(m.add("Concat", m.without(h), m.without(c), axis=1), 8, 3)


def c_of_both_directions(m):
    _, _, c = m.recurrent("LSTM", "x", WIDTH, 4, both=True)
    flat = m.add("Reshape", m.add("Transpose", c, perm=[1, 0, 2]), m.integers(0, -1))
    return m.dense(flat, 8, 3)


def c_of_one_direction(m):
    _, _, c = m.recurrent("LSTM", "x", WIDTH, 4, both=True)
    return m.dense(m.side(c, 1), 4, 3)


MAKERS = [
    an_image_starts_words, an_image_starts_h_alone, constant_c, both_directions, a_translator, a_bridge,
    h_and_c_exchanged, another_cell, h_and_c_side_by_side, c_of_both_directions, c_of_one_direction,
]  # fmt: skip


@pytest.mark.parametrize("make", MAKERS)
def test_read_and_written(make, tmp_path):
    rng = np.random.default_rng(len(make.__name__))
    m = Model(rng)
    m.inputs["x"] = np.float32, (STEPS, BATCH, WIDTH)
    y = make(m)
    if any("v" in node.input for node in m.nodes):
        m.inputs["v"] = np.float32, (BATCH, 4)
    m.outputs.append(y)
    path = tmp_path / "model.onnx"
    onnx.save(m.model(), path)
    net = from_onnx(path)
    assert sum(array.size for array in net.parameters.values()) <= sum(array.size for array in m.tensors.values()) + 40
    x = rng.standard_normal((6, 2, WIDTH)).astype("f4")
    feeds = {"x": x, "v": rng.standard_normal((2, 4)).astype("f4")}
    feeds = {name: feeds[name] for name in m.inputs}
    (want,) = onnxruntime.InferenceSession(path.read_bytes()).run(None, feeds)
    want = want.swapaxes(0, 1) if want.ndim == 3 else want
    ours = {**feeds, "x": x.swapaxes(0, 1)}
    given = ours if len(net.inputs) > 1 else ours["x"]
    to_onnx(net, tmp_path / "back.onnx")
    again = from_onnx(tmp_path / "back.onnx")
    back = onnxruntime.InferenceSession((tmp_path / "back.onnx").read_bytes())
    fed = {value.name: ours[value.name if len(net.inputs) > 1 else "x"] for value in back.get_inputs()}
    for _ in range(2):
        for got in (net(given)[0], again(given)[0], back.run(None, fed)[0]):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_steps_as_a_first_state_are_refused(tmp_path):
    m = Model(np.random.default_rng(0))
    m.inputs["x"] = np.float32, (1, 7, WIDTH)
    y = m.recurrent("GRU", "x", WIDTH, 4)[0]
    turned = m.add("Transpose", m.without(y, 1), perm=[0, 1, 2])
    m.outputs.append(m.recurrent("GRU", "x", WIDTH, 4, [m.add("Tanh", m.add("CumSum", turned, m.integers(1)))])[0])
    onnx.save(m.model(), tmp_path / "model.onnx")
    with pytest.raises(elman.FormatError, match="must"):
        from_onnx(tmp_path / "model.onnx")
