"""state_dicts of NumPy arrays and safetensors files: read without PyTorch, refused where they do not tell enough."""

from __future__ import annotations

import json
import struct
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

import elman
from elman.interop.pytorch.networks import from_torch, to_torch

RNG = np.random.default_rng(0)


def lstm(name, inputs, hidden, gates=4, bias=True):
    """The weights of an nn.LSTM, or with other `gates` of an nn.GRU or nn.RNN, in the order of its state_dict."""
    shapes = {"weight_ih_l0": (gates * hidden, inputs), "weight_hh_l0": (gates * hidden, hidden)}
    shapes |= {"bias_ih_l0": (gates * hidden,), "bias_hh_l0": (gates * hidden,)} if bias else {}
    return {f"{name}.{own}" if name else own: random(shape) for own, shape in shapes.items()}


def random(shape):
    return RNG.standard_normal(shape).astype(np.float32)


def linear(name, inputs, outputs):
    return {f"{name}.weight": random((outputs, inputs)), f"{name}.bias": random((outputs,))}


def norm(name, size):
    return {f"{name}.weight": random((size,)), f"{name}.bias": random((size,))}


def embedding(name, count, size):
    return {f"{name}.weight": random((count, size))}


def kinds(net):
    return [(type(layer).__name__, layer.input_size, layer.output_size) for layer in net.layers]


TAGGER = embedding("embedding", 11, 4) | lstm("lstm", 4, 5) | norm("norm", 5) | linear("fc", 5, 3)
TAGGER_KINDS = [("Embedding", None, 4), ("LSTM", 4, 5), ("LayerNorm", 5, 5), ("Dense", 5, 3)]


def test_a_state_dict_tells_its_modules():
    net = from_torch(TAGGER)
    assert kinds(net) == TAGGER_KINDS
    assert net.dtype == np.float32
    layer = net.layers[1]
    np.testing.assert_array_equal(layer.Wx, TAGGER["lstm.weight_ih_l0"].T)
    np.testing.assert_array_equal(layer.b, TAGGER["lstm.bias_ih_l0"] + TAGGER["lstm.bias_hh_l0"])
    np.testing.assert_array_equal(net.layers[3].W, TAGGER["fc.weight"].T)
    np.testing.assert_array_equal(net.layers[2].gain, TAGGER["norm.weight"])


@pytest.mark.parametrize(("gates", "kind"), [(1, "RNN"), (3, "GRU"), (4, "LSTM")])
@pytest.mark.parametrize("bias", [True, False])
def test_the_blocks_of_rows_tell_the_cell(gates, kind, bias):
    weights = lstm("", 3, 5, gates, bias)
    assert kinds(from_torch(weights)) == [(kind, 3, 5)]
    cell = {name.removesuffix("_l0"): array for name, array in weights.items()}
    assert kinds(from_torch(cell)) == [(kind, 3, 5)]
    x = RNG.standard_normal((2, 4, 3))
    np.testing.assert_array_equal(from_torch(cell)(x)[0], from_torch(weights)(x)[0])


def test_layers_and_directions():
    weights = {}
    for k, width in enumerate([3, 10, 10]):
        for suffix in (f"_l{k}", f"_l{k}_reverse"):
            weights |= {name.replace("_l0", suffix): array for name, array in lstm("rnn", width, 5, 3).items()}
    net = from_torch(weights)
    assert kinds(net) == [("GRU", 3, 10), ("GRU", 10, 10), ("GRU", 10, 10)]
    np.testing.assert_array_equal(net.layers[1].Wx_reverse, weights["rnn.weight_ih_l1_reverse"].T)


def test_a_safetensors_file_keeps_no_order_but_the_widths_tell_it(tmp_path):
    save_file(TAGGER, tmp_path / "tagger.safetensors")
    net = from_torch(tmp_path / "tagger.safetensors", order=["embedding", "lstm", "norm", "fc"])
    want = from_torch(TAGGER)
    assert kinds(net) == TAGGER_KINDS
    plain = {name: array for name, array in TAGGER.items() if not name.startswith("norm")}
    save_file(plain, tmp_path / "plain.safetensors")
    again = from_torch(str(tmp_path / "plain.safetensors"))
    assert kinds(again) == [TAGGER_KINDS[i] for i in (0, 1, 3)]
    tokens = RNG.integers(0, 11, (3, 6))
    np.testing.assert_array_equal(net(tokens)[0], want(tokens)[0])
    np.testing.assert_array_equal(again(tokens)[0], from_torch(plain)(tokens)[0])


def test_numbers_of_a_sequential_tell_the_order(tmp_path):
    weights = {}
    for i in range(11):
        weights |= lstm(f"stack.{i}", 4, 4)
    save_file(weights, tmp_path / "stack.safetensors")
    net = from_torch(tmp_path / "stack.safetensors")
    for i in (2, 10):
        np.testing.assert_array_equal(net.layers[i].Wx, weights[f"stack.{i}.weight_ih_l0"].T)


def test_a_dictionary_out_of_order_is_not_taken_for_one_in_order():
    """As safetensors loads them: sorted by name, or in any order."""
    square = lstm("b", 4, 4) | lstm("a", 4, 4)
    assert kinds(from_torch(square)) == [("LSTM", 4, 4)] * 2
    np.testing.assert_array_equal(from_torch(square).layers[0].Wx, square["b.weight_ih_l0"].T)
    shuffled = dict(sorted(square.items(), key=lambda entry: entry[0][::-1]))
    for mixed in (dict(sorted(square.items())), shuffled):
        with pytest.raises(elman.FormatError, match=r"in one way: pass order=.* Got several ways"):
            from_torch(mixed)
        by_order = from_torch({k.replace("b.", "1.").replace("a.", "0."): v for k, v in mixed.items()}, order=[1, 0])
        np.testing.assert_array_equal(by_order.layers[0].Wx, square["b.weight_ih_l0"].T)
        np.testing.assert_array_equal(from_torch(mixed, order=["b", "a"]).layers[0].Wx, square["b.weight_ih_l0"].T)


def test_many_modules_whose_order_is_unknown():
    weights = {}
    for name in "abcdefghi":
        weights |= lstm(name, 4, 4)
    with pytest.raises(elman.FormatError, match="Got too many modules to try every order, 9 for"):
        from_torch(dict(sorted(weights.items())))


def like():
    return elman.Network(
        [
            elman.Embedding(11, 4),
            elman.LSTM(4, 5, zoneout=0.1),
            elman.Dropout(0.2),
            elman.LastStep(),
            elman.Network([elman.LayerNorm(5, 1e-3), elman.Dense(5, 3, "relu")]),
        ]
    )


@pytest.mark.parametrize("turn", [dict, lambda weights: dict(sorted(weights.items()))])
def test_like_says_what_no_weight_tells(turn):
    net = like()
    before = {name: array.copy() for name, array in net.parameters.items()}
    filled = from_torch(turn(TAGGER), like=net)
    assert filled.config == net.config
    want = from_torch(TAGGER).parameters
    for got, array in zip(filled.parameters.values(), want.values(), strict=True):
        np.testing.assert_array_equal(got, array)
    for name, array in net.parameters.items():
        np.testing.assert_array_equal(array, before[name])


def test_like_a_layer_and_a_wider_one():
    weights = lstm("", 3, 5, 1)
    net = from_torch(weights, like=elman.RNN(3, 5, "softsign", dtype="float64"))
    assert net.layers[0].config["activation"] == "softsign"
    assert net.dtype == np.float64
    np.testing.assert_array_equal(net.layers[0].Wx, weights["weight_ih_l0"].T.astype(np.float64))
    chosen = {"clip": 1.5, "activations": {"g": "relu", "c": "identity"}, "zoneout": 0.1, "recurrent_dropout": 0.2}
    (filled,) = from_torch(lstm("", 3, 5), like=elman.LSTM(3, 5, **chosen)).layers
    assert filled.config == elman.LSTM(3, 5, **chosen).config
    scaled = from_torch({"weight": random((4,))}, like=elman.LayerNorm(4))
    assert not scaled.layers[0].bias.any()


def test_a_matrix_alone_is_what_its_layer_takes():
    square = {"a.weight": random((4, 4))} | lstm("b", 4, 5)
    layers = [elman.LSTM(4, 5)]
    assert kinds(from_torch(square, like=elman.Network([elman.Embedding(4, 4), *layers])))[0][0] == "Embedding"
    assert kinds(from_torch(square, like=elman.Network([elman.Dense(4, 4), *layers])))[0][0] == "Dense"
    unbiased = {"a.weight": random((4, 7))} | lstm("b", 4, 5)
    assert kinds(from_torch(unbiased)) == [("Dense", 7, 4), ("LSTM", 4, 5)]


MISFITS = [
    (
        elman.Network(
            [elman.Embedding(11, 4), elman.LSTM(4, 5, peepholes=True), elman.LayerNorm(5), elman.Dense(5, 3)]
        ),
        "layer 1, LSTM, from lstm: .*peephole",
    ),
    (elman.LSTM(4, 5), "like must have 4 layers with parameters, one for each of embedding .* Got 1"),
    (
        elman.Network([elman.Embedding(11, 4), elman.GRU(4, 5), elman.LayerNorm(5), elman.Dense(5, 3)]),
        r"layer 1, GRU, from lstm: the weights must be those of Cell\('gru'\)",
    ),
    (
        elman.Network([elman.Embedding(11, 4), elman.LSTM(4, 6), elman.LayerNorm(6), elman.Dense(6, 3)]),
        r"layer 1, LSTM, from lstm: Wx must have shape \(4, 24\). Got \(4, 20\)",
    ),
    (
        elman.Network([elman.Embedding(11, 4), elman.LSTM(4, 5), elman.Dense(5, 5), elman.Dense(5, 3)]),
        "layer 2, Dense, from norm: the weights must be those of a Linear",
    ),
    (
        elman.Network(
            [elman.Embedding(11, 4), elman.LSTM(4, 5, learned_state=True), elman.LayerNorm(5), elman.Dense(5, 3)]
        ),
        "layer 1, LSTM, from lstm: the weights must be Wx, Wh, b, h0, c0. Got Wx, Wh, b",
    ),
]


@pytest.mark.parametrize(("net", "words"), MISFITS)
def test_like_that_does_not_fit(net, words):
    with pytest.raises(elman.FormatError, match=f"the state_dict: {words}"):
        from_torch(TAGGER, like=net)
    with pytest.raises(elman.FormatError, match=r"the state_dict: (the modules must fit|like must have)"):
        from_torch(dict(sorted(TAGGER.items())), like=net)


def test_like_that_would_round_or_is_no_network():
    wide = {name: array.astype(np.float64) for name, array in lstm("", 3, 5).items()}
    with pytest.raises(elman.FormatError, match=r"its dtype must be float64, as that of the weights\. Got float32"):
        from_torch(wide, like=elman.LSTM(3, 5))
    with pytest.raises(TypeError, match=r"like must be a network or a layer\. Got a str"):
        from_torch(wide, like="net")


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({}, "it must hold the weights of at least one module"),
        (
            {"bn.weight": random(3), "bn.bias": random(3), "bn.running_mean": random(3)},
            r"bn: what stands there .* Got .* running_mean \(3,\)",
        ),
        (
            {"conv.weight": random((3, 2, 5)), "conv.bias": random(3)},
            "conv: weights must tell their module, and like= .* Got those of a Conv1d, whose stride, padding",
        ),
        (
            {"conv.weight": random((3, 2, 5, 5)), "conv.bias": random(3)},
            r"conv: what stands there .* weight \(3, 2, 5, 5\), .*as a convolution over images has",
        ),
        (
            {
                "att.in_proj_weight": random((9, 3)),
                "att.in_proj_bias": random(9),
                "att.out_proj.weight": random((3, 3)),
            },
            "att: what stands there .* as a MultiheadAttention has, which is not read",
        ),
        ({"scale.weight": random(3)}, "scale: weights must tell their module"),
        ({"bn.num_batches_tracked": np.array(3)}, "bn.num_batches_tracked must stand beside running_mean"),
        ({"a": np.array([1j])}, "a must hold weights in floating point. Got an array of dtype complex"),
        ({"a.weight": random((4, 4))}, "in one way: .* Got several ways for a"),
        ({3: random((4, 4))}, "a state_dict must have names for keys. Got 3"),
        ({"weight_ih_l0": random((4, 4))}, "its weights must be weight_ih_l0, weight_hh_l0"),
        ({"weight_ih_l0": random((4, 4)), "weight_hh_l0": random((8, 4))}, "weight_hh: its shape must be that of 1, 3"),
        ({"weight_ih_l0": random((4, 4)), "weight_hh_l0": random(())}, "its weights must be matrices and vectors"),
        ({"weight_ih_l0": random((0, 4)), "weight_hh_l0": random((0, 0))}, "weight_hh: its shape must be"),
        (lstm("", 3, 5) | {"bias_ih_l0": random((19,))}, r"bias_ih_l0 must have shape \(20,\). Got \(19,\)"),
        (lstm("", 3, 5) | {"weight_ih_l0": random((20, 3, 1))}, "weight_hh: its shape|weight_ih_l0 must"),
        (lstm("lstm", 3, 5) | {"lstm.attention": random((2,))}, "lstm: each weight must be one of a recurrent module"),
        ({n: a for n, a in lstm("", 3, 5).items() if n != "bias_hh_l0"}, "bias_hh_l0 missing"),
        ({n.replace("l0", "l1"): a for n, a in lstm("", 3, 5).items()}, "counted from 0 without a gap. Got .1."),
        (lstm("", 3, 5) | {"weight_ih_l99999999": random((2, 2))}, "counted from 0 without a gap"),
        (lstm("a", 3, 5) | lstm("b", 6, 5), r"in one way: .* Got none for a \(lstm, 3 to 5\), b \(lstm, 6 to 5\)"),
        (lstm("a", 3, 5) | embedding("b", 7, 4), "Got none for a .* b .Embedding, tokens to 4. or b .Linear, 4 to 7."),
        (lstm("0", 3, 5) | linear("2", 5, 4), "the modules must all have weights: .* Got none for 1"),
        (lstm("a.0", 3, 5) | linear("a.99999999999", 5, 4), "the modules of a must all have weights"),
        (lstm("a", 3, 5) | linear("b", 5, 4) | linear("c", 4, 2), "b and c, two Linear in a row, must have an activ"),
        (lstm("a", 3, 5) | linear("b.0", 5, 4), "b must have weights in more than its first module, a Linear"),
        (lstm("", 3, 5) | {"h0": random((5,))}, "c0 must be among the parameters"),
        (lstm("", 3, 5, 3) | {"h0": random((5,)), "c0": random((5,))}, "learned states must be those of"),
        (lstm("", 3, 5) | {"bias_ih_l0": np.zeros(20)}, "all weights must be float64, or none. Got weight_ih_l0 in"),
        ({"model": lstm("", 3, 5), "state_dict": lstm("", 3, 5)}, "a checkpoint must hold one state_dict. Got model, "),
        (
            {"net": {"ema": lstm("", 3, 5), "best": lstm("", 3, 5)}},
            "one state_dict. Got net.ema, net.best: pass the one",
        ),
        ({"net": {"epoch": 3}, "epoch": 3}, "net must hold weights in floating point. Got a dict"),
    ],
)
def test_what_a_state_dict_does_not_tell_is_refused(weights, words):
    with pytest.raises(elman.FormatError, match=f"the state_dict: .*{words}"):
        from_torch(weights)


def test_orders_that_are_none():
    for order in (["lstm"], ["lstm", "lstm"], "lstm", ["lstm", "fc", "more"], 3, [1, 2]):
        with pytest.raises(ValueError, match="order must be a list of 'lstm', 'fc', each once"):
            from_torch(lstm("lstm", 4, 5) | linear("fc", 5, 3), order=order)
    for source in (3, None, {1, 2}):
        with pytest.raises(TypeError, match="source must be a module of PyTorch, a list of them"):
            from_torch(source)


def test_a_checkpoint_and_shared_arrays():
    weights = lstm("", 3, 5)
    net = from_torch({"model_state_dict": weights, "epoch": 3, "optimizer": {"lr": 0.1}})
    before = net.layers[0].Wx.copy()
    weights["weight_ih_l0"][:] = 0
    np.testing.assert_array_equal(net.layers[0].Wx, before)


def test_nan_and_infinity_are_taken_as_they_are():
    weights = lstm("", 3, 5)
    weights["weight_ih_l0"][0, 0], weights["weight_ih_l0"][1, 0] = np.nan, np.inf
    net = from_torch(weights)
    assert np.isnan(net.layers[0].Wx[0, 0])
    assert np.isinf(net.layers[0].Wx[0, 1])


# Files.


def write(path, tensors):
    """A safetensors file of tensors of any dtype, name -> (dtype, shape, bytes)."""
    header, body = {}, b""
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def test_narrow_numbers_are_converted_exactly(tmp_path):
    weights = lstm("", 3, 5)
    narrow = {}
    for name, array in weights.items():
        if "bias" in name:
            narrow[name] = ("F16", array.shape, array.astype("<f2").tobytes())
        else:  # bfloat16 is the upper half of a float32
            narrow[name] = ("BF16", array.shape, (array.view("<u4") >> 16).astype("<u2").tobytes())
    write(tmp_path / "narrow.safetensors", narrow)
    layer = from_torch(tmp_path / "narrow.safetensors").layers[0]
    assert layer.dtype == np.float32
    halves = [weights[name].astype("<f2").astype(np.float32) for name in ("bias_ih_l0", "bias_hh_l0")]
    np.testing.assert_array_equal(layer.b, halves[0] + halves[1])
    cut = (weights["weight_ih_l0"].view(np.uint32) & 0xFFFF0000).view(np.float32)
    np.testing.assert_array_equal(layer.Wx, cut.T)
    by_numpy = from_torch({name: array.astype(np.float16) for name, array in weights.items()}).layers[0]
    assert by_numpy.dtype == np.float32
    np.testing.assert_array_equal(by_numpy.b, layer.b)


def test_integers_in_a_file_are_refused(tmp_path):
    write(tmp_path / "ints.safetensors", {"steps": ("I64", [1], bytes(8))})
    with pytest.raises(
        elman.FormatError,
        match=r"ints\.safetensors': steps must hold weights in floating point. Got an array of dtype int64",
    ):
        from_torch(tmp_path / "ints.safetensors")


def test_files_cut_short_of_random_bytes_and_with_claims(tmp_path):
    path = tmp_path / "net.safetensors"
    save_file(TAGGER, path)
    whole = path.read_bytes()
    start = struct.unpack("<Q", whole[:8])[0]
    cuts = [whole[:n] for n in (0, 1, 7, 8, 20, start, 8 + start, len(whole) - 1)]
    claims = [struct.pack("<Q", 2**63), struct.pack("<Q", 2**40) + b"{}"]
    header = {"a.weight": {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 2**62]}}
    text = json.dumps(header).encode()
    claims.append(struct.pack("<Q", len(text)) + text)
    noise = [RNG.bytes(n) for n in (1, 8, 100, 1000)]
    for content in (*cuts, *claims, *noise, b"<html>", b"\x80\x04."):
        path.write_bytes(content)
        with pytest.raises(elman.FormatError, match=r"net\.safetensors'"):
            from_torch(path)
    for i in range(0, 8 + start, 3):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 0x15]) + whole[i + 1 :])
        try:
            from_torch(path)
        except elman.FormatError as error:
            assert "net.safetensors'" in str(error)  # noqa: PT017
    with pytest.raises(FileNotFoundError, match="path must be a file"):
        from_torch(tmp_path / "none.safetensors")


def test_a_file_of_elman_is_named_as_such(tmp_path):
    elman.Network([elman.LSTM(3, 5)]).save(tmp_path / "net.safetensors")
    with pytest.raises(elman.FormatError, match=r"net\.safetensors': .* elman\.load"):
        from_torch(tmp_path / "net.safetensors")


def test_without_pytorch(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "net.pt").write_bytes(b"PK")
    for call in (
        lambda: from_torch(tmp_path / "net.pt"),
        lambda: from_torch([elman.LSTM(2, 3)]),
        lambda: to_torch(elman.LSTM(2, 3)),
    ):
        with pytest.raises(elman.MissingExtraError, match=r'pip install "elman\[torch\]"'):
            call()
    assert kinds(from_torch(TAGGER)) == TAGGER_KINDS


def test_safetensors_load_no_pytorch(tmp_path):
    save_file(lstm("", 3, 5), tmp_path / "net.safetensors")
    code = (
        "import sys\nfrom elman.interop.pytorch.networks import from_torch\n"
        f"from_torch({str(tmp_path / 'net.safetensors')!r})\nprint('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "False"
