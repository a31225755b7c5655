"""Notebook 001: an RNN with backpropagation through time and one step of gradient descent. Batch first."""

import numpy as np

import elman

x = np.array([[[1, 2], [2, 3], [3, 4]]]) / 100  # (batch, time, features)
w_x = np.array([[1, 3, 5, 7], [3, 5, 7, 8]]) / 100
w_h = np.array([[1, 3, 5, 7], [2, 4, 6, 8], [3, 5, 7, 8], [4, 6, 8, 10]]) / 100
h0 = np.zeros((1, 4))
b = np.array([1, 1, 1, 1])  # integers: a layer converts them, so that they can train

rnn = elman.from_arrays("rnn", {"Wx": w_x, "Wh": w_h, "b": b}, "seed-001")
h_list, h_final = rnn(x, h0)
print("Final hidden state:\n", h_final)

# The notebook's backward pass: a gradient at the last state, means over the batch, plain gradient descent.
dh_last = np.array([[1.0, -2.0, 0.5, 0.25]])
_, _, tape = rnn.forward(x, h0)
dx, dh0, gradients = rnn.backward(tape, dstate=dh_last)
means = {name: gradient / len(x) for name, gradient in gradients.items()}

sgd = elman.SGD(learning_rate=0.01)
sgd.update(rnn.parameters, means, sgd.start(rnn.parameters), sgd.learning_rate)
print("Bias after one step:\n", rnn.b)
