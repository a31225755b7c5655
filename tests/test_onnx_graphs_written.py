"""Networks that branch and join, written as ONNX models: ONNX Runtime computes what they compute here."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator

import elman
from drawn_graphs import Drawn
from elman.checks import FormatError
from elman.interop.onnx.writing.writer import to_onnx
from elman.layers.nesting import flat_nodes

COUNT = 140


def written(path, net, **options):
    """The session of a network written as a model, which is checked on its way."""
    to_onnx(net, path, **options)
    onnx.checker.check_model(str(path), full_check=True)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])


def run(session, feeds):
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


def close(got, want, within=1e-5):
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=within, atol=within)


def by_names(net, x):
    """What a model is fed with, in the dtype of the network."""
    given = x if len(net.inputs) > 1 else {net.inputs[0]: x}
    return {
        name: part if part.dtype.kind == "i" else part.astype(net.dtype or np.float32) for name, part in given.items()
    }


def outputs_of(net, y):
    return y if net.graph.named else {"y": y}


def entries_of(net, state, path=""):
    """The entries of a state with the places of their layers, nested networks flat."""
    stateful = [(name, layer) for name, layer in zip(net.names, net.layers, strict=True) if layer.stateful]
    for (name, layer), entry in zip(stateful, state, strict=True):
        if layer.layers:
            yield from entries_of(layer, entry, f"{path}{name}.")
        else:
            yield path + name, entry


def by_model(net, state, prefix):
    """States by the names that a model gives them: those of two cells in both directions stand one after another."""
    found, numbers = {}, count()
    entries = dict(entries_of(net, state))
    nodes = [node for node in flat_nodes(net, spelled=True)[0] if node.layer.stateful]
    for node in nodes:
        parts = [other.layer for other in nodes if other.place == node.place]
        at, entry, i = [part is node.layer for part in parts].index(True), entries[node.place], next(numbers)
        if entry is None:
            continue
        if len(parts) == 2 and [*parts[0].states().values()] != [*parts[1].states().values()]:
            entry = entry[at]
        arrays = entry if isinstance(entry, tuple) else (entry,)
        names = node.layer.cell.states if isinstance(node.layer, elman.Recurrent) else node.layer.states()
        for name, array in zip(names, arrays, strict=True):
            found[f"{prefix}_{i}_{name}"] = (
                array if array.ndim == 3 and len(parts) == 1 else array[at : at + 1] if array.ndim == 3 else array[None]
            )
    return found


def states_of(net, rng, like):
    """Random states in the form of `like`, and as the model takes them; None where another node gives them."""

    def drawn(layers, starts, entries):
        stateful = [pair for pair in zip(layers, starts, strict=True) if pair[0].stateful]
        for (layer, start), entry in zip(stateful, entries, strict=True):
            if layer.layers:
                yield [*drawn(layer.layers, layer.graph.starts, entry)]
            else:
                yield None if start else random_like(entry)

    def random_like(entry):
        if isinstance(entry, tuple):
            return tuple(map(random_like, entry))
        return rng.standard_normal(entry.shape).astype(entry.dtype)

    state = [*drawn(net.layers, net.graph.starts, like)]
    return state, by_model(net, state, "state")


@pytest.mark.parametrize("seed", range(COUNT))
def test_random_graphs(seed, tmp_path):
    drawn = Drawn(seed, states=seed % 4 > 1)
    net = drawn.network().astype("float32")
    states, lengths = seed % 2 == 0, seed % 3 > 0
    vectors = [name for name in net.inputs if drawn.kinds[name] == "vectors"]
    session = written(tmp_path / "net.onnx", net, states=states, lengths=lengths, vectors=vectors)
    own = {name: drawn.lengths_of(name) for name in net.inputs if name not in vectors}
    for _ in range(2):
        if not lengths:
            for steps in own.values():
                steps[:] = steps.max()
        feeds = by_names(net, drawn.inputs_of(net, form="padded"))
        x = dict(feeds) if len(net.inputs) > 1 else feeds[net.inputs[0]]
        if lengths:
            ports = [value.name for value in session.get_inputs() if value.name.startswith("lengths")]
            for port in ports:
                steps = own.get(port.removeprefix("lengths_"), drawn.lengths)
                feeds[port] = steps.astype(np.int32)
        state, given = None, own if len(net.inputs) > 1 else drawn.lengths
        if states and net.stateful:
            state, more = states_of(net, drawn.rng, net(x, lengths=given)[1])
            feeds |= more
        y, end = net(x, state, lengths=given)
        got = run(session, feeds)
        for name, want in outputs_of(net, y).items():
            close(got.pop(name), want)
        for name, want in by_model(net, end, "next_state").items() if states and net.stateful else ():
            close(got.pop(name), want)
        assert not got


def series_and_store(**more):
    return elman.Network({
        "left": (elman.GRU(2, 4, seed=0, **more), "series"),
        "both": (elman.Concatenate(), "store", "left"),
        "out": elman.Dense(7, 1, seed=1, **more),
    })  # fmt: skip


def translator():
    """An encoder and a decoder that starts from it, whose sequences have lengths of their own."""
    return elman.Network({
        "encoder": (elman.LSTM(3, 5, seed=0), "source"),
        "decoder": elman.Node(elman.LSTM(2, 5, seed=1), "target", state="encoder"),
        "last": (elman.LastStep(), "encoder"),
        "sum": (elman.Add(), "last", "decoder"),
    }, outputs=("sum", "last"))  # fmt: skip


def shapes(values):
    return {value.name: value.shape for value in values}


class TestNames:
    def test_inputs_and_outputs_have_those_of_the_network(self, tmp_path):
        session = written(tmp_path / "net.onnx", translator(), states=True, lengths=True)
        assert shapes(session.get_inputs()) == {
            "source": ["batch", "time_source", 3],
            "target": ["batch", "time_target", 2],
            "lengths_source": ["batch"],
            "lengths_target": ["batch"],
            "state_0_h": [1, "batch", 5],
            "state_0_c": [1, "batch", 5],
        }
        assert shapes(session.get_outputs()) == {
            "sum": ["batch", "time_target", 5],
            "last": ["batch", 5],
            **{f"next_state_{i}_{name}": [1, "batch", 5] for i in (0, 1) for name in "hc"},
        }

    def test_one_input_of_lengths_where_all_must_agree(self, tmp_path):
        net = elman.Network({
            "a": (elman.GRU(2, 3, seed=0), "one"),
            "b": (elman.GRU(1, 3, seed=1), "two"),
            "y": (elman.Multiply(), "a", "b", "a"),
        })  # fmt: skip
        session = written(tmp_path / "net.onnx", net, lengths=True)
        assert shapes(session.get_inputs()) == {
            "one": ["batch", "time", 2],
            "two": ["batch", "time", 1],
            "lengths": ["batch"],
        }
        assert shapes(session.get_outputs()) == {"y": ["batch", "time", 3]}

    def test_a_vector_is_what_no_layer_over_time_reads(self, tmp_path):
        session = written(tmp_path / "net.onnx", series_and_store(), lengths=True)
        assert shapes(session.get_inputs()) == {
            "series": ["batch", "time", 2],
            "store": ["batch", 3],
            "lengths": ["batch"],
        }
        session = written(tmp_path / "net.onnx", series_and_store(), vectors=())
        assert shapes(session.get_inputs())["store"] == ["batch", "time", 3]

    def test_the_output_is_not_called_as_an_input_is(self, tmp_path):
        net = elman.Network({"sum": (elman.Add(), "x", "y")})
        session = written(tmp_path / "net.onnx", net)
        assert [value.name for value in session.get_outputs()] == ["sum"]

    @pytest.mark.parametrize("names", [("\ud800", "rnn"), ("x", "\ud800")])
    def test_names_that_no_file_holds(self, names, tmp_path):
        net = elman.Network({names[1]: (elman.GRU(2, 3, seed=0), names[0])})
        with pytest.raises(FormatError, match="names must be text that UTF-8 can hold"):
            to_onnx(net, tmp_path / "net.onnx")
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("name", ["lengths", "state_0_h", "next_state_0_h", "rnn.GRU/Y", "integers_1", "number_0"])
    def test_names_that_the_model_has_besides(self, name, tmp_path):
        net = elman.Network({"rnn": (elman.GRU(2, 3, seed=0), name)})
        message = f"names of inputs and outputs must be none that the model has besides. Got '{name}'"
        with pytest.raises(FormatError, match=message):
            to_onnx(net, tmp_path / "net.onnx", lengths=True, states=True)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("vectors", "error", "message"),
        [
            ("store", TypeError, "vectors must be a list of names of inputs. Got 'store'"),
            (["shop"], ValueError, "a name in vectors must be .* Got 'shop'"),
            (["series", "store"], ValueError, "vectors must leave an input that is a sequence. Got"),
            (["series"], elman.ShapeError, "layer left.GRU must be given sequences. Got vectors"),
        ],
    )
    def test_vectors_are_names_of_inputs(self, vectors, error, message, tmp_path):
        with pytest.raises(error, match=message):
            to_onnx(series_and_store(), tmp_path / "net.onnx", vectors=vectors)


def test_each_input_to_its_own_end(tmp_path):
    net, rng = translator(), np.random.default_rng(0)
    session = written(tmp_path / "net.onnx", net, lengths=True)
    for _ in range(2):
        x = {
            "source": rng.standard_normal((3, 6, 3)).astype(np.float32),
            "target": rng.standard_normal((3, 4, 2)).astype(np.float32),
        }
        lengths = {"source": np.array([6, 1, 3]), "target": np.array([2, 4, 1])}
        for name, own in lengths.items():
            x[name][np.arange(x[name].shape[1]) >= own[:, None]] = np.nan
        got = run(session, x | {f"lengths_{name}": own.astype(np.int32) for name, own in lengths.items()})
        for name, want in net(x, lengths=lengths)[0].items():
            close(got[name], want)


def test_one_value_by_two_names(tmp_path):
    net = elman.Network(
        {"rnn": elman.GRU(2, 3, seed=0), "same": elman.Dropout(0.5), "none": (elman.Dropout(0.5), "x")},
        outputs=("same", "rnn", "none"),
    )
    x = np.random.default_rng(0).standard_normal((2, 4, 2)).astype(np.float32)
    got = run(written(tmp_path / "net.onnx", net), {"x": x})
    for name, want in net(x)[0].items():
        close(got[name], want)


def test_between_two_reverse_that_somebody_else_reads(tmp_path):
    """Written as one operator they would be turned for the others too."""
    for read in ("turned", "rnn", "back"):
        net = elman.Network({
            "turned": elman.Reverse(),
            "rnn": elman.GRU(2, 2, seed=0),
            "back": elman.Reverse(),
            "next": elman.Node(elman.GRU(2, 2, seed=1), read, state="rnn"),
            "sum": (elman.Add(), "back", "next"),
        })  # fmt: skip
        x = np.random.default_rng(0).standard_normal((2, 4, 2)).astype(np.float32)
        lengths = np.array([4, 2])
        session = written(tmp_path / "net.onnx", net, lengths=True)
        close(run(session, {"x": x, "lengths": lengths.astype(np.int32)})["y"], net(x, lengths=lengths)[0])


@pytest.mark.parametrize("seed", range(0, COUNT, 4))
def test_double(seed, tmp_path):
    """ONNX Runtime has the recurrent operators in float32 alone; onnx's own evaluator has the plain forms of them."""
    drawn = Drawn(seed, plain=True)
    drawn.memory_lengths[:] = 4
    net = drawn.network()
    if any(getattr(layer, "bidirectional", False) for layer in recurrent_of(net)):
        pytest.skip("the evaluator of onnx gives other states of a second direction")
    vectors = [name for name in net.inputs if drawn.kinds[name] == "vectors"]
    to_onnx(net, tmp_path / "net.onnx", vectors=vectors)
    x = drawn.inputs_of(net, form="padded")
    want = outputs_of(net, net(x)[0])
    feeds = x if len(net.inputs) > 1 else {net.inputs[0]: x}
    feeds = {
        name: part if net.dtype or part.dtype.kind == "i" else part.astype("float32") for name, part in feeds.items()
    }
    got = ReferenceEvaluator(str(tmp_path / "net.onnx")).run(None, feeds)
    within = 1e-12 if net.dtype else 1e-6
    for one, other in zip(got, want.values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=within, atol=within)


def recurrent_of(net):
    return [node.layer for node in flat_nodes(net)[0] if node.layer.stateful]


def random_windows(rng, width):
    """A convolution or a pool, and what follows it."""
    size, stride = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    sides = tuple(int(side) for side in rng.integers(0, size, 2))
    padding = [("same", "valid", "causal", sides)[i] for i in rng.integers(4, size=2)]
    kind = rng.integers(4)
    if kind < 2:
        layer = elman.Conv1d(
            width, 3, size, stride, int(rng.integers(1, 4)), padding[0], "tanh", seed=int(rng.integers(99))
        )
        layer.b = rng.standard_normal(3)
        return layer
    return (elman.MaxPool1d, elman.AveragePool1d)[kind - 2](size, None if stride == 2 else stride, padding[0])


@pytest.mark.parametrize("seed", range(150))
def test_windows_of_any_form(seed, tmp_path):
    """Each sequence has its own padding, wherever it ends; what stands after its end is never seen."""
    rng = np.random.default_rng(seed)
    layers = [random_windows(rng, 2)]
    width = elman.Network([elman.Scale(2, 0.5, [2.0, -1.0]), *layers]).output_size
    layers += [
        [elman.GRU(width, 2, seed=1), elman.Activate("softmax"), elman.Conv1d(width, 2, 2, padding="causal", seed=2)][
            rng.integers(3)
        ]
    ]
    layers += [random_windows(rng, elman.Network([elman.Scale(2, 0.0, 1.0), *layers]).output_size)]
    layers += [elman.MeanOverTime()] * bool(rng.integers(2))
    net = elman.Network([elman.Scale(2, 0.5, [2.0, -1.0]), *layers])
    states, lengths = seed % 2 == 0, seed % 3 > 0
    session = written(tmp_path / "net.onnx", net, states=states, lengths=lengths)
    for _ in range(2):
        x = rng.standard_normal((4, 40, 2)).astype(np.float32)
        own = rng.integers(33, 41, 4)
        feeds, state = {"x": x}, None
        if states and net.stateful:
            state, more = states_of(net, rng, net(x)[1])
            feeds |= more
        if lengths:
            x[np.arange(40) >= own[:, None]] = np.nan
            feeds["lengths"] = own.astype(np.int32)
        y, end = net(x, state, lengths=own if lengths else None)
        got = run(session, feeds)
        close(got.pop("y"), y)
        for name, want in by_model(net, end, "next_state").items() if states and net.stateful else ():
            close(got.pop(name), want)
        assert not got


def test_a_convolution_goes_on_in_chunks_from_another_one(tmp_path):
    net = elman.Network({
        "first": (elman.Conv1d(2, 3, 3, dilation=2, padding="causal", seed=0), "a"),
        "second": elman.Node(elman.Conv1d(2, 3, 3, dilation=2, padding="causal", seed=1), "b", state="first"),
    }, outputs=("first", "second"))  # fmt: skip
    rng = np.random.default_rng(0)
    x = {name: rng.standard_normal((2, steps, 2)).astype(np.float32) for name, steps in (("a", 3), ("b", 6))}
    for states in (False, True):
        session = written(tmp_path / "net.onnx", net, states=states, lengths=True)
        lengths = {"a": np.array([3, 1]), "b": np.array([4, 6])}
        feeds = {f"lengths_{name}": own.astype(np.int32) for name, own in lengths.items()}
        state, more = states_of(net, rng, net(x)[1]) if states else (None, {})
        got = run(session, {**x, **feeds, **more})
        for name, want in net(x, state, lengths=lengths)[0].items():
            close(got[name], want)


@pytest.mark.parametrize("place", range(3))
def test_batch_normalization_of_steps_and_of_vectors(place, tmp_path):
    rng, norm = np.random.default_rng(place), elman.BatchNorm(3)
    for array in norm.weights.values():
        array[...] = rng.uniform(0.5, 2, 3)
    layers = [elman.Conv1d(3, 3, 2, padding="causal", seed=0), elman.GRU(3, 3, seed=1), elman.LastStep()]
    net = elman.Network([*layers[: place + 1], norm, elman.Dense(3, 2, seed=2)])
    x, own = rng.standard_normal((3, 5, 3)).astype(np.float32), np.array([5, 1, 3])
    session = written(tmp_path / "net.onnx", net, lengths=True)
    close(run(session, {"x": x, "lengths": own.astype(np.int32)})["y"], net(x, lengths=own)[0])


def test_a_vector_at_each_of_so_many_steps(tmp_path):
    net = elman.Network({
        "encoder": elman.GRU(2, 3, seed=0),
        "last": elman.LastStep(),
        "each": elman.Repeat(4),
        "decoder": elman.Node(elman.GRU(3, 3, seed=1), "each", state="encoder"),
        "beside": (elman.Concatenate(), "decoder", "last"),
    })  # fmt: skip
    x = np.random.default_rng(0).standard_normal((3, 5, 2)).astype(np.float32)
    own = np.array([5, 1, 3])
    for lengths in (False, True):
        session = written(tmp_path / "net.onnx", net, lengths=lengths)
        got = run(session, {"x": x} | ({"lengths": own.astype(np.int32)} if lengths else {}))
        close(got["y"], net(x, lengths=own if lengths else None)[0])
    with pytest.raises(elman.ShapeError, match=r"layer 0.Repeat must be given one vector per sequence. Got sequences"):
        to_onnx(elman.Network([elman.Repeat(4)]), tmp_path / "net.onnx", vectors=())


def test_graphs_are_converted(tmp_path):
    nodes = {
        "a": (elman.GRU(2, 3, seed=0), "series"),
        "b": (elman.LSTM(1, 3, seed=1), "other"),
        "sum": (elman.Add(), "a", "b"),
        "out": elman.Dense(3, 1, seed=2),
    }
    elman.Network(nodes, outputs=("out", "a")).save(tmp_path / "net.safetensors")
    done = elman.convert(tmp_path / "net.safetensors", tmp_path / "net.onnx")
    assert len(done.checks) == 2
    assert done.checks[0].difference == 0
    assert done.checks[1].difference < 1e-5
