"""Networks that branch and join, held to central differences, to themselves alone, and to their files."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import elman
from drawn_graphs import Drawn, padded

COUNT = 220


def leaves(value):
    """The arrays in nested dicts, lists and tuples."""
    if value is None:
        return []
    if isinstance(value, np.ndarray):
        return [value]
    parts = value.values() if isinstance(value, dict) else value
    return [array for part in parts for array in leaves(part)]


def random_like(rng, value):
    if value is None:
        return None
    if isinstance(value, np.ndarray):
        return rng.standard_normal(value.shape)
    if isinstance(value, dict):
        return {name: random_like(rng, part) for name, part in value.items()}
    return type(value)([random_like(rng, part) for part in value])


def product(a, b):
    return sum(float((x * y).sum()) for x, y in zip(leaves(a), leaves(b), strict=True))


def first_state(net, rng, count=3):
    """A random state for a batch: None for nodes that start from another."""
    _, state = net(*net_inputs[net])
    starts = [node for i, node in enumerate(net.graph.starts) if net.layers[i].stateful]
    return [None if start else random_like(rng, part) for part, start in zip(state, starts, strict=True)]


net_inputs: dict[elman.Network, tuple] = {}


def case(seed, **options):
    drawn = Drawn(seed, states=seed % 2 == 1, **options)
    net = drawn.network()
    x = drawn.inputs_of(net)
    net_inputs.clear()
    net_inputs[net] = (x,)
    return drawn, net, x


@pytest.mark.parametrize("seed", range(COUNT))
def test_gradients(seed):
    drawn, net, x = case(seed)
    rng = drawn.rng
    state = first_state(net, rng)
    y, end, tape = net.forward(x, state)
    dy, dend = random_like(rng, y), random_like(rng, end)
    if isinstance(dy, dict) and len(dy) > 1 and seed % 3 == 0:
        del dy[next(iter(dy))]  # a missing one is 0

    def loss():
        outputs, last = net(x, state)
        if isinstance(outputs, dict):
            outputs = {name: outputs[name] for name in dy}
        return product(outputs, dy) + product(last, dend)

    for _ in range(2):
        dx, dstart, gradients = net.backward(tape, dy, dend)
    assert list(gradients) == list(net.parameters)
    names = net.inputs if isinstance(x, dict) else ("x",)
    pairs = []
    for name in names:
        given, gradient = (x[name], dx[name]) if isinstance(x, dict) else (x, dx)
        if gradient is not None:
            pairs += zip(leaves(given), leaves(gradient), strict=True)
    pairs += zip(leaves(state), leaves(dstart), strict=True)
    pairs += [(net.parameters[name], gradient) for name, gradient in gradients.items()]
    assert not any(np.shares_memory(a, b) for i, (_, a) in enumerate(pairs) for _, b in pairs[:i])
    for array, gradient in pairs:
        assert array.shape == gradient.shape
        index = tuple(rng.integers(size) for size in array.shape)
        before, losses = array[index], []
        for steps in (1, -1, 2, -2):
            array[index] = before + steps * 1e-5
            losses.append(loss())
        array[index] = before
        difference = (8 * (losses[0] - losses[1]) - (losses[2] - losses[3])) / 12e-5  # to the fourth order
        assert abs(difference - gradient[index]) < 1e-7 * max(1, abs(difference))


@pytest.mark.parametrize("seed", range(60))
def test_a_ragged_batch_gives_what_each_sequence_alone_gives(seed):
    drawn, net, x = case(1000 + seed)
    state = first_state(net, drawn.rng)
    y, end = net(x, state)

    def one(value, i):
        """The only sequence of a batch of one."""
        if isinstance(value, dict):
            return {name: one(part, i) for name, part in value.items()}
        return [value[i]] if isinstance(value, list) else value[i : i + 1]

    def row(part, i):
        if isinstance(part, (tuple, list)):
            return type(part)([row(each, i) for each in part])
        return None if part is None else part[..., i : i + 1, :]

    for i in range(3):
        alone, last = net(one(x, i), row(state, i))
        for a, b in zip(leaves([one(y, i), row(end, i)]), leaves([alone, last]), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * (elman.backend() == "plain equations"))


@pytest.mark.parametrize("seed", range(60))
def test_nothing_in_padding_is_read(seed):
    drawn, net, x = case(2000 + seed)
    lists = {name: part for name, part in (x if isinstance(x, dict) else {"x": x}).items() if isinstance(part, list)}
    same = seed % 2 == 0 and "memory" not in drawn.kinds.values()
    lengths = drawn.lengths if same else {name: drawn.lengths_of(name) for name in lists}
    arrays = {name: padded(part) for name, part in lists.items()}
    given = {**x, **arrays} if isinstance(x, dict) else arrays["x"]
    lengths = lengths if isinstance(x, dict) else drawn.lengths
    y, end, tape = net.forward(x)
    z, last, twin = net.forward(given, lengths=lengths)

    def real(a, b):
        return [r[: len(p)] for r, p in zip(a, b, strict=True)] if isinstance(b, list) else a

    pairs = [(y[name], z[name]) for name in y] if isinstance(y, dict) else [(y, z)]
    for a, b in pairs:
        for p, q in zip(a, real(b, a), strict=True):
            np.testing.assert_array_equal(p, q)
    for a, b in zip(leaves(end), leaves(last), strict=True):
        np.testing.assert_array_equal(a, b)
    dy = random_like(drawn.rng, y)
    filled = (
        {name: padded(part) if isinstance(part, list) else part for name, part in dy.items()}
        if isinstance(dy, dict)
        else padded(dy)
        if isinstance(dy, list)
        else dy
    )
    mine, theirs = net.backward(tape, dy), net.backward(twin, filled)
    for a, b in zip(leaves(mine[2]), leaves(theirs[2]), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("seed", range(60))
def test_files_pickles_and_copies_have_the_same_bits(seed, tmp_path):
    _, net, x = case(3000 + seed)
    net.save(tmp_path / "net")
    for same in (elman.load(tmp_path / "net"), pickle.loads(pickle.dumps(net)), net.replace(), net.astype("float64")):
        assert same.config == net.config
        assert repr(same) == repr(net)
        for a, b in zip(leaves(same(x)), leaves(net(x)), strict=True):
            np.testing.assert_array_equal(a, b)
    (tmp_path / "again").write_bytes((tmp_path / "net").read_bytes())
    elman.load(tmp_path / "net").save(tmp_path / "again")
    assert (tmp_path / "net").read_bytes() == (tmp_path / "again").read_bytes()


def test_a_decoder_that_starts_from_what_layers_make_of_both_directions():
    """The usual translator: the last states of both directions side by side are the first of the decoder."""
    rng = np.random.default_rng(5)
    encoder = elman.LSTM(3, 2, bidirectional=True, dtype="float64", seed=1)
    decoder, dense = elman.LSTM(4, 4, dtype="float64", seed=2), elman.Dense(4, 5, dtype="float64", seed=3)
    nodes = {
        "encoder": (encoder, "source"),
        **{f"first_{s}": (elman.Concatenate(), f"encoder.{s}", f"encoder.{s}_reverse") for s in "hc"},
        "decoder": elman.Node(decoder, "target", state=("first_h", "first_c")),
        "out": dense,
    }
    net = elman.Network(nodes, outputs=("out", "encoder.c_reverse"))
    x = {
        "source": [rng.standard_normal((n, 3)) for n in (4, 2)],
        "target": [rng.standard_normal((n, 4)) for n in (1, 3)],
    }
    for _ in range(2):
        y, (end, last) = net(x)
        _, (h, c) = encoder(x["source"])
        whole, after = decoder(x["target"], tuple([np.concatenate([*part], axis=1) for part in (h, c)]))
        for a, b in zip([*leaves(y), *leaves(end), *leaves(last)],
                        [*leaves(dense(whole)[0]), c[1], h, c, *after], strict=True):  # fmt: skip
            np.testing.assert_array_equal(a, b)
        end[1][...] = 7  # what is given is the user's own
        y["encoder.c_reverse"][...] = 7
    assert repr(net).splitlines()[4].startswith("  decoder <- target, from ('first_h', 'first_c')  LSTM(")
    targets = {"out": [np.tanh(part @ np.ones((4, 5)) / 3) for part in x["target"] * 9]}
    targets["encoder.c_reverse"] = np.full((18, 2), 0.3)
    many = {name: part * 9 for name, part in x.items()}
    history = elman.fit(net, many, targets, loss="squared_error", optimizer=elman.Adam(0.02), epochs=60, progress=False)
    assert history.loss[-1] < history.loss[0] / 2


def test_the_whole_state_of_a_node_by_its_names_is_the_short_form():
    def net(state):
        decoder = elman.Node(elman.LSTM(2, 3, seed=1), "target", state=state)
        return elman.Network({"encoder": (elman.LSTM(3, 3, seed=0), "source"), "decoder": decoder})

    short, long = net("encoder"), net(("encoder.h", "encoder.c"))
    assert short.config == long.config
    assert long.config["nodes"][1]["state"] == "encoder"
    turned = net(("encoder.c", "encoder.h"))
    assert turned.config["nodes"][1]["state"] == (("encoder", "c"), ("encoder", "h"))


def test_a_mapping_of_the_same_chain_has_the_bits_of_the_list():
    def layers():
        return [elman.Embedding(9, 4, seed=0), elman.LSTM(4, 6, seed=1), elman.Dropout(0.3), elman.Dense(6, 3, seed=2)]

    chain = elman.Network(layers())
    named = elman.Network(dict(zip(["embed", "rnn", "drop", "out"], layers(), strict=True)))
    assert list(named.parameters) == ["embed.W", "rnn.Wx", "rnn.Wh", "rnn.b", "out.W", "out.b"]
    assert "nodes" not in chain.config
    tokens = np.random.default_rng(0).integers(0, 9, (5, 7))
    for rng in (None, 3):
        runs = [net.forward(tokens, rng=rng and np.random.default_rng(rng)) for net in (chain, named)]
        dy = np.random.default_rng(1).standard_normal(runs[0][0].shape)
        both = [net.backward(tape, dy)[2] for net, (_, _, tape) in zip((chain, named), runs, strict=True)]
        for a, b in zip(
            leaves([runs[0][0], runs[0][1], both[0]]), leaves([runs[1][0], runs[1][1], both[1]]), strict=True
        ):
            np.testing.assert_array_equal(a, b)
    y = np.random.default_rng(2).integers(0, 3, (5, 7))
    histories = [elman.fit(net, tokens, y, epochs=3, progress=False) for net in (chain, named)]
    np.testing.assert_array_equal(histories[0].loss, histories[1].loss)
    streams = [net.stream(5) for net in (chain, named)]
    for t in range(7):
        np.testing.assert_array_equal(streams[0].step(tokens[:, t]), streams[1].step(tokens[:, t]))


def at(value, t):
    """The step t of each input, (batch, features); vectors per sequence as they are."""
    if isinstance(value, dict):
        return {name: at(part, t) for name, part in value.items()}
    if isinstance(value, list):
        return np.stack([part[t] for part in value])
    return value


@pytest.mark.parametrize("seed", range(80))
def test_streams_give_what_whole_sequences_give(seed):
    _, net, x = case(4000 + seed, streamable=True, plain=True)
    y, end = net(x)
    stream = net.stream(3)
    for _ in range(2):
        steps = [stream.step(at(x, t)) for t in range(5)]
        for name in y if isinstance(y, dict) else [None]:
            whole = y if name is None else y[name]
            for t in range(5):
                step = steps[t] if name is None else steps[t][name]
                if isinstance(whole, list) or whole.ndim == 3:
                    np.testing.assert_array_equal(step, at(whole, t))
                else:  # of a pool: what the steps so far give
                    so_far = net(first_steps(x, t + 1))[0]
                    np.testing.assert_array_equal(step, so_far if name is None else so_far[name])
        if len(stream.state) == len(end or []):  # else pools have states too
            for a, b in zip(leaves(stream.state), leaves(end), strict=True):
                np.testing.assert_array_equal(a, b)
        stream.reset()
    one = net.stream()
    for t in range(5):
        own = {name: at(part, t)[1] for name, part in x.items()} if isinstance(x, dict) else at(x, t)[1]
        for a, b in zip(leaves(one.step(own)), leaves(steps[t]), strict=True):
            np.testing.assert_allclose(a, b[1], rtol=1e-12, atol=1e-12)
    stream.step(at(x, 0))
    twin, thawed = stream.copy(), pickle.loads(pickle.dumps(stream))
    chunk = {name: over_time(part) for name, part in x.items()} if isinstance(x, dict) else over_time(x)
    rest = twin.run({name: part[:, 1:] for name, part in chunk.items()} if isinstance(x, dict) else chunk[:, 1:])
    for t in range(1, 5):
        for other in (stream.step(at(x, t)), thawed.step(at(x, t))):
            for a, b in zip(leaves(other), leaves(rest), strict=True):
                np.testing.assert_array_equal(a, b[:, t - 1])


def first_steps(value, count):
    """The first steps of each sequence; vectors stay."""
    if isinstance(value, dict):
        return {name: first_steps(part, count) for name, part in value.items()}
    return [part[:count] for part in value] if isinstance(value, list) else value


def over_time(value):
    """An input at each of five steps."""
    return np.stack(value) if isinstance(value, list) else np.repeat(value[:, None], 5, axis=1)
