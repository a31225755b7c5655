"""The row "pytorch" of the table against PyTorch itself: outputs, states and every gradient, both ways."""

from __future__ import annotations

import numpy as np
import pytest

import elman
from elman.interop import CONVENTIONS, from_arrays, to_arrays

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peer

B, T, I, H = 3, 6, 4, 5
KINDS = [("lstm", {}), ("gru", {}), ("rnn", {"activation": "tanh"}), ("rnn", {"activation": "relu"})]


def peer(cell, options, bidirectional, bias=True, layers=1):
    torch.manual_seed(0)
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[cell]
    extra = {"nonlinearity": options["activation"]} if options else {}
    module = kind(I, H, layers, bias=bias, batch_first=True, bidirectional=bidirectional, dtype=torch.float64, **extra)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module


def arrays_of(module):
    return {name: value.detach().numpy() for name, value in module.named_parameters()}


def inputs(cell, directions):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((B, T, I))
    state = [rng.standard_normal((directions, B, H)) for _ in range(1 + (cell == "lstm"))]
    dy = rng.standard_normal((B, T, directions * H))
    dstate = [rng.standard_normal((directions, B, H)) for _ in state]
    return x, state, dy, dstate


def ours_of(state, directions):
    parts = tuple(s if directions == 2 else s[0] for s in state)
    return parts if len(parts) > 1 else parts[0]


def stacked(state, directions):
    parts = state if isinstance(state, tuple) else (state,)
    return [s if directions == 2 else s[None] for s in parts]


def close(got, want):
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("cell", "options"), KINDS)
def test_outputs_states_and_gradients(cell, options, bidirectional):
    module = peer(cell, options, bidirectional)
    layer = from_arrays(cell, arrays_of(module), "pytorch", **options)
    x, state, dy, dstate = inputs(cell, 1 + bidirectional)
    y, end, tape = layer.forward(x, ours_of(state, 1 + bidirectional))
    dx, dstart, gradients = layer.backward(tape, dy, ours_of(dstate, 1 + bidirectional))

    tx = torch.tensor(x, requires_grad=True)
    tstate = [torch.tensor(s, requires_grad=True) for s in state]
    ty, tend = module(tx, tuple(tstate) if cell == "lstm" else tstate[0])
    tends = tend if cell == "lstm" else (tend,)
    loss = (ty * torch.tensor(dy)).sum() + sum((e * torch.tensor(d)).sum() for e, d in zip(tends, dstate, strict=True))
    loss.backward()

    close(y, ty.detach())
    for got, want in zip(stacked(end, 1 + bidirectional), tends, strict=True):
        close(got, want.detach())
    close(dx, tx.grad)
    for got, want in zip(stacked(dstart, 1 + bidirectional), tstate, strict=True):
        close(got, want.grad)
    for suffix in ("", "_reverse")[: 1 + bidirectional]:
        peers = {name: getattr(module, f"{name}_l0{suffix}").grad.numpy() for name in PARAMETERS}
        close(gradients["Wx" + suffix], peers["weight_ih"].T)  # PyTorch's order of gates is ours
        close(gradients["Wh" + suffix], peers["weight_hh"].T)
        close(gradients["b" + suffix], peers["bias_ih"])
        if cell == "gru":
            close(gradients["bn" + suffix], peers["bias_hh"][2 * H :])


PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("cell", "options"), KINDS)
def test_what_is_written_loads_into_pytorch(cell, options, bidirectional):
    layer = from_arrays(cell, arrays_of(peer(cell, options, bidirectional)), "pytorch", **options)
    module = peer(cell, options, bidirectional)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    arrays = to_arrays(layer, "pytorch")
    module.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()}, strict=True)
    x, state, _, _ = inputs(cell, 1 + bidirectional)
    y, _ = layer(x, ours_of(state, 1 + bidirectional))
    tstate = tuple(map(torch.tensor, state))
    close(y, module(torch.tensor(x), tstate if cell == "lstm" else tstate[0])[0].detach())


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_without_biases_and_several_layers(cell):
    module = peer(cell, {}, bidirectional=True, bias=False, layers=2)
    arrays = arrays_of(module)
    layers = [
        from_arrays(
            cell,
            {name: array for name, array in arrays.items() if f"_l{k}" in name},
            CONVENTIONS["pytorch"].for_layer(k),
        )
        for k in range(2)
    ]
    x = inputs(cell, 2)[0]
    close(elman.Network(layers)(x)[0], module(torch.tensor(x))[0].detach())


def test_tensors_are_taken_as_they_are():
    module = torch.nn.LSTM(I, H)
    layer = from_arrays("lstm", module.state_dict(), "pytorch")
    assert layer.dtype == np.float32
    before = layer.Wx.copy()
    with torch.no_grad():
        module.weight_ih_l0.zero_()
    np.testing.assert_array_equal(layer.Wx, before)


def test_a_projection_is_an_option():
    module = torch.nn.LSTM(I, H, proj_size=2)
    with pytest.raises(elman.FormatError, match=r"weight_hr_l0 unknown"):
        from_arrays("lstm", module.state_dict(), "pytorch")


@pytest.mark.parametrize("bidirectional", [False, True])
def test_projection(bidirectional):
    """Outputs, states and every gradient of two layers, each with a projection."""
    P, directions = 2, 1 + bidirectional
    torch.manual_seed(0)
    module = torch.nn.LSTM(I, H, 2, proj_size=P, batch_first=True, bidirectional=bidirectional, dtype=torch.float64)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    arrays = arrays_of(module)
    rules = [CONVENTIONS["pytorch"].for_layer(k) for k in range(2)]
    of_layer = [{name: array for name, array in arrays.items() if f"_l{k}" in name} for k in range(2)]
    layers = [from_arrays("lstm", a, rule, projection=P) for a, rule in zip(of_layer, rules, strict=True)]
    for layer, rule, own in zip(layers, rules, of_layer, strict=True):
        written = to_arrays(layer, rule)  # the two biases are added
        assert {name: array.shape for name, array in written.items()} == {n: a.shape for n, a in own.items()}
        assert list(written) == list(own)
    net = elman.Network(layers)
    rng = np.random.default_rng(1)
    x, dy = rng.standard_normal((B, T, I)), rng.standard_normal((B, T, directions * P))
    h, c = rng.standard_normal((2, directions, B, P)), rng.standard_normal((2, directions, B, H))
    dh, dc = rng.standard_normal((2, directions, B, P)), rng.standard_normal((2, directions, B, H))

    def state(a, b):
        return [ours_of((a[k], b[k]), directions) for k in range(2)]

    def joined(states):
        return [np.stack([stacked(s, directions)[i] for s in states]) for i in range(2)]

    y, end, tape = net.forward(x, state(h, c))
    dx, dstart, gradients = net.backward(tape, dy, state(dh, dc))
    tx, *tstates = (torch.tensor(a, requires_grad=True) for a in (x, h, c))
    ty, tends = module(tx, tuple(s.flatten(0, 1) for s in tstates))
    tdends = [torch.tensor(d).flatten(0, 1) for d in (dh, dc)]
    ((ty * torch.tensor(dy)).sum() + sum((e * d).sum() for e, d in zip(tends, tdends, strict=True))).backward()

    close(y, ty.detach())
    for got, want in zip(joined(end), tends, strict=True):
        close(got.reshape(want.shape), want.detach())
    close(dx, tx.grad)
    for got, want in zip(joined(dstart), tstates, strict=True):
        close(got, want.grad)
    names = {"Wx": "weight_ih", "Wh": "weight_hh", "b": "bias_ih", "Wp": "weight_hr"}
    for name, gradient in gradients.items():
        k, own = name.split(".")
        suffix = "_reverse" if own.endswith("_reverse") else ""
        close(gradient, getattr(module, f"{names[own.removesuffix('_reverse')]}_l{k}{suffix}").grad.numpy().T)
