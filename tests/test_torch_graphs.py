"""Graphs, convolutions, pools over windows, batch normalization and attention: to PyTorch and back."""

from __future__ import annotations

import numpy as np
import pytest

import elman
from drawn_graphs import Drawn
from elman import from_torch, to_torch
from elman.interop.pytorch.state import state_dict

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peer


def tensors(value):
    """Arrays, alone or by name, as tensors."""
    return (
        {name: torch.tensor(part) for name, part in value.items()} if isinstance(value, dict) else torch.tensor(value)
    )


def by_name(net, value):
    return value if isinstance(value, dict) else {net.inputs[0]: value}


def written(net):
    """The module of a network; none where a cell is not one of PyTorch."""
    try:
        return to_torch(net)
    except elman.FormatError as error:
        if "peepholes must be left out for PyTorch" in str(error):
            pytest.skip("peepholes")
        raise


def alike(ours, theirs, tolerance=1e-10):
    if isinstance(ours, dict):
        assert list(ours) == list(theirs)
        for name in ours:
            alike(ours[name], theirs[name], tolerance)
    elif isinstance(ours, (list, tuple)):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            alike(one, other, tolerance)
    elif ours is None:
        assert theirs is None
    else:
        np.testing.assert_allclose(theirs.detach().numpy(), ours, atol=tolerance, rtol=tolerance)


def flat(state):
    """The states of nested networks in their place."""
    return [part for entry in state for part in (flat(entry) if isinstance(entry, list) else [entry])]


@pytest.mark.parametrize("seed", range(60))
def test_graphs_compute_and_learn_as_pytorch_does(seed):
    drawn = Drawn(seed)
    net = drawn.network()
    module, x = written(net), drawn.inputs_of(net, "array")
    lengths = {name: drawn.lengths_of(name) for name in net.inputs if drawn.kinds[name] != "vectors"}
    given = lengths if len(net.inputs) > 1 else next(iter(lengths.values()))
    for _ in range(2):
        y, state = net(x, lengths=given)
        theirs, ends = module(tensors(x), lengths=given)
        alike(y, theirs)
        alike(flat(state), ends)
    y, state, tape = net.forward(x, lengths=given)
    dy = {k: drawn.rng.standard_normal(v.shape) for k, v in y.items()} if isinstance(y, dict) else np.ones_like(y)
    _, _, gradients = net.backward(tape, dy)
    if not gradients:
        return
    total = (
        sum((torch.tensor(dy[name]) * part).sum() for name, part in theirs.items()) if net.graph.named else theirs.sum()
    )
    total.backward()
    grads = {name: w if w.grad is None else w.grad for name, w in module.named_parameters()}
    own = from_torch({**grads, **dict(module.named_buffers())}, like=net)
    for name, gradient in gradients.items():
        if not name.endswith((".b", ".b_reverse")):  # of which PyTorch has two
            np.testing.assert_allclose(own.parameters[name], gradient, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("seed", range(60))
def test_graphs_come_back_as_they_were(seed):
    drawn = Drawn(seed)
    net = drawn.network()
    module, x = written(net), drawn.inputs_of(net)
    expected = net(x)[0]
    weights = module.state_dict()
    assert {name: tuple(array.shape) for name, array in state_dict(net).items()} == {
        name: tuple(tensor.shape) for name, tensor in weights.items()
    }
    same = [from_torch(module)]
    if weights:
        same += [from_torch(weights, like=net), from_torch(dict(reversed(weights.items())), like=net)]
    for again in same:
        y = again(x)[0]
        for one, other in zip(*(v.values() if isinstance(v, dict) else [v] for v in (y, expected)), strict=True):
            for part, its in zip(one, other, strict=True):
                np.testing.assert_array_equal(part, its)


def randomized(module, seed=0):
    """A module with random weights and running statistics, in evaluation."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in {**dict(module.named_parameters()), **dict(module.named_buffers())}.items():
        if tensor.is_floating_point():
            tensor.data.normal_(generator=generator)
            tensor.data.abs_() if "var" in name else None
    return module.eval()


CONVOLUTIONS = [
    {"kernel_size": 3},
    {"kernel_size": 4, "padding": "same", "dilation": 2},
    {"kernel_size": 3, "padding": 2, "stride": 2},
    {"kernel_size": 1},
    {"kernel_size": 2, "groups": 2, "dilation": 3},
    {"kernel_size": 5, "padding": "valid", "bias": False},
]


@pytest.mark.parametrize("options", CONVOLUTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_modules_of_convolutions(options, dtype):
    nn = torch.nn
    module = randomized(
        nn.Sequential(
            nn.Conv1d(4, 6, **options), nn.Tanh(), nn.BatchNorm1d(6, eps=0.1), nn.PReLU(6),
            nn.MaxPool1d(3, 2, padding=1), nn.AvgPool1d(2), nn.Dropout1d(0.5), nn.Conv1d(6, 2, 1),
        ).to(dtype)
    )  # fmt: skip
    net, x = from_torch(module), torch.randn(3, 4, 23, dtype=dtype, generator=torch.Generator().manual_seed(1))
    expected = module(x).transpose(1, 2).detach().numpy()
    for _ in range(2):
        y = net(x.transpose(1, 2).numpy())[0]
        np.testing.assert_allclose(y, expected, atol=(1e-12 if dtype is torch.float64 else 2e-6) * np.abs(y).max())
    same = from_torch([*module])
    np.testing.assert_array_equal(same(x.transpose(1, 2).numpy())[0], y)
    like = from_torch(module).replace()
    again = from_torch({k: v for k, v in module.state_dict().items() if not k.startswith("3.")}, like=like)
    np.testing.assert_array_equal(again(x.transpose(1, 2).numpy())[0], y)
    back = to_torch(net)
    np.testing.assert_allclose(back(x.transpose(1, 2))[0].detach().numpy(), y, atol=1e-6 * np.abs(y).max())
    assert set(like.parameters) == set(net.parameters)


def test_a_network_for_one_label_of_convolutions():
    nn = torch.nn
    module = randomized(nn.Sequential(
        nn.Conv1d(3, 5, 3), nn.BatchNorm1d(5, affine=False), nn.SiLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(),
        nn.Linear(5, 4), nn.BatchNorm1d(4), nn.PReLU(), nn.Linear(4, 2),
    ))  # fmt: skip
    module[7].weight.data[:] = 0.3
    x = torch.randn(4, 3, 9)
    y = from_torch(module)(x.transpose(1, 2).numpy())[0]
    np.testing.assert_allclose(y, module(x).detach().numpy(), atol=1e-6 * np.abs(y).max())


class Own(torch.nn.Module):
    """A module of one's own: convolution, two directions of unlike cells side by side, attention, and a head."""

    def __init__(self):
        super().__init__()
        nn = torch.nn
        self.head = nn.Linear(9, 2)
        self.slow, self.fast = nn.GRU(6, 4, batch_first=True), nn.GRU(6, 5, batch_first=True)
        self.conv, self.norm = nn.Conv1d(3, 6, 5, padding=2), nn.BatchNorm1d(6)
        self.query, self.keys, self.score = nn.Linear(9, 7), nn.Linear(9, 7, bias=False), nn.Linear(7, 1)

    def forward(self, x):
        x = self.norm(torch.relu(self.conv(x.transpose(1, 2)))).transpose(1, 2)
        both = torch.cat([self.fast(x)[0], self.slow(x)[0]], dim=-1)
        scores = self.score(torch.tanh(self.query(both[:, -1])[:, None] + self.keys(both)))
        return self.head((scores.softmax(1) * both).sum(1))


def of_own(**changed):
    nodes = {
        "conv": (elman.Conv1d(3, 6, 5, activation="relu"), "x"),
        "norm": elman.BatchNorm(6),
        "fast": (elman.GRU(6, 5), "norm"),
        "slow": (elman.GRU(6, 4), "norm"),
        "both": (elman.Concatenate(), "fast", "slow"),
        "end": elman.LastStep(),
        "att": (elman.Attention(9, 9, 7, kind="additive"), "end", "both"),
        "head": elman.Dense(9, 2),
    }
    return elman.Network({**nodes, **changed})


def test_a_module_of_ones_own_told_by_a_graph():
    module = randomized(Own())
    x = torch.randn(4, 11, 3, generator=torch.Generator().manual_seed(1))
    for source in (module, module.state_dict(), {"net": module.state_dict(), "optimizer": {"state": {}}}):
        net = from_torch(source, like=of_own())
        np.testing.assert_allclose(net(x.numpy())[0], module(x).detach().numpy(), atol=2e-6)
        np.testing.assert_array_equal(net.buffers["norm.variance"], module.norm.running_var.numpy())


def test_what_could_be_either_of_two_nodes_is_refused_with_both():
    state = {f"{name}.{k}": v for name in ("a", "b") for k, v in torch.nn.GRU(3, 4).state_dict().items()}
    nodes = {"left": (elman.GRU(3, 4), "x"), "right": (elman.GRU(3, 4), "x"), "sum": (elman.Add(), "left", "right")}
    like = elman.Network(nodes)
    with pytest.raises(elman.FormatError, match=r"Got several ways for a \(gru, 3 to 4\) for left or right, b "):
        from_torch(state, like=like)
    net = from_torch(state, like=like, order=["b", "a"])
    np.testing.assert_array_equal(net.parameters["left.Wx"], state["b.weight_ih_l0"].numpy().T)
    with pytest.raises(elman.FormatError, match="like must have 2 layers with parameters"):
        from_torch(state, like=elman.GRU(3, 4))
    with pytest.raises(elman.FormatError, match="Got none for a"):
        from_torch(
            state,
            like=elman.Network(
                {**nodes, "right": (elman.GRU(3, 5), "x"), "sum": (elman.Concatenate(), "left", "right")}
            ),
        )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda nn: nn.Sequential(nn.Conv1d(2, 3, 3), nn.LSTM(3, 4)), "a transpose must stand between Conv1d and LSTM"),
        (lambda nn: nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.MaxPool1d(2)), "between Linear and MaxPool1d"),
        (lambda nn: nn.Conv1d(2, 3, 3, padding=1, padding_mode="reflect"), "padding_mode 'zeros'. Got 'reflect'"),
        (lambda nn: nn.MaxPool1d(2, ceil_mode=True), "ceil_mode False"),
        (lambda nn: nn.MaxPool1d(2, dilation=2), "must have dilation 1"),
        (lambda nn: nn.AvgPool1d(3, padding=1), "no padding that counts"),
        (lambda nn: nn.AdaptiveMaxPool1d(2), "an adaptive pool must give one step. Got 2"),
        (lambda nn: nn.BatchNorm1d(3, track_running_stats=False), "running statistics"),
        (lambda nn: nn.BatchNorm1d(3, momentum=None), "and a momentum"),
        (lambda nn: nn.ConvTranspose1d(2, 3, 3), "ConvTranspose1d, which is not read"),
        (lambda nn: nn.Flatten(), "Flatten, which is not read"),
    ],
)  # fmt: skip
def test_modules_that_are_refused(make, words):
    with pytest.raises(elman.FormatError, match=words):
        from_torch(make(torch.nn))


def test_a_list_needs_no_transpose():
    nn = torch.nn
    conv, lstm, fc = nn.Conv1d(2, 3, 3, padding=1), nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)
    x = torch.randn(3, 8, 2)
    y = fc(lstm(torch.relu(conv(x.transpose(1, 2))).transpose(1, 2))[0][:, -1])
    net = from_torch([conv, nn.ReLU(), lstm, elman.LastStep(), fc])
    np.testing.assert_allclose(net(x.numpy())[0], y.detach().numpy(), atol=1e-6)
    net = from_torch([nn.Sequential(conv, nn.ReLU()), lstm, elman.LastStep(), fc])
    np.testing.assert_allclose(net(x.numpy())[0], y.detach().numpy(), atol=1e-6)


def test_a_batch_norm_in_training_sees_the_real_steps_alone():
    net = elman.Network([elman.BatchNorm(2, momentum=0.25, dtype="float64")])
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(n, 2)) for n in (5, 2, 3)]
    module = to_torch(net).train()
    x = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(part) for part in parts], batch_first=True, padding_value=float("nan")
    )
    y = module(x, lengths=[5, 2, 3])[0]
    ours = net.forward(parts, rng=rng)[0]
    for one, other, n in zip(ours, y, (5, 2, 3), strict=True):
        np.testing.assert_allclose(other[:n].detach().numpy(), one, atol=1e-12)
    np.testing.assert_allclose(from_torch(module).buffers["0.variance"], net.buffers["0.variance"], atol=1e-12)


def test_both_directions_of_one_module_fill_a_bidirectional_of_two():
    module = randomized(torch.nn.LSTM(3, 4, bidirectional=True, batch_first=True))
    x = torch.randn(2, 6, 3)
    like = elman.Network([elman.Bidirectional(elman.LSTM(3, 4), elman.LSTM(3, 4))])
    np.testing.assert_allclose(from_torch(module, like=like)(x.numpy())[0], module(x)[0].detach().numpy(), atol=1e-6)
    for second in (elman.LSTM(3, 5), elman.GRU(3, 4)):
        with pytest.raises(elman.FormatError, match="must"):
            from_torch(module, like=elman.Network([elman.Bidirectional(elman.LSTM(3, 4), second)]))


def test_a_child_that_was_exchanged_is_read_whole():
    module = to_torch(elman.Network([elman.Dense(3, 3), elman.GRU(3, 4)]))
    module[1] = torch.nn.GRU(3, 4, num_layers=2, batch_first=True)
    assert [type(layer) for layer in from_torch(module).layers] == [elman.Dense, elman.GRU, elman.GRU]


def test_a_sequence_that_fills_no_window_is_refused():
    module = to_torch(elman.Conv1d(2, 3, 4, padding="valid"))
    with pytest.raises(elman.ShapeError, match=r"sequence 1 must have at least 4 steps\. Got 2\."):
        module(torch.randn(2, 9, 2), lengths=[9, 2])
