"""GuitarML, AIDA-X and Neural Amp Modeler: their published equations step by step, streams, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

import elman
from elman import from_rtneural
from elman.interop import formats

UNITS = ("LSTM", "GRU", "RNN")


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def step_of(unit, x, h, c, W, R, b, d):
    """One step of a recurrent module of PyTorch, as its documentation has it: W (G H, I), R (G H, H), b and d."""
    if unit == "RNN":
        return np.tanh(W @ x + b + R @ h + d), c
    if unit == "GRU":
        (ar, az, an), (br, bz, bn) = np.split(W @ x + b, 3), np.split(R @ h + d, 3)
        r, z = sigmoid(ar + br), sigmoid(az + bz)
        return (1 - z) * np.tanh(an + r * bn) + z * h, c
    i, f, g, o = np.split(W @ x + b + R @ h + d, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def simple_rnn(model, x):
    """`SimpleRNN.forward` of GuitarML's trainer: lin(rec(x)) + x[:, 0:skip]."""
    facts = model["model_data"]
    state = {name: np.array(array, np.float64) for name, array in model["state_dict"].items()}
    rows = np.asarray(x, np.float64)
    for k in range(facts["num_layers"]):
        parts = [state[f"rec.{part}_l{k}"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        h = c = np.zeros(facts["hidden_size"])
        out = []
        for row in rows:
            h, c = step_of(facts["unit_type"], row, h, c, *parts)
            out.append(h)
        rows = np.array(out)
    y = rows @ state["lin.weight"].T + state.get("lin.bias", 0)
    return y + np.asarray(x, np.float64)[:, 0 : facts["skip"]] if facts["skip"] else y


def guitarml(rng, unit="LSTM", inputs=1, hidden=5, outputs=1, depth=1, skip=1, bias=True):
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[unit] * hidden
    state = {}
    for k in range(depth):
        for name, shape in (
            ("weight_ih", (gates, hidden if k else inputs)),
            ("weight_hh", (gates, hidden)),
            ("bias_ih", (gates,)),
            ("bias_hh", (gates,)),
        ):
            state[f"rec.{name}_l{k}"] = rng.normal(size=shape).tolist()
    state["lin.weight"] = rng.normal(size=(outputs, hidden)).tolist()
    if bias:
        state["lin.bias"] = rng.normal(size=outputs).tolist()
    facts = {"model": "SimpleRNN", "input_size": inputs, "skip": skip, "output_size": outputs, "unit_type": unit}
    facts |= {"num_layers": depth, "hidden_size": hidden, "bias_fl": bias}
    return {"model_data": facts, "state_dict": state}


def nam(rng, inputs=1, hidden=4, depth=1, outputs=None):
    config = {"input_size": inputs, "hidden_size": hidden, "num_layers": depth}
    sizes = [4 * hidden * ((hidden if k else inputs) + hidden + 1) + 2 * hidden for k in range(depth)]
    count = sum(sizes) + (outputs or 1) * (hidden + 1)
    if outputs is not None:
        config |= {"in_channels": inputs, "out_channels": outputs}
    return {
        "version": "0.5.4", "metadata": {"name": "amp"}, "architecture": "LSTM", "config": config,
        "weights": rng.normal(size=count).tolist(), "sample_rate": 48000,
    }  # fmt: skip


def nam_lstm(model, x):
    """`nam::lstm::LSTM::process` of NeuralAmpModelerCore, which takes its numbers one after another."""
    config, numbers = model["config"], iter(model["weights"])
    hidden, cells = config["hidden_size"], []

    def matrix(rows, columns):
        return np.array([[next(numbers) for _ in range(columns)] for _ in range(rows)])

    for k in range(config["num_layers"]):
        inputs = hidden if k else config["input_size"]
        cells.append([matrix(4 * hidden, inputs + hidden), *(matrix(1, n)[0] for n in (4 * hidden, hidden, hidden))])
    outputs = config.get("out_channels", 1)
    W, b = matrix(outputs, hidden), matrix(1, outputs)[0]
    assert next(numbers, None) is None
    rows = []
    for row in x:
        for cell in cells:
            i, f, g, o = np.split(cell[0] @ np.concatenate([row, cell[2]]) + cell[1], 4)
            cell[3] = sigmoid(f) * cell[3] + sigmoid(i) * np.tanh(g)
            cell[2] = row = sigmoid(o) * np.tanh(cell[3])
        rows.append(W @ row + b)
    return np.array(rows)


def aida(net, path, **around):
    elman.to_rtneural(net, path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **around}))
    return from_rtneural(path)


def check(net, expected, x):
    """What is read computes what its own system does, twice, with a stream, and what comes out is saved."""
    scale = max(1, np.abs(expected).max())
    for _ in range(2):
        np.testing.assert_allclose(net(x)[0], expected, atol=2e-5 * scale)
        np.testing.assert_array_equal(net.stream().run(np.asarray(x, np.float32)), net(x)[0])


DRAWS = [(seed, unit) for seed in range(4) for unit in UNITS]


@pytest.mark.parametrize(("seed", "unit"), DRAWS)
def test_guitarml_computes_what_its_trainer_does(tmp_path, seed, unit):
    rng = np.random.default_rng(seed)
    inputs, outputs, depth = (int(n) for n in rng.integers(1, 4, 3))
    skip = int(rng.choice(sorted({0, 1, *([outputs] if outputs <= inputs else [])})))
    model = guitarml(rng, unit, inputs, int(rng.integers(2, 7)), outputs, depth, skip, bool(rng.integers(2)))
    path = tmp_path / "amp.json"
    path.write_text(json.dumps(model))
    net, x = from_rtneural(path), rng.normal(size=(9, inputs))
    check(net, simple_rnn(model, x), x)
    assert (formats.find(path).name, net.names[-1]) == ("guitarml", "sum" if skip else "lin")
    net.save(tmp_path / "net")
    np.testing.assert_array_equal(elman.load(tmp_path / "net")(x)[0], net(x)[0])
    np.testing.assert_array_equal(from_rtneural(path.read_bytes())(x)[0], net(x)[0])


@pytest.mark.peer
@pytest.mark.parametrize("unit", UNITS)
def test_the_equations_of_this_file_are_those_of_pytorch(unit):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(7)
    model, x = guitarml(rng, unit, inputs=2, depth=2, outputs=2, skip=2), rng.normal(size=(8, 2))
    facts, state = (
        model["model_data"],
        {k: torch.tensor(v, dtype=torch.float64) for k, v in model["state_dict"].items()},
    )
    rec = getattr(torch.nn, unit)(2, facts["hidden_size"], facts["num_layers"], dtype=torch.float64)
    lin = torch.nn.Linear(facts["hidden_size"], 2, dtype=torch.float64)
    rec.load_state_dict({k[4:]: v for k, v in state.items() if k.startswith("rec.")})
    lin.load_state_dict({k[4:]: v for k, v in state.items() if k.startswith("lin.")})
    steps = torch.tensor(x)[:, None]  # (time, batch, features), as the trainer has them
    y = lin(rec(steps)[0]) + steps[:, :, 0 : facts["skip"]]
    np.testing.assert_allclose(simple_rnn(model, x), y[:, 0].detach().numpy(), atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_neural_amp_modeler_computes_what_its_core_does(tmp_path, seed):
    rng = np.random.default_rng(seed)
    inputs, hidden, depth = (int(n) for n in rng.integers(1, 5, 3))
    model = nam(rng, inputs, hidden, depth, int(rng.integers(1, 4)) if seed % 2 else None)
    path = tmp_path / "amp.nam"
    path.write_text(json.dumps(model))
    net, x = from_rtneural(path), rng.normal(size=(9, inputs))
    check(net, nam_lstm(model, x), x)
    assert net.layers[0].learned_state
    report = elman.inspect(path)
    assert (report.format, report.version) == ("nam", "version 0.5.4")
    assert report.layers[0].gates == ("i", "f", "g", "o")


@pytest.mark.parametrize("seed", range(4))
def test_aida_x_adds_the_first_input(tmp_path, seed):
    rng = np.random.default_rng(seed)
    inputs = seed % 3 + 1
    inner = elman.Network([elman.LSTM(inputs, 5, seed=seed), elman.Dense(5, 1, seed=seed)])
    net, x = (
        aida(inner, tmp_path / "amp.json", in_skip=1, metadata={"samplerate": "48000"}),
        rng.normal(size=(9, inputs)),
    )
    check(net, inner(x)[0] + x[:, :1], x)
    assert elman.inspect(tmp_path / "amp.json").format == "aida"
    plain = aida(inner, tmp_path / "amp.json", in_skip=0, in_batch=[0.5])
    assert plain.graph.is_list
    np.testing.assert_array_equal(plain(x)[0], inner(x)[0])


@pytest.mark.parametrize("seed", range(4))
def test_gains_of_aida_x_are_decibels(tmp_path, seed):
    """`applyModel` of AIDA-X: the first input by the first gain, the sum of it and the output by the second."""
    rng = np.random.default_rng(seed)
    inputs, skip = seed % 3 + 1, seed % 2
    inner = elman.Network([elman.GRU(inputs, 5, seed=seed), elman.Dense(5, 1, seed=seed), elman.Activate("elu")])
    gains = {"in_gain": 6.5, "out_gain": -3} if seed < 3 else {"in_gain": 0, "out_gain": -96.0}
    net, x = aida(inner, tmp_path / "amp.json", in_skip=skip, **gains), rng.normal(size=(9, inputs))
    louder = x.copy()
    louder[:, 0] *= 10 ** (gains["in_gain"] / 20)
    factor = 10 ** (gains["out_gain"] / 20) if gains["out_gain"] > -90 else 0
    check(net, factor * (inner(louder)[0] + skip * louder[:, :1]), x)


@pytest.mark.parametrize("gain", ["3", True, None, [1], 1e9, float("nan"), float("inf")])
def test_gains_that_are_none(tmp_path, gain):
    with pytest.raises(elman.FormatError, match=r"in_gain must be a number of decibels under 300. Got"):
        aida(elman.LSTM(1, 1), tmp_path / "amp.json", in_gain=gain)


def causal(x, W, b, dilation, groups):
    """RTNeural's Conv1D, tap by tap: the last row of Keras's kernel is that of the newest step."""
    width, part, out = W.shape
    y = np.zeros((len(x), out)) + b
    for t in range(len(x)):
        for k in range(width):
            past = t - (width - 1 - k) * dilation
            for o in range(out if past >= 0 else 0):
                first = o // (out // groups) * part
                y[t, o] += x[past, first : first + part] @ W[k, :, o]
    return y


def conv1d(rng, groups=1, inputs=1, out=2, width=3, dilation=2, slopes=2):
    """Layers conv1d, prelu and conv1d, as RTNeural's script writes them."""
    W, b, slopes = rng.normal(size=(width, inputs // groups, out)), rng.normal(size=out), rng.normal(size=slopes)
    return {
        "in_shape": [None, None, inputs],
        "layers": [
            {"type": "conv1d", "activation": "tanh", "shape": [None, None, out], "kernel_size": [width],
             "dilation": [dilation], "groups": groups, "weights": [W.tolist(), b.tolist()]},
            {"type": "prelu", "shape": [None, None, out], "weights": [[slopes.tolist()]]},
            {"type": "conv1d", "activation": "softmax", "shape": [None, None, 3], "kernel_size": 1, "dilation": 1,
             "weights": [np.ones((1, out, 3)).tolist(), [0.0, 1.0, 2.0]]},
        ],
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
def test_convolutions_and_slopes_of_rtneural(tmp_path, seed):
    rng = np.random.default_rng(seed)
    groups = seed % 3 + 1
    inputs, out, width, dilation = (int(n) for n in (groups * rng.integers(1, 3), groups * 2, *rng.integers(1, 4, 2)))
    model = conv1d(rng, groups, inputs, out, width, dilation, out if seed % 2 else 1)
    (W, b), ((slopes,),) = ([np.array(array) for array in layer["weights"]] for layer in model["layers"][:2])
    x = rng.normal(size=(11, inputs))
    net = from_rtneural(json.dumps(model).encode())
    first = np.tanh(causal(x, W, b, dilation, groups))
    norm = [rng.normal(size=out), rng.normal(size=out), rng.normal(size=out), rng.uniform(0.5, 2, out)][
        2 * (seed % 2) :
    ]
    entry = {"type": "batchnorm", "shape": [None, None, out], "epsilon": 0.01, "weights": [a.tolist() for a in norm]}
    normal = from_rtneural(json.dumps({**model, "layers": [model["layers"][0], entry]}).encode())
    gamma, beta = norm[:-2] or (1, 0)
    check(normal, gamma / np.sqrt(norm[-1] + 0.01) * (first - norm[-2]) + beta, x)
    last = np.where(first >= 0, first, first * slopes).sum(1, keepdims=True) + np.arange(3)
    check(net, np.exp(last) / np.exp(last).sum(1, keepdims=True), x)


def test_convolutions_go_out_and_in_again(tmp_path):
    net = elman.Network([
        elman.Conv1d(2, 3, 4, dilation=2, padding="causal", activation="elu", seed=0), elman.LSTM(3, 4, seed=0),
        elman.Activate(elman.Activation("leaky_relu", alpha=0.25)), elman.BatchNorm(4), elman.Conv1d(4, 1, 1, seed=1),
    ])  # fmt: skip
    net.layers[3].mean[:] = [1, -2, 3, 0.5]
    x = np.random.default_rng(0).normal(size=(9, 2))
    elman.to_rtneural(net, tmp_path / "amp.json")
    np.testing.assert_array_equal(from_rtneural(tmp_path / "amp.json")(x)[0], net(x)[0])


def test_a_state_dict_in_json(tmp_path):
    rng = np.random.default_rng(0)
    model, x = guitarml(rng, depth=2, inputs=2), rng.normal(size=(6, 2))
    path, expected = tmp_path / "state.json", from_rtneural(json.dumps(guitarml(rng) | model).encode())
    path.write_text(json.dumps(model["state_dict"]))
    for net in (elman.from_torch(path), from_rtneural(path), elman.from_torch(path.read_bytes()), formats.read(path)):
        assert net.dtype == np.float32
        np.testing.assert_array_equal(net(x)[0] + np.float32(x[:, :1]), expected(x)[0])
    like = elman.Network([elman.LSTM(2, 5), elman.LSTM(5, 5), elman.LastStep(), elman.Dense(5, 1)])
    net = elman.from_torch(path, like=like.astype("float64"))
    np.testing.assert_array_equal(net.layers[-1].W, np.transpose(model["state_dict"]["lin.weight"]))
    path.write_text(json.dumps({"epoch": 3, "net": {"weights": model["state_dict"]}}))
    np.testing.assert_allclose(elman.from_torch(path, like=like)(x)[0], net(x)[0], atol=1e-6)
    assert elman.inspect(path).format == "torch"
    assert "rec.weight_ih_l0 float32 (20, 2)" in str(formats.FORMATS["torch"].outline(path))


def without(mapping, *names):
    return {name: value for name, value in mapping.items() if name not in names}


def with_facts(whole, part="model_data", /, **facts):
    return {**whole, part: {**whole[part], **facts}}


def with_array(name, value):
    return {**G, "state_dict": {**S, name: value}}


G, N = guitarml(np.random.default_rng(0)), nam(np.random.default_rng(0))
S = G["state_dict"]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({**G, "model_data": None}, "model_data must be a JSON object. Got None"),
        ({**G, "state_dict": [1]}, r"state_dict must be a JSON object. Got \[1\]"),
        ({**G, "state_dict": {}}, "state_dict must be the weights of a recurrent module"),
        (with_facts(G, model="ConvSimpleRNN"), "model must be SimpleRNN, .* Got 'ConvSimpleRNN'"),
        (with_facts(G, unit_type="GRU"), "unit_type must be lstm, as the weights say. Got 'GRU'"),
        (with_facts(G, unit_type=[]), "unit_type must be lstm"),
        (with_facts(G, hidden_size=10**12), "hidden_size must be 5, as the weights say. Got 1000000000000"),
        (with_facts(G, num_layers=2), "num_layers must be 1"),
        (with_facts(G, input_size="1"), "input_size must be 1, as the weights say. Got '1'"),
        (with_facts(G, output_size=2), "output_size must be 1"),
        ({**G, "model_data": without(G["model_data"], "skip")}, "skip must be a whole number from 0 up. Got None"),
        (with_facts(G, skip=-1), "skip must be a whole number from 0 up. Got -1"),
        (with_facts(G, skip=1.5), "skip must be a whole number"),
        (with_facts(guitarml(np.random.default_rng(0), inputs=3), skip=2), "added to the output must be 1 or 1. Got 2"),
        ({**G, "state_dict": without(S, "lin.weight")}, "with lin.weight and lin.bias alone"),
        ({**G, "state_dict": without(S, "rec.weight_hh_l0")}, "rec: its weights must be weight_ih_l0, weight_hh_l0"),
        (with_array("clip.weight", [1.0]), "with lin.weight and lin.bias alone. Got .*clip.weight"),
        (with_array("lin.weight", [[1.0, 2.0]]), r"lin must be of shape \(output, 5\), .*\(1, 2\)"),
        (with_array("lin.bias", [1.0, 2.0]), r"lin must be .* Got \(1, 5\) and \(2,\)"),
        (with_array("rec.weight_ih_l0", [[1.0], [1.0, 2.0]]), "rec.weight_ih_l0 must be nested lists"),
        (with_array("rec.weight_ih_l0", "AAAA"), "rec.weight_ih_l0 must be nested lists of numbers"),
        (with_array("rec.bias_ih_l0", [1.0]), "bias_ih_l0"),
        ({**N, "architecture": "WaveNet"}, "architecture must be LSTM, .* Got 'WaveNet', a network of convolutions"),
        ({**N, "architecture": "ConvNet"}, "Got 'ConvNet', a network of convolutions"),
        ({**N, "architecture": ["LSTM"]}, "architecture must be LSTM"),
        (without(N, "config"), "config must be a JSON object. Got None"),
        (with_facts(N, "config", hidden_size=0), "hidden_size must be a whole number from 1 up. Got 0"),
        (with_facts(N, "config", hidden_size=10**9), "weights must be a list of .* numbers, as config says. Got 109"),
        (with_facts(N, "config", num_layers=10**9), "weights must be a list of many more numbers, as config says"),
        (with_facts(N, "config", num_layers=True), "num_layers must be a whole number"),
        (with_facts(N, "config", in_channels=2), "in_channels must be 1, as input_size says. Got 2"),
        (with_facts(N, "config", out_channels=2), "weights must be a list of 114 numbers, as config says. Got 109"),
        ({**N, "weights": N["weights"][:-1]}, "weights must be a list of 109 numbers, as config says. Got 108"),
        ({**N, "weights": [N["weights"]]}, "weights must be a list of 109 numbers, as config says. Got 1 x 109"),
        ({**N, "weights": {}}, "weights must be nested lists of numbers"),
        ({"class_name": "Sequential", "config": {"layers": []}}, "Got the architecture of a Keras model, as to_json"),
        ({"residual_channels": 4, "dilations": [1, 2], "variables": []}, "Got a WaveNet of PedalNet"),
    ],
)  # fmt: skip
def test_files_that_are_refused(tmp_path, model, words):
    path = tmp_path / "amp.json"
    path.write_text(json.dumps(model))
    with pytest.raises(elman.FormatError, match=words) as error:
        from_rtneural(path)
    assert str(error.value).startswith(str(path))
    with pytest.raises(elman.FormatError, match=r"^the bytes"):
        from_rtneural(path.read_bytes())
    if "architecture" in model:
        report = elman.inspect(path)
        assert (report.format, report.network) == ("nam", None)


def test_nan_and_large_numbers_are_read_as_they_are(tmp_path):
    for bad in (float("nan"), float("inf"), 1e300):
        model = with_array("lin.bias", [bad])
        net = from_rtneural(json.dumps(model).encode())
        np.testing.assert_array_equal(net.layers[1].b, np.float32([bad if bad != 1e300 else np.inf]))
        net = from_rtneural(json.dumps({**N, "weights": [*N["weights"][:-1], bad]}).encode())
        assert not np.isfinite(net.layers[-1].b).all()


def test_guitarml_is_no_state_dict_for_pytorch(tmp_path):
    (tmp_path / "amp.json").write_text(json.dumps(G))
    with pytest.raises(elman.FormatError, match=r"must be a state_dict. Got GuitarML, which elman.from_rtneural reads"):
        elman.from_torch(tmp_path / "amp.json")
