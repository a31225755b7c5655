"""Optimizers of a user's own, however written: they act, or are refused, and weights stay finite and whole."""

from __future__ import annotations

import re

import numpy as np
import pytest

from elman.layers import GRU, Dense
from elman.network import Network
from elman.training import SGD, Adam, AdamW, Checkpoint, RMSprop, fit

RNG = np.random.default_rng(0)
X = RNG.standard_normal((10, 6, 2))
Y = RNG.standard_normal((10, 6, 1))


def network():
    return Network([GRU(2, 4, seed=0), Dense(4, 1, seed=1)])


def train(net, **options):
    return fit(net, X, Y, **{"loss": "squared_error", "epochs": 3, "batch_size": 4, "progress": False, **options})


def weights(net):
    return {name: array.copy() for name, array in net.parameters.items()}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])


class InPlace(SGD):
    def update(self, parameters, gradients, state, learning_rate=None):
        state["step"] += 1
        for name, theta in parameters.items():
            v = state[f"v.{name}"]
            v *= np.float32(0.5)
            v += gradients[name]
            theta -= np.float32(0.1) * v

    def start(self, parameters):
        return {"step": np.array(0), **{f"v.{name}": np.zeros_like(theta) for name, theta in parameters.items()}}


class New(InPlace):
    """The same with new arrays."""

    def update(self, parameters, gradients, state, learning_rate=None):
        state["step"] = state["step"] + 1
        for name in parameters:
            state[f"v.{name}"] = np.float32(0.5) * state[f"v.{name}"] + gradients[name]
            parameters[name] = parameters[name] - np.float32(0.1) * state[f"v.{name}"]


class NoStep(InPlace):
    def start(self, parameters):
        return {name: array for name, array in super().start(parameters).items() if name != "step"}

    def update(self, parameters, gradients, state, learning_rate=None):
        state = {**state, "step": np.array(0)}
        super().update(parameters, gradients, state)


@pytest.mark.parametrize("kind", [New, NoStep])
def test_new_arrays_act_as_changed_ones_do(kind, tmp_path):
    whole, net = network(), network()
    train(whole, optimizer=InPlace())
    path = tmp_path / "run"
    arrays = dict(net.parameters)
    train(net, optimizer=kind(), epochs=2, checkpoint=path)
    train(net, optimizer=kind(), epochs=3, checkpoint=path)
    assert_same(weights(net), weights(whole))
    assert all(array is arrays[name] for name, array in net.parameters.items())


def starts(value):
    return type("Starts", (SGD,), {"start": lambda self, parameters: value})


def updates(change):
    class Updates(InPlace):
        def update(self, parameters, gradients, state, learning_rate=None):
            super().update(parameters, gradients, state)
            if state["step"] == 4:
                change(parameters, state)

    return Updates


REFUSED = {
    "start gives None": (starts(None), "start of Starts must return a dict of names to arrays. Got None."),
    "a list": (starts([1]), "must return a dict of names to arrays. Got a list of length 1."),
    "names that are none": (starts({1: np.zeros(1)}), "must return a dict of names to arrays."),
    "a number": (starts({"step": 0.0}), "start of Starts must return arrays of bool, integers or floats"),
    "complex numbers": (starts({"step": np.zeros(2, complex)}), "Got an array of shape (2,) for 'step'."),
    "long floats": (starts({"step": np.zeros(2, np.longdouble)}), "floats up to 64 bits"),
    "objects": (starts({"step": np.zeros(2, object)}), "Got an array of shape (2,) for 'step'."),
    "another name": (
        updates(lambda p, s: s.update(h=np.zeros(1))),
        "update of Updates must keep the names in state, as start gave them. Got others: h.",
    ),
    "a name less": (updates(lambda p, s: s.pop("v.0.b")), "names in state, as start gave them. Got others: v.0.b."),
    "a weight less": (updates(lambda p, s: p.pop("0.b")), "must keep the names in parameters"),
    "another shape": (
        updates(lambda p, s: p.update({"0.b": np.zeros(1)})),
        "0.b after update of Updates must have shape (12,). Got (1,).",
    ),
    "no array": (updates(lambda p, s: p.update({"0.b": None})), "0.b after update of Updates must"),
    "a result in place of a change": (
        type("Returns", (SGD,), {"move": lambda self, theta, g, moments, t, eta: theta - eta * g}),
        "move of Returns must change its arrays in place and return None. Got an array of shape (2, 12).",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_an_optimizer_does_wrong_is_refused(case, tmp_path):
    """The weights are those after the last right update, and so is the checkpoint."""
    kind, message = REFUSED[case]
    for checkpoint in (None, Checkpoint(tmp_path / "run", every=0)):
        net = network()
        with pytest.raises((TypeError, ValueError), match=re.escape(message)):
            train(net, optimizer=kind(), checkpoint=checkpoint)
        twin = network()
        if kind.__name__ == "Updates":
            with pytest.raises(Stop):
                train(twin, optimizer=updates(stop)())
            assert (tmp_path / "run").exists() is (checkpoint is not None)
        assert_same(weights(net), weights(twin))


class Stop(Exception):
    pass


def stop(*_):
    raise Stop


def bad_at(kind, number, at):
    """An optimizer whose rate, or weights, are not what numbers can hold at the update `at` of 9."""
    if kind == "own":

        class Bad(SGD):
            def move(self, theta, g, moments, t, eta):
                theta -= eta * g
                if t == at:
                    theta[...] = number

        return Bad(0.01)
    return kind(lambda done: 1e39 if done >= (at - 1.5) / 9 else 0.01)


def stopping(kind, at):
    """The same one, which stops before that update."""

    class Stops(kind):
        def update(self, parameters, gradients, state, learning_rate=None):
            if state["step"] == at - 1:
                raise Stop
            super().update(parameters, gradients, state, learning_rate)

    return Stops(0.01)


@pytest.mark.parametrize("at", [1, 4, 9])
@pytest.mark.parametrize("kind", [SGD, RMSprop, Adam, AdamW, "own"])
@pytest.mark.parametrize("number", [np.nan, -np.inf])
def test_weights_stay_finite_and_the_checkpoint_goes_on(kind, number, at, tmp_path):
    """An update that would make them infinite is taken back; the file holds the one before."""
    path = Checkpoint(tmp_path / "run", every=0, change=("optimizer",))
    net = network()
    message = r"^weights must stay finite\. Got a loss of .* The update would make .* infinite or NaN\."
    with pytest.raises(FloatingPointError, match=message):
        train(net, optimizer=bad_at(kind, number, at), checkpoint=path)
    assert all(np.isfinite(array).all() for array in net.parameters.values())
    whole = network()
    with pytest.raises(Stop):
        train(whole, optimizer=stopping(SGD if kind == "own" else kind, at))
    assert_same(weights(net), weights(whole))
    assert (tmp_path / "run").exists() is (at > 1)
    goes_on = bad_at("own", 0, 100) if kind == "own" else kind(0.01)
    assert len(train(net, optimizer=goes_on, checkpoint=path)) == 3


@pytest.mark.parametrize("rate", [None, np.nan, np.inf, -1.0, "0.1", [0.1], 1j])
@pytest.mark.parametrize("kind", [SGD, Adam, InPlace])
def test_a_rate_that_is_none_in_the_middle_of_a_run_is_refused(kind, rate, tmp_path):
    """By a method of one's own, or an attribute that is changed meanwhile; what is done by then is kept."""

    class Rated(kind):
        def rate(self, done):
            return rate if done > 0.5 else 0.01

    def changing(done):
        if done > 0.5:
            object.__setattr__(changed, "learning_rate", rate)
        return 0.01

    changed = kind(changing)
    for optimizer in (Rated(), changed):
        net, path = network(), tmp_path / type(optimizer).__name__
        if optimizer is changed and kind is InPlace:
            continue
        with pytest.raises((ValueError, TypeError), match=r"rate.* must be a number from 0\. Got "):
            train(net, optimizer=optimizer, checkpoint=Checkpoint(path, every=0))
        assert all(np.isfinite(array).all() for array in net.parameters.values())
        assert path.exists()


def test_large_gradients_without_a_limit_leave_finite_weights():
    net = network()
    with pytest.raises(FloatingPointError, match="must stay finite"):
        fit(net, X, Y * 1e15, loss="squared_error", optimizer=SGD(1e20), clip_norm=None, epochs=9, progress=False)
    assert all(np.isfinite(array).all() for array in net.parameters.values())
