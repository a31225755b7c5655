"""Random networks of every layer and option that an ONNX model can hold."""

from __future__ import annotations

import numpy as np

from elman import GRU, LSTM, RNN, Activation, Dense, Dropout, Embedding, LastStep, LayerNorm, Network, Recurrent
from elman.layers import Activate, LastSteps, MaxOverTime, MeanOverTime, MergeDirections, Reverse

COUNT = 120

ACTIVATIONS = [
    "relu",
    "tanh",
    "sigmoid",
    "identity",
    Activation("affine", alpha=0.7, beta=0.2),
    "affine",
    Activation("leaky_relu", alpha=0.2),
    "leaky_relu",
    Activation("thresholded_relu", alpha=0.3),
    Activation("scaled_tanh", alpha=0.8, beta=1.2),
    "scaled_tanh",
    "hard_sigmoid",
    Activation("hard_sigmoid", alpha=0.3, beta=0.4),
    Activation("elu", alpha=0.6),
    "elu",
    "softsign",
    "softplus",
]


def bounded(rng):
    """An activation that no state can grow under."""
    return [
        "tanh", "sigmoid", "softsign", "hard_sigmoid", Activation("scaled_tanh", alpha=0.8, beta=1.2),
        Activation("hard_sigmoid", alpha=0.3, beta=0.4),
    ][rng.integers(6)]  # fmt: skip


def flip(rng):
    return bool(rng.integers(2))


def fill(net, rng):
    """Random weights, nowhere 0."""
    for array in net.parameters.values():
        array[...] = 0.4 * rng.standard_normal(array.shape)
    return net


def random_recurrent(rng, width, **more):
    """A layer with random options, all that ONNX has."""
    hidden, clip = int(rng.integers(2, 7)), {"clip": 0.6} if flip(rng) else {}
    more = {"bidirectional": flip(rng), "learned_state": flip(rng), **clip, **more}
    kind = rng.integers(3)
    if kind == 0:
        return RNN(width, hidden, activation=ACTIVATIONS[rng.integers(len(ACTIVATIONS))], **more)
    acts = {}
    if kind == 1:
        if flip(rng):
            gate = bounded(rng)
            acts = {"activations": {"r": gate, "z": gate, "n": bounded(rng)}}
        return GRU(width, hidden, reset_after=flip(rng), **more, **acts)
    coupled = flip(rng)
    if flip(rng):
        gate = bounded(rng)
        acts = {"activations": dict.fromkeys("io" if coupled else "ifo", gate) | {"g": bounded(rng), "c": bounded(rng)}}
    return LSTM(width, hidden, peepholes=flip(rng), coupled=coupled, forget_bias=None, **more, **acts)


def random_network(seed):
    """A network of layers that ONNX has; the first `COUNT` together have every one."""
    rng = np.random.default_rng(seed)
    layers, width = [], int(rng.integers(1, 5))
    if rng.integers(5) == 0:
        layers, width = [Embedding(7, width)], width
    for _ in range(rng.integers(1, 4)):
        kind = rng.integers(8)
        if kind < 4:
            layers.append(random_recurrent(rng, width))
            width = layers[-1].output_size
            if layers[-1].bidirectional and flip(rng):
                layers.append(MergeDirections(["sum", "mul", "ave"][rng.integers(3)]))
                width //= 2
        elif kind == 4:
            layers += [Reverse(), random_recurrent(rng, width, bidirectional=False)]
            width = layers[-1].output_size
            layers += [Reverse()] * flip(rng)
        elif kind == 5:
            layers += [LayerNorm(width, epsilon=0.01), Dropout(0.5), Reverse()]
            if width % 2 == 0:
                layers.append(MergeDirections("sum"))
                width //= 2
        else:
            act = [*ACTIVATIONS, "softmax", "log_softmax"][rng.integers(len(ACTIVATIONS) + 2)]
            layers += [Dense(width, width + 1, ACTIVATIONS[rng.integers(len(ACTIVATIONS))]), Activate(act)]
            width += 1
    pools = [LastStep(), LastSteps(width, 3), MeanOverTime(), MaxOverTime(), None]
    if width % 2 == 0:
        pools.append(LastStep(bidirectional=True))
    pool = pools[rng.integers(len(pools))]
    if pool is not None:
        layers.append(pool)
        width = pool.output_size or width
    if flip(rng):
        layers += [Dense(width, 3, ACTIVATIONS[rng.integers(len(ACTIVATIONS))]), Activate("softmax")]
    if len(layers) > 2 and flip(rng):
        layers = [layers[0], Network(layers[1:])]
    return fill(Network(layers), rng)


def in_float64(net, rng):
    """The same network in float64, with other weights."""
    return fill(net.astype("float64"), rng)


def recurrent_layers(net):
    """The recurrent layers in a row, those of nested networks in their place."""
    if isinstance(net, Network):
        return [inner for layer in net.layers for inner in recurrent_layers(layer)]
    return [net] if isinstance(net, Recurrent) else []


def random_input(net, shape, rng):
    """Tokens or features for a network."""
    if net.takes_tokens:
        return rng.integers(0, 7, shape)
    return rng.standard_normal((*shape, net.input_size or 4)).astype(net.dtype)
