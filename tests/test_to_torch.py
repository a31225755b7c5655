"""Networks of elman as modules of PyTorch: the same numbers and gradients, and the same bits on the way back."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import elman
from elman.cells import CELLS
from elman.interop.pytorch.networks import from_torch, to_torch
from elman.layers import LastSteps

torch = pytest.importorskip("torch")
nn = torch.nn
pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")]

ACTIVATIONS = [
    "identity",
    "relu",
    "tanh",
    "sigmoid",
    "softsign",
    "softplus",
    "leaky_relu",
    elman.Activation("elu", alpha=0.6),
    elman.Activation("thresholded_relu", alpha=0.3),
    elman.Activation("affine", alpha=-0.4, beta=0.2),
    elman.Activation("scaled_tanh", alpha=1.7, beta=0.6),
    elman.Activation("hard_sigmoid", alpha=0.3, beta=0.4),
]


def draw(net, seed=0):
    """The network with every parameter drawn, biases and learned states too."""
    rng = np.random.default_rng(seed)
    for name, array in net.parameters.items():
        array[...] = 0.5 * rng.standard_normal(array.shape) + ("gain" in name)
    return net


def stacks(dtype):
    """Networks that show every layer; each with the width of x, None for tokens."""
    on = {"dtype": dtype}
    return [
        (None, [elman.Embedding(9, 4, **on), elman.GRU(4, 5, **on), elman.Dropout(0.3), elman.Dense(5, 2, **on)]),
        (4, [elman.LSTM(4, 5, bidirectional=True, **on), elman.LastStep(bidirectional=True)]),
        (4, [elman.LSTM(4, 5, learned_state=True, **on), elman.LastStep(), elman.Dense(5, 3, "tanh", **on)]),
        (4, [elman.LSTM(4, 5, projection=3, **on), elman.Dense(3, 2, **on)]),
        (4, [elman.LSTM(4, 5, bidirectional=True, projection=2, learned_state=True, **on), elman.RNN(4, 3, **on)]),
        (4, [elman.GRU(4, 3, bidirectional=True, learned_state=True, **on), elman.MeanOverTime()]),
        (4, [elman.RNN(4, 5, "relu", **on), elman.LayerNorm(5, 1e-3, **on), elman.MaxOverTime()]),
        (4, [elman.Reverse(), elman.RNN(4, 5, **on), elman.Reverse(), elman.Activate("softmax")]),
        (4, [elman.Masking(0.5), elman.LSTM(4, 5, **on), elman.Dropout(0.2, per_sequence=True)]),
        (4, [elman.Masking(0.5), elman.LSTM(4, 3, **on), elman.MeanOverTime()]),
        (4, [elman.GRU(4, 5, recurrent_dropout=0.4, **on), LastSteps(5, 3), elman.Activate("log_softmax")]),
        *[
            (4, [elman.GRU(4, 3, bidirectional=True, **on), elman.MergeDirections(mode)])
            for mode in ("sum", "mul", "ave")
        ],
        (4, [elman.Network([elman.LSTM(4, 5, **on), elman.LSTM(5, 3, **on)]), elman.RNN(3, 2, **on)]),
        *[
            (
                4,
                [
                    elman.Dense(4, 5, one, **on),
                    elman.Activate(one),
                    elman.Dense(5, 3, other, **on),
                    elman.RNN(3, 2, **on),
                ],
            )
            for one, other in zip(ACTIVATIONS[::2], ACTIVATIONS[1::2], strict=True)
        ],
    ]


STACKS = [
    pytest.param(dtype, i, id=f"{dtype}-{i}") for dtype in ("float32", "float64") for i in range(len(stacks("float32")))
]


def made(dtype, i):
    width, layers = stacks(dtype)[i]
    return draw(elman.Network(layers), i), width


def inputs(net, width, rng):
    if width is None:
        return rng.integers(0, 9, (4, 6))
    x = rng.standard_normal((4, 6, width)).astype(net.dtype)
    x[0, 1] = x[2, 4] = 0.5  # steps that Masking drops
    return x


def flat(states):
    return [leaf for s in states for leaf in (flat(s) if isinstance(s, (list, tuple)) else [s])]


def tensors(value):
    """The same nest of lists and tuples, of tensors that keep gradients; nested networks flattened."""
    if isinstance(value, (list, tuple)):
        return type(value)(tensors(part) for part in value)
    return torch.tensor(value, requires_grad=True)


def states_like(net, states, rng):
    if isinstance(states, (list, tuple)):
        return type(states)(states_like(net, part, rng) for part in states)
    return rng.standard_normal(states.shape).astype(net.dtype)


def unnested(states):
    return [s for state in states for s in (unnested(state) if isinstance(state, list) else [state])]


def close(got, want, tolerance):
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= tolerance * max(1.0, np.abs(want).max())


@pytest.mark.parametrize("lengths", [None, [6, 2, 5, 3]])
@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize(("dtype", "i"), STACKS)
def test_numbers_and_gradients(dtype, i, with_state, lengths):
    net, width = made(dtype, i)
    module = to_torch(net)
    rng = np.random.default_rng(5)
    x = inputs(net, width, rng)
    if lengths and width is not None:
        for row, length in zip(x, lengths, strict=True):
            row[length:] = np.nan  # what stands there is not read
    tolerance = 1e-5 if dtype == "float32" else 1e-10
    state = states_like(net, net(x, lengths=lengths)[1], rng) if with_state else None
    for _ in range(2):
        module.zero_grad()
        y, ends, tape = net.forward(x, state, lengths)
        dy, dends = rng.standard_normal(y.shape).astype(dtype), states_like(net, ends, rng)
        dx, dstarts, gradients = net.backward(tape, dy, dends)

        tx = torch.tensor(x, requires_grad=width is not None)
        start = None if state is None else tensors(unnested(state))
        want, wanted_ends = module(tx, start, lengths)
        loss = (want * torch.tensor(dy)).sum()
        loss = loss + sum((e * torch.tensor(d)).sum() for e, d in zip(flat(wanted_ends), flat(dends), strict=True))
        loss.backward()

        close(y, want.detach().numpy(), tolerance)
        for got, end in zip(flat(ends), flat(wanted_ends), strict=True):
            close(got, end.detach().numpy(), tolerance)
        if width is not None:
            close(dx, tx.grad.numpy(), tolerance)
        if start is not None:
            for got, leaf in zip(flat(dstarts), flat(start), strict=True):
                close(got, leaf.grad.numpy(), tolerance)
        # The gradients of the module, put into a module of the same form, are read as a network is.
        shell = copy.deepcopy(module)
        with torch.no_grad():
            for parameter, own in zip(shell.parameters(), module.parameters(), strict=True):
                parameter.copy_(torch.zeros_like(own) if own.grad is None else own.grad)
        for name, parameter in shell.named_parameters():
            if "bias_hh" in name:  # its gradient is that of bias_ih: not to be added to it
                hidden = len(parameter) // 3 * 2 if isinstance(shell[int(name.split(".")[0])], nn.GRU) else None
                parameter.data[:hidden] = 0
        for got, want in zip(gradients.values(), from_torch(shell).parameters.values(), strict=True):
            close(got, want, tolerance)


@pytest.mark.parametrize(("dtype", "i"), STACKS)
def test_round_trips_have_the_same_bits(dtype, i):
    net, _ = made(dtype, i)
    module = to_torch(net)
    back = from_torch(module)
    filled = (
        from_torch(module.state_dict(), like=draw(elman.Network(stacks(dtype)[i][1]), 99)) if net.parameters else net
    )
    assert repr(filled) == repr(net)
    assert list(filled.parameters) == list(net.parameters)
    for other in (back, filled):
        for got, want in zip(other.parameters.values(), net.parameters.values(), strict=True):
            assert got.dtype == want.dtype
            assert got.tobytes() == want.tobytes()
    flat_layers = [
        one for layer in net.layers for one in (layer.layers if isinstance(layer, elman.Network) else [layer])
    ]
    for layer, got in zip(flat_layers, back.layers, strict=True):
        kept = {name: value for name, value in layer.config.items() if name != "recurrent_dropout"}
        assert (type(got), got.config) == (type(layer), kept)


def test_signed_zeros_and_nan_keep_their_bits():
    layer = elman.LSTM(2, 3, seed=0)
    layer.b[:6] = -0.0
    layer.Wx[0, 0] = np.nan
    (back,) = from_torch(to_torch(layer)).layers
    assert back.b.tobytes() == layer.b.tobytes()
    assert back.Wx.tobytes() == layer.Wx.tobytes()


def test_a_layer_is_a_plain_module_inside():
    module = to_torch(elman.LSTM(3, 5, seed=0))
    assert len(module) == 1
    assert type(module[0]) is nn.LSTM
    assert module[0].batch_first
    assert list(module.state_dict()) == ["0.weight_ih_l0", "0.weight_hh_l0", "0.bias_ih_l0", "0.bias_hh_l0"]
    assert not module.state_dict()["0.bias_hh_l0"].any()
    module[0].flatten_parameters()
    again = copy.deepcopy(module).double()
    assert again(torch.ones(1, 2, 3, dtype=torch.float64))[0].dtype == torch.float64


def test_nothing_is_shared_and_nothing_drawn():
    net = draw(elman.Network([elman.GRU(3, 5, learned_state=True), elman.LayerNorm(5), elman.Dense(5, 2, "relu")]))
    before = {name: array.copy() for name, array in net.parameters.items()}
    generator = torch.random.get_rng_state()
    module = to_torch(net)
    back = from_torch(module)
    assert torch.equal(generator, torch.random.get_rng_state())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    for other in (net, back):
        for name, array in other.parameters.items():
            np.testing.assert_array_equal(array, before[name])


def test_dropout_acts_in_training_alone():
    net = elman.Network([elman.Dropout(0.5), elman.Dropout(0.5, per_sequence=True)])
    module = to_torch(net)
    x = torch.ones(4, 6, 3)
    assert not module.training
    assert torch.equal(module(x)[0], x)
    torch.manual_seed(0)
    module.train()
    assert set(module(x)[0].unique().tolist()) == {0.0, 4.0}
    by_sequence = module[1](x)
    assert torch.equal(by_sequence, by_sequence[:, :1].expand_as(x))
    assert set(by_sequence.unique().tolist()) == {0.0, 2.0}


def test_it_trains_as_elman_does():
    """One step of gradient descent on both sides; the second bias stands still, or it would move twice."""
    net = draw(elman.Network([elman.LSTM(3, 4, dtype="float64"), elman.LastStep()]))
    module = to_torch(net)
    module[0].bias_hh_l0.requires_grad_(False)
    x = np.random.default_rng(0).standard_normal((5, 6, 3))
    y, _, tape = net.forward(x)
    _, _, gradients = net.backward(tape, 2 * y)
    (module(torch.tensor(x))[0] ** 2).sum().backward()
    torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=0.1).step()
    for name, array in from_torch(module).parameters.items():
        close(array, net.parameters[name] - 0.1 * gradients[name], 1e-12)


@pytest.mark.parametrize("place", range(3))
def test_a_stacked_module_becomes_one_a_layer(place):
    kind = (nn.LSTM, nn.GRU, nn.RNN)[place]
    module = kind(3, 4, num_layers=2, dropout=0.25, bidirectional=True, batch_first=True).eval()
    again = to_torch(from_torch(module))
    assert [type(child) for child in again] == [kind, nn.Dropout, kind]
    x = torch.randn(2, 5, 3)
    torch.testing.assert_close(again(x)[0], module(x)[0])


LSTM, GRU, RNN = elman.LSTM, elman.GRU, elman.RNN


def test_what_pytorch_cannot_hold_is_refused():
    for layer, words in [
        (LSTM(2, 3, zoneout=0.1), "zoneout must be 0 for PyTorch"),
        (LSTM(2, 3, layer_norm=True), "layer_norm must be left out for PyTorch"),
        (LSTM(2, 3, peepholes=True), "peepholes must be left out for PyTorch"),
        (LSTM(2, 3, coupled=True), "coupled must be left out for PyTorch"),
        (LSTM(2, 3, clip=1.0), "clip must be left out for PyTorch"),
        (LSTM(2, 3, cell_clip=1.0), "cell_clip must be left out for PyTorch"),
        (LSTM(2, 3, activations={"g": "relu"}), "activations must be left out for PyTorch"),
        (GRU(2, 3, clip=1.0), "clip must be left out for PyTorch"),
        (GRU(2, 3, reset_after=False), "reset_after must be True"),
        (RNN(2, 3, "sigmoid"), "activation must be 'tanh' or 'relu' for PyTorch"),
        (
            elman.Recurrent(CELLS["rnn"]("tanh"), 2, 3),
            "layer 0, Recurrent: it must be a layer that PyTorch can hold",
        ),
    ]:
        with pytest.raises(elman.FormatError, match=words):
            to_torch(layer)
    with pytest.raises(TypeError, match="net must be a network, a layer or a fitted estimator"):
        to_torch("net")


def test_a_state_of_another_form_is_refused():
    module = to_torch(elman.Network([elman.GRU(2, 3), elman.GRU(3, 3)]))
    with pytest.raises(elman.ShapeError, match="state must be a list of 2"):
        module(torch.ones(1, 2, 2), torch.zeros(1, 3))
    with pytest.raises(elman.ShapeError, match=r"x must have shape \(batch, time, features\). Got \(2, 2\)"):
        module(torch.ones(2, 2))
    with pytest.raises(elman.ShapeError, match=r"x must have shape \(batch, time\). Got \(1, 2, 2\)"):
        to_torch(elman.Embedding(3, 2))(torch.ones(1, 2, 2))
    masked = to_torch(elman.Network([elman.Masking(1.0), elman.GRU(2, 3)]))
    with pytest.raises(ValueError, match="each sequence must have a step"):
        masked(torch.ones(1, 2, 2))
