"""Notebook 003: an RNN over a list of column vectors."""

import numpy as np

import elman

input_dim, hidden_dim, seq_length = 3, 2, 4
rng = np.random.default_rng()

# The notebook's layout: Wx (hidden, input), Wh (hidden, hidden), b (hidden, 1).
Wx = rng.standard_normal((hidden_dim, input_dim)) * 0.01
Wh = rng.standard_normal((hidden_dim, hidden_dim)) * 0.01
b = np.zeros((hidden_dim, 1))
h0 = np.zeros((hidden_dim, 1))
x_seq = [rng.standard_normal((input_dim, 1)) for _ in range(seq_length)]

rnn = elman.from_arrays("rnn", {"Wx": Wx, "Wh": Wh, "b": b}, "seed-003")
hidden_states, _ = rnn([x[:, 0] for x in x_seq], h0[:, 0])
for t, h in enumerate(hidden_states):
    print(f"Timestep {t} hidden state:\n{h}")
