"""Graphs, and inputs of graphs, that cannot be: refused in words."""

from __future__ import annotations

import json

import numpy as np
import pytest

import elman
from drawn_graphs import Drawn
from elman.files import read_safetensors, write_safetensors
from test_saving import ANYTHING, refusals

Node = elman.Node


def gru(width=3, size=4, **options):
    return elman.GRU(width, size, **options)


def dense(width=4, size=2, **options):
    return elman.Dense(width, size, **options)


NETWORKS = {
    "a circle": (
        {"a": (gru(), "b"), "b": (dense(), "a")},
        ValueError,
        r"node 'a' must read nodes that stand before it\. Got 'b'",
    ),
    "itself": ({"a": (gru(), "a")}, ValueError, r"node 'a' must read nodes that stand before it\. Got 'a'"),
    "a state of a later one": (
        {"a": Node(gru(), "x", state="b"), "b": (gru(), "x")},
        ValueError,
        r"node 'a' must read nodes that stand before it\. Got 'b'",
    ),
    "a state that is nowhere": (
        {"a": Node(gru(), "x", state="c"), "b": dense()},
        ValueError,
        r"state of node 'a' must be one of 'a', 'b'\. Got 'c'",
    ),
    "a state of a layer without": (
        {"a": (dense(3, 3), "x"), "b": Node(gru(), "a", state="a")},
        ValueError,
        r"state of node 'b' must be that of a recurrent layer\. Got one of Dense",
    ),
    "a state of another width": (
        {"a": (gru(3, 5), "x"), "b": Node(gru(), "x", state="a")},
        elman.ShapeError,
        r"node 'b' must have the states of node 'a' to start from, \[\(1, 5\)\]\. Got \[\(1, 4\)\]",
    ),
    "a state of another kind": (
        {"a": (elman.LSTM(3, 4), "x"), "b": Node(gru(), "x", state="a")},
        elman.ShapeError,
        "must have the states of node 'a'",
    ),
    "a state that the layer does not have": (
        {"a": (gru(bidirectional=True), "x"), "b": (dense(), "a.h_revers")},
        ValueError,
        r"a state of node 'a' must be one of 'h', 'h_reverse'\. Got 'h_revers'\. Did you mean 'h_reverse'\?",
    ),
    "a value that is a state of a layer without": (
        {"a": (dense(3, 3), "x"), "b": (dense(), "a.h")},
        ValueError,
        r"'a\.h' must be a state of a recurrent layer\. Got Dense",
    ),
    "a value that is a state within a network": (
        {"a": (elman.Network([gru()]), "x"), "b": (dense(), "a.h")},
        ValueError,
        r"'a\.h' must be a state of a recurrent layer\. Got ",
    ),
    "a state of another width than what reads it": (
        {"a": (gru(3, 5), "x"), "b": (dense(), "a.h")},
        elman.ShapeError,
        r"node 'b', Dense, must take 5 features, as what it reads has\. Got input_size 4",
    ),
    "its own state": (
        {"a": Node(gru(), "x", state=("a.h",))},
        ValueError,
        r"node 'a' must read nodes that stand before it\. Got 'a\.h', which does not",
    ),
    "the state of a later one as a value": (
        {"b": (dense(), "a.h"), "a": (gru(), "b")},
        ValueError,
        r"node 'b' must read nodes that stand before it\. Got 'a\.h', which does not",
    ),
    "made states of another number": (
        {"a": (gru(), "x"), "b": Node(elman.LSTM(3, 4), "x", state=("a.h",))},
        ValueError,
        r"state of node 'b' must be a tuple of 2 names, one for each of h, c\. Got \('a\.h',\)",
    ),
    "a made state of another width": (
        {"a": (gru(), "x"), "d": (dense(4, 3), "a.h"), "b": Node(gru(), "x", state=("d",))},
        elman.ShapeError,
        r"node 'b', GRU, must start from 4 features for its state h\. Got 3 of 'd'",
    ),
    "steps as a state": (
        {"a": (gru(), "x"), "b": Node(gru(), "x", state=("a",))},
        elman.ShapeError,
        r"node 'b', GRU, must start from one vector per sequence, as 'a\.h' is\. Got the steps of node 'a'",
    ),
    "tokens as a state": (
        {"a": (elman.Embedding(5, 3), "x"), "b": Node(gru(), "a", state=("x",))},
        elman.ShapeError,
        "the input 'x' must be read as tokens by all nodes or by none",
    ),
    "a made state of a layer without": (
        {"a": (gru(), "x"), "b": Node(dense(), "a", state=("a.h",))},
        ValueError,
        r"state of node 'b' must be that of a recurrent layer\. Got one of Dense",
    ),
    "a learned state beside a made one": (
        {"a": (gru(), "x"), "b": Node(gru().replace(learned_state=True), "x", state=("a.h",))},
        ValueError,
        r"node 'b' must have no learned_state, as it starts from \('a\.h',\)",
    ),
    "a learned state beside another's": (
        {"a": (gru(), "x"), "b": Node(gru().replace(learned_state=True), "x", state="a")},
        ValueError,
        "node 'b' must have no learned_state, as it starts from node 'a'",
    ),
    "widths": (
        {"a": (gru(), "x"), "b": (gru(), "x"), "c": (elman.Concatenate(), "a", "b"), "d": dense()},
        elman.ShapeError,
        r"node 'd', Dense, must take 8 features, as what it reads has\. Got input_size 4",
    ),
    "widths of a sum": (
        {"a": (gru(), "x"), "b": (gru(3, 5), "x"), "c": (elman.Add(), "a", "b")},
        elman.ShapeError,
        r"node 'c', Add, must read values of as many features each\. Got 4, 5",
    ),
    "one to join": (
        {"a": (gru(), "x"), "c": elman.Add()},
        ValueError,
        r"node 'c', Add, must read two values or more\. Got 1",
    ),
    "two for a layer": (
        {"a": (gru(), "x"), "c": (dense(), "a", "x")},
        ValueError,
        r"node 'c', Dense, must read 1 value\. Got 2",
    ),
    "nobody reads": (
        {"a": (gru(), "x"), "b": (dense(3, 2), "x")},
        ValueError,
        r"node 'a', GRU, must be read by another node, or be among outputs\. Got one that nobody reads",
    ),
    "tokens of a node": (
        {"a": (gru(), "x"), "b": (elman.Embedding(3, 4), "a")},
        elman.ShapeError,
        "node 'b', Embedding, must stand first, as it takes tokens",
    ),
    "tokens and features": (
        {"a": (elman.Embedding(3, 4), "x"), "b": (dense(), "x"), "c": (elman.Concatenate(), "a", "b")},
        elman.ShapeError,
        "the input 'x' must be read as tokens by all nodes or by none",
    ),
    "dtypes": (
        {"a": (gru(), "x"), "b": (dense(dtype="float64"), "a")},
        ValueError,
        "node 'b', Dense, must have dtype float32, as node 'a', GRU, has",
    ),
    "a dot": ({"a.b": gru()}, ValueError, r"a name without a dot that does not end in '_reverse'\. Got 'a\.b'"),
    "a suffix": ({"a_reverse": gru()}, ValueError, "does not end in '_reverse'"),
    "no text": ({3: gru()}, ValueError, r"does not end in '_reverse'\. Got 3"),
    "no layer": ({"a": "GRU"}, TypeError, r"a node must hold a layer, and the names of what it reads\. Got 'GRU'"),
    "no names": ({"a": (gru(), 3)}, TypeError, r"must read nodes and inputs by their names\. Got 3"),
    "empty": ({}, elman.ShapeError, "at least one layer"),
    "an empty tuple": ({"a": ()}, TypeError, "a node must hold a layer"),
    "a network of several": (
        {"a": (elman.Network({"c": (elman.Add(), "x", "y")}), "x")},
        ValueError,
        "node 'a', Network, must have one input and one output, within a network",
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name):
    nodes, kind, words = NETWORKS[name]
    with pytest.raises(kind, match=words):
        elman.Network(nodes)


def test_the_same_layer_twice():
    layer = gru()
    with pytest.raises(ValueError, match="must be a layer of its own"):
        elman.Network({"a": (layer, "x"), "b": (layer, "x"), "c": (elman.Add(), "a", "b")})


@pytest.mark.parametrize(
    ("outputs", "kind", "words"),
    [
        ("a", TypeError, "outputs must be a tuple of names of nodes. Got 'a'"),
        (3, TypeError, "outputs must be a tuple of names of nodes. Got 3"),
        ((), ValueError, "outputs must name at least one node, and none twice"),
        (("a", "a"), ValueError, "outputs must name at least one node, and none twice"),
        (("x",), ValueError, "a name of outputs must be one of 'a', 'b'. Got 'x'"),
        (("bb",), ValueError, "Did you mean 'b'?"),
    ],
)
def test_outputs(outputs, kind, words):
    with pytest.raises(kind) as error:
        elman.Network({"a": (gru(), "x"), "b": dense()}, outputs=outputs)
    assert words in str(error.value)


def joined():
    return elman.Network(
        {
            "rnn": (gru(seed=0), "series"),
            "both": (elman.Concatenate(), "rnn", "store"),
            "out": elman.Dense(6, 2, seed=1),
        }
    )


GOOD = {"series": np.ones((2, 5, 3)), "store": np.ones((2, 2))}


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (np.ones((2, 5, 3)), TypeError, r"x must be a mapping of \(series, store\) to their values\. Got"),
        ({"series": GOOD["series"]}, ValueError, r"x must hold series, store\. Got none for store"),
        ({**GOOD, "stor": 3}, ValueError, "Did you mean 'store'?"),
        ({**GOOD, "store": np.ones((3, 2))}, elman.ShapeError, r"store must hold 2 sequences, as series does\. Got 3"),
        ({**GOOD, "store": np.ones(2)}, elman.ShapeError, r"store must have shape \(batch, features\)"),
        (
            {**GOOD, "store": np.ones((2, 4, 2))},
            elman.ShapeError,
            r"node 'both', Concatenate, must read sequences of the same lengths, \(5, 5\)\. Got \(4, 4\)",
        ),
        ({**GOOD, "store": np.ones((2, 3))}, elman.ShapeError, r"node 'out', Dense, must take 7 features"),
        ({**GOOD, "series": np.ones((2, 5, 4))}, elman.ShapeError, r"series must have shape \(batch, time, 3\)"),
        ({**GOOD, "store": 3.0}, elman.ShapeError, "store must have shape"),
    ],
)  # fmt: skip
def test_inputs(change, kind, words):
    net = joined()
    net(GOOD)
    with pytest.raises(kind, match=words):
        net(change)


@pytest.mark.parametrize(
    ("lengths", "words"),
    [
        ({"seris": [5, 5]}, "a name in lengths must be one of 'series', 'store'"),
        ({"store": [1, 1]}, "lengths must be left out for store, which has no steps"),
        ([5, 6], "lengths must be from 1 to 5"),
    ],
)
def test_lengths(lengths, words):
    with pytest.raises(ValueError, match=words):
        joined()(GOOD, lengths=lengths)
    y, _ = joined()(GOOD, lengths=[3, 5])
    assert not y[0, 3:].any()


def translator():
    return elman.Network(
        {"encoder": (gru(seed=0), "source"), "decoder": Node(gru(2, 4, seed=1), "target", state="encoder")}
    )


def test_a_node_that_starts_from_another_takes_no_state():
    net = translator()
    x = {"source": np.ones((2, 6, 3)), "target": np.ones((2, 4, 2))}
    _, state = net(x)
    assert [part.shape for part in state] == [(2, 4), (2, 4)]
    net(x, [state[0], None])
    with pytest.raises(elman.ShapeError, match=r"state of node 'decoder', GRU, must be None, as it starts"):
        net(x, state)


def test_a_node_that_starts_from_values():
    net = elman.Network(
        {"first": (dense(3, 4), "v"), "decoder": Node(gru(2, 4, seed=1), "target", state=("first",)), "d": dense()}
    )
    x = {"v": np.ones((2, 3)), "target": np.ones((2, 5, 2))}
    _, (last,) = net(x)
    with pytest.raises(elman.ShapeError, match=r"GRU, must be None, as it starts from \('first',\)"):
        net(x, [last])
    net(x, [None])
    with pytest.raises(elman.ShapeError, match=r"v must have shape \(batch, 3\) or \(3,\)\. Got \(2, 5, 3\)"):
        net({**x, "v": np.ones((2, 5, 3))})
    steps = elman.Network({"c": (elman.Conv1d(3, 4, 2), "x"), "a": Node(gru(), "x", state=("c",))})
    with pytest.raises(
        elman.ShapeError, match=r"node 'a', GRU, must start from one vector per sequence\. Got the steps"
    ):
        steps(np.ones((2, 5, 3)))
    with pytest.raises(
        elman.ShapeError, match=r"must have nodes that start by themselves\. Got node 'decoder', from val"
    ):
        net.stream()
    with pytest.raises(ValueError, match="truncate must be left out for a network that needs whole sequences"):
        elman.fit(net, x, np.ones((2, 5, 2)), truncate=2, loss="squared_error", progress=False)
    direct = elman.Network({"a": Node(gru(), "x", state=("v",))})
    with pytest.raises(elman.ShapeError, match=r"v must have shape \(batch, 4\)"):
        direct({"x": np.ones((2, 5, 3)), "v": np.ones((2, 5, 4))})
    assert direct({"x": np.ones((2, 5, 3)), "v": np.ones((2, 4))})[0].shape == (2, 5, 4)


def test_a_state_that_is_read_with_truncation():
    net = elman.Network({"a": (gru(), "x"), "d": (dense(), "a.h"), "y": (elman.Concatenate(), "a", "d")})
    with pytest.raises(elman.ShapeError, match=r"that reads a sequence and its last step\. Got node 'y'"):
        elman.fit(net, np.ones((2, 5, 3)), np.ones((2, 5, 6)), truncate=2, loss="squared_error", progress=False)
    pooled = elman.Network({"a": (gru(), "x"), "d": (dense(), "a.h")})
    with pytest.raises(ValueError, match="truncate must be left out"):
        elman.fit(pooled, np.ones((2, 5, 3)), np.ones((2, 2)), truncate=2, loss="squared_error", progress=False)


def test_gradients_of_outputs():
    net = joined()
    _, _, tape = elman.Network({"a": (gru(), "x"), "b": dense()}, outputs=("a", "b")).forward(np.ones((2, 5, 3)))
    with pytest.raises(ValueError, match="tape must come from this layer"):
        net.backward(tape)
    net = elman.Network({"a": (gru(), "x"), "b": dense()}, outputs=("a", "b"))
    _, _, tape = net.forward(np.ones((2, 5, 3)))
    with pytest.raises(ValueError, match=r"a name in dy must be one of 'a', 'b'\. Got 'c'"):
        net.backward(tape, {"c": 3})
    with pytest.raises(elman.ShapeError, match=r"dy\['b'\] must have shape \(2, 5, 2\)"):
        net.backward(tape, {"b": np.ones((2, 5, 3))})
    with pytest.raises(TypeError, match=r"dy must be a mapping of .* to their values"):
        net.backward(tape, np.ones((2, 5, 3)))


STREAMS = {
    "steps": ({"a": (gru(), "x"), "steps": elman.LastSteps(4, 2)}, "Got node 'steps'"),
    "reverse": ({"a": gru(bidirectional=True), "b": dense(8, 2)}, "Got node 'a'"),
    "state": ({"a": (gru(), "x"), "b": Node(gru(), "x", state="a")}, "Got node 'b', from a last state"),
    "state as a value": (
        {"a": (gru(), "x"), "b": (dense(4, 3), "a.h"), "c": (elman.Concatenate(), "b", "x")},
        "must have no node that reads a sequence and its last step. Got node 'c'",
    ),
    "last": (
        {"a": (gru(), "x"), "last": elman.LastStep(), "b": (elman.Concatenate(), "a", "last")},
        "must have no node that reads a sequence and its last step. Got node 'b'",
    ),
    "last and input": (
        {
            "d": (dense(3, 3), "x"), "a": gru(), "last": elman.LastStep(), "e": dense(),
            "b": (elman.Concatenate(), "x", "e"),
        },
        "must have no node that reads a sequence and its last step. Got node 'b'",
    ),
    "after the last": ({"a": (gru(), "x"), "last": elman.LastStep(), "b": gru(4, 4)}, "Got node 'b' after a pool"),
}  # fmt: skip


@pytest.mark.parametrize("name", STREAMS)
def test_streams(name):
    nodes, words = STREAMS[name]
    net = elman.Network({key: value if isinstance(value, (tuple, Node)) else (value,) for key, value in nodes.items()})
    for wrapped in (net, elman.Network([net]) if len(net.inputs) == 1 else net):
        with pytest.raises(elman.ShapeError, match="must"):
            wrapped.stream()
    with pytest.raises(elman.ShapeError) as error:
        net.stream()
    assert words in str(error.value)


def test_steps_of_several_inputs():
    stream = joined().stream(2)
    good = {"series": np.ones((2, 3)), "store": np.ones((2, 2))}
    stream.step(good)
    for x, words in (
        (np.ones((2, 3)), "x must be a mapping of "),
        ({"series": np.ones((2, 3))}, "Got none for store"),
        ({**good, "store": np.ones(2)}, r"store must have shape \(2, features\)"),
    ):
        with pytest.raises((ValueError, TypeError), match=words):
            stream.step(x)
    many = elman.Network({"a": (gru(), "x"), "b": dense()}, outputs=("a", "b")).stream()
    with pytest.raises(ValueError, match="out must be left out for a network that gives several outputs"):
        many.step(np.ones(3), out=np.empty(2, np.float32))
    with pytest.raises(elman.ShapeError, match="as many in each input"):
        stream.run({"series": np.ones((2, 4, 3)), "store": np.ones((2, 3, 2))})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("reads", [["a"]]), ("reads", [["a", "c"]]), ("reads", [["a", "h", "h"]]), ("reads", [["a", 3]]),
        ("reads", [["b", "h"]]), ("state", []), ("state", [3]), ("state", [["a", "h"], "x"]), ("state", [["b", "h"]]),
        ("state", [["a", 3]]), ("state", {"a": "h"}),
    ],
)  # fmt: skip
def test_damaged_states(key, value, tmp_path):
    nodes = {
        "a": (gru(), "x"),
        "v": (dense(4, 4), "a.h"),
        "b": Node(gru(4, 4), "a", state=("v",)),
        "c": (dense(), "b.h"),
    }
    elman.Network(nodes).save(tmp_path / "net")
    tensors, metadata = read_safetensors((tmp_path / "net").read_bytes())
    description = json.loads(metadata["elman"])
    assert description["network"]["nodes"][1]["reads"] == [["a", "h"]]
    assert description["network"]["nodes"][2]["state"] == ["v"]
    description["network"]["nodes"][2][key] = value
    whole = write_safetensors(tensors, {"elman": json.dumps({**description, "version": 1})})
    with pytest.raises(elman.FormatError, match=r"cannot be loaded: .*must"):
        elman.load(whole)


@pytest.mark.parametrize("write", ["to_rtneural", "convert"])
def test_formats_that_hold_chains_alone(write, tmp_path):
    path = tmp_path / "net.json"
    branching = {"a": (gru(), "x"), "b": (gru(3, 4), "x"), "c": (elman.Concatenate(), "a", "b"), "d": dense(8, 2)}
    for nodes, outputs, words in (
        (branching, None, "node 'b', GRU, which reads 'x'"),
        ({"a": (gru(), "x"), "d": dense()}, ("a", "d"), "outputs 'a', 'd'"),
    ):
        net = elman.Network(nodes, outputs)
        net.save(tmp_path / "net.safetensors")
        given = tmp_path / "net.safetensors" if write == "convert" else net
        with pytest.raises(elman.FormatError, match="must be a chain for this format") as error:
            getattr(elman, write)(given, path)
        assert words in str(error.value)
        assert not path.exists()


def test_a_graph_is_inspected(tmp_path):
    joined().save(tmp_path / "net")
    text = str(elman.inspect(tmp_path / "net"))
    assert "takes series (batch, time, 3), store (batch, time, features)" in text
    assert "rnn <- series       GRU" in text
    assert "states   rnn.h (4,)" in text


CHANGES = [
    ("nodes", None), ("nodes", 3), ("nodes", []), ("nodes", [{}, {}, {}]), ("outputs", "out"), ("outputs", ["series"]),
    ("outputs", [["out"]]), ("outputs", []), ("inputs", ["series"]),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), CHANGES)
def test_damaged_descriptions(key, value, tmp_path):
    joined().save(tmp_path / "net")
    tensors, metadata = read_safetensors((tmp_path / "net").read_bytes())
    description = json.loads(metadata["elman"])
    description["network"][key] = value
    whole = write_safetensors(tensors, {"elman": json.dumps({**description, "version": 1})})
    with pytest.raises(elman.FormatError, match=r"cannot be loaded: .*must"):
        elman.load(whole)


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        (0, "name", "a.b"), (0, "name", 3), (0, "name", "out"), (0, "reads", []), (0, "reads", "series"),
        (0, "reads", [3]), (0, "reads", ["out"]), (1, "reads", ["rnn"]), (1, "reads", ["store", "series", {}]),
        (0, "state", 3), (0, "state", "out"), (0, "more", 1), (2, "reads", ["rnn"]),
    ],
)  # fmt: skip
def test_damaged_nodes(place, key, value, tmp_path):
    joined().save(tmp_path / "net")
    tensors, metadata = read_safetensors((tmp_path / "net").read_bytes())
    description = json.loads(metadata["elman"])
    description["network"]["nodes"][place][key] = value
    whole = write_safetensors(tensors, {"elman": json.dumps({**description, "version": 1})})
    with pytest.raises(elman.FormatError, match=r"cannot be loaded: .*must"):
        elman.load(whole)


def test_thousands_of_nodes():
    """Walks over a graph take time in proportion to its nodes."""
    nodes = {"n0": (elman.Dense(2, 2, seed=0), "x")}
    for i in range(1, 3000):
        nodes[f"n{i}"] = (
            (elman.Add(), f"n{i - 1}", f"n{max(0, i - 2)}") if i % 2 else (elman.Activate("tanh"), f"n{i - 1}")
        )
    net = elman.Network(nodes)
    y, _, tape = net.forward(np.ones((1, 2, 2)))
    dx, _, _ = net.backward(tape, np.ones_like(y))
    assert np.isfinite(dx).all()
    stream = net.stream(1)
    np.testing.assert_array_equal(stream.step(np.ones((1, 2))), y[:, 0])


@pytest.mark.parametrize("value", ANYTHING, ids=str)
def test_descriptions_of_any_form_are_refused_in_words(value):
    words = [text for seed in (3, 8) for text in refusals(Drawn(seed).network(), value)]
    assert len(words) > 50
    assert not [text for text in words if " must " not in text]


def test_what_claims_to_hold_more_layers_than_memory_does_is_refused():
    for _ in range(2):
        with pytest.raises(TypeError, match=r"layers\[0\] must be a layer\. Got"):
            elman.Network(np.broadcast_to(np.ones(3), (1 << 40, 3)))
