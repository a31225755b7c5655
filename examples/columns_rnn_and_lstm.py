"""Notebook 002: RNN and LSTM with an output at every step, softmax derivative, cross-entropy. Examples are columns.

The notebook writes (features, batch); the library takes rows. A transpose at the border is all the difference.
"""

import numpy as np

import elman

rng = np.random.default_rng()

# The derivative of softmax, a Jacobian (n, n) for each of m columns, and the notebook's own double loop.
x = rng.standard_normal((3, 3))
sv = elman.softmax_jacobian(x, axis=0).transpose(1, 2, 0)  # the notebook's (n, n, m)
sn = np.array([[[x[i, k] * ((i == j) - x[j, k]) for k in range(3)] for j in range(3)] for i in range(3)])
assert np.allclose(sn, sv)
print("Softmax Naive: ", sn, "\n")
print("Softmax Vectorized: ", sv, "\n")

# One RNN step with its output. The same legacy generator and order as the notebook give its numbers.
nx, nh, ny, m = 10, 8, 4, 10
np.random.seed(1)  # noqa: NPY002
randn = np.random.randn
p = {"Wax": randn(nh, nx), "Waa": randn(nh, nh), "Wya": randn(ny, nh), "ba": randn(nh, 1), "by": randn(ny, 1)}
xt, a_prev = randn(nx, m), randn(nh, m)

rnn = elman.from_arrays("rnn", {name: p[name] for name in ("Wax", "Waa", "ba")}, "seed-002")
a_next = elman.rnn_step(xt.T, a_prev.T, rnn.Wx, rnn.Wh, rnn.b).T
yt_pred = elman.softmax(p["Wya"] @ a_next + p["by"], axis=0)

# A sequence of 5 steps, and the loss of each step and example.
Tx = 5
x = randn(Tx, nx, m)
a, _ = rnn(x.transpose(2, 0, 1))  # (batch, time, features)
y_pred = elman.softmax(a @ p["Wya"].T + p["by"].T)
y = np.eye(ny)[rng.integers(ny, size=(m, Tx))]
loss = elman.cross_entropy(y, y_pred)  # (batch, time)

# One LSTM step from one array per gate over [a; x], and a sequence of 10 steps.
np.random.seed(1)  # noqa: NPY002
xt, a_prev, c_prev = randn(nx, m), randn(nh, m), randn(nh, m)
p = {}
for gate in ("f", "i", "o", "c"):
    p[f"W{gate}"], p[f"b{gate}"] = randn(nh, nh + nx), randn(nh, 1)
Wy, by = randn(ny, nh), randn(ny, 1)

lstm = elman.from_arrays("lstm", p, "seed-002")
h_next, c_next = elman.lstm_step(xt.T, a_prev.T, c_prev.T, lstm.Wx, lstm.Wh, lstm.b)
yt_pred_lstm = elman.softmax(Wy @ h_next.T + by, axis=0)

h, (h_last, c_last) = lstm(randn(10, nx, m).transpose(2, 0, 1))
y_lstm = elman.softmax(h @ Wy.T + by.T)
