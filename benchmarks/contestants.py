"""Ours and theirs: for a case, a function without arguments that does its work once and returns arrays to compare.

Each peer gets its best path: PyTorch in inference mode, ONNX Runtime with its threads set, JAX jitted and waited for.
Both sides include what a user's call includes. All compute with the same weights, and none where they cannot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from cases import Case

import elman

Work = Callable[[], dict[str, np.ndarray]]


class Task:
    """The weights and arrays of a case, drawn once."""

    def __init__(self, case: Case) -> None:
        self.case = case
        rng = np.random.default_rng(7)
        make = {"lstm": elman.LSTM, "gru": elman.GRU, "rnn": elman.RNN}[case.cell]
        widths = [case.inputs] + [case.hidden * (2 if case.bidirectional else 1)] * (case.layers - 1)
        settings = {"bidirectional": case.bidirectional, "dtype": case.dtype, "initializer": "uniform"}
        self.layers = [make(width, case.hidden, seed=i, **settings) for i, width in enumerate(widths)]
        self.net = elman.Network(self.layers)
        self.x = rng.standard_normal((case.batch, case.time, case.inputs)).astype(case.dtype)
        self.dy = rng.standard_normal((case.batch, case.time, self.net.output_size)).astype(case.dtype)
        self.lengths = case.lengths if case.ragged else None
        if self.lengths is not None:  # padding: nobody may need it
            mask = np.arange(case.time)[None, :] < self.lengths[:, None]
            self.x, self.dy = self.x * mask[..., None], self.dy * mask[..., None]


def ours(task: Task) -> Work:
    case, net, x, dy = task.case, task.net, task.x, task.dy
    layer: Any = net if case.layers > 1 else task.layers[0]
    if case.work == "step":
        stream, one = net.stream(), x[0, 0]

        def step() -> dict[str, np.ndarray]:
            return {"y": stream.step(one)}

        return step
    if case.work == "sequence":
        return lambda: {"y": layer(x)[0]}

    def train() -> dict[str, np.ndarray]:
        y, _, tape = layer.forward(x, lengths=task.lengths)
        dx, _, gradients = layer.backward(tape, dy)
        return {"y": y, "dx": dx, "dWh": gradients["0.Wh" if case.layers > 1 else "Wh"]}

    return train


def torch(task: Task) -> Work | None:
    """PyTorch: the layer, packed sequences where ragged; one step by the layer."""
    import torch

    case = task.case
    torch.set_num_threads(case.threads)
    net, x = _torch_net(task), torch.from_numpy(task.x)
    if case.work != "train":
        net.eval()
        state = None

        def infer() -> dict[str, np.ndarray]:
            nonlocal state
            with torch.inference_mode():
                y, end = net(x, state)
            if case.work == "step":
                state = end
            return {"y": y.numpy()[0, 0] if case.work == "step" else y.numpy()}

        return infer
    dy, parameters = torch.from_numpy(task.dy), list(net.parameters())
    x.requires_grad_(True)

    def train() -> dict[str, np.ndarray]:
        for p in (*parameters, x):
            p.grad = None
        if task.lengths is None:
            y, _ = net(x)
        else:
            from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

            packed = pack_padded_sequence(x, torch.from_numpy(task.lengths), batch_first=True, enforce_sorted=False)
            y, _ = pad_packed_sequence(net(packed)[0], batch_first=True)
        y.backward(dy)
        return {"y": y.detach().numpy(), "dx": x.grad.numpy(), "dWh": net.weight_hh_l0.grad.numpy().T}

    return train


def torch_cell(task: Task) -> Work | None:
    """PyTorch's LSTMCell, its quickest way for one step."""
    import torch

    if task.case.work != "step":
        return None
    torch.set_num_threads(1)
    cell = torch.nn.LSTMCell(task.case.inputs, task.case.hidden)
    arrays = elman.to_arrays(task.layers[0], "pytorch")
    cell.load_state_dict({name.removesuffix("_l0"): torch.from_numpy(a) for name, a in arrays.items()})
    x, state = torch.from_numpy(task.x[0]), None

    def step() -> dict[str, np.ndarray]:
        nonlocal state
        with torch.inference_mode():
            state = cell(x, state)
        return {"y": state[0].numpy()[0]}

    return step


def _torch_net(task: Task) -> Any:
    import torch

    case = task.case
    make = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[case.cell]
    dtype = getattr(torch, case.dtype)
    net = make(case.inputs, case.hidden, case.layers, batch_first=True, bidirectional=case.bidirectional, dtype=dtype)
    arrays = {}
    for k, layer in enumerate(task.layers):
        arrays |= elman.to_arrays(layer, elman.CONVENTIONS["pytorch"].for_layer(k))
    net.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    return net


def onnxruntime(task: Task) -> Work | None:
    """ONNX Runtime's LSTM operator: one step with its states in and out, or whole sequences."""
    case = task.case
    if case.work == "train" or case.cell != "lstm":
        return None
    import onnxruntime
    from onnx import TensorProto, checker, helper, numpy_helper

    arrays = elman.to_arrays(task.layers[0], "onnx")
    weights = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    state = ["h0", "c0"]
    node = helper.make_node(
        "LSTM", ["X", "W", "R", "B", "", *state], ["Y", "h", "c"], hidden_size=case.hidden, direction="forward"
    )
    shapes = {"X": [case.time, case.batch, case.inputs], "h0": [1, case.batch, case.hidden]}
    shapes |= {"c0": shapes["h0"], "h": shapes["h0"], "c": shapes["h0"], "Y": [case.time, 1, case.batch, case.hidden]}
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    graph = helper.make_graph(
        [node], "lstm", [values[n] for n in ("X", *state)], [values[n] for n in ("Y", "h", "c")], weights
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = np.ascontiguousarray(task.x.transpose(1, 0, 2))
    h = c = np.zeros((1, case.batch, case.hidden), np.float32)

    def run() -> dict[str, np.ndarray]:
        nonlocal h, c
        y, h_end, c_end = session.run(None, {"X": x, "h0": h, "c0": c})
        if case.work == "step":
            h, c = h_end, c_end
            return {"y": y[0, 0, 0]}
        return {"y": y[:, 0].transpose(1, 0, 2)}

    return run


def jax(task: Task) -> Work | None:
    """JAX: one jitted scan over time, with its gradient to train."""
    case = task.case
    if case.work == "step" or case.cell != "lstm" or case.dtype != "float32" or case.layers > 1 or case.ragged:
        return None
    import jax
    import jax.numpy as jnp

    layer = task.layers[0]
    weights = tuple(jnp.asarray(layer.parameters[name]) for name in ("Wx", "Wh", "b"))
    zeros = jnp.zeros((case.batch, case.hidden))

    def forward(weights: Any, x: Any) -> Any:
        Wx, Wh, b = weights
        products = jnp.einsum("bti,ig->tbg", x, Wx) + b

        def step(state: Any, z: Any) -> Any:
            h, c = state
            i, f, g, o = jnp.split(z + h @ Wh, 4, axis=1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        return jax.lax.scan(step, (zeros, zeros), products)[1].transpose(1, 0, 2)

    x, dy = task.x, jnp.asarray(task.dy)
    if case.work == "sequence":
        run = jax.jit(forward)
        return lambda: {"y": np.asarray(run(weights, x).block_until_ready())}

    def both(weights: Any, x: Any, dy: Any) -> Any:
        y, back = jax.vjp(forward, weights, x)
        return y, back(dy)

    run = jax.jit(both)

    def train() -> dict[str, np.ndarray]:
        y, ((_, dWh, _), dx) = jax.block_until_ready(run(weights, x, dy))
        return {"y": np.asarray(y), "dx": np.asarray(dx), "dWh": np.asarray(dWh)}

    return train


def numpy(task: Task) -> Work | None:
    """NumPy as a notebook writes it: one step of the LSTM."""
    case, layer = task.case, task.layers[0]
    if case.work != "step":
        return None
    W = np.concatenate([layer.Wx, layer.Wh])
    x, b = task.x[0], layer.b
    h = c = np.zeros((1, case.hidden), np.float32)

    def sigmoid(a: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-a))

    def step() -> dict[str, np.ndarray]:
        nonlocal h, c
        i, f, g, o = np.split(np.hstack([x, h]) @ W + b, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        return {"y": h[0]}

    return step


PEERS = {"PyTorch": torch, "PyTorch cell": torch_cell, "ONNX Runtime": onnxruntime, "JAX": jax, "NumPy": numpy}
