"""`elman.trace` beside loops by hand: every number to 1e-12, every gradient to 1e-7 of central differences."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import elman
from drawn_graphs import Drawn
from elman import engine
from hand_loops import run

I, H, B, T = 3, 4, 3, 5
LENGTHS = [5, 2, 4]
LAYERS = {
    "rnn": (elman.RNN, {}),
    "rnn relu": (elman.RNN, {"activation": "relu"}),
    "rnn clip": (elman.RNN, {"clip": 0.6}),
    "gru": (elman.GRU, {}),
    "gru before": (elman.GRU, {"reset_after": False}),
    "gru variant": (elman.GRU, {"activations": {"z": "softsign", "n": "relu"}, "clip": 1.1}),
    "gru before variant": (elman.GRU, {"reset_after": False, "activations": {"n": "softsign"}}),
    "lstm": (elman.LSTM, {}),
    "lstm norm": (elman.LSTM, {"layer_norm": True}),
    "lstm peepholes": (elman.LSTM, {"peepholes": True}),
    "lstm coupled": (elman.LSTM, {"coupled": True, "peepholes": True}),
    "lstm projection": (elman.LSTM, {"projection": 2, "cell_clip": 0.5}),
    "lstm variant": (elman.LSTM, {"activations": {"g": "relu", "c": "softsign"}, "clip": 0.9, "cell_clip": 0.7}),
}
AROUND = {
    "": {},
    "zoneout": {"zoneout": 0.2},
    "learned": {"learned_state": True},
    "dropped": {"recurrent_dropout": 0.3, "zoneout": 0.15},
}


@pytest.fixture(params=["kernels", "plain"], autouse=True)
def backend(request, monkeypatch):
    monkeypatch.setattr(engine, "_plain", request.param == "plain" or elman.backend() == "plain equations")


def made(kind, seed=0, **more):
    cls, options = LAYERS[kind]
    layer = cls(I, H, dtype="float64", seed=seed, **options, **more)
    rng = np.random.default_rng(seed + 1)
    for array in layer.parameters.values():
        array[...] = rng.normal(size=array.shape) * 0.7
    return layer


def data(layer, seed=0):
    """x, lengths, a first state for each direction and state, dy, dstate."""
    rng = np.random.default_rng(seed + 7)
    x = rng.normal(size=(B, T, I))
    y, state = layer(x)
    single = not isinstance(state, tuple)
    states = [rng.normal(size=s.shape) * 0.5 for s in ([state] if single else state)]
    dends = [rng.normal(size=s.shape) for s in states]
    form = (lambda parts: parts[0]) if single else tuple
    return x, form(states), rng.normal(size=y.shape), form(dends)


def by_hand(layer, t, x, state, poke=None):
    """Every number of a padded batch by loops, name -> (B, T, ...), y, last states; `poke` is added to one number."""
    found, ys, ends = {}, [], []
    states = state if isinstance(state, tuple) else (state,)
    both = layer.bidirectional
    for d, end in enumerate(layer.directions):
        walk = t.layers[end]
        ys.append(np.zeros((B, T, layer.directions[end].states()["h"])))
        ends.append([])
        for b, length in enumerate(LENGTHS):

            def see(name, step, value, b=b, end=end):
                if poke is not None and poke[0] == (name + end, b, step):
                    value = value + poke[1]
                full = found.setdefault(name + end, np.zeros((B, T, *np.shape(value))))
                full[b, step] = value
                return value

            masks = (
                walk.values("mask").reshape(-1, ys[d].shape[-1])[sum(LENGTHS[:b])] if "mask" in walk.names() else None
            )
            zones = None
            if any(layer.zone_rates):
                rows = slice(sum(LENGTHS[:b]), sum(LENGTHS[: b + 1]))
                zoned = [f"zone_{s}" in walk.names() for s in layer.cell.states]
                zones = [
                    walk.values(f"zone_{s}")[rows] if z else 0.0 for s, z in zip(layer.cell.states, zoned, strict=True)
                ]
            first = tuple(s[d, b] if both else s[b] for s in states)
            y, last = run(layer, x[b, :length], first, see, bool(d), end, masks, zones)
            ys[d][b, :length] = y
            ends[d].append(last)
    last = [np.stack([[one[i] for one in ends[d]] for d in range(len(ends))]) for i in range(len(states))]
    return found, np.concatenate(ys, -1), last if both else [s[0] for s in last]


def loss(y, last, dy, dstate):
    return (y * dy).sum() + sum(
        (a * b).sum() for a, b in zip(last, dstate if isinstance(dstate, tuple) else (dstate,), strict=True)
    )


@pytest.mark.parametrize("both", [False, True], ids=["forward", "both"])
@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("kind", LAYERS)
def test_every_number_and_every_gradient(kind, around, both):
    layer = made(kind, seed=len(kind) + 10 * both, bidirectional=both, **AROUND[around])
    x, state, dy, dstate = data(layer)
    real = np.arange(T) < np.array(LENGTHS)[:, None]
    dy = np.where(real[..., None], dy, 0)
    x[~real] = np.nan
    for _ in range(2):
        rng = np.random.default_rng(3) if around == "dropped" else None
        t = elman.trace(layer, x, state, LENGTHS, dy, dstate, rng=rng)
        found, y, last = by_hand(layer, t, x, state)
        np.testing.assert_allclose(t.y, y, rtol=0, atol=1e-12)
        for name, want in found.items():
            np.testing.assert_allclose(t[name], want, rtol=0, atol=1e-12, err_msg=name)
        for name in {n for n in t.names if n.startswith("d") and n[1:] in t.names} - {"dy", "dx"}:
            assert not t[name][~real].any()
    picks = np.random.default_rng(0)
    for name in found:
        b = int(picks.integers(B))
        s = int(picks.integers(LENGTHS[b]))
        got, e = t[f"d{name}"][b, s], 1e-6
        want = np.zeros_like(got)
        for u in range(len(want)):
            at = [by_hand(layer, t, x, state, ((name, b, s), e * sign * np.eye(len(want))[u])) for sign in (1, -1)]
            want[u] = (loss(*at[0][1:], dy, dstate) - loss(*at[1][1:], dy, dstate)) / (2 * e)
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7, err_msg=f"d{name} at {b}, {s}")
    rng = np.random.default_rng(3) if around == "dropped" else None
    _, _, tape = layer.forward(x, state, LENGTHS, rng=rng)
    dx, dstart, gradients = layer.backward(tape, dy, dstate)
    np.testing.assert_array_equal(t["dx"], dx)
    for name, gradient in gradients.items():
        share = t[f"d{name}"]
        assert share.shape == (T, *gradient.shape)
        np.testing.assert_allclose(share.sum(0), gradient, rtol=1e-12, atol=1e-12, err_msg=name)


def directions_alone(layer, x, state, dy, dstate):
    """The traces of both directions of a layer as layers of one direction, the second on reversed sequences."""
    first, second = layer.directions.values()
    width = first.output_size
    yield "", elman.trace(first, x, state[0], dy=dy[..., :width], dstate=dstate[0]), lambda part: part
    back = elman.trace(second, x[:, ::-1], state[1], dy=dy[:, ::-1, width:], dstate=dstate[1])
    yield "_reverse", back, lambda part: part[:, ::-1]


def test_two_directions_of_different_cells_are_those_of_each_alone():
    rng = np.random.default_rng(4)
    layer = elman.Bidirectional(made("lstm", 1), elman.GRU(I, 2, dtype="float64", seed=2))
    x, dy = rng.normal(size=(B, T, I)), rng.normal(size=(B, T, H + 2))
    states, dends = (((rng.normal(size=(B, H)), rng.normal(size=(B, H))), rng.normal(size=(B, 2))) for _ in range(2))
    t = elman.trace(layer, x, states, dy=dy, dstate=dends)
    assert set(t.layers) == {"", "_reverse"}
    assert t.layers["_reverse"].reverse
    for end, alone, turned in directions_alone(layer, x, states, dy, dends):
        for name in set(alone.names) - {"x", "y", "dx", "dy"}:
            want = alone[name]
            want = want[::-1] if end and want.shape[0] == T and name[1:] in layer.second.parameters else want
            want = turned(want) if want.shape[0] == B and want.ndim == 3 else want
            np.testing.assert_allclose(t[name + end], want, rtol=1e-11, atol=1e-13, err_msg=name)
    np.testing.assert_array_equal(t["y"], layer(x, states)[0])


@pytest.mark.parametrize("merge", ["sum", "mean", "multiply"])
def test_the_gradient_of_a_merged_output_by_central_differences(merge):
    rng = np.random.default_rng(5)
    layer = elman.Bidirectional(made("gru", 1), made("gru", 2), merge=merge)
    x, dy = rng.normal(size=(B, T, I)), rng.normal(size=(B, T, H))
    t = elman.trace(layer, x, dy=dy)
    for end, part in layer.directions.items():
        for name in ("Wh", "bn"):
            weight, i = part.parameters[name], (1, 2) if name == "Wh" else (2,)
            sums = []
            for e in (1e-6, -2e-6):
                weight[i] += e
                sums.append((layer(x)[0] * dy).sum())
            weight[i] += 1e-6
            assert abs(t[f"d{name}{end}"].sum(0)[i] - (sums[0] - sums[1]) / 2e-6) < 1e-7


def graph(dtype="float64"):
    """Several inputs and outputs, a skip, a nested network, a decoder that starts from an encoder, pooling."""
    inner = elman.Network([elman.GRU(H, 3, dtype=dtype, seed=3), elman.Dense(3, 2, "tanh", dtype=dtype, seed=4)])
    nodes = {
        "encoder": (elman.LSTM(I, H, bidirectional=False, peepholes=True, dtype=dtype, seed=1), "source"),
        "inside": (inner, "encoder"),
        "both": (elman.Concatenate(), "encoder", "inside"),
        "pooled": elman.MeanOverTime(),
        "decoder": elman.Node(elman.LSTM(2, H, coupled=True, dtype=dtype, seed=2), "target", state="encoder"),
        "out": elman.Dense(H, 2, dtype=dtype, seed=5),
    }
    return elman.Network(nodes, outputs=["out", "pooled", "inside"])


def test_a_graph_with_nested_networks_several_inputs_and_outputs():
    net, rng = graph(), np.random.default_rng(6)
    x = {"source": [rng.normal(size=(n, I)) for n in LENGTHS], "target": [rng.normal(size=(n, 2)) for n in (2, 6, 1)]}
    y, state, tape = net.forward(x)
    dy = {"out": [rng.normal(size=p.shape) for p in y["out"]], "pooled": rng.normal(size=y["pooled"].shape)}
    dy["inside"] = [rng.normal(size=p.shape) for p in y["inside"]]
    dx, _, gradients = net.backward(tape, dy)
    for _ in range(2):
        t = elman.trace(net, x, dy=dy)
        assert list(t.layers) == ["encoder", "inside.0", "decoder"]
        for b, length in enumerate(LENGTHS):
            np.testing.assert_array_equal(t["dsource"][b], dx["source"][b])
            np.testing.assert_array_equal(t["inside.1.y"][b], y["inside"][b])
            assert t["encoder.da_o"][b].shape == (length, H)
        np.testing.assert_array_equal(t["pooled.y"], y["pooled"])
        np.testing.assert_array_equal(t["pooled.dy"], dy["pooled"])
        for name, gradient in gradients.items():
            if name.rpartition(".")[0] in t.layers:
                place, _, weight = name.rpartition(".")
                np.testing.assert_allclose(t[f"{place}.d{weight}"].sum(0), gradient, rtol=1e-12, atol=1e-13)
    # The state that the encoder hands on to the decoder has what comes back from there.
    alone = elman.trace(net.layers[0], x["source"], dy=t["encoder.dy"])
    assert abs(t["encoder.dc"][0][-1] - alone["dc"][0][-1]).max() > 1e-3
    np.testing.assert_array_equal(t["encoder.f"][2], alone["f"][2])


def test_the_gradient_of_any_number_of_a_graph_by_central_differences():
    """Numbers are changed by a layer that adds to what goes through it, before and after the recurrent ones."""
    shifts = {}  # by the size of the layer

    class Shift(elman.Layer):
        def __init__(self, size):
            super().__init__(size=size, dtype="float64")

        def setup(self, size, dtype="float64"):
            self.size = self.input_size = self.output_size = size
            self.dtype = np.dtype(dtype)

        def run(self, x, state, rng, keep):
            return x.with_values(x.values + shifts.get(self.size, 0.0)), None, ()

        def run_back(self, kept, dy, dstate):
            return dy, None, {}

    rng = np.random.default_rng(7)
    layers = [
        Shift(I),
        made("lstm peepholes", 3, bidirectional=True),
        Shift(2 * H),
        elman.Dense(2 * H, 2, dtype="float64"),
    ]
    net, x = elman.Network(layers), rng.normal(size=(B, T, I))
    y, _ = net(x, lengths=LENGTHS)
    dy = rng.normal(size=y.shape)
    real = np.arange(T) < np.array(LENGTHS)[:, None]
    t = elman.trace(net, x, lengths=LENGTHS, dy=dy)
    for place, name in ((0, "0.dy"), (0, "1.dx"), (2, "1.dy"), (2, "2.dy")):
        row, unit = 6, 1  # of the packed rows: sequence 1, step 1
        sums = []
        for e in (1e-6, -1e-6):
            shift = shifts[layers[place].size] = np.zeros((sum(LENGTHS), layers[place].size))
            shift[row, unit] = e
            sums.append((net(x, lengths=LENGTHS)[0] * dy)[real].sum())
        shifts.clear()
        assert abs(t[name][1, 1, unit] - (sums[0] - sums[1]) / 2e-6) < 1e-7
        assert not t[name][1, 2:].any()


# Cells of one's own


def named_step(x, state, weights):
    (h, c), (W, U, b) = state, weights
    a_f = x @ W + h @ U + b
    f = elman.sigmoid(a_f)
    new = f * c + (1 - f) * np.tanh(x @ W)
    return (np.tanh(new) * f, new), {"f": f, "n": np.tanh(x @ W)}, {"a_f": a_f}


def named_derivative(x, state, weights, kept, dnext):
    (h, c), (W, U, _b), (dh, dc) = state, weights, dnext
    f, n = kept["f"], kept["n"]
    squashed = np.tanh(f * c + (1 - f) * n)
    dc = dc + dh * f * (1 - squashed**2)
    df, dn = dc * (c - n) + dh * squashed, dc * (1 - f)
    da_f, da_n = df * f * (1 - f), dn * (1 - n**2)
    dweights = (x.T @ (da_f + da_n), h.T @ da_f, da_f.sum(0))
    return (da_f + da_n) @ W.T, (da_f @ U.T, dc * f), dweights, {"c": dc, "f": df, "n": dn, "a_f": da_f}


OWN = {"W": ("input", "hidden"), "U": ("hidden", "hidden"), "b": ("hidden",)}
NAMED = elman.Cell("named", OWN, ("h", "c"), named_step, named_derivative, activations={"f": "sigmoid"}, gates=("f",))
SILENT = elman.Cell("silent", OWN, ("h", "c"), lambda *a: named_step(*a)[:2], lambda *a: named_derivative(*a)[:3])


@pytest.mark.parametrize("both", [False, True])
def test_a_cell_of_ones_own_by_central_differences(both):
    layer = elman.Recurrent(NAMED, I, H, bidirectional=both, dtype="float64", seed=0, zoneout=(0.0, 0.2))
    rng = np.random.default_rng(8)
    x = rng.normal(size=(B, T, I))
    y, state = layer(x, lengths=LENGTHS)
    dy, dstate = rng.normal(size=y.shape), tuple(rng.normal(size=s.shape) for s in state)
    t = elman.trace(layer, x, lengths=LENGTHS, dy=dy, dstate=dstate)
    end = "_reverse" if both else ""
    assert [f"{n}{end}" in t for n in ("f", "n", "a_f", "c_new", "dn", "da_f", "dc_new", "dU")] == [True] * 8
    assert f"dzone_c{end}" not in t
    view = list(layer.directions.values())[-1]
    W, U, b = view.parameters.values()

    def loss_of(poke):
        total = 0.0
        for k, length in enumerate(LENGTHS):
            h = c = np.zeros(H)
            for s in range(length)[::-1] if both else range(length):

                def see(name, value, k=k, s=s):
                    return value + poke[1] if poke[0] == (name, k, s) else value

                a_f = see("a_f", x[k, s] @ W + h @ U + b)
                f, n = see("f", 1 / (1 + np.exp(-a_f))), see("n", np.tanh(x[k, s] @ W))
                new = see("c_new", f * c + (1 - f) * n)
                h, c = see("h", np.tanh(new) * f), see("c", 0.2 * c + 0.8 * new)
                total += h @ (dy[k, s, H:] if both else dy[k, s])
            total += sum(
                s @ d
                for s, d in zip((h, c), ([d[1, k] for d in dstate] if both else [d[k] for d in dstate]), strict=True)
            )
        return total

    for name in ("h", "c", "c_new", "f", "n", "a_f"):
        for k, s in ((0, 0), (1, 1), (2, 2)):
            for u in range(H):
                e = 1e-6 * np.eye(H)[u]
                want = (loss_of(((name, k, s), e)) - loss_of(((name, k, s), -e))) / 2e-6
                assert abs(t[f"d{name}{end}"][k, s, u] - want) < 1e-7, name


def test_a_cell_that_names_no_gradient_has_those_of_its_states_and_weights():
    layer = elman.Recurrent(SILENT, I, H, dtype="float64", seed=0)
    rng = np.random.default_rng(9)
    x, dy = rng.normal(size=(B, T, I)), rng.normal(size=(B, T, H))
    t = elman.trace(layer, x, dy=dy)
    assert t.names == ("x", "h", "c", "f", "n", "y", "dx", "dh", "dc", "dy", "dW", "dU", "db")
    _, _, tape = layer.forward(x)
    for name, gradient in layer.backward(tape, dy)[2].items():
        np.testing.assert_allclose(t[f"d{name}"].sum(0), gradient, rtol=1e-12)


@pytest.mark.parametrize(
    ("by_name", "said"),
    [
        ({"f": np.ones(3)}, r"'f' at each step, \(batch, 4\). Got an array of shape \(3,\)"),
        ({"f": 1.0}, "'f' as an array of floats. Got"),
        ({"other": np.float64(2)}, "'other' as an array of floats"),
        ({"c": np.ones((B, 2))}, r"'c' at each step, \(batch, 4\)"),
    ],
)
def test_a_named_gradient_of_another_shape_is_refused(by_name, said):
    cell = elman.Cell("odd", OWN, ("h", "c"), named_step, lambda *a: (*named_derivative(*a)[:3], by_name))
    layer = elman.Recurrent(cell, I, H, dtype="float64", seed=0)
    y, _, tape = layer.forward(np.ones((B, T, I)))
    layer.backward(tape, y)
    with pytest.raises((elman.ShapeError, elman.DtypeError), match=f"step_derivative of the cell 'odd' must .*{said}"):
        elman.trace(layer, np.ones((B, T, I)), dy=y)["dh"]


# Forms, and what comes beside


def test_every_form_holds_the_same_numbers():
    net = elman.Network([made("lstm", 1, bidirectional=True), elman.Dense(2 * H, 2, dtype="float64", seed=1)])
    rng = np.random.default_rng(10)
    parts, dparts = [rng.normal(size=(n, I)) for n in LENGTHS], [rng.normal(size=(n, 2)) for n in LENGTHS]
    padded, dpadded = np.full((B, T, I), 9.0), np.full((B, T, 2), 9.0)
    for b, n in enumerate(LENGTHS):
        padded[b, :n], dpadded[b, :n] = parts[b], dparts[b]
    of_list, of_array = elman.trace(net, parts, dy=dparts), elman.trace(net, padded, lengths=LENGTHS, dy=dpadded)
    assert of_list.names == of_array.names
    np.testing.assert_array_equal(of_array.lengths, LENGTHS)
    for b, n in enumerate(LENGTHS):
        one = elman.trace(net, parts[b], dy=dparts[b])
        for name in one.names:
            if one[name].ndim == 2 and one[name].shape[0] == n and name[2:].split("_")[0] not in ("db",):
                np.testing.assert_allclose(of_list[name][b], one[name], rtol=1e-10, atol=1e-12, err_msg=name)
                np.testing.assert_array_equal(of_array[name][b, :n], of_list[name][b])
                assert not of_array[name][b, n:].any()
    for name in ("0.dWh", "0.dWx_reverse", "0.db"):
        np.testing.assert_array_equal(of_list[name], of_array[name])


def test_float32_is_near_float64_and_nothing_is_shared_or_moved():
    net = elman.Network([made("gru", 1), elman.BatchNorm(H, dtype="float64"), elman.Dropout(0.5)])
    small, rng = net.astype("float32"), np.random.default_rng(11)
    x = rng.normal(size=(B, T, I)).astype("float32")
    before = {name: array.copy() for name, array in net.weights.items()}
    big = elman.trace(net, x, dy=np.ones((B, T, H)))
    t = elman.trace(small, x, dy=np.ones((B, T, H)))
    for name in t.names:
        assert t[name].dtype == np.float32
        assert t[name].shape == big[name].shape
        np.testing.assert_allclose(t[name], big[name], rtol=1e-4, atol=1e-5, err_msg=name)
        t[name][...] = 7
        np.testing.assert_allclose(t[name], big[name], rtol=1e-4, atol=1e-5, err_msg=name)
    elman.trace(net, x, rng=rng)
    for name, array in net.weights.items():
        np.testing.assert_array_equal(array, before[name])
    want = big["0.dz"].copy()
    net.layers[0].Wh[...] = 0
    np.testing.assert_array_equal(elman.trace(net, x)["0.z"][:, 0], big["0.z"][:, 0])
    np.testing.assert_array_equal(big["0.dz"], want)
    assert big["0.dWh"].any()
    assert elman.trace(net, x)["0.a_n"].shape == (B, T, H)


def test_gates_of_kernels_are_those_of_the_plain_equations(monkeypatch):
    x = np.random.default_rng(12).normal(size=(B, T, I))
    for kind in LAYERS:
        layer = made(kind, 1, zoneout=0.1, bidirectional=True)
        traces = []
        for plain in (False, True):
            monkeypatch.setattr(engine, "_plain", plain or elman.backend() == "plain equations")
            traces.append(elman.trace(layer, x, lengths=LENGTHS, dy=np.ones((B, T, layer.output_size))))
        assert traces[0].names == traces[1].names
        for name in traces[0].names:
            np.testing.assert_allclose(traces[0][name], traces[1][name], rtol=1e-10, atol=1e-12, err_msg=name)


def test_norms_saturation_and_the_frame():
    pd = pytest.importorskip("pandas")
    net = elman.Network([made("lstm", 1), elman.LastStep(), elman.Dense(H, 2, dtype="float64", seed=0)])
    net.layers[0].b[H : 2 * H] = [50, -50, 0, 0]
    x = np.random.default_rng(13).normal(size=(B, T, I)) * 0.1
    t = elman.trace(net, x, lengths=LENGTHS, dy=np.ones((B, 2)))
    norms = t.norms()
    assert list(norms) == ["0.h", "0.dh", "0.c", "0.dc"]
    for name, row in norms.items():
        np.testing.assert_allclose(row, np.sqrt((t[name] ** 2).sum((0, 2))), rtol=1e-12)
    assert len(repr(norms).splitlines()) == 6
    assert "3/4" in repr(norms)
    flat = t.saturation()
    assert list(flat) == ["0.i", "0.f", "0.g", "0.o"]
    f = t["0.f"][np.arange(T) < np.array(LENGTHS)[:, None]]
    np.testing.assert_allclose(flat["0.f"], (f * (1 - f) <= 0.05 * 0.25).mean(0))
    assert flat["0.f"][0] == flat["0.f"][1] == 1
    assert "units over half" in repr(flat)
    with pytest.raises(ValueError, match=r"limit must be a number from 0 up to 1. Got 2"):
        t.saturation(limit=2)
    frame = t.to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == ["name", "sequence", "step", "unit", "value"]
    row = frame.query("name == '0.dc' and sequence == 2 and step == 3 and unit == 1")
    assert row.value.item() == t["0.dc"][2, 3, 1]
    assert {"1.y", "x", "0.h"} <= set(frame.name)
    assert not {"0.a_f", "0.dWh"} & set(frame.name)
    assert len(t.to_frame("0.a_f")) == sum(LENGTHS) * H
    with pytest.raises(ValueError, match=r"names must be of numbers of each sequence. Got '0.dWh'"):
        t.to_frame(["0.dWh"])


@pytest.mark.parametrize("names", [5, [], None, {"h"}, b"h"])
def test_the_frame_takes_names(names):
    pytest.importorskip("pandas")
    t = elman.trace(elman.GRU(2, 3, seed=0), np.ones((4, 2)))
    if names is not None:
        with pytest.raises(TypeError, match="names must be a name or a list of names"):
            t.to_frame(names)
    else:
        assert len(t.to_frame(None)) == len(t.to_frame([n for n in t.names if "a_" not in n]))


def test_saturation_knows_bounds_and_other_activations():
    relu = elman.RNN(1, 2, activation="relu", dtype="float64", seed=0)
    relu.Wx[...], relu.Wh[...], relu.b[...] = [[1.0, -1.0]], 0, 0
    assert elman.trace(relu, [[1.0], [2.0]]).saturation()["h"].tolist() == [0, 1]
    clipped = elman.GRU(1, 1, clip=0.5, dtype="float64", seed=0)
    clipped.b[...] = [3.0, 0.0, 0.0]
    assert elman.trace(clipped, [[0.1], [0.1]]).saturation()["r"].tolist() == [1]
    zoned = elman.RNN(1, 2, zoneout=0.1, dtype="float64", seed=0)
    assert list(elman.trace(zoned, [[1.0]]).saturation()) == ["h_new"]
    own = elman.Recurrent(NAMED, 1, 2, dtype="float64", seed=0)
    assert list(elman.trace(own, [[1.0]]).saturation()) == ["f"]


def test_what_a_step_read():
    layer = made("lstm", 2, bidirectional=True)
    x, state, _, _ = data(layer)
    t = elman.trace(layer, x, state, LENGTHS)
    one = t.layers["_reverse"]
    seen = one.step(1, sequence=2)
    np.testing.assert_array_equal(seen["x"], x[2, 1])
    np.testing.assert_array_equal(seen["c"], t["c_reverse"][2, 2])
    np.testing.assert_array_equal(one.step(3, 2)["h"], state[0][1, 2])
    np.testing.assert_array_equal(one.weights["Wh"], layer.Wh_reverse)
    with pytest.raises(ValueError, match=r"step must be from 0 to 3, those of sequence 2. Got 4."):
        one.step(4, 2)
    with pytest.raises(ValueError, match=r"sequence must be from 0 to 2. Got -1."):
        one.step(0, -1)
    with pytest.raises(ValueError, match=r"step must be from 0 to 4, those of sequence 0. Got 1.5."):
        one.step(1.5)


def test_it_prints_in_a_few_lines():
    net = elman.Network([made("lstm", 1), elman.Dense(H, 2, dtype="float64", seed=0)])
    assert repr(elman.trace(net, np.ones((B, T, I)), lengths=LENGTHS)).splitlines() == [
        "Trace of Network: 3 sequences, 11 steps, without gradients",
        "  0  LSTM   h c i f g o tanh_c a_i a_f a_g a_o",
        "  1  Dense  y",
    ]
    _, _, tape = net.forward(np.ones((B, T, I)))
    assert repr(tape) == "Tape of Network: 3 sequences, 15 steps, for backward"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("0.forget", r"a name must be one of t.names, of a node of \(0, 1\). Got '0.forget'."),
        ("0.a_F", "Got '0.a_F'. Did you mean '0.a_f'?"),
        ("2.f", "Did you mean '0.f'?"),
        (3, "Got 3."),
        (
            "0.dc",
            "'0.dc' must be asked of a trace with dy or dstate, from which gradients come. Got a trace of the for",
        ),
        ("0.dWh", "'0.dWh' must be asked of a trace with dy or dstate"),
        ("1.dy", "'1.dy' must be asked of a trace with dy or dstate"),
    ],
)
def test_names_that_nothing_has(name, said):
    net = elman.Network([made("lstm", 1), elman.Dense(H, 2, dtype="float64", seed=0)])
    t = elman.trace(net, np.ones((B, T, I)))
    for error in (KeyError, ValueError):
        with pytest.raises(error, match=said.replace("?", r"\?")):
            t[name]
    assert name not in t
    assert "0.f" in t


def test_bad_arguments_are_refused_in_words():
    net = elman.Network([made("lstm", 1), elman.Dense(H, 2, dtype="float64", seed=0)])
    x, nan = np.ones((B, T, I)), np.ones((B, T, 2))
    nan[1, 3, 0] = np.nan
    fitted = SimpleNamespace(network_=net)
    for call, said in [
        (lambda: elman.trace(net.layers[0].cell, x), "net must be a layer or a network. Got"),
        (lambda: elman.trace(fitted, x), "net must be a layer or a network; of an estimator its network_. Got"),
        (lambda: elman.trace(net.stream(2), x), "net must be a layer or a network. Got"),
        (lambda: elman.trace(net, x[..., :2]), "x must have shape"),
        (lambda: elman.trace(net, x, dy=np.ones((B, T, 3))), r"dy must have shape \(3, 5, 2\). Got \(3, 5, 3\)."),
        (lambda: elman.trace(net, x, dy=nan), "dy must hold finite numbers. Got nan at sequence 1, step 3, feature 0."),
        (lambda: elman.trace(net, x, dstate=[np.full((B, H), np.inf)]), "dstate must be a tuple of 2 arrays"),
        (
            lambda: elman.trace(net, x, dstate=[(np.ones((B, H)), np.full((B, H), np.inf))]),
            "dstate must hold finite numbers. Got inf at sequence 0, feature 0.",
        ),
        (lambda: elman.trace(net, x, rng=3), "rng must be a numpy.random.Generator, or None. Got 3."),
        (lambda: elman.trace(elman.Concatenate(), x), "must stand in a network"),
    ]:
        with pytest.raises((TypeError, ValueError), match=said):
            call()


def test_a_layer_of_ones_own_without_whole_sequences_is_refused_in_words():
    class Steps(elman.Layer):
        def setup(self):
            self.input_size = self.output_size = I

        def step(self, x, state):
            return x, ()

    net = elman.Network([Steps(), made("gru")])
    with pytest.raises(TypeError, match="net must have layers that compute whole sequences and their gradients"):
        elman.trace(net, np.ones((B, T, I)))


def test_a_nan_in_the_input_is_seen_where_it_goes():
    layer = made("lstm")
    x = np.ones((B, T, I))
    x[1, 2, 0] = np.nan
    t = elman.trace(layer, x)
    assert np.isnan(t["f"][1, 2:]).all()
    assert np.isfinite(t["f"][1, :2]).all()
    assert np.isfinite(t["c"][0]).all()


@pytest.mark.parametrize("seed", range(24))
def test_random_graphs_give_what_forward_and_backward_give(seed):
    drawn = Drawn(seed, states=seed % 2 == 1)
    net = drawn.network()
    x, rng = drawn.inputs_of(net), np.random.default_rng(seed)
    y, state, tape = net.forward(x)

    def like(value):
        if isinstance(value, dict):
            return {name: like(part) for name, part in value.items()}
        return [like(part) for part in value] if isinstance(value, list) else rng.normal(size=value.shape)

    dy = like(y)
    dx, dstart, gradients = net.backward(tape, dy)
    t = elman.trace(net, x, dy=dy)
    for place, one in t.layers.items():
        for name in one.layer.parameters:
            share = t[one.path(f"d{name}")].sum(0)
            node, end = one.place, "_reverse" if place.endswith("_reverse") else ""
            np.testing.assert_allclose(share, gradients[f"{node}.{name}{end}"], rtol=1e-10, atol=1e-11)
    for name, gradient in (dx if isinstance(dx, dict) else {net.inputs[0]: dx}).items():
        if gradient is None:
            assert f"d{name}" not in t
            continue
        for got, want in zip(t[f"d{name}"], gradient, strict=True):
            np.testing.assert_array_equal(got, want)
    for name in t.names:
        assert t[name] is not None
    assert len(t.norms())
    assert len(repr(t).splitlines()) <= 14
