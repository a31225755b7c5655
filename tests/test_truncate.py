"""Truncated backpropagation, gradient accumulation, batches by length, weights and masks: held to loops by hand."""

from __future__ import annotations

import itertools
import re
import tracemalloc

import numpy as np
import pytest

from elman.checks import DtypeError, ShapeError
from elman.layers import GRU, LSTM, Dense, Embedding, LastStep
from elman.network import Network
from elman.training import SGD, Adam, CrossEntropy, SquaredError, fit
from elman.training.windows import batches, windows


def tagger(seed=0, hidden=5, features=3, classes=4):
    """Classes a step, in float64 so that differences show."""
    return Network(
        [
            LSTM(features, hidden, dtype="float64", seed=seed),
            GRU(hidden, 6, dtype="float64", seed=seed + 1),
            Dense(6, classes, dtype="float64", seed=seed + 2),
        ]
    )


def data(seed, lengths, features=3, classes=4):
    rng = np.random.default_rng(seed)
    x = [rng.standard_normal((n, features)) for n in lengths]
    return x, [rng.integers(0, classes, n) for n in lengths]


def quiet(net, x, y, **options):
    return fit(net, x, y, progress=False, clip_norm=None, **options)


def assert_close(net, twin, tolerance=1e-12):
    for name, array in net.parameters.items():
        np.testing.assert_allclose(array, twin.parameters[name], rtol=0, atol=tolerance, err_msg=name)


def moved(net, seed=0):
    """Whether training changed anything at all."""
    return any((array != tagger(seed).parameters[name]).any() for name, array in net.parameters.items())


def step(net, gradients, rate):
    for name, array in net.parameters.items():
        array -= rate * gradients[name]


# Windows.


def by_hand(net, x, y, every, through, rate):
    """One batch of sequences of equal length, (batch, time, ...), window by window, in the words of the definition."""
    states = {0: None}  # the state before a step, as it was when the walk came by
    time = x.shape[1]
    for fresh in range(0, time, every):
        end, begin = min(fresh + every, time), max(0, fresh + every - through)
        y_pred, state, tape = net.forward(x[:, begin:end], states[begin])
        after = {}
        for t in range(begin + 1, end + 1):
            after[t] = net(x[:, begin:t], states[begin])[1]
        dy = CrossEntropy().derivative(y_pred, y[:, begin:end])
        dy[:, : fresh - begin] = 0
        gradients = net.backward(tape, dy / (len(x) * (end - fresh)))[2]
        states |= after
        step(net, gradients, rate)


@pytest.mark.parametrize("truncate", [4, (4, 4), (3, 6), (3, 7), (2, 8), (5, 6), 1, (1, 3), 40])
def test_windows_follow_the_definition(truncate):
    x, y = data(1, [17] * 3)
    net, twin = tagger(), tagger()
    for _ in range(2):
        quiet(net, np.stack(x), np.stack(y), optimizer=SGD(0.2), epochs=1, batch_size=3, truncate=truncate)
        every, through = truncate if isinstance(truncate, tuple) else (truncate, truncate)
        by_hand(twin, np.stack(x), np.stack(y), every, through, 0.2)
    assert moved(net)
    assert_close(net, twin)


def test_sequences_that_end_leave_the_others_their_own_states():
    """Ragged, one update for all windows: the gradients are those of each sequence walked by itself."""
    lengths = [2, 11, 5, 8, 4]
    x, y = data(2, lengths)
    net, twin = tagger(), tagger()
    quiet(net, x, y, optimizer=SGD(0.3), epochs=1, batch_size=5, truncate=4, accumulate=99)
    total = dict.fromkeys(twin.parameters, 0.0)
    for part, labels in zip(x, y, strict=True):
        state = None
        for begin in range(0, len(part), 4):
            y_pred, state, tape = twin.forward(part[begin : begin + 4], state)
            dy = CrossEntropy().derivative(y_pred, labels[begin : begin + 4]) / sum(lengths)
            for name, gradient in twin.backward(tape, dy)[2].items():
                total[name] = total[name] + gradient
    step(twin, total, 0.3)
    assert moved(net)
    assert_close(net, twin)


def test_one_long_sequence_is_laid_out_as_parallel_streams():
    x, y = data(3, [43])
    nets = tagger(), tagger()
    quiet(nets[0], x[0], y[0], optimizer=SGD(0.2), epochs=1, batch_size=4, truncate=5, accumulate=99)
    cuts = [0, 10, 21, 32, 43]
    parts = [(x[0][a:b], y[0][a:b]) for a, b in itertools.pairwise(cuts)]
    quiet(nets[1], *zip(*parts, strict=True), optimizer=SGD(0.2), epochs=1, batch_size=4, truncate=5, accumulate=99)
    assert moved(nets[0])
    assert_close(*nets)


def test_a_text_is_learned_in_windows():
    text = np.tile([0, 1, 2, 3, 1, 2, 0, 0], 40)
    net = Network([Embedding(4, 6, seed=0), GRU(6, 12, seed=1), Dense(12, 4, seed=2)])
    history = fit(
        net, text[:-1], text[1:], optimizer=Adam(0.03), epochs=30, batch_size=4, truncate=8, progress=False,
        validation=(text[:-1], text[1:]),
    )  # fmt: skip
    assert history.loss[-1] < 0.05 < 0.8 < history.loss[0]
    # The validation carries its state from window to window: it is the loss of the sequence in one piece.
    whole = CrossEntropy()(net(text[:-1])[0], text[1:]).mean()
    assert history.validation_loss[-1] == pytest.approx(whole, rel=1e-5)


def test_memory_depends_on_the_window_not_on_the_sequence():
    def peak(steps):
        rng = np.random.default_rng(4)
        x, y = rng.standard_normal((steps, 3)), rng.integers(0, 4, steps)
        net = tagger(hidden=32)
        options = {"epochs": 1, "batch_size": 4, "truncate": 8, "validation": (x, y)}
        tracemalloc.start()
        quiet(net, x, y, **options)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most - 2 * x.nbytes  # what belongs to the data: the shuffled batch is taken from it

    assert peak(8000) < 1.6 * peak(4000)
    assert peak(8000) < 8000 * (32 + 6) * 8  # less than the outputs alone would take


def test_windows_cover_every_step_once():
    lengths = np.random.default_rng(5).integers(1, 30, 17)
    for truncate in (None, (4, 4), (3, 10), (7, 8)):
        seen = np.zeros((17, 30), int)
        for window in windows(batches(lengths, 5, np.random.default_rng(0), True), lengths, truncate):
            for sequence in window.sequences:
                seen[sequence, window.first_counted : min(lengths[sequence], window.end or 99)] += 1
        np.testing.assert_array_equal(seen, np.arange(30) < lengths[:, None])


@pytest.mark.parametrize(
    ("truncate", "message"),
    [
        (0, "truncate must be a whole number from 1 up. Got 0."),
        ((4, 3), "truncate must be (k1, k2) with k2 from k1 up. Got (4, 3)."),
        ((4, 5, 6), "truncate must be k or (k1, k2). Got (4, 5, 6)."),
        ((4, 5.5), "k2 of truncate must be a whole number from 1 up. Got 5.5."),
    ],
)
def test_windows_that_are_none_are_refused(truncate, message):
    x, y = data(6, [5, 6])
    net = tagger()
    with pytest.raises(ValueError, match=re.escape(message)):
        quiet(net, x, y, truncate=truncate)
    assert not moved(net)


def test_networks_that_need_whole_sequences_are_not_truncated():
    x, _ = data(6, [5, 6])
    pooled = Network([GRU(3, 4, seed=0), LastStep(), Dense(4, 2, seed=1)])
    both = Network([GRU(3, 4, bidirectional=True, seed=0), Dense(8, 2, seed=1)])
    for net, y in ((pooled, [0, 1]), (both, [np.zeros(5, int), np.zeros(6, int)])):
        with pytest.raises(ValueError, match="truncate must be left out for a network that needs whole sequences"):
            quiet(net, x, y, truncate=3)


# Accumulation and batches by length.


def test_accumulated_batches_are_one_large_batch():
    x, y = data(7, [3, 9, 4, 6, 5, 8, 2])
    nets = tagger(), tagger()
    quiet(nets[0], x, y, optimizer=SGD(0.3), epochs=3, batch_size=2, accumulate=4)
    quiet(nets[1], x, y, optimizer=SGD(0.3), epochs=3, batch_size=7)
    assert moved(nets[0])
    assert_close(*nets)


def test_batches_by_length_hold_similar_lengths_and_every_sequence():
    lengths = np.random.default_rng(8).integers(1, 100, 640)
    chosen = batches(lengths, 16, np.random.default_rng(1), True)
    assert sorted(np.concatenate(chosen)) == list(range(640))
    assert np.mean([np.ptp(lengths[batch]) for batch in chosen]) < 10
    assert np.mean([np.ptp(lengths[batch]) for batch in batches(lengths, 16, np.random.default_rng(1), False)]) > 60
    first = [lengths[batch].mean() for batch in chosen]
    assert first != sorted(first)  # the batches are not in the order of their lengths
    again = batches(lengths, 16, np.random.default_rng(1), True)
    assert all((a == b).all() for a, b in zip(chosen, again, strict=True))


# Weights and masks.


def weighted_step(net, x, y, w, rate):
    """The update of the whole data, with the weight of each step, by hand."""
    y_pred, _, tape = net.forward(x)
    total = sum(part.sum() for part in w)
    dy = [CrossEntropy().derivative(p, t) * part[:, None] / total for p, t, part in zip(y_pred, y, w, strict=True)]
    step(net, net.backward(tape, dy)[2], rate)


def test_weights_and_masks_multiply():
    lengths = [4, 7, 5]
    x, y = data(9, lengths)
    rng = np.random.default_rng(9)
    mask = [rng.random(n) < 0.6 for n in lengths]
    steps = [rng.random(n) for n in lengths]
    classes = {0: 0.5, 2: 3.0}
    w = [m * s * np.array([classes.get(int(k), 1.0) for k in t]) for m, s, t in zip(mask, steps, y, strict=True)]
    net, twin = tagger(), tagger()
    missing = [np.where(m, t, -1) for m, t in zip(mask, y, strict=True)]
    for _ in range(2):
        history = quiet(
            net, x, missing, optimizer=SGD(0.3), epochs=1, mask=mask, sample_weight=steps, class_weight=classes
        )
        losses = [CrossEntropy()(p, t) for p, t in zip(twin(x)[0], y, strict=True)]
        mean = sum((a * b).sum() for a, b in zip(losses, w, strict=True)) / sum(part.sum() for part in w)
        weighted_step(twin, x, y, w, 0.3)
        assert history.loss[0] == pytest.approx(mean, rel=1e-12)
    assert moved(net)
    assert_close(net, twin)


def test_a_weight_a_sequence_counts_for_each_of_its_steps():
    x, y = data(10, [4, 7, 5])
    nets = tagger(), tagger()
    quiet(nets[0], x, y, optimizer=SGD(0.3), epochs=2, sample_weight=[0.5, 2.0, 1.0])
    parts = [np.full(n, w) for n, w in ((4, 0.5), (7, 2.0), (5, 1.0))]
    quiet(nets[1], x, y, optimizer=SGD(0.3), epochs=2, sample_weight=parts)
    assert moved(nets[0])
    assert_close(*nets)


def test_padded_arrays_weigh_as_lists_do():
    lengths = [4, 7, 5]
    x, y = data(11, lengths)
    rng = np.random.default_rng(11)
    mask, weight = [rng.random(n) < 0.7 for n in lengths], [rng.random(n) for n in lengths]

    def pad(parts, fill):
        padded = np.full((3, 7, *parts[0].shape[1:]), fill, np.result_type(parts[0], type(fill)))
        for row, part in zip(padded, parts, strict=True):
            row[: len(part)] = part
        return padded

    nets = tagger(), tagger()
    options = {"optimizer": SGD(0.3), "epochs": 2, "class_weight": "balanced"}
    quiet(nets[0], x, y, mask=mask, sample_weight=weight, **options)
    quiet(
        nets[1], pad(x, np.nan), pad(y, -1), lengths=lengths, mask=pad(mask, True),
        sample_weight=pad(weight, 9.0), **options,
    )  # fmt: skip
    assert_close(*nets, tolerance=0)
    assert moved(nets[0])


def test_missing_numbers_may_be_nan_where_the_mask_is_false():
    x, _ = data(12, [6, 5])
    rng = np.random.default_rng(12)
    y = [rng.standard_normal((n, 4)) for n in (6, 5)]
    mask = [np.arange(n) % 3 != 1 for n in (6, 5)]
    net, twin = tagger(), tagger()
    missing = [np.where(m[:, None], t, np.nan) for m, t in zip(mask, y, strict=True)]
    history = quiet(
        net, x, missing, loss="squared_error", optimizer=SGD(0.3), epochs=2, mask=mask,
        validation=(x, missing, None, mask), accumulate=1,
    )  # fmt: skip
    quiet(twin, x, y, loss="squared_error", optimizer=SGD(0.3), epochs=2, sample_weight=[m * 1.0 for m in mask])
    assert_close(net, twin)
    losses = np.concatenate([SquaredError()(p, t)[m] for p, t, m in zip(net(x)[0], y, mask, strict=True)])
    assert history.validation_loss[-1] == pytest.approx(losses.mean(), rel=1e-12)


def test_balanced_classes_weigh_alike():
    rng = np.random.default_rng(13)
    x = rng.standard_normal((30, 5, 3))
    y = np.array([0] * 24 + [1] * 6)
    net = Network([GRU(3, 4, seed=0, dtype="float64"), LastStep(), Dense(4, 2, seed=1, dtype="float64")])
    losses = CrossEntropy()(net(x)[0], y)
    history = quiet(net, x, y, epochs=1, batch_size=30, class_weight="balanced")
    assert history.loss[0] == pytest.approx((losses[:24].mean() + losses[24:].mean()) / 2, rel=1e-12)


def test_a_batch_in_which_nothing_counts_changes_nothing():
    x, y = data(14, [4, 4])
    net, twin = tagger(), tagger()
    quiet(net, x, y, optimizer=SGD(0.3), epochs=1, batch_size=1, sample_weight=[0.0, 1.0])
    quiet(twin, x[1:], y[1:], optimizer=SGD(0.3), epochs=1, batch_size=1)
    assert moved(net)
    assert_close(net, twin)


def test_noise_on_weights_leaves_no_trace_in_them():
    """Each gradient is taken at noisy weights; the update moves the clean ones."""
    x, y = data(15, [5, 6])
    net, twin, other = tagger(), tagger(), tagger()
    quiet(net, x, y, optimizer=SGD(1e-12), epochs=3, weight_noise=0.5)
    assert_close(net, tagger(), tolerance=1e-9)
    history = quiet(net, x, y, optimizer=SGD(0.1), epochs=1, weight_noise=0.5, seed=3)
    from elman.training.state import generators

    noise = generators(3, 0)[1]
    clean = {name: array.copy() for name, array in twin.parameters.items()}
    for array in twin.parameters.values():
        if array.ndim >= 2:
            array += 0.5 * noise.standard_normal(array.shape)
    order = generators(3, 0)[0].permutation(2)
    y_pred, _, tape = twin.forward([x[i] for i in order])
    dy = [CrossEntropy().derivative(p, y[i]) / 11 for p, i in zip(y_pred, order, strict=True)]
    gradients = twin.backward(tape, dy)[2]
    loss = sum(CrossEntropy()(p, y[i]).sum() for p, i in zip(y_pred, order, strict=True)) / 11
    for name, array in other.parameters.items():
        array[...] = clean[name] - 0.1 * gradients[name]
    assert history.loss[0] == pytest.approx(loss, rel=1e-9)
    assert_close(net, other, tolerance=1e-9)


X, Y = data(16, [4, 5])
MASK = [np.ones(4, bool), np.ones(5, bool)]


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"mask": [True, False]}, ShapeError, "mask[0] must have shape (4,). Got ()."),
        ({"mask": MASK[:1]}, ShapeError, "mask must hold 2 examples, as x does. Got 1."),
        ({"mask": [np.ones(4), np.ones(5)]}, DtypeError, "mask[0] must hold booleans. Got an array of dtype float64."),
        ({"mask": [~m for m in MASK]}, ValueError, "mask and weights must let at least one target count. Got none"),
        ({"sample_weight": [1.0, -1.0]}, ValueError, "sample_weight must hold numbers from 0 up. Got -1.0 at"),
        ({"sample_weight": [1.0, np.nan]}, ValueError, "sample_weight must hold numbers from 0 up. Got nan at"),
        ({"sample_weight": np.ones(3)}, ShapeError, "sample_weight must have shape (2,). Got (3,)."),
        ({"class_weight": {4: 1.0}}, ValueError, "class_weight must name classes from 0 to 3. Got 4."),
        ({"class_weight": {1: -1.0}}, ValueError, "class_weight[1] must be a number from 0. Got -1.0."),
        ({"class_weight": "even"}, ValueError, "class_weight must be one of 'balanced'. Got 'even'."),
        ({"class_weight": [1, 2]}, TypeError, "class_weight must be 'balanced' or a mapping class -> weight. Got a"),
        ({"accumulate": 0}, ValueError, "accumulate must be a whole number from 1 up. Got 0."),
        ({"weight_noise": -1}, ValueError, "weight_noise must be a number from 0. Got -1."),
        ({"group_by_length": 1}, TypeError, "group_by_length must be True or False. Got 1."),
        ({"y": [np.full(4, np.nan), np.zeros(5)], "mask": MASK}, ValueError, "y must hold integers where mask is true"),
    ],
)  # fmt: skip
def test_bad_weights_are_refused_before_any_training(options, kind, message):
    net = tagger()
    with pytest.raises(kind, match=re.escape(message)):
        quiet(net, X, **{"y": Y, **options})
    assert not moved(net)


def test_class_weights_need_labels():
    x, _ = data(17, [4, 5])
    y = [np.zeros((4, 4)), np.zeros((5, 4))]
    with pytest.raises(ValueError, match="class_weight must be left out where targets are numbers"):
        quiet(tagger(), x, y, loss="squared_error", class_weight="balanced")
