"""Values printed by others: courses, test suites, and the notebooks that elman began from."""

from __future__ import annotations

import numpy as np
import pytest

import elman
from elman.training.losses import CrossEntropy
from elman.training.optimizers import clip_by_value
from golden_facts import agrees, assert_printed, draws, facts, filled
from notebook_conventions import NOTEBOOKS

CS231N = facts("cs231n_layers")
COURSERA = facts("coursera_rnn_steps")
CHAR_RNN = facts("char_rnn_dinosaurs")
KERAS = facts("keras_layers")
ONNX = facts("onnx_operators")
SEEDS = facts("seeds")


def rnn_columns(Wax, Waa, b):
    """A layer from the column layout of the courses: weights stand transposed, biases are columns."""
    layer = elman.RNN(Wax.shape[1], Wax.shape[0], dtype="float64")
    layer.Wx, layer.Wh, layer.b = Wax.T, Waa.T, b[:, 0]
    return layer


def lstm_columns(arrays):
    return elman.from_arrays("lstm", {k: v for k, v in arrays.items() if k in LSTM_NAMES}, NOTEBOOKS["book-2"])


LSTM_NAMES = ("Wf", "bf", "Wi", "bi", "Wo", "bo", "Wc", "bc")


class TestCs231n:
    def test_rnn_step_forward(self):
        fact = CS231N["rnn_step_forward"]
        v = {name: filled(spec) for name, spec in fact["inputs"].items()}
        h = elman.rnn_step(v["x"], v["prev_h"], v["Wx"], v["Wh"], v["b"])
        assert_printed(h, fact["expected"]["next_h"])
        np.testing.assert_allclose(h, fact["recomputed_float64"]["next_h"], rtol=1e-13)

    def test_lstm_forward(self):
        fact = CS231N["lstm_forward"]
        v = {name: filled(spec) for name, spec in fact["inputs"].items()}
        # Their blocks stand i, f, o, g; ours i, f, g, o.
        layer = elman.from_arrays(
            "lstm", {name: v[name] for name in ("Wx", "Wh", "b")}, elman.Convention("cs231n", gates="ifog")
        )
        h, _ = layer(v["x"], (v["h0"], np.zeros_like(v["h0"])))
        assert_printed(h, fact["expected"]["h"])
        np.testing.assert_allclose(h, fact["recomputed_float64"]["h"], rtol=1e-12)

    def test_word_embedding_forward(self):
        fact = CS231N["word_embedding_forward"]
        W = filled(fact["inputs"]["W"])
        layer = elman.Embedding(*W.shape, dtype="float64")
        layer.W = W
        assert_printed(layer(fact["inputs"]["x"])[0], fact["expected"]["out"])

    @pytest.mark.parametrize("case", CS231N["temporal_softmax_loss_sanity"]["expected"], ids=str)
    def test_temporal_softmax_loss_sanity(self, case):
        rng = np.random.default_rng(0)
        n, t, v = case["N"], case["T"], case["V"]
        mask = rng.random((n, t)) < case["p"]
        loss = CrossEntropy()(0.001 * rng.normal(size=(n, t, v)), rng.integers(v, size=(n, t)), mask).sum() / n
        assert loss == pytest.approx(case["loss_about"], rel=0.03)
        assert loss == pytest.approx(np.log(v) * mask.sum() / n, rel=1e-3)

    def test_captioning_rnn_loss(self):
        fact = CS231N["captioning_rnn_loss"]
        p = {name: filled(spec) for name, spec in fact["inputs"]["params"].items()}
        features = filled(fact["inputs"]["features"])
        captions = (np.arange(10 * 13) % 3).reshape(10, 13)
        net = elman.Network(
            [elman.Embedding(3, 30, "float64"), elman.RNN(30, 40, dtype="float64"), elman.Dense(40, 3, dtype="float64")]
        )
        embedding, recurrent, dense = net.layers
        embedding.W, recurrent.Wx, recurrent.Wh, recurrent.b = p["W_embed"], p["Wx"], p["Wh"], p["b"]
        dense.W, dense.b = p["W_vocab"], p["b_vocab"]
        scores, _ = net(captions[:, :-1], [features @ p["W_proj"] + p["b_proj"]])
        targets = captions[:, 1:]
        loss = CrossEntropy()(scores, targets, targets != 0).sum() / 10
        assert_printed(loss, fact["expected"]["loss"])


class TestCoursera:
    def test_rnn_cell_forward(self):
        fact = COURSERA["rnn_cell_forward"]
        v = draws(fact)
        a = elman.rnn_step(v["xt"].T, v["a_prev"].T, v["Wax"].T, v["Waa"].T, v["ba"].T)
        y = elman.softmax(a @ v["Wya"].T + v["by"].T)
        agrees(a.T, fact, "a_next")
        agrees(y.T, fact, "yt_pred")
        np.testing.assert_allclose(a.T, fact["recomputed_float64"]["a_next"], rtol=1e-12)

    def test_lstm_forward(self):
        fact = COURSERA["lstm_forward"]
        v = draws(fact)
        layer = lstm_columns(v)
        a0 = v["a0"].T
        a, _, tape = layer.forward(v["x"].transpose(1, 2, 0), (a0, np.zeros_like(a0)))
        y = elman.softmax(a @ v["Wy"].T + v["by"].T)
        agrees(a.transpose(2, 0, 1), fact, "a")
        agrees(y.transpose(2, 0, 1), fact, "y")
        np.testing.assert_allclose(a.transpose(2, 0, 1), fact["recomputed_float64"]["a"], rtol=1e-11)
        # The cell states of every step, by streaming.
        cells, state = [], (a0, np.zeros_like(a0))
        for x in v["x"].transpose(2, 1, 0):
            state = elman.lstm_step(x, *state, layer.Wx, layer.Wh, layer.b)
            cells.append(state[1].T)
        agrees(np.stack(cells, axis=2), fact, "c")

    def test_rnn_backward(self):
        fact = COURSERA["rnn_backward"]
        v = draws(fact)
        layer = rnn_columns(v["Wax"], v["Waa"], v["ba"])
        _, _, tape = layer.forward(v["x"].transpose(1, 2, 0), v["a0"].T)
        dx, da0, g = layer.backward(tape, v["da"].transpose(1, 2, 0))
        ours = {
            "dx": dx.transpose(2, 0, 1),
            "da0": da0.T,
            "dWax": g["Wx"].T,
            "dWaa": g["Wh"].T,
            "dba": g["b"][:, None],
        }
        for name, array in ours.items():
            agrees(array, fact, name)
            np.testing.assert_allclose(array, fact["recomputed_float64"][name], rtol=1e-10, atol=1e-12)

    def test_lstm_cell_backward(self):
        fact = COURSERA["lstm_cell_backward"]
        v = draws(fact)
        layer = lstm_columns(v)
        _, _, tape = layer.forward(v["xt"].T[:, None], (v["a_prev"].T, v["c_prev"].T))
        dx, (da, dc), gradients = layer.backward(tape, dstate=(v["da_next"].T, v["dc_next"].T))
        as_layer = elman.LSTM(layer.input_size, layer.hidden_size, dtype="float64")
        for name, gradient in gradients.items():
            setattr(as_layer, name, gradient)
        ours = {f"d{name}": array for name, array in elman.to_arrays(as_layer, NOTEBOOKS["book-2"]).items()}
        ours |= {"dxt": dx[:, 0].T, "da_prev": da.T, "dc_prev": dc.T}
        assert set(ours) == {item["array"] for item in fact["expected"]}
        for name, array in ours.items():
            agrees(array, fact, name)
            np.testing.assert_allclose(array, fact["recomputed_float64"][name], rtol=1e-10, atol=1e-12)


class TestCharRnn:
    def test_clip_gradients(self):
        fact = CHAR_RNN["clip_gradients"]
        gradients = {name: 10 * array for name, array in draws(fact).items()}
        clipped = clip_by_value(gradients, 10)
        for item in fact["expected"]:
            assert_printed(clipped[item["array"]][tuple(item["index"])], item["value"])
        for name, want in fact["recomputed_float64"].items():
            np.testing.assert_allclose(clipped[name], want, rtol=1e-13)

    def test_one_step(self):
        fact = CHAR_RNN["one_step"]
        v = draws(fact)
        net = elman.Network([elman.RNN(27, 100, dtype="float64"), elman.Dense(100, 27, dtype="float64")])
        recurrent, dense = net.layers
        recurrent.Wx, recurrent.Wh, recurrent.b = v["Wax"].T, v["Waa"].T, v["b"][:, 0]
        dense.W, dense.b = v["Wya"].T, v["by"][:, 0]
        x, labels = np.eye(27)[fact["inputs"]["X"]], np.array(fact["inputs"]["Y"])
        logits, _, tape = net.forward(x, [v["a_prev"][:, 0]])
        expected = fact["expected"]
        assert_printed(CrossEntropy()(logits, labels).sum(), expected["loss"])
        _, _, gradients = net.backward(tape, CrossEntropy().derivative(logits, labels))
        clipped = clip_by_value(gradients, 5)
        assert_printed(clipped["0.Wh"].T[1][2], expected["dWaa[1][2]"])
        assert clipped["0.Wx"].T.ravel().argmax() == expected["argmax(dWax.ravel())"]
        assert_printed(clipped["1.W"].T[1][2], expected["dWya[1][2]"])
        assert round(clipped["0.b"][4], 8) == expected["db[4]"]
        assert round(clipped["1.b"][1], 8) == expected["dby[1]"]
        states, _ = recurrent(x, v["a_prev"][:, 0])
        assert round(states[-1][4], 8) == expected["a_last[4]"]


def keras_layer(fact, inputs):
    """A layer with the constant weights of Keras's tests."""
    options, units = fact.get("options", {}), fact["units"]
    bidirectional = fact["name"].startswith("bidirectional")
    settings = {"bidirectional": bidirectional, "dtype": "float64"}
    if fact["cell"] == "gru":
        settings["reset_after"] = options.get("reset_after", True)
    layer = {"rnn": elman.RNN, "gru": elman.GRU, "lstm": elman.LSTM}[fact["cell"]](inputs, units, **settings)
    bias = fact["bias"] if options.get("use_bias", True) else 0.0
    for name, array in layer.parameters.items():
        kind = name.removesuffix("_reverse")
        array[...] = {"Wx": fact["kernel"], "Wh": fact["recurrent_kernel"]}.get(kind, bias)
        if kind == "b" and fact["cell"] == "gru" and settings["reset_after"]:
            array[: 2 * units] = 2 * bias  # two biases there, and r and z get both
        if kind == "b" and fact["cell"] == "lstm" and options.get("use_bias", True):
            array[units : 2 * units] = 1  # unit_forget_bias
    return layer


@pytest.mark.parametrize("name", KERAS)
def test_keras(name):
    fact = KERAS[name]
    options = fact.get("options", {})
    shape = fact["input"]["arange_shape"]
    x = np.arange(np.prod(shape), dtype=float).reshape(shape)
    layer = keras_layer(fact, shape[-1])
    mask = np.array(options.get("mask", fact.get("mask", np.ones(shape[:2], bool))))
    rows = [row[keep] for row, keep in zip(x, mask, strict=True)]  # a masked step does nothing: a ragged list
    if options.get("back"):
        rows = [row[::-1] for row in rows]
    state = None
    if "h0" in options:
        state = tuple(options[s] for s in ("h0", "c0") if s in options)
        state = state if len(state) > 1 else state[0]
    y, end = layer(rows, state)
    if options.get("stateful_second_call"):
        y, end = layer(rows, end)
    for got, want in ((fact["expected"], 1e-5), (fact["recomputed_float64"], 1e-12)):
        np.testing.assert_allclose(keras_result(fact, y, end, mask), got, rtol=want)


def keras_result(fact, y, end, mask):
    """What Keras returns for a fact, from our outputs and states."""
    units = fact["units"]
    last = np.stack([np.concatenate([row[-1, :units], row[0, units:]]) for row in y])
    if fact["name"] == "bidirectional lstm, final states":
        h, c = end
        return [h[0], c[0], h[1], c[1]]
    if fact.get("options", {}).get("ret") != "seq":
        return last
    if fact.get("merge") == "sum":
        return [row[:, :units] + row[:, units:] for row in y]
    repeated = []  # at a masked step Keras repeats the output before it
    for row, keep in zip(y, mask, strict=True):
        repeated.append(row[np.cumsum(keep) - 1])
    return repeated


@pytest.mark.parametrize("name", ONNX)
def test_onnx(name):
    fact = ONNX[name]
    arrays = {k: np.reshape(v["data"], v["shape"]).astype(np.float32) for k, v in fact["inputs"].items()}
    X = arrays.pop("X")
    cell = fact["op"].lower()
    layer = elman.from_arrays(cell, arrays, "onnx")
    batch_first = fact["attributes"].get("layout", 0) == 1
    y, end = layer(X if batch_first else X.transpose(1, 0, 2))
    h = end[0] if cell == "lstm" else end
    ours = {
        "Y_h": h[:, None] if batch_first else h[None],
        "Y": y[:, :, None] if batch_first else y.transpose(1, 0, 2)[:, None],
    }
    for output, want in fact["expected"].items():
        np.testing.assert_allclose(ours[output], np.reshape(want["data"], want["shape"]), rtol=1e-5, atol=1e-6)


class TestSeeds:
    def test_000_rnn_step(self):
        fact = SEEDS["000 rnn_step"]
        h = elman.rnn_step(*(fact["inputs"][k] for k in ("x", "h", "Wx", "Wh", "b")))
        np.testing.assert_array_equal(h.round(fact["decimals"]), fact["printed"]["h_next"])

    def test_000_rnn_forward(self):
        fact = SEEDS["000 rnn_forward"]
        layer = elman.from_arrays("rnn", {k: fact["inputs"][k] for k in ("Wx", "Wh", "b")}, NOTEBOOKS["book-0"])
        hs, _ = layer(fact["inputs"]["xs"])
        np.testing.assert_array_equal(hs.round(fact["decimals"])[:, None], fact["printed"]["hs"])

    def test_001_forward_with_integer_biases(self):
        fact = SEEDS["001 SimpleRNN.forward"]
        layer = elman.from_arrays("rnn", {k: fact["inputs"][k] for k in ("Wx", "Wh", "b")}, NOTEBOOKS["book-1"])
        _, h = layer(fact["inputs"]["x"], fact["inputs"]["h0"])
        np.testing.assert_array_equal(h.round(fact["decimals"]), fact["printed"]["h_last"])

    def test_001_backward_and_gradient_descent(self):
        fact = SEEDS["001 SimpleRNN.backward"]
        v, want = fact["inputs"], fact["computed"]
        layer = elman.from_arrays("rnn", {k: v[k] for k in ("Wx", "Wh", "b")}, NOTEBOOKS["book-1"])
        _, h, tape = layer.forward(v["x"], v["h0"])
        dx, dh0, gradients = layer.backward(tape, dstate=v["dh_last"])
        means = {name: gradient / len(v["x"]) for name, gradient in gradients.items()}
        sgd = elman.SGD(learning_rate=v["learning_rate"])
        sgd.update(layer.parameters, means, sgd.start(layer.parameters), v["learning_rate"])
        ours = {"h_last": h, "dx": dx, "dh0": dh0, **{f"d{k}": a for k, a in means.items()}}
        ours |= {f"{name}_after": array for name, array in layer.parameters.items()}
        assert set(ours) == set(want)
        for name, array in ours.items():
            np.testing.assert_allclose(array, want[name], rtol=1e-12, atol=1e-15, err_msg=name)

    def test_002_rnn_cell_forward(self):
        fact = SEEDS["002 rnn_cell_forward"]
        v = draws(fact)
        layer = elman.from_arrays("rnn", {k: v[k] for k in ("Wax", "Waa", "ba")}, NOTEBOOKS["book-2"])
        a = elman.rnn_step(v["xt"].T, v["a_prev"].T, layer.Wx, layer.Wh, layer.b)
        y = elman.softmax(a @ v["Wya"].T + v["by"].T)
        np.testing.assert_allclose(a.T, fact["computed"]["a_next"], rtol=1e-12)
        np.testing.assert_allclose(y.T, fact["computed"]["yt_pred"], rtol=1e-12)

    def test_002_lstm_cell_forward(self):
        fact = SEEDS["002 lstm_cell_forward"]
        v = draws(fact)
        layer = lstm_columns(v)
        a, c = elman.lstm_step(v["xt"].T, v["a_prev"].T, v["c_prev"].T, layer.Wx, layer.Wh, layer.b)
        y = elman.softmax(a @ v["Wy"].T + v["by"].T)
        for ours, name in ((a.T, "a_next"), (c.T, "c_next"), (y.T, "yt_pred")):
            np.testing.assert_allclose(ours, fact["computed"][name], rtol=1e-11, atol=1e-14)

    def test_002_softmax_derivative(self):
        """Columns are examples; the Jacobian is (n, n, m), and agrees with a double loop."""
        s = np.random.default_rng(0).normal(size=(4, 3))
        jacobian = elman.softmax_jacobian(s, axis=0).transpose(1, 2, 0)
        for k in range(3):
            for i in range(4):
                for j in range(4):
                    assert jacobian[i, j, k] == pytest.approx(s[i, k] * ((i == j) - s[j, k]), abs=1e-15)

    def test_002_cross_entropy(self):
        rng = np.random.default_rng(0)
        y, p = np.eye(5)[:, rng.integers(5, size=7)], elman.softmax(rng.normal(size=(5, 7)), axis=0)
        np.testing.assert_allclose(elman.cross_entropy(y, p, axis=0), np.sum(-y * np.log(p), axis=0), rtol=1e-14)

    def test_003_column_vectors(self):
        rng = np.random.default_rng(0)
        Wx, Wh, b, h0 = (rng.normal(size=s) for s in ((2, 3), (2, 2), (2, 1), (2, 1)))
        x_seq = [rng.normal(size=(3, 1)) for _ in range(4)]
        layer = elman.from_arrays("rnn", {"Wx": Wx, "Wh": Wh, "b": b}, NOTEBOOKS["book-3"])
        ours, _ = layer(np.stack(x_seq)[:, :, 0], h0[:, 0])
        h = h0
        for x, got in zip(x_seq, ours, strict=True):
            h = np.tanh(Wx @ x + Wh @ h + b)
            np.testing.assert_allclose(got, h[:, 0], rtol=1e-13)

    def test_000_lstm_step(self):
        rng = np.random.default_rng(0)
        x, h, c, W, b = (rng.normal(size=s) for s in ((2, 3), (2, 4), (2, 4), (7, 16), (1, 16)))
        layer = elman.from_arrays("lstm", {"W": W, "b": b}, NOTEBOOKS["book-0"])
        i, f, o, g = np.split(np.hstack([x, h]) @ W + b, 4, axis=1)
        i, f, o = (1 / (1 + np.exp(-a)) for a in (i, f, o))
        c_want = f * c + i * np.tanh(g)
        h_got, c_got = elman.lstm_step(x, h, c, layer.Wx, layer.Wh, layer.b)
        np.testing.assert_allclose(c_got, c_want, rtol=1e-13)
        np.testing.assert_allclose(h_got, o * np.tanh(c_want), rtol=1e-13)

    def test_004_lstm_step(self):
        fact = SEEDS["004 lstm_step"]
        v = draws(fact)
        layer = elman.from_arrays("lstm", {k: v[k] for k in LSTM_NAMES}, NOTEBOOKS["book-4"])
        h, c = elman.lstm_step(v["x_t"], v["h_prev"], v["c_prev"], layer.Wx, layer.Wh, layer.b)
        np.testing.assert_array_equal(h.round(fact["decimals"]), fact["printed"]["h_next"])
        np.testing.assert_array_equal(c.round(fact["decimals"]), fact["printed"]["c_next"])
