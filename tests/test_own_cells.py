"""Mistakes in a cell of one's own are refused in words that name the cell, the function and what is wrong."""

from __future__ import annotations

import dataclasses
import itertools
import pickle
import re
from dataclasses import replace

import numpy as np
import pytest

import elman

I, H, B = 3, 4, 2
WEIGHTS = {"Wx": ("input", "hidden"), "Wh": ("hidden", "hidden"), "b": ("hidden",)}


def step(x, state, weights, mask=None):
    """Two states: h' = tanh(x Wx + h Wh + b), s' = 0.5 s + h'."""
    (h, s), (Wx, Wh, b) = state, weights
    n = np.tanh(x @ Wx + (h if mask is None else h * mask) @ Wh + b)
    return (n, 0.5 * s + n), {"n": n, "h": h}


def derivative(x, state, weights, kept, dnext, mask=None):
    (h, _), (Wx, Wh, _), (dh, ds) = state, weights, dnext
    m = np.ones_like(h) if mask is None else mask
    da = (dh + ds) * (1 - kept["n"] ** 2)
    return da @ Wx.T, ((da @ Wh.T) * m, 0.5 * ds), (x.T @ da, (h * m).T @ da, da.sum(0))


def cell(forward=step, backward=derivative, **options):
    fields = {"weights": WEIGHTS, "states": ("h", "s"), "takes_mask": True} | options
    return elman.Cell("mine", step=forward, step_derivative=backward, **fields)


def layer(*functions, dtype="float64", **options):
    return elman.Recurrent(cell(*functions), I, H, dtype=dtype, seed=0, **options)


RNG = np.random.default_rng(0)
X = RNG.normal(size=(B, 5, I))
RAGGED = [RNG.normal(size=(n, I)) for n in (4, 1, 6)]


def backward(made, x=X, rng=None):
    y, _, tape = made.forward(x, rng=rng)
    return made.backward(tape, [np.ones_like(part) for part in y] if isinstance(x, list) else np.ones_like(y))


def after(change):
    """A step whose results are changed."""
    return lambda *arguments: change(*step(*arguments))


def back(change):
    """A derivative whose results are changed: dx, the states' and the weights' gradients."""
    return lambda *arguments: change(*derivative(*arguments))


def in_place(which):
    """A step that writes into what it is given, by the place of the argument."""

    def forward(x, state, weights, *mask):
        results = step(x, state, weights, *mask)
        which(x, state, weights)
        return results

    return forward


def back_in_place(which):
    def go_back(x, state, weights, kept, dnext, *mask):
        results = derivative(x, state, weights, kept, dnext, *mask)
        which(x, state, weights, kept, dnext)
        return results

    return go_back


def halve(array):
    array *= 0.5


BUFFER = np.empty((B, H))


def buffered(x, state, weights, *mask):
    (n, s), kept = step(x, state, weights, *mask)
    BUFFER[...] = n
    return (BUFFER, s), kept


def kept_buffer(x, state, weights, *mask, memory=np.empty((B, H))):  # noqa: B008
    (n, s), kept = step(x, state, weights, *mask)
    memory[...] = n
    return (n, s), {"n": memory}


PARTS = r"step of the cell 'mine' must return next_state, kept: the tuple \(h, s\) and a dict of arrays\. Got "
FORWARD = {
    "no kept": (after(lambda s, k: s), PARTS + r"a tuple of 2: \(an array"),
    "None as kept": (after(lambda s, k: (s, None)), PARTS + "a tuple of 2"),
    "kept a tuple": (after(lambda s, k: (s, tuple(k.values()))), PARTS + "a tuple of 2"),
    "states no tuple": (after(lambda s, k: (s[0], k)), PARTS + "a tuple of 2: .an array of shape"),
    "states in one array": (after(lambda s, k: (np.stack(s), k)), PARTS + "a tuple of 2: .an array of shape"),
    "a state too few": (after(lambda s, k: (s[:1], k)), PARTS + "a tuple of 2: .a tuple of 1"),
    "a state too many": (after(lambda s, k: ((*s, s[0]), k)), PARTS + "a tuple of 2: .a tuple of 3"),
    "nothing": (after(lambda s, k: None), PARTS + "None"),
    "an array": (after(lambda s, k: s[0]), PARTS + "an array"),
    "a scalar state": (
        after(lambda s, k: ((s[0], s[1].sum()), k)),
        r"step of .* must give the next state s the shape \(2, 4\)\. Got \(\)",
    ),
    "a Python number": (
        after(lambda s, k: ((0.0, s[1]), k)),
        r"step of .* must give the next state h the shape \(2, 4\)\. Got \(\)",
    ),
    "one row for all": (
        after(lambda s, k: ((s[0][:1], s[1]), k)),
        r"step of .* must give the next state h the shape \(2, 4\)\. Got \(1, 4\)",
    ),
    "transposed": (
        after(lambda s, k: ((s[0], s[1].T), k)),
        r"step of .* must give the next state s the shape \(2, 4\)\. Got \(4, 2\)",
    ),
    "a list": (after(lambda s, k: ((s[0].tolist(), s[1]), k)), "step of .* the next state h as an array.* Got a list"),
    "objects": (after(lambda s, k: ((s[0].astype(object), s[1]), k)), "the next state h in floating point.*object"),
    "integers": (after(lambda s, k: ((s[0], s[1].astype(int)), k)), "the next state s in floating point.*int64"),
    "booleans": (after(lambda s, k: ((s[0], s[1] > 0), k)), "the next state s in floating point.*bool"),
    "complex": (after(lambda s, k: ((s[0] * 1j, s[1]), k)), "the next state h in floating point.*complex128"),
    "masked": (after(lambda s, k: ((np.ma.array(s[0]), s[1]), k)), "the next state h as a plain array.*masked"),
    "h in place": (in_place(lambda x, s, w: halve(s[0])), "step of .* must make new arrays.* changes h[.]"),
    "s in place": (in_place(lambda x, s, w: halve(s[1])), "step of .* must make new arrays.* changes s[.]"),
    "x in place": (in_place(lambda x, s, w: halve(x)), "step of .* must make new arrays.* changes x[.]"),
    "Wh in place": (in_place(lambda x, s, w: halve(w[1])), "step of .* must make new arrays.* changes Wh"),
    "two in place": (in_place(lambda x, s, w: (halve(s[0]), halve(w[2]))), "step of .* changes h, b[.]"),
    "sorted": (in_place(lambda x, s, w: s[1].sort()), "step of .* must make new arrays.* changes s[.]"),
    "values as they were": (in_place(lambda x, s, w: np.clip(s[0], -9, 9, out=s[0])), "step of .* must make new"),
    "a buffer": (buffered, "step of .* must make new arrays and change none that it was given or returned before"),
}  # fmt: skip
KEPT = {
    "kept a number": (after(lambda s, k: (s, {"n": 0.5})), r"step of .* must keep 'n' as an array.*\(2, ...\).* float"),
    "kept a scalar": (after(lambda s, k: (s, {"n": np.array(1.0)})), r"must keep 'n' as an array.*\. Got \(\)"),
    "kept other rows": (after(lambda s, k: (s, {"n": k["n"].T})), r"must keep 'n' as an array.*Got \(4, 2\)"),
    "kept without a name": (after(lambda s, k: (s, {1: k["n"]})), r"must keep 1 as an array.*named by a text"),
    "kept a buffer": (kept_buffer, "step of .* must make new arrays and change none .* returned before"),
}  # fmt: skip
GRADIENTS = r"step_derivative of the cell 'mine' must return dx, dstate, dweights: one gradient each for x, "
BACKWARD = {
    "no tuple": (back(lambda dx, ds, dw: dx), GRADIENTS),
    "two values": (back(lambda dx, ds, dw: (dx, ds)), GRADIENTS + r".*Got a tuple of 2"),
    "one gradient too few": (back(lambda dx, ds, dw: (dx, ds, dw[:2])), GRADIENTS + r"\(h, s\) and \(Wx, Wh, b\)\."),
    "one gradient too many": (back(lambda dx, ds, dw: (dx, ds, (*dw, dx))), GRADIENTS),
    "one state too few": (back(lambda dx, ds, dw: (dx, ds[:1], dw)), GRADIENTS),
    "states no tuple": (back(lambda dx, ds, dw: (dx, ds[0], dw)), GRADIENTS),
    "weights by name": (back(lambda dx, ds, dw: (dx, ds, dict(zip(WEIGHTS, dw, strict=True)))), GRADIENTS),
    "b summed over all": (
        back(lambda dx, ds, dw: (dx, ds, (*dw[:2], dw[2].sum()))),
        r"step_derivative of the cell 'mine' must give the gradient of b the shape \(4,\)\. Got \(\)\.",
    ),
    "b not summed": (
        back(lambda dx, ds, dw: (dx, ds, (*dw[:2], np.ones((B, H))))),
        r"must give the gradient of b the shape \(4,\)\. Got \(2, 4\)\.",
    ),
    "Wx of one row": (
        back(lambda dx, ds, dw: (dx, ds, (dw[0][:1], *dw[1:]))),
        r"must give the gradient of Wx the shape \(3, 4\)\. Got \(1, 4\)\.",
    ),
    "Wh a number": (
        back(lambda dx, ds, dw: (dx, ds, (dw[0], 0.0, dw[2]))),
        r"must give the gradient of Wh the shape \(4, 4\)\. Got \(\)\.",
    ),
    "dx a number": (
        back(lambda dx, ds, dw: (0.0, ds, dw)),
        r"step_derivative of the cell 'mine' must give the gradient of x the shape \(2, 3\)\. Got \(\)\.",
    ),
    "dx summed": (
        back(lambda dx, ds, dw: (dx.sum(0), ds, dw)),
        r"must give the gradient of x the shape \(2, 3\)\. Got \(3,\)\.",
    ),
    "dx None": (back(lambda dx, ds, dw: (None, ds, dw)), r"the gradient of x as an array of shape.*Got None"),
    "a state's a number": (
        back(lambda dx, ds, dw: (dx, (ds[0], 0.5), dw)),
        r"must give the gradient of s the shape \(2, 4\)\. Got \(\)\.",
    ),
    "a state's of one row": (
        back(lambda dx, ds, dw: (dx, (ds[0][:1], ds[1]), dw)),
        r"must give the gradient of h the shape \(2, 4\)\. Got \(1, 4\)\.",
    ),
    "complex": (back(lambda dx, ds, dw: (dx * 1j, ds, dw)), "the gradient of x in floating point.*complex128"),
    "integers": (back(lambda dx, ds, dw: (dx, ds, (*dw[:2], np.zeros(H, int)))), "gradient of b in floating.*int64"),
    "x in place": (back_in_place(lambda x, *_: halve(x)), "step_derivative of .* must make new.* changes x[.]"),
    "h in place": (back_in_place(lambda x, s, *_: halve(s[0])), "step_derivative of .* must make new.* changes h"),
    "b in place": (back_in_place(lambda x, s, w, *_: halve(w[2])), "step_derivative of .* new arrays.* changes b[.]"),
    "kept in place": (
        back_in_place(lambda x, s, w, k, d: halve(k["n"])),
        "step_derivative of .* must make new.* changes 'n' of kept",
    ),
    "dnext in place": (
        back_in_place(lambda x, s, w, k, d: halve(d[1])),
        "step_derivative of .* must make new.* changes ds[.]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORWARD)
def test_steps(name):
    wrong, message = FORWARD[name]
    made = layer(wrong)
    for _ in range(2):
        with pytest.raises((ValueError, TypeError), match=message):
            made(X)
        with pytest.raises((ValueError, TypeError), match=message):
            made.forward(X)


@pytest.mark.parametrize("name", FORWARD)
def test_steps_in_streams(name):
    wrong, message = FORWARD[name]
    stream = elman.Network([layer(wrong)]).stream(B)
    for _ in range(2):
        with pytest.raises((ValueError, TypeError), match=message):
            stream.run(X)
    assert not any(part.any() for part in stream.state[0])


@pytest.mark.parametrize("name", KEPT)
def test_what_is_kept(name):
    wrong, message = KEPT[name]
    made = layer(wrong)
    made(X)  # nothing is kept
    for _ in range(2):
        with pytest.raises((ValueError, TypeError), match=message):
            made.forward(X)


@pytest.mark.parametrize("name", BACKWARD)
def test_derivatives(name):
    wrong, message = BACKWARD[name]
    made = layer(step, wrong)
    _, _, tape = made.forward(X)
    for _ in range(2):
        with pytest.raises((ValueError, TypeError), match=message):
            made.backward(tape, np.ones((B, 5, H)))


def test_every_mistake_is_refused_whatever_the_layer():
    """In ragged batches, in both directions, under masks and zoneout, and in single precision."""
    options = [
        {"bidirectional": True},
        {"recurrent_dropout": 0.5},
        {"zoneout": 0.3},
        {"dtype": "float32", "bidirectional": True, "learned_state": True},
    ]
    wrongs = [(entry[0],) for entry in {**FORWARD, **KEPT}.values()] + [(step, entry[0]) for entry in BACKWARD.values()]
    for chosen, functions in itertools.product(options, wrongs):
        # A buffer has B rows; what two sequences of equal length are is ragged for the third.
        x = [*X, X[0, :2]] if buffered not in functions and kept_buffer not in functions else list(X)
        with pytest.raises((ValueError, TypeError), match="of the cell 'mine' must"):
            backward(layer(*functions, **chosen), x, np.random.default_rng(0))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_right_cells_of_every_kind(dtype):
    """What is odd but right gives the numbers of the plain cell."""
    one = {}

    def used_again(kept):
        one.update(kept)
        return one

    rights = {
        "as it is": step,
        "lists": after(lambda s, k: [list(s), k]),
        "other precision": after(lambda s, k: (tuple(part.astype("float64") for part in s), k)),
        "Fortran order": after(lambda s, k: (tuple(np.asfortranarray(part) for part in s), k)),
        "matrices": after(lambda s, k: (tuple(part.view(np.matrix) for part in s), k)),
        "one array kept twice": after(lambda s, k: (s, {"n": k["n"], "again": k["n"], "next": s[1]})),
        "one dict for all steps": after(lambda s, k: (s, used_again(k))),
    }
    wanted = layer(dtype=dtype, bidirectional=True)
    outputs, gradients = wanted(RAGGED)[0], backward(wanted, RAGGED)[2]
    assert outputs[0].dtype == dtype
    for name, right in rights.items():
        made = layer(right, dtype=dtype, bidirectional=True)
        for _ in range(2):
            y, _ = made(RAGGED)
            for a, b in zip(y, outputs, strict=True):
                np.testing.assert_array_equal(a, b, err_msg=name)
            for key, gradient in backward(made, RAGGED)[2].items():
                np.testing.assert_array_equal(gradient, gradients[key], err_msg=name)


def test_a_derivative_that_changes_its_dict():
    """The dict of what was kept is its own: the tape can be used again."""

    def pops(x, state, weights, kept, dnext):
        found = derivative(x, state, weights, dict(kept), dnext)
        kept.clear()
        return found

    made = layer(step, pops)
    y, _, tape = made.forward(X)
    for _ in range(2):
        for name, gradient in made.backward(tape, np.ones_like(y))[2].items():
            np.testing.assert_array_equal(gradient, backward(layer())[2][name])


def test_a_state_handed_on_and_one_array_for_both():
    def hold(x, state, weights):
        return state, {}

    def same(x, state, weights):
        (n, _), kept = step(x, state, weights)
        return (n, n), kept

    start = (RNG.normal(size=(B, H)), RNG.normal(size=(B, H)))
    copies = [part.copy() for part in start]
    held = elman.Recurrent(cell(hold, takes_mask=False), I, H, dtype="float64")
    y, (h, s) = held(X, start)
    np.testing.assert_array_equal(y[:, -1], start[0])
    h += 1  # what comes out is the caller's own
    np.testing.assert_array_equal(s, start[1])
    alike = elman.Recurrent(cell(same, takes_mask=False), I, H, dtype="float64", seed=0)
    stream = elman.Network([alike]).stream(B)
    stream.step(X[:, 0])
    stream.reset(0)
    stream.state = [(stream.state[0][0], stream.state[0][1] + 1)]
    h, s = stream.state[0]
    np.testing.assert_array_equal(h + 1, s)
    assert not h[0].any()
    assert h[1].all()
    for part, copy in zip(start, copies, strict=True):
        np.testing.assert_array_equal(part, copy)


def test_views_of_memory_that_is_used_again():
    """What a cell returns as views is copied, so that its memory may be used again."""
    memory = np.zeros((3, 2 * B, H))

    def reuses(x, state, weights, *mask):
        (n, s), kept = step(x, state, weights, *mask)
        memory[:, :B] = n, s, kept["n"]
        return (memory[0, :B], memory[1, :B]), {"n": memory[2, :B]}

    for _ in range(2):
        for name, gradient in backward(layer(reuses))[2].items():
            np.testing.assert_array_equal(gradient, backward(layer())[2][name], err_msg=name)


def test_a_tape_that_comes_out_of_a_pickle():
    made = layer(step, back_in_place(lambda x, s, w, k, d: halve(k["n"])))
    y, _, tape = made.forward(X)
    inner, learned = tape.kept
    inner = dataclasses.replace(inner, steps=pickle.loads(pickle.dumps(inner.steps)))
    tape = dataclasses.replace(tape, kept=(inner, learned))
    with pytest.raises(ValueError, match="changes 'n' of kept"):
        made.backward(tape, np.ones_like(y))


def test_errors_of_the_cell_s_own_are_its_own():
    class OwnError(ValueError):
        pass

    def fails(*arguments):
        raise OwnError("mine")

    with pytest.raises(OwnError, match=r"^mine$"):
        layer(fails)(X)


WRONG_FIELDS = {
    "an unknown gate in activations": ({"activations": {"q": "tanh"}}, "a gate in activations of .*'q'"),
    "an unknown activation": ({"activations": {"h": "tanhh"}}, "activation must be .*'tanhh'"),
    "activations that are no mapping": ({"activations": ["tanh"]}, "activations of the cell 'mine' must be a mapping"),
    "a gates axis without gates": (
        {"weights": {"Wx": ("input", "gates"), "Wh": ("hidden", "gates")}},
        "'mine' must name its gates, as its weight Wx has an axis 'gates'",
    ),
    "an unknown name in starts": ({"starts": {"beta": 0.9}}, "a weight in starts of the cell 'mine' must be .*'beta'"),
    "an unknown name in peepholes": (
        {"peepholes": {"pi": "i"}, "gates": ("i",)},
        "a weight in peepholes of the cell 'mine' must be .*'pi'",
    ),
    "an unknown name in inner_biases": (
        {"inner_biases": {"bn": "n"}, "gates": ("n",)},
        "a weight in inner_biases of the cell 'mine' must be .*'bn'",
    ),
    "an unknown gate": (
        {"inner_biases": {"b": "n"}, "gates": ("i",)},
        "the gate of b in inner_biases of the cell 'mine' must be one of 'i'. Got 'n'",
    ),
    "a role in a gate of none": (
        {"inner_biases": {"b": "n"}},
        "'mine' must name its gates, as inner_biases of the cell 'mine' names one. Got none",
    ),
    "a peephole that is a matrix": (
        {"peepholes": {"Wh": "i"}, "gates": ("i",)},
        r"Wh in peepholes of the cell 'mine' must have the axes \('hidden',\)",
    ),
    "a start that is no number": ({"starts": {"b": "1"}}, "b in starts of the cell 'mine' must be a number. Got '1'"),
    "a start that is NaN": ({"starts": {"b": np.nan}}, "b in starts of the cell 'mine' must be a number. Got nan"),
    "a scalar weight": (
        {"weights": WEIGHTS | {"tau": ()}},
        r"the weight tau of the cell 'mine' must have at least one axis, .* Got \(\)",
    ),
    "an axis that is no tuple": (
        {"weights": WEIGHTS | {"b": "hidden"}},
        r"the weight b of the cell 'mine' must have .* a tuple such as \('hidden',\)\. Got 'hidden'",
    ),
    "an unknown axis": ({"weights": WEIGHTS | {"b": ("units",)}}, "an axis of b of the cell 'mine' must be one of"),
    "no weights": ({"weights": {}}, "'mine' must have at least one weight"),
    "weights in a list": ({"weights": ["Wx", "Wh"]}, "weights of the cell 'mine' must be a mapping of names"),
    "a weight with a dot": ({"weights": WEIGHTS | {"W.z": ("hidden",)}}, "a weight of the cell 'mine' .* Got 'W.z'"),
    "a weight of the other direction": (
        {"weights": WEIGHTS | {"b_reverse": ("hidden",)}},
        "a weight of the cell 'mine' .* Got 'b_reverse'",
    ),
    "a weight named as a state": ({"weights": WEIGHTS | {"h": ("hidden",)}}, "a weight of the cell 'mine' .* Got 'h'"),
    "a weight without a name": ({"weights": WEIGHTS | {"": ("hidden",)}}, "a weight of the cell 'mine' .* Got ''"),
    "a weight named by a number": (
        {"weights": WEIGHTS | {1: ("hidden",)}},
        "weights of .*'mine' must have names for keys",
    ),
    "a kernel for a step of its own": (
        {"kernel": ("lstm",)},
        r"kernel of the cell 'mine' must be None: .* Got \('lstm',\)",
    ),
    "no states": ({"states": ()}, "'mine' must name at least one state"),
    "states in one text": ({"states": "h"}, "states of the cell 'mine' must be a tuple of names.* Got 'h'"),
    "a state twice": ({"states": ("h", "h")}, r"states of the cell 'mine' .* that differ.* Got \('h', 'h'\)"),
    "a state that is no text": ({"states": ("h", 2)}, "states of the cell 'mine' must be a tuple of names"),
    "gates in one text": ({"gates": "ifgo"}, "gates of the cell 'mine' must be a tuple of names.* Got 'ifgo'"),
    "a gate twice": ({"gates": ("i", "i")}, "gates of the cell 'mine' .* that differ"),
    "options that are no JSON": ({"options": {"act": np.tanh}}, "options of the cell 'mine' must be JSON"),
    "options that are no mapping": ({"options": 3}, "options of the cell 'mine' must be a mapping"),
    "a flag that is none": ({"takes_mask": 1}, "takes_mask of the cell 'mine' must be True or False"),
    "a step that is none": ({"step": None}, "step and step_derivative of the cell 'mine' must be functions"),
    "a name that is none": ({"name": 3}, "the name of a cell must be a text of at least one letter. Got 3"),
}


@pytest.mark.parametrize("name", WRONG_FIELDS)
def test_fields(name):
    changes, message = WRONG_FIELDS[name]
    fields = {"name": "mine", "weights": WEIGHTS, "states": ("h", "s"), "step": step, "step_derivative": derivative}
    elman.Cell(**fields)
    with pytest.raises((ValueError, TypeError), match=message):
        elman.Cell(**fields | changes)


def test_activations_are_data_of_the_cell():
    own = elman.Cell("mine", WEIGHTS, ("h", "s"), step, derivative, activations={"h": "tanh"})
    assert own.activations == {"h": elman.Activation("tanh")}
    sigmoid, tanh, relu = map(elman.Activation, ("sigmoid", "tanh", "relu"))
    lstm = {"i": sigmoid, "f": sigmoid, "g": tanh, "o": sigmoid, "c": tanh}
    assert elman.RNN(3, 4, "relu").cell.activations == {"h": relu}
    assert elman.GRU(3, 4, activations={"n": "relu"}).cell.activations == {"r": sigmoid, "z": sigmoid, "n": relu}
    for options in ({}, {"layer_norm": True}, {"peepholes": True}):
        assert elman.LSTM(3, 4, **options).cell.activations == lstm
    assert "f" not in elman.LSTM(3, 4, coupled=True).cell.activations
    cell = elman.LSTM(3, 4, activations={"c": "relu"}).cell
    assert cell.activations == {**lstm, "c": relu}
    with pytest.raises(ValueError, match="activations of the cell 'lstm' must be those of its step"):
        dataclasses.replace(cell, activations=lstm)  # what is shown would not be what is computed


@pytest.mark.parametrize("name", ["config", "dtype", "cell", "forward", "parameters", "hidden_size", "zoneout"])
def test_a_weight_named_as_something_else_of_a_layer(name):
    made = cell(weights=WEIGHTS | {name: ("hidden",)})
    with pytest.raises(ValueError, match=re.escape(f"a weight of {made!r} must have a name that no layer has. Got")):
        elman.Recurrent(made, I, H)


def test_what_was_given_may_change():
    weights = dict(WEIGHTS)
    made = cell(weights=weights)
    weights["late"] = ("hidden",)
    assert list(made.weights) == ["Wx", "Wh", "b"]


@pytest.mark.parametrize("make", [elman.RNN, elman.GRU, elman.LSTM])
def test_the_step_of_a_built_in_cell_says_what_a_state_is(make):
    made = make(I, H, seed=0, dtype="float64")
    x, h, weights = X[:, 0], np.zeros((B, H)), tuple(made.parameters.values())
    names = ", ".join(made.cell.states) if len(made.cell.states) > 1 else "h,"
    said = re.escape(f"state must be a tuple of arrays, ({names}). Got an array of shape ({B}, {H}).")
    with pytest.raises(elman.ShapeError, match=said):
        made.cell.step(x, h, weights)
    states = (h,) * len(made.cell.states)
    with pytest.raises(elman.ShapeError, match="weights must be a tuple of arrays"):
        made.cell.step(x, states, made.parameters)
    with pytest.raises(elman.ShapeError, match="weights must be a tuple of arrays"):
        made.cell.step(x, states, weights[:2])
    after_one, kept = made.cell.step(x, states, weights)
    np.testing.assert_allclose(after_one[0], made(X[:, :1])[0][:, 0], rtol=1e-12)
    with pytest.raises(elman.ShapeError, match="state must be a tuple of arrays"):
        made.cell.step_derivative(x, h, weights, kept, states)


@pytest.mark.parametrize("function", ["step", "step_derivative"])
def test_a_built_in_cell_with_another_function_does_not_run_the_kernel_of_the_old_one(function):
    cell = elman.LSTM(2, 3).cell
    own = getattr(cell, function).function
    with pytest.raises(ValueError, match=r"kernel of the cell 'lstm' must be None"):
        replace(cell, **{function: own})
    assert replace(cell, **{function: own}, kernel=None).kernel is None


def test_a_kernel_computes_the_step_that_was_made_with_it():
    """Of all built-in cells, each pair of which differs in what its kernel computes."""
    cells = [elman.LSTM(2, 3).cell, elman.LSTM(2, 3, clip=1.0).cell, elman.LSTM(2, 3, peepholes=True).cell]
    cells += [elman.GRU(2, 3).cell, elman.GRU(2, 3, reset_after=False).cell, elman.GRU(2, 3, clip=2.0).cell]
    cells += [elman.RNN(2, 3).cell, elman.RNN(2, 3, "relu").cell, elman.LSTM(2, 3, layer_norm=True).cell]
    for a, b in itertools.permutations(cells, 2):
        for changes in ({"step": b.step}, {"step_derivative": b.step_derivative}, {"kernel": b.kernel}):
            if changes.get("kernel", a.kernel) is None:
                continue
            with pytest.raises(ValueError, match=r"kernel of the cell .* must be None: .* Got"):
                replace(a, **changes)
    weights = {f"{name}2": axes for name, axes in cells[0].weights.items()}
    for changes in ({"states": ("s", "t")}, {"weights": weights}):
        with pytest.raises(ValueError, match=r"kernel of the cell 'lstm' must be None"):
            replace(cells[0], **changes)
