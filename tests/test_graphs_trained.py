"""Training of networks with several inputs and outputs."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import elman
from drawn_graphs import padded

LENGTHS = [5, 2, 7, 4, 6]


def network(dtype="float64", streamable=False):
    """Two outputs: one per step, and one per sequence."""
    pool = elman.LastStep() if streamable else elman.MeanOverTime()
    return elman.Network(
        {
            "rnn": (elman.GRU(3, 6, dtype=dtype, seed=0), "series"),
            "both": (elman.Concatenate(), "rnn", "store"),
            "tags": elman.Dense(8, 4, dtype=dtype, seed=1),
            "pool": (pool, "rnn"),
            "level": elman.Dense(6, 1, dtype=dtype, seed=2),
        },
        outputs=("tags", "level"),
    )


def data(seed=0):
    rng = np.random.default_rng(seed)
    series = [rng.standard_normal((n, 3)) for n in LENGTHS]
    store = rng.standard_normal((5, 2))
    tags = [(part.sum(1) > 0).astype(int) + 2 * (row[0] > 0) for part, row in zip(series, store, strict=True)]
    level = np.array([part.mean() for part in series])
    return {"series": series, "store": store}, {"tags": tags, "level": level}


LOSS = {"tags": "cross_entropy", "level": "squared_error"}


def test_an_update_is_the_sum_of_both_losses():
    net, (x, y) = network(), data()
    for _ in range(2):
        before = copy.deepcopy(net)
        prediction, _, tape = net.forward(x)
        tags, level = elman.CrossEntropy(), elman.SquaredError()
        rows, count = np.concatenate(prediction["tags"]), sum(LENGTHS)
        losses = tags(rows, np.concatenate(y["tags"])).mean() + level(prediction["level"], y["level"]).mean()
        dtags = tags.derivative(rows, np.concatenate(y["tags"])) / count
        dlevel = level.derivative(prediction["level"], y["level"]) / 5
        dy = {"tags": np.split(dtags, np.cumsum(LENGTHS)[:-1]), "level": dlevel}
        _, _, gradients = net.backward(tape, dy)
        history = elman.fit(
            net, x, y, loss=LOSS, optimizer=elman.SGD(0.1), epochs=1, clip_norm=None, validation=(x, y), progress=False
        )
        np.testing.assert_allclose(history.loss[0], losses, rtol=1e-12)
        for name, array in net.parameters.items():
            np.testing.assert_allclose(array, before.parameters[name] - 0.1 * gradients[name], rtol=1e-9, atol=1e-12)
        z, _ = net(x)
        after = tags(np.concatenate(z["tags"]), np.concatenate(y["tags"])).mean() + level(z["level"], y["level"]).mean()
        np.testing.assert_allclose(history.validation_loss[0], after, rtol=1e-12)


def test_padded_arrays_weights_and_masks():
    x, y = data()
    arrays = {"series": padded(x["series"]), "store": x["store"]}
    targets = {"tags": padded([part.astype(int) for part in y["tags"]]), "level": y["level"]}
    rng = np.random.default_rng(1)
    mask = {"tags": [rng.random(n) < 0.7 for n in LENGTHS]}
    weight = {"level": rng.random(5), "tags": rng.random(5)}
    nets = [network(), network(), network()]
    options = {"loss": LOSS, "epochs": 3, "progress": False, "batch_size": 2}
    one = elman.fit(nets[0], x, y, mask=mask, sample_weight=weight, **options)
    full = {"tags": np.array([np.pad(part, (0, 7 - len(part))) for part in mask["tags"]])}
    two = elman.fit(nets[1], arrays, targets, lengths=LENGTHS, mask=full, sample_weight=weight, **options)
    np.testing.assert_array_equal(one.loss, two.loss)
    for name, array in nets[0].parameters.items():
        np.testing.assert_array_equal(array, nets[1].parameters[name])
    three = elman.fit(nets[2], x, y, **options)
    assert three.loss[0] != one.loss[0]


def test_checkpoints_go_on_with_the_same_bits(tmp_path):
    x, y = data()
    whole, halved = network(), network()
    options = {"loss": LOSS, "progress": False, "batch_size": 2, "validation": (x, y)}
    history = elman.fit(whole, x, y, epochs=4, checkpoint=tmp_path / "whole", **options)
    elman.fit(halved, x, y, epochs=2, checkpoint=tmp_path / "half", **options)
    again = network()
    more = elman.fit(again, x, y, epochs=4, checkpoint=tmp_path / "half", **options)
    np.testing.assert_array_equal(history.loss, more.loss)
    for name, array in whole.parameters.items():
        np.testing.assert_array_equal(array, again.parameters[name])
    other = {**options, "loss": {**LOSS, "level": "huber"}}
    with pytest.raises(ValueError, match="of a run that differs in loss"):
        elman.fit(network(), x, y, epochs=4, checkpoint=tmp_path / "half", **other)
    x["store"] = x["store"] + 1
    with pytest.raises(ValueError, match="of a run that differs in data"):
        elman.fit(network(), x, y, epochs=4, checkpoint=tmp_path / "half", **options)


def tagger():
    return elman.Network(
        {
            "rnn": (elman.LSTM(3, 6, dtype="float64", seed=0), "series"),
            "both": (elman.Concatenate(), "rnn", "store"),
            "tags": elman.Dense(8, 4, dtype="float64", seed=1),
        }
    )


def test_truncated_windows():
    """Windows as long as the sequences give what whole ones give, and a long sequence goes as streams."""
    x, y = data()
    whole, windows = tagger(), tagger()
    options = {"epochs": 2, "progress": False}
    one = elman.fit(whole, x, y["tags"], **options)
    two = elman.fit(windows, x, y["tags"], truncate=7, **options)
    np.testing.assert_array_equal(one.loss, two.loss)
    short = elman.fit(tagger(), x, y["tags"], truncate=3, **options)
    assert np.isfinite(short.loss).all()
    rng = np.random.default_rng(2)
    long = {"series": rng.standard_normal((40, 3)), "store": np.ones(2)}
    targets = rng.integers(0, 4, 40)
    streams = elman.fit(tagger(), long, targets, truncate=5, batch_size=4, **options)
    rows = {"series": long["series"].reshape(4, 10, 3), "store": np.ones((4, 2))}
    rows = elman.fit(tagger(), rows, targets.reshape(4, 10), truncate=5, batch_size=4, **options)
    np.testing.assert_array_equal(streams.loss, rows.loss)


def test_an_encoder_and_a_decoder_train():
    rng = np.random.default_rng(3)
    net = elman.Network(
        {
            "encoder": (elman.LSTM(2, 12, seed=0), "source"),
            "decoder": elman.Node(elman.LSTM(1, 12, seed=1), "target", state="encoder"),
            "out": elman.Dense(12, 1, seed=2),
        }
    )
    source = [rng.standard_normal((n, 2)) for n in rng.integers(2, 6, 40)]
    target = [np.linspace(0, 1, n)[:, None] for n in rng.integers(2, 9, 40)]
    y = [part * row.mean() for row, part in zip(source, target, strict=True)]
    x = {"source": source, "target": target}
    history = elman.fit(net, x, y, loss="squared_error", optimizer=elman.Adam(0.01), epochs=60, progress=False)
    assert history.loss[-1] < history.loss[0] / 5
    with pytest.raises(ValueError, match="truncate must be left out"):
        elman.fit(net, x, y, loss="squared_error", truncate=2, progress=False)


NAN = np.full((5, 2), np.nan)
X, Y = data()
REFUSED = {
    "a target that is missing": (
        {"y": {"tags": Y["tags"]}},
        ValueError,
        "y must hold tags, level. Got none for level",
    ),
    "a target of nothing": ({"y": {**Y, "tag": 3}}, ValueError, "Did you mean 'tags'?"),
    "one target": ({"y": Y["level"]}, TypeError, "y must be a mapping of (tags, level) to their values"),
    "a loss that is missing": ({"loss": {"tags": "huber"}}, ValueError, "loss must hold tags, level"),
    "a loss of no name": ({"loss": {**LOSS, "level": "squared"}}, ValueError, "loss must be one of"),
    "a mask of nothing": ({"mask": {"tag": 3}}, ValueError, "a name in mask must be one of 'tags', 'level'"),
    "labels": ({"y": {**Y, "tags": Y["level"]}}, elman.ShapeError, "output 'tags': y[0] must have shape (5,)"),
    "inputs": ({"x": X["series"]}, TypeError, "x must be a mapping of (series, store)"),
    "an input of NaN": ({"x": {**X, "store": NAN}}, ValueError, "store must be finite"),
    "the last step": ({"truncate": 3}, ValueError, "truncate must be left out"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    change, kind, words = REFUSED[name]
    x, y = data()
    net = network()
    before = {key: array.copy() for key, array in net.parameters.items()}
    with pytest.raises(kind) as error:
        elman.fit(net, **{"x": x, "y": y, "loss": LOSS, "progress": False, **change})
    assert words in str(error.value)
    for key, array in net.parameters.items():
        np.testing.assert_array_equal(array, before[key])


def test_truncate_where_the_last_step_joins_a_sequence():
    net = elman.Network(
        {
            "rnn": (elman.GRU(3, 4, seed=0), "x"),
            "last": (elman.LastStep(), "rnn"),
            "both": (elman.Concatenate(), "rnn", "last"),
            "out": elman.Dense(8, 4, seed=1),
        }
    )
    x, y = data()
    elman.fit(net, x["series"], y["tags"], epochs=1, progress=False)
    with pytest.raises(elman.ShapeError, match=r"reads a sequence and its last step\. Got node 'both'"):
        elman.fit(net, x["series"], y["tags"], truncate=3, progress=False)
