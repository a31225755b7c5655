"""What a checkpoint belongs to: first weights, arguments, and losses, schedules, optimizers and cells of one's own."""

from __future__ import annotations

import copy
import functools
import itertools
import os
import re
import subprocess
import sys
import textwrap
import threading
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.cells import Cell
from elman.layers import GRU, Dense, Recurrent
from elman.network import Network
from elman.training import (
    SGD,
    Adam,
    AdamW,
    Checkpoint,
    CosineSchedule,
    Huber,
    LinearSchedule,
    Loss,
    Optimizer,
    RMSprop,
    SquaredError,
    fit,
)
from elman.training.identity import identify

RNG = np.random.default_rng(0)
X = RNG.standard_normal((10, 6, 2))
Y = RNG.standard_normal((10, 6, 1))


def network(seed=0, layers=None):
    return Network(layers or [GRU(2, 4, seed=seed), Dense(4, 1, seed=seed + 1)])


def train(net, **options):
    return fit(net, X, Y, **{"loss": "squared_error", "epochs": 2, "batch_size": 4, "progress": False, **options})


def weights(net):
    return {name: array.copy() for name, array in net.parameters.items()}


def assert_same(net, other):
    for name, array in net.parameters.items():
        np.testing.assert_array_equal(array, other[name] if isinstance(other, dict) else other.parameters[name])


# Texts.

MODULE = '''
import collections, datetime, enum, functools, math, random
import numpy as np
import elman
FACTOR = {factor}
TABLE = {{"rate": [{factor}, 2.0]}}

class Plain:
    kind = {factor}
    def __init__(self, top, more=None): self.top, self.more = top, more
    def __call__(self, done): return self.top

class Slots:
    __slots__ = ("a", "__b")
    def __init__(self, a, b): self.a, self.__b = a, b

class Both(Slots):
    def __init__(self, a, b, c): super().__init__(a, b); self.c = c

class Kind(enum.Enum):
    ONE = 1
    TWO = {factor}

class Pairs(dict): pass
class Text(str): pass
Point = collections.namedtuple("Point", "x y")

def closed(k):
    def rate(done): return k * done
    return rate
def classed(k):
    class Own(elman.CrossEntropy):
        def rows(self, p, t): return super().rows(p, t) * k
    return Own()
def defaulted(done, k={factor}): return k
def keyword(done, *, k={factor}): return k
def reads(done): return FACTOR * done
def reads_table(done): return TABLE["rate"][0] * helper(done)
def helper(done): return done + FACTOR
def nested(done): return [FACTOR * i for i in (lambda: (1, 2))()]
def caught(done):
    try: return FACTOR / done
    except ZeroDivisionError: return {{1, 2, "a"}}
def attributed(done): return attributed.k
attributed.k = {factor}
ARRAY = np.array([1.0, {factor}])
def summed(done): return ARRAY.sum() * done

ring = [{factor}]; ring.append(ring)
loop = Plain(1); loop.more = {{"self": loop, "n": {factor}}}
VALUES = [
    {factor}, float({factor}), str({factor}), bytes([{factor}]), {factor} == 3, complex({factor}), np.float32({factor}),
    np.int8({factor}), ({factor},), [{factor}], {{{factor}}}, frozenset([{factor}]), {{"a": {factor}}},
    {{{factor}: "a"}}, np.full(3, {factor}), np.full((1, 3), {factor}), np.full(3, {factor}, "f4"),
    np.array([{factor}, "a", None], object), np.ma.array([1, {factor}], mask=[0, 1]), collections.deque([{factor}]),
    collections.OrderedDict(a={factor}),
    datetime.timedelta({factor}), range({factor}), slice({factor}), Plain({factor}), Plain(0, [{factor}]),
    Slots(1, {factor}), Slots({factor}, 1), Both(1, 2, {factor}), Kind.TWO, Pairs(a={factor}), Text("{factor}"),
    Point(1, {factor}), closed({factor}), classed({factor}), defaulted, keyword, reads, reads_table, nested, caught,
    attributed, summed, closed(np.array([{factor}, 0.5])),
    lambda done: {factor}, (lambda d: {factor} + 1, lambda d: {factor})[1], ring, loop,
    Plain, type(classed({factor})), Plain({factor}).__call__, [{factor}].index, functools.partial(closed, {factor}),
    functools.partial(closed, k={factor}),
    functools.lru_cache(reads), functools.lru_cache(closed({factor})), np.vectorize(closed({factor})),
    np.random.default_rng({factor}), np.random.RandomState({factor}), np.random.PCG64({factor}),
    random.Random({factor}), elman.Adam({factor} * 0.01), elman.StepSchedule({factor}),
    elman.Quantile(({factor} / 10,)), elman.GRU(2, 3, seed={factor}), elman.GRU(2, {factor}, seed=0),
    elman.RNN(2, 3, activation=["tanh", "relu"][{factor} % 2], seed=1),
]
'''  # fmt: skip
PROCESS = "{}\nfrom elman.training.identity import identify\nprint(*(identify('v', v) for v in VALUES), sep='\\n')"


def texts(factor):
    """The texts of all values of the module, in a new process."""
    code = PROCESS.format(MODULE.format(factor=factor))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_a_text_is_that_of_the_content_in_every_process(monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    first = texts(3)
    monkeypatch.setenv("PYTHONHASHSEED", "2")
    again, other = texts(3), texts(4)
    assert first == again
    assert len(set(first)) == len(first), [t for t in first if first.count(t) > 1]
    alike = [pair for pair in zip(first, other, strict=True) if pair[0] == pair[1]]
    assert not alike
    assert not [text for text in first if re.search(r"0x[0-9a-f]{6,}", text) and "float" not in text]


ATOMS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=3)
    | st.complex_numbers()
)  # fmt: skip
HASHABLE = st.integers() | st.text(max_size=3)
VALUES = st.recursive(
    ATOMS,
    lambda part: (
        st.lists(part, max_size=3) | st.lists(part, max_size=3).map(tuple) | st.dictionaries(HASHABLE, part, max_size=3)
        | st.sets(HASHABLE, max_size=3) | st.builds(functools.partial, st.just(print), part)
    ),
    max_leaves=12,
)  # fmt: skip


def exact(value):
    """A value in a form that is equal only for the same: of one type, to the bit."""
    if isinstance(value, (list, tuple)):
        return type(value), [exact(part) for part in value]
    if isinstance(value, dict):
        return dict, sorted((repr(key), repr(exact(part))) for key, part in value.items())
    if isinstance(value, functools.partial):
        return functools.partial, exact(value.args)
    return type(value), sorted(map(repr, value)) if isinstance(value, set) else repr(value)


@settings(max_examples=200, deadline=None)
@given(one=VALUES, other=VALUES)
def test_texts_are_equal_where_values_are(one, other):
    assert identify("v", one) == identify("v", copy.deepcopy(one))
    assert (identify("v", one) == identify("v", other)) == (repr(exact(one)) == repr(exact(other)))


def test_sharing_makes_no_difference_and_takes_no_time():
    shared = [0.5]
    assert identify("v", [shared, shared]) == identify("v", [[0.5], [0.5]])
    for _ in range(60):
        shared = [shared, shared]
    assert len(identify("v", shared)) < 200


# What cannot be told.


class Remote:
    """A rate whose content Python cannot see."""

    def __init__(self, what):
        self.what = what

    def __call__(self, done):
        return 0.01


def opaque():
    lock = threading.Lock()
    return {
        "a lock": (SGD(Remote(lock)), "Got optimizer.learning_rate.what, a lock"),
        "a generator": (SGD(Remote(i for i in range(3))), "a generator"),
        "in a list": (SGD(Remote([1, {"a": lock}])), "a lock"),
        "a closure": (SGD(lambda done: 0.01 if lock else 0.02), "Got optimizer.learning_rate.variable lock, a lock"),
        "a ufunc": (SGD(Remote(np.frompyfunc(abs, 1, 1))), "an ufunc"),
    }


@pytest.mark.parametrize("case", opaque())
def test_what_cannot_be_told_apart_is_refused_before_the_run_unless_a_key_names_it(case, tmp_path):
    optimizer, words = opaque()[case]
    net, path = network(), tmp_path / "run"
    with pytest.raises(ValueError, match=rf"optimizer must be told apart from others.*{re.escape(words)}.*key="):
        train(net, optimizer=optimizer, checkpoint=path)
    assert_same(net, network())
    assert not path.exists()
    train(net, optimizer=optimizer, checkpoint=Checkpoint(path, key="one"))
    assert len(train(network(), optimizer=opaque()[case][0], checkpoint=Checkpoint(path, key="one"))) == 2
    for key in ("two", None):
        with pytest.raises(ValueError, match=r"differs in .*key|must be told apart"):
            train(network(), optimizer=optimizer, checkpoint=Checkpoint(path, key=key))


def test_an_open_file_is_refused(tmp_path):
    with open(tmp_path / "rates", "w") as file, pytest.raises(ValueError, match="a TextIOWrapper"):
        train(network(), optimizer=SGD(Remote(file)), checkpoint=tmp_path / "run")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": ""}, "key must be a text"),
        ({"key": 3}, "key must be a text"),
        ({"change": "optimizer"}, "change must be a tuple of names"),
        ({"change": ("batch_size",)}, "change must be one of 'optimizer', 'loss'"),
        ({"change": ("optimiser",)}, "Did you mean 'optimizer'?"),
        ({"change": (3,)}, "change must be one of"),
        ({"every": float("nan")}, "every must be a number from 0"),
        ({"every": "3"}, "every must be a number from 0"),
        ({"path": 3}, "path must be that of a file"),
    ],
)
def test_malformed_checkpoints_are_refused(options, message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        Checkpoint(**{"path": "run", **options})


# In fit.


class Weighted(Loss):
    def __init__(self, factor):
        self.factor = factor

    def rows(self, prediction, target):
        return self.factor * ((prediction - target) ** 2).sum(-1)

    def rows_derivative(self, prediction, target):
        return 2 * self.factor * (prediction - target)


@dataclass(frozen=True)
class Step:
    sizes: tuple[float, ...]

    def __call__(self, done):
        return self.sizes[int(done * (len(self.sizes) - 0.01))]


class Sign(Optimizer):
    learning_rate = 0.01

    def __init__(self, power=1.0):
        self.power = power

    def move(self, theta, g, moments, t, eta):
        theta -= eta * np.sign(g) * np.abs(g) ** self.power


def rate_of(top):
    return lambda done: top * (1 - done)


def leaky(leak):
    def step(x, state, weights):
        (h,), (wx, wh) = state, weights
        n = np.tanh(x @ wx + h @ wh)
        return ((1 - leak) * h + leak * n,), {"n": n}

    def step_derivative(x, state, weights, kept, dnext):
        (h,), (wx, wh), (dh,) = state, weights, dnext
        da = leak * dh * (1 - kept["n"] ** 2)
        return da @ wx.T, ((1 - leak) * dh + da @ wh.T,), (x.T @ da, h.T @ da)

    names = {"Wx": ("input", "hidden"), "Wh": ("hidden", "hidden")}
    return Cell("leaky", names, ("h",), step, step_derivative)


def with_cell(leak):
    return {"layers": [Recurrent(leaky(leak), 2, 4, seed=0), Dense(4, 1, seed=1)]}


def with_dense(scale):
    class Scaled(Dense):
        def step(self, x, state):
            y, state = super().step(x, state)
            return y * scale, state

    return {"layers": [GRU(2, 4, seed=0), Scaled(4, 1, seed=1)]}


OTHERS = {  # argument -> what makes it, from a number
    "loss": [
        lambda k: {"loss": Weighted(k)},
        lambda k: {"loss": Huber(k)},
    ],
    "optimizer": [
        lambda k: {"optimizer": SGD(rate_of(0.01 * k))},
        lambda k: {"optimizer": Adam(Step((0.01, 0.001 * k)))},
        lambda k: {"optimizer": Adam(CosineSchedule(0.01, warmup=0.1 * k))},
        lambda k: {"optimizer": Sign(1 / k)},
        lambda k: {"optimizer": Adam(beta2=1 - 0.01 * k)},
        lambda k: {"optimizer": SGD(functools.partial(np.interp, xp=[0, 1], fp=[0.01 * k, 0.0]))},
    ],
    "net": [with_cell, with_dense],
    "clip_norm": [lambda k: {"clip_norm": 0.1 * k}],
    "clip_value": [lambda k: {"clip_value": 0.1 * k}],
    "weight_noise": [lambda k: {"weight_noise": 0.1 * k}],
    "data": [
        lambda k: {"sample_weight": np.full(10, 1.0) * np.arange(10) ** k},
        lambda k: {"mask": np.arange(60).reshape(10, 6) % 7 != k},
        lambda k: {"lengths": np.full(10, 2 + k)},
    ],
}  # fmt: skip
CASES = [(name, i) for name, makers in OTHERS.items() for i in range(len(makers))]


def run(options, **more):
    options = {**options, **more}
    net = network(layers=options.pop("layers", None))
    return net, train(net, **options)


@pytest.mark.parametrize(("name", "which"), CASES)
def test_a_run_goes_on_with_its_own_arguments_and_no_others(name, which, tmp_path):
    make, path = OTHERS[name][which], tmp_path / "run"
    whole, _ = run(make(2), seed=1)
    first, _ = run(make(2), seed=1, checkpoint=path)
    assert_same(first, whole)
    again, history = run(make(2), seed=1, checkpoint=path)  # all made anew
    assert_same(again, whole)
    assert len(history) == 2
    content = path.read_bytes()
    with pytest.raises(ValueError, match=rf"of a run that differs in {name}\."):
        run(make(3), seed=1, checkpoint=path)
    assert path.read_bytes() == content


SCRIPT = """
    import sys, numpy as np, elman
    class Slow:
        def __init__(self, top): self.top, self.seen = top, []
        def __call__(self, done):
            self.seen.append(done)  # what changes in a run begins anew with the next process
            return self.top * (1 - done)
    class Own(elman.SGD.__mro__[1]):
        moments = ("m",)
        def __init__(self, rate, factor): self.learning_rate, self.factor = rate, factor
        def move(self, theta, g, moments, t, eta):
            moments[0][...] = self.factor * moments[0] + g
            theta -= eta * moments[0]
    class Doubled(elman.SquaredError):
        def rows(self, p, t): return 2 * super().rows(p, t)
        def rows_derivative(self, p, t): return 2 * super().rows_derivative(p, t)
    x = np.random.default_rng(0).standard_normal((8, 5, 2))
    net = elman.Network([elman.GRU(2, 3, seed=0), elman.Dense(3, 1, seed=0)])
    rate = float(sys.argv[1])
    try:
        h = elman.fit(net, x, x[..., :1], loss=Doubled(), optimizer=Own(Slow(rate), 0.5), epochs=3, batch_size=4,
                      checkpoint=elman.Checkpoint(sys.argv[2], every=0), progress=False)
        print("went", net.parameters["0.Wx"].tobytes().hex())
    except ValueError as error:
        print(error)
"""


def test_everything_of_ones_own_goes_on_in_a_new_process(tmp_path):
    script, path = tmp_path / "train.py", tmp_path / "run"
    script.write_text(textwrap.dedent(SCRIPT))

    def start(rate):
        command = [sys.executable, script, str(rate), str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    first = start(0.05)
    assert first.startswith("went")
    assert start(0.05) == first
    assert "differs in optimizer." in start(0.06)
    script.write_text(script.read_text().replace("2 * super().rows(", "3 * super().rows("))
    assert "differs in loss." in start(0.05)


# First weights.


class Stop(Exception):
    pass


def stopped(path, at, **options):
    """A run that is stopped at a call of its rate; its network and its checkpoint."""
    net = network()
    with pytest.raises(Stop):
        train(net, optimizer=stopping(at), checkpoint=Checkpoint(path, every=0), **options)
    return net


def stopping(at):
    """Optimizers that are the same to a checkpoint, whenever they stop."""
    left = itertools.count(1)

    class Stops(SGD):
        def update(self, *args, **options):
            if next(left) == at:
                raise Stop
            super().update(*args, **options)

    Stops.__module__, Stops.__qualname__ = SGD.__module__, SGD.__qualname__
    return Stops(0.05)


def test_other_first_weights_are_refused(tmp_path):
    path = tmp_path / "run"
    stopped(path, 3)
    for seed in (1, 2):
        net = network(seed)
        with pytest.raises(ValueError, match=r"of a run that differs in first weights\. The first weights of net"):
            train(net, optimizer=SGD(0.05), checkpoint=path)
        assert_same(net, network(seed))
    nudged = network()
    nudged.parameters["0.b"][0] += 1e-7
    with pytest.raises(ValueError, match="first weights"):
        train(nudged, optimizer=SGD(0.05), checkpoint=path)


@pytest.mark.parametrize("at", [2, 4, 5])
def test_weights_that_the_checkpoint_holds_are_taken(at, tmp_path):
    """A notebook cell that is run again: the network has the weights of the stop, or the best ones."""
    held_out = {"validation": (X[:3], -Y[:3]), "patience": 2, "epochs": 3, "seed": 2}
    for options in ({}, held_out):
        path = tmp_path / f"run {len(options)}"
        net = stopped(path, at, **options)
        train(net, optimizer=SGD(0.05), checkpoint=path, **options)
        twin = network()
        train(twin, optimizer=SGD(0.05), **options)
        assert_same(net, twin)


# Other arguments, where that is meant.


def test_another_rate_goes_on_with_the_moments(tmp_path):
    path, net = tmp_path / "run", network()
    train(net, optimizer=Adam(0.01), epochs=2, checkpoint=path)
    train(net, optimizer=Adam(0.002), epochs=4, checkpoint=Checkpoint(path, change=("optimizer",)))
    twin = network()
    train(twin, optimizer=Adam(lambda done: 0.01 if done < 0.5 else 0.002), epochs=4)
    assert_same(net, twin)
    train(net, optimizer=Adam(0.002), epochs=4, checkpoint=path)  # the file belongs to the new arguments
    with pytest.raises(ValueError, match=r"differs in optimizer\. Where that is meant: Checkpoint\(path, change="):
        train(net, optimizer=Adam(0.01), epochs=4, checkpoint=path)


def test_a_schedule_may_follow_a_number_and_epochs_with_it(tmp_path):
    path, net = tmp_path / "run", network()
    train(net, optimizer=Adam(0.01), epochs=2, checkpoint=path)
    change = Checkpoint(path, change=("optimizer",))
    history = train(net, optimizer=AdamW(LinearSchedule(0.01)), epochs=4, checkpoint=change)
    np.testing.assert_allclose(history.learning_rate[2:], [0.01 * (1 - 7 / 12), 0.01 * (1 - 10 / 12)])
    longer = {"optimizer": AdamW(LinearSchedule(0.01)), "epochs": 6}
    with pytest.raises(ValueError, match=r"differs in epochs\. Where that is meant: .*change=\('epochs',\)"):
        train(net, checkpoint=path, **longer)
    assert len(train(net, checkpoint=Checkpoint(path, change=["epochs"]), **longer)) == 6


@pytest.mark.parametrize("other", [SGD(0.1, momentum=0.9), SGD(0.1), Adam(0.1), Sign()])
def test_an_optimizer_with_other_moments_is_refused(other, tmp_path):
    path, net = tmp_path / "run", network()
    train(net, optimizer=RMSprop(0.01), checkpoint=path)
    before = weights(net)
    with pytest.raises(
        ValueError, match=r"optimizer must be of the class whose moments the checkpoint holds, .*RMSprop"
    ):
        train(net, optimizer=other, epochs=4, checkpoint=Checkpoint(path, change=("optimizer",)))
    assert_same(net, before)


def test_momentum_that_was_not_kept_is_refused(tmp_path):
    path, net = tmp_path / "run", network()
    train(net, optimizer=SGD(0.1), checkpoint=path)
    with pytest.raises(ValueError, match=r"optimizer must have the moments that the checkpoint holds, none\. Got v\."):
        train(net, optimizer=SGD(0.1, momentum=0.5), epochs=3, checkpoint=Checkpoint(path, change=("optimizer",)))


def test_other_changes(tmp_path):
    path, net = tmp_path / "run", network()
    options = {"validation": (X[:3], -Y[:3]), "patience": 1, "optimizer": SGD(0.1), "clip_value": 1.0}
    train(net, **options, epochs=20, checkpoint=path)
    names = ("patience", "clip_norm", "clip_value", "weight_noise")
    others = {**options, "patience": 4, "clip_norm": None, "clip_value": None, "weight_noise": 0.1}
    with pytest.raises(ValueError, match="differs in clip_norm, clip_value, patience, weight_noise"):
        train(net, **others, epochs=20, checkpoint=path)
    history = train(net, **others, epochs=20, checkpoint=Checkpoint(path, change=names))
    assert len(history) > 2
    with pytest.raises(ValueError, match="change must leave out 'loss' where patience is given"):
        train(net, **others, epochs=20, loss=Huber(), checkpoint=Checkpoint(path, change=("loss",)))
    with pytest.raises(ValueError, match=rf"epochs must be from {len(history)} up.*Got 1\."):
        train(net, **others, epochs=1, checkpoint=path)


def test_patience_needs_best_weights(tmp_path):
    path, net = tmp_path / "run", network()
    train(net, validation=(X[:3], Y[:3]), checkpoint=path)
    with pytest.raises(ValueError, match="change must leave out 'patience' where the checkpoint has none"):
        train(net, validation=(X[:3], Y[:3]), patience=2, checkpoint=Checkpoint(path, change=("patience",)))


def test_another_loss_goes_on(tmp_path):
    path, net = tmp_path / "run", network()
    train(net, epochs=2, checkpoint=path)
    train(net, loss=Huber(0.1), epochs=3, checkpoint=Checkpoint(path, change=("loss",)))
    assert len(train(network(), loss=replace(Huber(), delta=0.1), epochs=3, checkpoint=path)) == 3


def test_a_function_of_another_version_of_python_is_refused_with_the_reason(tmp_path, monkeypatch):
    path = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(sys.implementation, "cache_tag", "cpython-39")
        train(network(), optimizer=SGD(lambda done: 0.1), checkpoint=path)
    with pytest.raises(
        ValueError, match=r"differs in optimizer\..* It was written by cpython-39: the code of functions"
    ):
        train(network(), optimizer=SGD(lambda done: 0.1), checkpoint=path)
    plain = tmp_path / "plain"
    with monkeypatch.context() as patch:
        patch.setattr(sys.implementation, "cache_tag", "cpython-39")
        train(network(), checkpoint=plain)
    assert len(train(network(), checkpoint=plain, epochs=3)) == 3


def test_a_log_on_the_path_of_the_checkpoint_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("there")
    os.symlink("run", "link")
    os.symlink(tmp_path, "folder")
    for other in ("run", "./run", tmp_path / "run", "there/../run", "link", "folder/run"):
        net = network()
        with pytest.raises(ValueError, match="log must be another file than checkpoint"):
            train(net, checkpoint="run", log=other)
        assert not os.path.exists("run")
    train(network(), checkpoint="run", log="log", loss=SquaredError())
    os.link("run", "second")
    with pytest.raises(ValueError, match="log must be another file than checkpoint"):
        train(network(), checkpoint="run", log="second")
