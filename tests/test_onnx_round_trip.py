"""elman -> ONNX -> elman: a network comes back from the model that `to_onnx` writes, and computes the same bits."""

from __future__ import annotations

import tempfile

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx

from elman import GRU, Activation, Dense, LayerNorm, Network
from elman.checks import FormatError
from elman.interop.onnx.reading.reader import from_onnx
from elman.interop.onnx.writing.writer import to_onnx
from elman.layers import MaxOverTime, MeanOverTime, MergeDirections
from onnx_networks import COUNT, in_float64, random_input, random_network, recurrent_layers


def there_and_back(net, path, **options):
    to_onnx(net, path, **options)
    return from_onnx(path)


def flat(state):
    """The states of a network, whatever it is nested in, as arrays in a row."""
    if isinstance(state, (list, tuple)):
        return [array for part in state for array in flat(part)]
    return [] if state is None else [state]


def assert_same(back, net, rng):
    """The same weights of recurrent layers, and the same bits for other batches and lengths."""
    assert back.dtype == net.dtype
    both = recurrent_layers(back), recurrent_layers(net)
    assert [type(layer) for layer in both[0]] == [type(layer) for layer in both[1]]
    for got, want in zip(*both, strict=True):
        assert list(got.parameters) == list(want.parameters)
        for name, array in want.parameters.items():
            np.testing.assert_array_equal(got.parameters[name], array)
    for shape, lengths in (((2, 5), None), ((3, 7), [7, 2, 4]), ((1, 1), None)):
        x = random_input(net, shape, rng)
        (got, got_state), (want, want_state) = back(x, lengths=lengths), net(x, lengths=lengths)
        np.testing.assert_array_equal(got, want)
        for one, other in zip(flat(got_state), flat(want_state), strict=True):
            np.testing.assert_array_equal(one, other)


def options_of(seed):
    """With and without states and lengths."""
    return {"states": bool(seed & 1), "lengths": bool(seed & 2)}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(COUNT))
def test_networks_come_back(seed, dtype, tmp_path):
    net, rng = random_network(seed), np.random.default_rng(seed + 2000)
    if dtype == "float64":
        net = in_float64(net, rng)
    back = there_and_back(net, tmp_path / "net.onnx", **options_of(seed))
    assert_same(back, net, rng)
    assert_same(there_and_back(back, tmp_path / "net.onnx", **options_of(seed)), net, rng)


@pytest.mark.parametrize("seed", range(0, COUNT, 5))
def test_what_came_back_once_is_written_and_read_without_any_change(seed, tmp_path):
    net, (first, second) = random_network(seed), (tmp_path / "1.onnx", tmp_path / "2.onnx")
    net = there_and_back(net, tmp_path / "0.onnx", **options_of(seed))
    back = there_and_back(net, first, **options_of(seed))
    to_onnx(back, second, **options_of(seed))
    assert repr(back) == repr(net)
    assert second.read_bytes() == first.read_bytes()


@pytest.mark.parametrize("alpha", [0.1, 1 / 3, 0.30000001192092896])
def test_numbers_come_back_as_they_were_meant(alpha, tmp_path):
    """An attribute is a float32: what comes back is the shortest decimal of it."""
    net = Network([Dense(3, 2, Activation("elu", alpha=alpha), seed=0)])
    back = there_and_back(net, tmp_path / "net.onnx")
    assert back.layers[0].activation.parameters["alpha"] == float(str(np.float32(alpha)))
    assert_same(back, net, np.random.default_rng(0))


class TestPadding:
    """What is set in the padding is no layer; where it would change what a layer computes, the model is refused."""

    def model(self, layers, change):
        """The model of layers with lengths, something of it changed."""
        with tempfile.TemporaryDirectory() as folder:
            to_onnx(Network(layers), folder + "/net.onnx", lengths=True)
            model = onnx.load(folder + "/net.onnx")
        change(model.graph)
        return model

    def number(self, name, value):
        def change(graph):
            (tensor,) = (tensor for tensor in graph.initializer if tensor.name == name)
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(value, np.float32), name))

        return change

    def operator(self, old, new, **attributes):
        def change(graph):
            (node,) = (node for node in graph.node if node.op_type == old)
            changed = onnx.helper.make_node(new, list(node.input)[:1], list(node.output), name=node.name, **attributes)
            node.CopyFrom(changed)

        return change

    def test_another_number_than_0(self):
        with pytest.raises(FormatError, match=r"the number in the padding of the output 'y' must be 0. Got 5.0"):
            from_onnx(self.model([GRU(3, 4)], self.number("number_0", 5)))

    def test_another_number_than_the_smallest_before_a_maximum(self):
        with pytest.raises(FormatError, match=r"a maximum over -inf in the padding. Got ReduceMax over 0.0"):
            from_onnx(self.model([GRU(3, 4), MaxOverTime()], self.number("number_-inf", 0)))

    def test_a_mean_that_counts_the_padding(self):
        change = self.operator("ReduceSum", "ReduceMean", axes=[0], keepdims=0)
        with pytest.raises(FormatError, match=r"the mean of all steps, or a sum over 0 .* Got ReduceMean over 0.0"):
            from_onnx(self.model([GRU(3, 4), MeanOverTime()], change))

    def test_a_sum_that_is_divided_by_other_lengths(self):
        def change(graph):
            graph.input.append(onnx.helper.make_tensor_value_info("others", onnx.TensorProto.INT64, ["batch"]))
            nodes = [node for node in graph.node if node.op_type in ("Unsqueeze", "CastLike")]
            casts = next(node for node in nodes if node.op_type == "CastLike")
            next(node for node in nodes if node.output[0] == casts.input[0]).input[0] = "others"

        with pytest.raises(FormatError, match=r"the lengths of its sequences, \(batch, 1\). Got others"):
            from_onnx(self.model([GRU(3, 4), MeanOverTime()], change))

    def test_half_of_the_features(self):
        def change(graph):
            (split,) = (node for node in graph.node if node.op_type == "Split")
            (add,) = (node for node in graph.node if node.op_type == "Add" and split.output[0] in node.input)
            add.CopyFrom(onnx.helper.make_node("Identity", [split.output[0]], list(add.output), name=add.name))

        layers = [GRU(3, 4), LayerNorm(4), MergeDirections("sum")]
        net = from_onnx(self.model(layers, change))
        np.testing.assert_array_equal(net.layers[2].W, np.eye(4, 2))
