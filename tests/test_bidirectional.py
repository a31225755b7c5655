"""Two directions: of any cells, held to the single layers they are made of, and to the short form."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import elman
from elman.layers import Directed
from elman.saving import NETWORK_VERSION, describe_config, described
from test_gradients import LEAKY

MAKERS = [
    lambda size, seed: elman.LSTM(3, size, dtype="float64", seed=seed, peepholes=True, learned_state=True),
    lambda size, seed: elman.GRU(3, size, dtype="float64", seed=seed, reset_after=False, zoneout=0.25),
    lambda size, seed: elman.RNN(3, size, "relu", dtype="float64", seed=seed),
    lambda size, seed: elman.LSTM(3, 7, dtype="float64", seed=seed, projection=size, recurrent_dropout=0.5),
    lambda size, seed: elman.Recurrent(LEAKY, 3, size, dtype="float64", seed=seed),
]
MERGES = ["concat", "sum", "mean", "multiply"]
CASES = [(i, j, merge) for i in range(5) for j in range(5) for merge in MERGES if (i + j) % 2 or i == j]


def made(i, j, merge, seed=0):
    """A layer with random weights, and ragged sequences."""
    rng = np.random.default_rng(seed)
    sizes = (4, 5) if merge == "concat" else (4, 4)
    layer = elman.Bidirectional(MAKERS[i](sizes[0], 1), MAKERS[j](sizes[1], 2), merge)
    for array in layer.parameters.values():
        array[...] = 0.5 * rng.standard_normal(array.shape)
    return layer, [rng.standard_normal((n, 3)) for n in (4, 1, 6)], rng


def leaves(value):
    return [value] if isinstance(value, np.ndarray) else [array for part in value for array in leaves(part)]


def random_like(rng, value):
    if isinstance(value, np.ndarray):
        return rng.standard_normal(value.shape)
    return type(value)([random_like(rng, part) for part in value])


@pytest.mark.parametrize(("i", "j", "merge"), CASES)
def test_it_is_both_layers_the_second_on_reversed_sequences(i, j, merge):
    layer, x, rng = made(i, j, merge)
    _, state = layer(x)
    for start in (None, random_like(rng, state)):
        for _ in range(2):
            y, end, tape = layer.forward(x, start)
        first, second = (start, start) if start is None else pair(layer, start)
        a, h, one = layer.first.forward(x, first)
        b, g, two = layer.second.forward([part[::-1] for part in x], second)
        b = [part[::-1] for part in b]
        for got, p, q in zip(y, a, b, strict=True):
            merged = {"concat": lambda p, q: np.hstack([p, q]), "sum": np.add, "multiply": np.multiply,
                      "mean": lambda p, q: (p + q) * 0.5}[merge](p, q)  # fmt: skip
            np.testing.assert_array_equal(got, merged)
        for got, expected in zip(leaves(pair(layer, end)), leaves([h, g]), strict=True):
            np.testing.assert_array_equal(got, expected)
        dy, dend = [rng.standard_normal(part.shape) for part in y], random_like(rng, end)
        dx, dstart, gradients = layer.backward(tape, dy, dend)
        width = layer.first.output_size
        halves = {
            "concat": lambda d, p, q, w=width: (d[:, :w], d[:, w:]), "sum": lambda d, p, q: (d, d),
            "mean": lambda d, p, q: (d / 2, d / 2), "multiply": lambda d, p, q: (d * q, d * p),
        }[merge]  # fmt: skip
        das, dbs = zip(*[halves(*three) for three in zip(dy, a, b, strict=True)], strict=True)
        dfirst, dsecond = pair(layer, dend)
        dxa, dha, ga = layer.first.backward(one, list(das), dfirst)
        dxb, dhb, gb = layer.second.backward(two, [part[::-1] for part in dbs], dsecond)
        for got, p, q in zip(dx, dxa, dxb, strict=True):
            np.testing.assert_allclose(got, p + q[::-1], rtol=0, atol=1e-13)
        for got, expected in zip(leaves(pair(layer, dstart)), leaves([dha, dhb]), strict=True):
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-13)
        assert list(gradients) == [*ga, *(f"{name}_reverse" for name in gb)]
        for name, expected in {**ga, **{f"{name}_reverse": g for name, g in gb.items()}}.items():
            np.testing.assert_allclose(gradients[name], expected, rtol=0, atol=1e-13)


def pair(layer, state):
    """The states of both layers, each in its own form."""
    widths = [list(part.states().values()) for part in (layer.first, layer.second)]
    if widths[0] != widths[1]:
        assert isinstance(state, tuple)
        return state
    if len(widths[0]) == 1:
        return state[0], state[1]
    return tuple(array[0] for array in state), tuple(array[1] for array in state)


@pytest.mark.parametrize(("i", "j", "merge"), CASES)
def test_files_pickles_and_copies_have_the_same_bits(i, j, merge, tmp_path):
    layer, x, _ = made(i, j, merge)
    y, _ = layer(x)
    net = elman.Network([layer, elman.Dense(layer.output_size, 2, dtype="float64", seed=0)])
    net.save(tmp_path / "net")
    again = elman.load(tmp_path / "net", cells={"leaky": LEAKY})
    again.save(tmp_path / "again")
    assert (tmp_path / "net").read_bytes() == (tmp_path / "again").read_bytes()
    name = next(iter(layer.parameters))
    twins = [again.layers[0], pickle.loads(pickle.dumps(layer)), layer.replace(), copy.deepcopy(layer)]
    for twin in (*twins, layer.astype("float64"), type(layer).from_parameters(layer.config, layer.parameters)):
        assert (repr(twin), twin.config) == (repr(layer), layer.config)
        for a, b in zip(twin(x)[0], y, strict=True):
            np.testing.assert_array_equal(a, b)
        assert np.shares_memory(twin.first.parameters[name], twin.parameters[name])
        assert not np.shares_memory(twin.parameters[name], layer.parameters[name])
    last = list(layer.parameters)[-1]
    assert layer.astype("float32").parameters[last].dtype == np.float32


@pytest.mark.parametrize("kind", [elman.LSTM, elman.GRU, elman.RNN])
@pytest.mark.parametrize("zoneout", [0.0, 0.25])
def test_the_short_form_has_the_same_parameters_states_and_bits(kind, zoneout):
    short = kind(3, 4, bidirectional=True, learned_state=True, zoneout=zoneout, recurrent_dropout=0.5, seed=0)
    rng = np.random.default_rng(0)
    for array in short.parameters.values():
        array[...] = rng.standard_normal(array.shape)
    parts = short.directions
    assert list(parts) == ["", "_reverse"]
    layer = elman.Bidirectional(*[part.replace() for part in parts.values()])
    assert list(layer.parameters) == list(short.parameters)
    assert layer.states() == short.states()
    x = rng.standard_normal((2, 5, 3))
    _, state = short(x)
    state = random_like(rng, state)
    dy = rng.standard_normal((2, 5, 8))
    for generator in (None, 7):
        results = []
        for each in (short, layer):
            draws = None if generator is None else np.random.default_rng(generator)
            y, end, tape = each.forward(x, state, lengths=[5, 2], rng=draws)
            dx, dstart, gradients = each.backward(tape, dy, state)
            results.append([y, *leaves(end), dx, *leaves(dstart), *gradients.values()])
        for a, b in zip(*results, strict=True):
            np.testing.assert_array_equal(a, b)


def test_directions_are_live_layers_of_one_direction():
    short = elman.LSTM(3, 4, bidirectional=True, seed=0, layer_norm=True)
    for layer in (short, elman.Bidirectional(elman.GRU(3, 4, seed=0), elman.RNN(3, 2, seed=1))):
        for end, part in layer.directions.items():
            assert isinstance(part, elman.Recurrent)
            assert not part.bidirectional
            assert list(part.parameters) == [name[: len(name) - len(end)] for name in layer.parameters
                                             if name.endswith("_reverse") == bool(end)]  # fmt: skip
            for name, array in part.parameters.items():
                array[...] = 3.0
                assert (layer.parameters[name + end] == 3.0).all()
        assert layer.directions[""] is layer.directions[""]
    one = elman.GRU(3, 4)
    assert one.directions == {"": one}
    assert short.directions[""].config == elman.LSTM(3, 4, layer_norm=True).config
    assert issubclass(elman.Recurrent, Directed)


def test_the_forms_of_states():
    x = np.ones((2, 5, 3))
    alike = elman.Bidirectional(elman.GRU(3, 4, seed=0), elman.RNN(3, 4, seed=1))
    assert alike(x)[1].shape == (2, 2, 4)
    assert alike(x[0])[1].shape == (2, 4)
    other = elman.Bidirectional(elman.LSTM(3, 4, seed=0), elman.GRU(3, 2, seed=1))
    (h, c), g = other(x)[1]
    assert (h.shape, c.shape, g.shape) == ((2, 4), (2, 4), (2, 2))
    (h, c), g = other(x[0])[1]
    assert (h.shape, c.shape, g.shape) == ((4,), (4,), (2,))
    for wrong in (np.ones((2, 2, 4)), (None, np.ones((2, 2))), [1, 2, 3]):
        with pytest.raises(elman.ShapeError, match="state must be a pair, the state of each direction"):
            other(x, wrong)
    with pytest.raises(elman.ShapeError, match=r"h of state\[1\] must have shape \(2, 2\)"):
        other(x, ((np.ones((2, 4)), np.ones((2, 4))), np.ones((2, 3))))
    with pytest.raises(elman.ShapeError, match=r"h of state must have shape \(2, 2, 4\)"):
        alike(x, np.ones((2, 4)))


def gru(size=4, **options):
    return elman.GRU(3, size, **options)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((gru(), gru(dtype="float64")), "must have the same dtype. Got float32 and float64"),
        ((gru(), elman.GRU(2, 4)), "must have the same input_size. Got 3 and 2"),
        ((gru(), gru(5), "sum"), "must give values of one width to sum. Got 4 and 5"),
        ((gru(), gru(), "ave"), "merge must be one of"),
        ((gru(bidirectional=True), gru()), "forward must go in one direction"),
        ((gru(), elman.Dense(3, 4)), "backward must be a recurrent layer"),
        ((gru(), elman.Bidirectional(gru(), gru())), "backward must be a recurrent layer"),
        ((3, gru()), "forward must be a recurrent layer"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments, words):
    with pytest.raises((ValueError, TypeError), match=words):
        elman.Bidirectional(*arguments)


def test_a_layer_stands_in_one_place_alone():
    one, two = gru(), gru()
    with pytest.raises(ValueError, match="must be two layers"):
        elman.Bidirectional(one, one)
    layer = elman.Bidirectional(one, two)
    with pytest.raises(ValueError, match="Got the same one twice"):
        elman.Network({"a": (one, "x"), "b": (layer, "x"), "c": (elman.Concatenate(), "a", "b")})
    for name in ("first", "second", "merge", "dtype"):
        with pytest.raises(AttributeError, match="cannot be assigned"):
            setattr(layer, name, None)
    with pytest.raises(elman.ShapeError, match="a stream must have layers that go forward"):
        elman.Network([layer]).stream()


@pytest.mark.parametrize("layer", [elman.LastStep(bidirectional=True), elman.MergeDirections("sum")])
def test_halves_of_the_features_are_not_directions_of_other_widths(layer):
    for between in ([], [elman.Dropout(0.1), elman.Reverse()]):
        with pytest.raises(elman.ShapeError, match=r"must read two directions of one width\. Got 4 and 6"):
            elman.Network([elman.Bidirectional(gru(4), gru(6)), *between, layer])
        elman.Network([elman.Bidirectional(gru(4), elman.LSTM(3, 4)), *between, layer])


class Louder(elman.GRU):
    def run(self, x, state, rng, keep):
        y, end, kept = super().run(x, state, rng, keep)
        return y.with_values(2 * y.values), end, kept


class Own(elman.GRU):
    """A class of one's own that computes as the library's does."""


def test_layers_of_ones_own(tmp_path):
    with pytest.raises(TypeError, match=r"runs as elman\.Recurrent does"):
        elman.Bidirectional(Louder(3, 4), gru())
    layer = elman.Bidirectional(Own(3, 4, seed=0), gru(seed=1))
    net = elman.Network([layer])
    net.save(tmp_path / "net")
    again = elman.load(tmp_path / "net", layers=[Own])
    assert type(again.layers[0].first) is Own
    with pytest.raises(elman.FormatError, match="the layer 'Own' must be given"):
        elman.load(tmp_path / "net")
    louder = Louder(3, 4, bidirectional=True, seed=0)
    plain = elman.GRU.from_parameters(louder.config, louder.parameters)
    x = np.ones((2, 5, 3))
    np.testing.assert_array_equal(louder(x)[0], 2 * plain(x)[0])


def test_it_trains_and_a_file_of_another_form_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    x = [rng.standard_normal((n, 3)) for n in rng.integers(2, 7, 24)]
    y = [part[::-1].cumsum(0)[::-1, :1] + part.cumsum(0)[:, 1:2] for part in x]
    layer = elman.Bidirectional(elman.LSTM(3, 6, seed=0), elman.GRU(3, 6, seed=1), merge="mean")
    net = elman.Network([layer, elman.Dense(6, 1, seed=2)])
    history = elman.fit(net, x, y, loss="squared_error", optimizer=elman.Adam(0.03), epochs=40, progress=False)
    assert history.loss[-1] < 0.2 * history.loss[0]
    for change in ({"first": {"type": "Dense", "input_size": 3, "output_size": 4}}, {"first": 3}, {"merge": "ave"}):
        config = {**layer.config, **change}
        with pytest.raises((ValueError, TypeError)):
            elman.Bidirectional.from_parameters(config, layer.parameters)


JUNK = [
    None,
    -1,
    "x",
    "LSTM",
    [],
    {},
    {"type": "GRU"},
    {"type": "Bidirectional"},
    {"type": "Dense"},
    {"type": [1]},
    True,
]


@pytest.mark.parametrize(
    "field", ["first", "second", "merge", "type", "first/type", "second/hidden_size", "first/cell"]
)
def test_descriptions_that_are_wrong_are_refused_in_words(field):
    net = elman.Network([made(0, 1, "sum")[0]])
    for value in JUNK if field != "first/type" else [junk for junk in JUNK if junk != "LSTM"]:
        config = describe_config(net)
        *path, last = field.split("/")
        place = config["layers"][0]
        for name in path:
            place = place[name]
        place[last] = value
        content = described("elman", {"version": NETWORK_VERSION, "network": config}, net.parameters)
        with pytest.raises(elman.FormatError, match="cannot be loaded"):
            elman.load(content)


@pytest.mark.peer
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_pytorch(kind):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = getattr(torch.nn, kind)(3, 4, bidirectional=True, batch_first=True, dtype=torch.float64)
    short = elman.from_torch([module]).layers[0]
    layer = elman.Bidirectional(*[part.replace() for part in short.directions.values()])
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 6, 3)), rng.standard_normal((2, 6, 8))
    given = torch.tensor(x, requires_grad=True)
    theirs, state = module(given)
    theirs.backward(torch.tensor(dy))
    y, end, tape = layer.forward(x)
    dx, _, _ = layer.backward(tape, dy)
    np.testing.assert_allclose(y, theirs.detach().numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(dx, given.grad.numpy(), rtol=0, atol=1e-12)
    for a, b in zip(leaves(end), state if kind == "LSTM" else [state], strict=True):
        np.testing.assert_allclose(a, b.detach().numpy(), rtol=0, atol=1e-12)


def written(merge, second, size):
    """A network of two directions, the second of another kind or not, and an input."""
    rng = np.random.default_rng(0)
    layer = elman.Bidirectional(elman.LSTM(3, 4, seed=0), second(3, size, seed=1), merge)
    net = elman.Network([elman.LayerNorm(3), layer, elman.Dense(layer.output_size, 2, seed=2)])
    for array in net.parameters.values():
        array[...] = 0.5 * rng.standard_normal(array.shape)
    return net, rng.standard_normal((2, 5, 3)).astype("f4")


@pytest.mark.parametrize("convention", ["onnx", "keras", "pytorch"])
def test_arrays_of_two_equal_layers(convention):
    layer = elman.Bidirectional(elman.LSTM(3, 4, seed=0), elman.LSTM(3, 4, seed=1))
    arrays = elman.to_arrays(layer, convention)
    again = elman.from_arrays("lstm", arrays, convention)
    np.testing.assert_array_equal(again(np.ones((2, 5, 3)))[0], layer(np.ones((2, 5, 3)))[0])
    for unlike in (layer.replace(merge="sum"), layer.replace(second=elman.GRU(3, 4))):
        with pytest.raises(TypeError, match="layer must be a recurrent layer"):
            elman.to_arrays(unlike, convention)


@pytest.mark.peer
@pytest.mark.parametrize("second", [elman.LSTM, elman.GRU, elman.RNN])
@pytest.mark.parametrize("merge", MERGES)
def test_onnx(merge, second, tmp_path):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    net, x = written(merge, second, 5 if merge == "concat" and second is not elman.LSTM else 4)
    elman.to_onnx(net, tmp_path / "net.onnx")
    (y,) = runtime.InferenceSession(tmp_path / "net.onnx").run(["y"], {"x": x})
    np.testing.assert_allclose(y, net(x)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("merge", MERGES)
def test_keras_has_any_two_layers_and_c_none(merge, tmp_path):
    pytest.importorskip("h5py")
    for second in (elman.LSTM, elman.GRU):
        net, x = written(merge, second, 4)
        elman.to_keras(net, tmp_path / "net.keras")
        np.testing.assert_allclose(elman.from_keras(tmp_path / "net.keras")(x)[0], net(x)[0], rtol=0, atol=1e-6)
    with pytest.raises(elman.ShapeError, match="a stream must have layers that go forward"):
        elman.to_c(net, tmp_path / "net.c")


@pytest.mark.peer
@pytest.mark.parametrize("merge", MERGES)
def test_modules_of_pytorch(merge):
    torch = pytest.importorskip("torch")
    net, x = written(merge, elman.LSTM, 4)
    np.testing.assert_allclose(elman.to_torch(net)(torch.tensor(x))[0].detach().numpy(), net(x)[0], rtol=0, atol=1e-6)


def test_states_are_handed_over_between_layers_that_formats_know(tmp_path):
    pytest.importorskip("onnx")
    for size, second in ((4, elman.GRU), (5, elman.LSTM)):
        parts = [elman.Bidirectional(gru(seed=i), second(3, size, seed=i)) for i in range(2)]
        net = elman.Network({"a": (parts[0], "x"), "b": elman.Node(parts[1], "y", state="a")})
        assert net({"x": np.ones((2, 5, 3)), "y": np.ones((2, 4, 3))})[0].shape == (2, 4, 4 + size)
        if second is elman.GRU:
            elman.to_onnx(net, tmp_path / "net.onnx")
        else:
            with pytest.raises(elman.ShapeError, match="'b' must take its first state from, and be, a layer that stan"):
                elman.to_onnx(net, tmp_path / "net.onnx")
