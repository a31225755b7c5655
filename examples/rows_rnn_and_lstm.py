"""Notebook 000: one RNN step, an RNN over a sequence, one LSTM step. Examples are rows."""

import numpy as np

import elman

# One step of an RNN: the notebook's layout is the library's own.
x = np.array([[0.2, -0.1, 0.4]])
h_prev = np.array([[0.05, 0.1, -0.2]])
Wx = np.array([[0.1, -0.2, 0.3], [0.4, 0.0, -0.1], [-0.3, 0.2, 0.5]])
Wh = np.array([[0.2, -0.4, 0.1], [0.0, 0.3, -0.2], [-0.1, 0.5, 0.4]])
b = np.array([[0.0, 0.1, -0.05]])

h_next = elman.rnn_step(x, h_prev, Wx, Wh, b)
print("Next Hidden state: \n", np.round(h_next, 6))

# A sequence: a layer with the same weights. The notebook keeps an axis for its batch of one.
xs = np.array([[0.2, -0.1, 0.4], [0.0, 0.3, -0.2], [0.1, -0.4, 0.5]])
layer = elman.from_arrays("rnn", {"Wx": Wx, "Wh": Wh, "b": b}, "seed-000")
hs, _ = layer(xs)
print(np.round(hs[:, None], 6))

# One step of an LSTM from one array W over [x, h] with the gates i, f, o, g. The notebook draws without a seed, so
# its numbers cannot come again; the tests compare this step with its formulas.
input_size = hidden_size = 3
rng = np.random.default_rng()
x = rng.standard_normal((1, input_size))
h_prev = np.zeros((1, hidden_size))
c_prev = np.zeros((1, hidden_size))
W = rng.standard_normal((input_size + hidden_size, 4 * hidden_size))
b = rng.standard_normal((1, 4 * hidden_size))

lstm = elman.from_arrays("lstm", {"W": W, "b": b}, "seed-000")
h_next, c_next = elman.lstm_step(x, h_prev, c_prev, lstm.Wx, lstm.Wh, lstm.b)
print("Next hidden state:\n", np.round(h_next, 6))
print("Next cell state:\n", np.round(c_next, 6))
