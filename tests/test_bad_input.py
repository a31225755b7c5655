"""What is refused, in what words, and that nothing is changed by it."""

from __future__ import annotations

import numpy as np
import pytest

import elman

RNN = elman.RNN(8, 4, seed=0)
LSTM = elman.LSTM(8, 4, seed=0)
BOTH = elman.LSTM(8, 4, bidirectional=True, seed=0)
EMBEDDING = elman.Embedding(10, 4, seed=0)
NET = elman.Network([elman.GRU(8, 4, seed=0), elman.Dense(4, 2, seed=0)])
X = np.ones((2, 5, 8))


def check(message, function, error=ValueError):
    """The call raises `error` with exactly `message`."""
    with pytest.raises(error) as caught:
        function()
    assert str(caught.value) == message


def test_inputs_of_a_layer():
    shapes = "x must have shape (batch, time, 8) or (time, 8). Got"
    check(f"{shapes} (32, 100, 7).", lambda: RNN(np.ones((32, 100, 7))), elman.ShapeError)
    check(f"{shapes} (8,).", lambda: RNN(np.ones(8)), elman.ShapeError)
    check(f"{shapes} (1, 2, 3, 8).", lambda: RNN(np.ones((1, 2, 3, 8))), elman.ShapeError)
    check(f"{shapes} ().", lambda: RNN(3.0), elman.ShapeError)
    none = "x must have at least one sequence, one step and one feature. Got"
    check(f"{none} (0, 5, 8).", lambda: RNN(np.ones((0, 5, 8))), elman.ShapeError)
    check(f"{none} (5, 0, 8).", lambda: RNN(np.ones((5, 0, 8))), elman.ShapeError)
    check("x must hold at least one sequence. Got an empty list.", lambda: RNN([]), elman.ShapeError)
    unequal = [np.ones((3, 8)), np.ones((4, 7))]
    check("x[1] must have shape (time, 8). Got (4, 7).", lambda: RNN(unequal), elman.ShapeError)
    gap = [np.ones((3, 8)), np.ones((0, 8))]
    check("x[1] must have at least one step. Got (0, 8).", lambda: RNN(gap), elman.ShapeError)
    words = [["a", "b"]]
    check("x must hold real numbers. Got an array of dtype <U1.", lambda: RNN(words), elman.DtypeError)
    for kind, dtype in ((complex, "complex128"), (object, "object")):
        message = f"x must hold real numbers. Got an array of dtype {dtype}."
        check(message, lambda kind=kind: RNN(X.astype(kind)), elman.DtypeError)
    check("x must hold real numbers. Got None.", lambda: RNN(None), elman.DtypeError)
    nested = [[[1.0] * 8, [1.0] * 7]]
    with pytest.raises(elman.ShapeError, match="nested lists of equal length"):
        RNN(nested)


def test_lengths():
    span = "lengths must be from 1 to 5, the steps of x. Got"
    check(f"{span} 6 at index 1.", lambda: RNN(X, lengths=[5, 6]))
    check(f"{span} 0 at index 0.", lambda: RNN(X, lengths=[0, 5]))
    check("lengths must have shape (2,). Got (3,).", lambda: RNN(X, lengths=[1, 2, 3]), elman.ShapeError)
    check(
        "lengths must hold integers. Got an array of dtype float64.",
        lambda: RNN(X, lengths=[1.0, 2.0]),
        elman.DtypeError,
    )
    with pytest.raises(ValueError, match="lengths must be left out where x is a list"):
        RNN([X[0]], lengths=[5])
    with pytest.raises(ValueError, match="lengths must be left out where x is one sequence"):
        RNN(X[0], lengths=[5])


def test_states():
    check("h of state must have shape (2, 4). Got (3, 4).", lambda: RNN(X, np.ones((3, 4))), elman.ShapeError)
    check("h of state must have shape (4,). Got (1, 4).", lambda: RNN(X[0], np.ones((1, 4))), elman.ShapeError)
    pair = "state must be a tuple of 2 arrays, (h, c). Got"
    check(f"{pair} an array of shape (2, 4).", lambda: LSTM(X, np.ones((2, 4))), elman.ShapeError)
    check(f"{pair} a tuple of length 1.", lambda: LSTM(X, (np.ones((2, 4)),)), elman.ShapeError)
    both = (np.ones((2, 2, 4)), np.ones((2, 4)))
    check("c of state must have shape (2, 2, 4). Got (2, 4).", lambda: BOTH(X, both), elman.ShapeError)
    check(
        "state must be a list of 1, one entry per layer with states. Got a list of length 2.",
        lambda: NET(X, [None, None]),
        elman.ShapeError,
    )
    check(
        "state must be left out: Dense has no state. Got an array of shape (2,).",
        lambda: elman.Dense(8, 4)(X, np.ones(2)),
        elman.ShapeError,
    )


def test_gradients_given_to_backward():
    y, _, tape = LSTM.forward(X)
    check("dy must have shape (2, 5, 4). Got (2, 5, 3).", lambda: LSTM.backward(tape, np.ones((2, 5, 3))))
    _, _, ragged = LSTM.forward([X[0], X[1, :2]])
    check("dy[1] must have shape (2, 4). Got (5, 4).", lambda: LSTM.backward(ragged, [y[0], y[1]]))
    check("dy must hold 2 examples, as x does. Got 1.", lambda: LSTM.backward(ragged, [y[0]]))
    check(
        "dy must be a list of 2 sequences, as x is. Got an array of shape (2, 5, 4).", lambda: LSTM.backward(ragged, y)
    )
    check("tape must be what forward returned. Got an array of shape (2, 5, 4).", lambda: LSTM.backward(y), TypeError)
    with pytest.raises(ValueError, match="tape must come from this layer"):
        RNN.backward(tape, y)


def test_tokens():
    check("x must hold integers from 0 to 9. Got 10 at sequence 0, step 1.", lambda: EMBEDDING([[1, 10]]))
    check("x must hold integers from 0 to 9. Got -1 at sequence 0, step 1.", lambda: EMBEDDING([[1, -1]]))
    check("x must hold integers. Got an array of dtype float64.", lambda: EMBEDDING([[1.0]]), elman.DtypeError)
    check(
        "x must have shape (batch, time) or (time,). Got (2, 5, 8).", lambda: EMBEDDING(X.astype(int)), elman.ShapeError
    )


def test_arguments_of_layers():
    check("input_size must be a whole number from 1 up. Got 0.", lambda: elman.LSTM(0, 4))
    check("hidden_size must be a whole number from 1 up. Got 2.5.", lambda: elman.LSTM(1, 2.5))
    check("hidden_size must be a whole number from 1 up. Got True.", lambda: elman.LSTM(1, True))
    check("dtype must be 'float32' or 'float64'. Got 'float16'.", lambda: elman.GRU(1, 2, dtype="float16"))
    check(
        "dtype must be 'float32' or 'float64'. Got 'double trouble'.", lambda: elman.GRU(1, 2, dtype="double trouble")
    )
    with pytest.raises(ValueError, match=r"activation must be one of .*Got 'sigmoyd'\. Did you mean 'sigmoid'\?"):
        elman.RNN(1, 2, activation="sigmoyd")
    with pytest.raises(ValueError, match=r"Got 'TANH'\. Did you mean 'tanh'\?"):
        elman.rnn_step([1.0], [1.0], [[1.0]], [[1.0]], [1.0], activation="TANH")
    with pytest.raises(ValueError, match="initializer must be one of"):
        elman.RNN(1, 2, initializer="xavier")
    with pytest.raises(ValueError, match="a parameter of elu must be one of 'alpha'"):
        elman.Activation("elu", beta=1)
    check("alpha must be a number over 0. Got -1.", lambda: elman.Activation("elu", alpha=-1))
    check("rate must be a number from 0 up to 1. Got 1.5.", lambda: elman.Dropout(1.5))
    check("rate must be under 1, or nothing is left. Got 1.", lambda: elman.Dropout(1))
    check("seed must be a whole number from 0 up, or None. Got 'a'.", lambda: elman.LSTM(1, 2, seed="a"))
    check("bidirectional must be True or False. Got 'yes'.", lambda: elman.LSTM(1, 2, bidirectional="yes"), TypeError)
    check("reset_after must be True or False. Got 0.", lambda: elman.GRU(1, 2, reset_after=0), TypeError)
    check("cell must be an elman.Cell. Got 'lstm'.", lambda: elman.Recurrent("lstm", 1, 2), TypeError)


def test_assigning_weights():
    before = RNN.b.copy()
    check("b must have shape (4,). Got (5,).", lambda: setattr(RNN, "b", np.ones(5)), elman.ShapeError)
    check(
        "b must hold real numbers. Got an array of dtype complex128.",
        lambda: setattr(RNN, "b", np.ones(4) * 1j),
        elman.DtypeError,
    )
    np.testing.assert_array_equal(RNN.b, before)
    with pytest.raises(AttributeError, match="its parameters are Wx, Wh, b"):
        RNN.bn  # noqa: B018
    with pytest.raises(AttributeError, match="RNN has no attribute 'wx'; its parameters are Wx, Wh, b"):
        RNN.wx = np.ones((8, 4))  # a misspelled weight must not be kept and forgotten
    with pytest.raises(TypeError, match=r"rng must be a numpy\.random\.Generator"):
        RNN.forward(X, rng=3)


def test_stacks():
    with pytest.raises(elman.ShapeError, match=r"layer 1, Dense, must take 4 features.*Got input_size 5\."):
        elman.Network([elman.RNN(3, 4), elman.Dense(5, 2)])
    with pytest.raises(elman.ShapeError, match=r"layer 1, Embedding, must stand first"):
        elman.Network([elman.RNN(3, 4), elman.Embedding(5, 2)])
    with pytest.raises(ValueError, match=r"layer 1, Dense, must have dtype float32"):
        elman.Network([elman.RNN(3, 4), elman.Dense(4, 2, dtype="float64")])
    layer = elman.Dense(3, 3)
    inside = elman.Network([layer])
    for twice in ([layer, layer], [layer, inside], [elman.Network([inside]), elman.Reverse(), inside]):
        with pytest.raises(ValueError, match=r"must be a layer of its own.* Got the same one twice"):
            elman.Network(twice)
    check("layers must hold at least one layer. Got an empty list.", lambda: elman.Network([]), elman.ShapeError)
    with pytest.raises(TypeError, match=r"layers\[0\] must be a layer\. Got 3\."):
        elman.Network([3])
    for wrong in (None, layer, "layers"):
        with pytest.raises(TypeError, match="layers must be a list of layers"):
            elman.Network(wrong)
    pooled = elman.Network([elman.LastStep(), elman.RNN(3, 4)])
    with pytest.raises(elman.ShapeError, match="must be given sequences"):
        pooled(np.ones((1, 2, 3)))


def test_steps():
    Wx, Wh, b, h = np.ones((3, 16)), np.ones((4, 16)), np.ones(16), np.ones((2, 4))
    x = np.ones((2, 3))
    check(
        "x must have shape (batch, 3) or (3,). Got (2, 4).", lambda: elman.lstm_step(np.ones((2, 4)), h, h, Wx, Wh, b)
    )
    check("c must have shape (2, 4). Got (4,).", lambda: elman.lstm_step(x, h, h[0], Wx, Wh, b))
    check(
        "b must have shape (16,), to fit hidden = 4 of Wh. Got (15,).", lambda: elman.lstm_step(x, h, h, Wx, Wh, b[1:])
    )
    check("Wx must have shape (input, 4 hidden). Got (3,).", lambda: elman.lstm_step(x, h, h, Wx[:, 0], Wh, b))
    with pytest.raises(elman.ShapeError, match=r"Wh must have shape \(4, 16\)"):
        elman.lstm_step(x, h, h, Wx, Wh[:, 1:], b)
    with pytest.raises(elman.DtypeError, match="Wx must hold real numbers"):
        elman.lstm_step(x, h, h, Wx * 1j, Wh, b)
    with pytest.raises(ValueError, match="bn must be left out"):
        elman.gru_step(x, h, Wx[:, :12], Wh[:, :12], b[:12], bn=np.ones(4), reset_after=False)
    check(
        "bn must have shape (4,), to fit hidden = 4 of Wh. Got (3,).",
        lambda: elman.gru_step(x, h, Wx[:, :12], Wh[:, :12], b[:12], bn=np.ones(3)),
    )


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu", "softmax", "softmax_jacobian", "sigmoid_derivative"])
def test_functions_refuse_what_is_not_real(name):
    for wrong in (np.ones(3) * 1j, np.array([None, 1.0]), ["a"]):
        with pytest.raises(elman.DtypeError, match="must hold real numbers"):
            getattr(elman, name)(wrong)


def test_softmax_of_nothing():
    check("x must hold at least one number. Got (0,).", lambda: elman.softmax([]), elman.ShapeError)


def test_a_cell_of_a_user():
    with pytest.raises(ValueError, match="an axis of W of the cell 'mine' must be one of 'input', 'hidden', 'gates'"):
        elman.Cell("mine", {"W": ("inputs",)}, ("h",), lambda: 0, lambda: 0)
    with pytest.raises(ValueError, match="must name at least one state"):
        elman.Cell("mine", {}, (), lambda: 0, lambda: 0)
    with pytest.raises(TypeError, match="must be functions"):
        elman.Cell("mine", {}, ("h",), 3, lambda: 0)
