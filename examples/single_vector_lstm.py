"""Notebook 004: one LSTM step of one vector, from one array per gate over [h; x]."""

import numpy as np

import elman

n_features, n_hidden_units = 10, 4
np.random.seed(42)  # noqa: NPY002, the notebook's own generator and order
randn = np.random.randn
x_t, h_prev, c_prev = randn(n_features), randn(n_hidden_units), randn(n_hidden_units)
weights = {f"W{gate}": randn(n_hidden_units, n_hidden_units + n_features) for gate in "fioc"}
biases = {f"b{gate}": randn(n_hidden_units) for gate in "fioc"}

lstm = elman.from_arrays("lstm", {**weights, **biases}, "seed-004")
print("After and before Concatenation shapes:\n")
print(f"Concatenated{(n_hidden_units + n_features,)}\nprev_state:{h_prev.shape}\nInput x:{x_t.shape}\n\n")
h_next, c_next = elman.lstm_step(x_t, h_prev, c_prev, lstm.Wx, lstm.Wh, lstm.b)
print(f"Next hidden state:\n{h_next}")
print(f"\nNext cell state:\n{c_next}")
