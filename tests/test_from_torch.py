"""Random models of PyTorch, read and run beside it: outputs, states, and the gradient of everything."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import elman
from elman.interop.pytorch.networks import from_torch

torch = pytest.importorskip("torch")
nn = torch.nn
pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")]

RECURRENT = (nn.RNN, nn.LSTM, nn.GRU)
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
ACTIVATIONS = (
    nn.Identity,
    nn.ReLU,
    nn.Tanh,
    nn.Sigmoid,
    nn.Softsign,
    nn.Softplus,
    lambda: nn.LeakyReLU(0.3),
    lambda: nn.ELU(0.7),
    lambda: nn.Threshold(0.4, 0),
    lambda: nn.Softmax(dim=-1),
    lambda: nn.LogSoftmax(dim=-1),
)


def redraw(module, generator):
    """Weights of a size at which every gate works."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.6 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return module.eval()


def recurrent(rng, width, dtype, layers=None):
    kind = RECURRENT[rng.integers(3)]
    hidden = int(rng.integers(2, 7))
    layers = int(rng.integers(1, 4)) if layers is None else layers
    options = {
        "num_layers": layers,
        "bias": bool(rng.random() < 0.8),
        "batch_first": bool(rng.random() < 0.5),
        "bidirectional": bool(rng.random() < 0.5),
        "dropout": 0.3 if layers > 1 and rng.random() < 0.5 else 0.0,
    }
    if kind is nn.RNN:
        options["nonlinearity"] = str(rng.choice(["tanh", "relu"]))
    if kind is nn.LSTM and hidden > 2 and rng.random() < 0.5:
        options["proj_size"] = int(rng.integers(1, hidden))
    return kind(width, hidden, dtype=dtype, **options)


def out_of(module):
    return (module.proj_size or module.hidden_size) * (1 + module.bidirectional)


def random_model(rng):
    """Modules in a row, some of them in a Sequential, and an input."""
    dtype = torch.float64 if rng.random() < 0.5 else torch.float32
    batch, time, width = (int(n) for n in rng.permutation(6)[:3] + 2)
    parts = []
    x = torch.tensor(rng.standard_normal((batch, time, width)), dtype=dtype)
    start = rng.random()
    if start < 0.3:
        parts.append(nn.Embedding(11, width, padding_idx=None, dtype=dtype))
        x = torch.tensor(rng.integers(0, 11, (batch, time)))
    elif start < 0.6:
        wide = int(rng.integers(2, 8))
        parts += [
            nn.Linear(width, wide, bias=bool(rng.random() < 0.7), dtype=dtype),
            ACTIVATIONS[rng.integers(len(ACTIVATIONS))](),
        ]
        width = wide
    for _ in range(rng.integers(1, 3)):
        parts.append(recurrent(rng, width, dtype))
        width = out_of(parts[-1])
        if rng.random() < 0.3:
            parts.append(nn.Dropout(0.2))
        if rng.random() < 0.4:
            affine = bool(rng.random() < 0.7)
            parts.append(nn.LayerNorm(width, eps=1e-3, elementwise_affine=affine, bias=rng.random() < 0.7, dtype=dtype))
    if rng.random() < 0.7:
        head = [nn.Linear(width, 3, dtype=dtype), ACTIVATIONS[rng.integers(len(ACTIVATIONS))]()]
        parts += [nn.Sequential(*head)] if rng.random() < 0.5 else head
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    return [redraw(part, generator) for part in parts], x


def starts_of(parts, batch, rng):
    """A state for each recurrent module, as PyTorch has it."""
    states = []
    for part in parts:
        if isinstance(part, RECURRENT):
            count = part.num_layers * (1 + part.bidirectional)
            widths = [part.proj_size or part.hidden_size] + [part.hidden_size] * isinstance(part, nn.LSTM)
            dtype = part.weight_hh_l0.dtype
            states.append([torch.tensor(rng.standard_normal((count, batch, w)), dtype=dtype) for w in widths])
    return states


def run(parts, x, states):
    """The modules one after another, by PyTorch."""
    ends, left = [], iter(states)
    for part in parts:
        if isinstance(part, RECURRENT):
            start = tuple(next(left))
            x = x if part.batch_first else x.transpose(0, 1)
            x, end = part(x, start if len(start) > 1 else start[0])
            x = x if part.batch_first else x.transpose(0, 1)
            ends.append(list(end) if isinstance(end, tuple) else [end])
        else:
            x = part(x)
    return x, ends


def ours(states, parts):
    """States of PyTorch, one entry a module, as elman has them: one entry per layer."""
    entries = []
    for state, part in zip(states, [p for p in parts if isinstance(p, RECURRENT)], strict=True):
        directions = 1 + part.bidirectional
        for k in range(part.num_layers):
            own = tuple(s.detach().numpy()[k * directions : (k + 1) * directions] for s in state)
            own = own if part.bidirectional else tuple(s[0] for s in own)
            entries.append(own if len(own) > 1 else own[0])
    return entries


def flat(states):
    return [part for state in states for part in (state if isinstance(state, tuple) else (state,))]


def gradients_of(parts):
    """The gradients by PyTorch under the names of elman, one mapping for each layer with parameters."""
    found = []
    for part in parts:
        if isinstance(part, nn.Sequential):
            found += gradients_of(part)
        elif isinstance(part, RECURRENT):
            found += [recurrent_gradients(part, k) for k in range(part.num_layers)]
        elif isinstance(part, nn.Linear):
            found.append({"W": part.weight.grad.T} | ({"b": part.bias.grad} if part.bias is not None else {}))
        elif isinstance(part, nn.Embedding):
            found.append({"W": part.weight.grad})
        elif isinstance(part, nn.LayerNorm):
            named = {"gain": part.weight, "bias": part.bias}
            found.append({name: p.grad for name, p in named.items() if p is not None})
    return found


def recurrent_gradients(part, k):
    found = {}
    for ending, own in [("", ""), ("_reverse", "_reverse")][: 1 + part.bidirectional]:
        suffix = f"_l{k}{ending}"
        found["Wx" + own] = getattr(part, "weight_ih" + suffix).grad.T
        found["Wh" + own] = getattr(part, "weight_hh" + suffix).grad.T
        if part.bias:
            found["b" + own] = getattr(part, "bias_ih" + suffix).grad
            if isinstance(part, nn.GRU):
                found["bn" + own] = getattr(part, "bias_hh" + suffix).grad[2 * part.hidden_size :]
        if part.proj_size:
            found["Wp" + own] = getattr(part, "weight_hr" + suffix).grad.T
    return found


def close(got, want, tolerance, what=""):
    want = want.detach().numpy()
    assert got.shape == want.shape, what
    assert np.abs(got - want).max() <= tolerance * max(1.0, np.abs(want).max()), what


@pytest.mark.parametrize("seed", range(150))
def test_a_random_model_has_the_numbers_and_gradients_of_pytorch(seed):
    rng = np.random.default_rng(seed)
    parts, x = random_model(rng)
    net = from_torch(nn.Sequential(*parts))
    states = starts_of(parts, len(x), rng)
    tolerance = TOLERANCE[states[0][0].dtype]
    for leaf in [s for state in states for s in state] + [x] * x.is_floating_point():
        leaf.requires_grad_()

    want, wanted_ends = run(parts, x, states)
    dy = torch.tensor(rng.standard_normal(want.shape), dtype=want.dtype)
    dends = [[torch.tensor(rng.standard_normal(s.shape), dtype=s.dtype) for s in end] for end in wanted_ends]
    pairs = zip(itertools.chain(*wanted_ends), itertools.chain(*dends), strict=True)
    ((want * dy).sum() + sum((end * d).sum() for end, d in pairs)).backward()

    for _ in range(2):
        y, ends, tape = net.forward(x.detach().numpy(), ours(states, parts))
        dx, dstarts, gradients = net.backward(tape, dy.numpy(), ours(dends, parts))
        close(y, want, tolerance, "y")
        for got, end in zip(flat(ends), flat(ours(wanted_ends, parts)), strict=True):
            close(got, torch.tensor(end), tolerance, "end")
        if x.is_floating_point():
            close(dx, x.grad, tolerance, "dx")
        starts = [[s.grad for s in state] for state in states]
        for got, start in zip(flat(dstarts), flat(ours(starts, parts)), strict=True):
            close(got, torch.tensor(start), tolerance, "dstate")
        with_parameters = [i for i, layer in enumerate(net.layers) if layer.parameters]
        for i, wanted in zip(with_parameters, gradients_of(parts), strict=True):
            for name, gradient in wanted.items():
                close(gradients[f"{i}.{name}"], gradient, tolerance, f"{i}.{name}")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("cell", "options"),
    [(nn.RNNCell, {"nonlinearity": "relu"}), (nn.RNNCell, {}), (nn.LSTMCell, {}), (nn.GRUCell, {})],
)
def test_cells(cell, options, bias, dtype):
    generator = torch.Generator().manual_seed(3)
    module = redraw(cell(4, 5, bias=bias, dtype=dtype, **options), generator)
    net = from_torch(module)
    x = torch.randn(3, 6, 4, generator=generator, dtype=dtype)
    start = [torch.randn(3, 5, generator=generator, dtype=dtype) for _ in range(1 + (cell is nn.LSTMCell))]
    state = tuple(start) if len(start) > 1 else start[0]
    y, _ = net(x.numpy(), [tuple(s.numpy() for s in start) if len(start) > 1 else start[0].numpy()])
    for t in range(6):
        state = module(x[:, t], state)
        close(y[:, t], state[0] if len(start) > 1 else state, TOLERANCE[dtype])


def test_hardsigmoid_whose_derivative_is_rounded_by_pytorch():
    """PyTorch 2.13 takes its slope of 1/6 from float32 in the derivative by float64 too."""
    x = torch.linspace(-4, 4, 12, dtype=torch.float64).reshape(1, 6, 2).requires_grad_()
    want = nn.Hardsigmoid()(x)
    want.sum().backward()
    net = from_torch(nn.Sequential(nn.Linear(2, 2, dtype=torch.float64), nn.Hardsigmoid()))
    net.layers[0].W, net.layers[0].b = np.eye(2), np.zeros(2)
    y, _, tape = net.forward(x.detach().numpy())
    close(y, want, 1e-15)
    close(net.backward(tape, np.ones_like(y))[0], x.grad, 1e-8)


@pytest.mark.parametrize("seed", range(12))
def test_ragged_batches_are_those_of_packed_sequences(seed):
    rng = np.random.default_rng(seed)
    module = redraw(recurrent(rng, 3, torch.float64), torch.Generator().manual_seed(seed))
    lengths = rng.permutation([7, 2, 5, 1])
    x = torch.tensor(rng.standard_normal((4, 7, 3)))
    states = starts_of([module], 4, rng)
    start = tuple(states[0])
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    want, end = module(packed, start if len(start) > 1 else start[0])
    want, _ = nn.utils.rnn.pad_packed_sequence(want, batch_first=True)
    y, ends = from_torch(module)(x.numpy(), ours(states, [module]), lengths)
    close(y, want, 1e-10)
    wanted = ours([list(end) if isinstance(end, tuple) else [end]], [module])
    for got, one in zip(flat(ends), flat(wanted), strict=True):
        close(got, torch.tensor(one), 1e-10)


# What a wrong reading would do: each is far off, so that the tests above would see it.


def wrong_orders(count):
    return [order for order in itertools.permutations(range(count)) if order != tuple(range(count))]


def blocks(array, order):
    return np.concatenate([np.split(array, len(order))[i] for i in order])


def weights_of(module):
    return {name: value.numpy().copy() for name, value in module.state_dict().items()}


def misread(module, change):
    """The largest difference between a module and what is read from changed weights."""
    generator = torch.Generator().manual_seed(9)
    x = torch.randn(3, 6, 4, generator=generator, dtype=torch.float64)
    weights = weights_of(module)
    change(weights)
    return np.abs(from_torch(weights)(x.numpy())[0] - module(x)[0].detach().numpy()).max()


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3)])
@pytest.mark.parametrize("names", [("weight_ih", "weight_hh", "bias_ih", "bias_hh"), ("weight_ih",), ("weight_hh",)])
def test_every_wrong_order_of_gates_is_seen(kind, gates, names):
    module = redraw(kind(4, 5, batch_first=True, dtype=torch.float64), torch.Generator().manual_seed(1))
    assert misread(module, lambda weights: None) < 1e-12
    for order in wrong_orders(gates):

        def permute(weights, order=order):
            weights |= {f"{name}_l0": blocks(weights[f"{name}_l0"], order) for name in names}

        assert misread(module, permute) > 0.01, order


def swap_biases(weights):
    weights["bias_ih_l0"], weights["bias_hh_l0"] = weights["bias_hh_l0"], weights["bias_ih_l0"]


def one_bias(weights):
    weights["bias_ih_l0"] += weights["bias_hh_l0"]
    weights["bias_hh_l0"][:] = 0


def negate_update(weights):
    for array in weights.values():
        array[5:10] *= -1


def without_second(weights):
    weights["bias_hh_l0"][:] = 0


@pytest.mark.parametrize("change", [swap_biases, one_bias, negate_update, without_second])
def test_a_wrong_split_of_biases_or_sense_of_update_is_seen(change):
    module = redraw(nn.GRU(4, 5, batch_first=True, dtype=torch.float64), torch.Generator().manual_seed(1))
    assert misread(module, change) > 0.01


def test_a_wrong_form_of_reset_is_seen():
    module = redraw(nn.GRU(4, 5, batch_first=True, dtype=torch.float64), torch.Generator().manual_seed(1))
    module.bias_hh_l0.data.zero_()  # the one form has no such bias
    right = from_torch(module)
    (layer,) = right.layers
    wrong = elman.GRU(4, 5, reset_after=False, dtype="float64")
    wrong.Wx, wrong.Wh, wrong.b = layer.Wx, layer.Wh, layer.b
    x = np.random.default_rng(0).standard_normal((3, 6, 4))
    assert np.abs(wrong(x)[0] - right(x)[0]).max() > 0.01


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_swapped_directions_and_a_lost_bias_are_seen(kind):
    module = redraw(
        kind(4, 5, batch_first=True, bidirectional=True, dtype=torch.float64), torch.Generator().manual_seed(1)
    )

    def swap(weights):
        for name in list(weights):
            if not name.endswith("_reverse"):
                weights[name], weights[name + "_reverse"] = weights[name + "_reverse"], weights[name]

    assert misread(module, swap) > 0.01
    assert misread(module, without_second) > 0.01
