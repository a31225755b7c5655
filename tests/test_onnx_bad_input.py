"""ONNX models that are damaged, lie, or reach out: refused by name and place, without memory and without harm."""

from __future__ import annotations

import os
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx")

import onnx
from onnx import TensorProto, helper, numpy_helper

from elman.checks import FormatError, MissingExtraError
from elman.interop.onnx.reading.reader import from_onnx
from onnx_models import Parts

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
LIMIT = 120_000_000  # bytes that a refusal may take


def parts(width=3):
    made = Parts(np.random.default_rng(0))
    made.inputs["x"] = (np.float32, ("batch", "time", width))
    return made


def good():
    """A dense layer over steps."""
    made = parts()
    made.outputs.append(made.add("MatMul", "x", made.weights("W", 3, 2)))
    return made.model()


def refused(source, words, **options):
    """That a model is refused with these words, without much memory."""
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=words) as caught:
            from_onnx(source, **options)
        assert tracemalloc.get_traced_memory()[1] < LIMIT
    finally:
        tracemalloc.stop()
    return str(caught.value)


def test_the_good_one_is_good():
    assert repr(from_onnx(good())).startswith("Network of 1 layers")


# Files.


def test_what_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"path must be a file. Got .*none.onnx"):
        from_onnx(tmp_path / "none.onnx")
    with pytest.raises(FileNotFoundError, match="path must be a file"):
        from_onnx(tmp_path)
    with pytest.raises(TypeError, match=r"source must be a path, bytes or an onnx.ModelProto. Got an int"):
        from_onnx(3)


def test_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r'pip install "elman\[onnx\]"'):
        from_onnx("model.onnx")


def outcome(path):
    """What a file is read as, or the words by which it is refused."""
    try:
        return repr(from_onnx(path))
    except FormatError as error:
        return str(error)


def test_files_cut_short(tmp_path):
    content = good().SerializeToString()
    path = tmp_path / "cut.onnx"
    for end in range(len(content)):
        path.write_bytes(content[:end])
        assert "cut.onnx" in outcome(path), end


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_files_of_random_bytes(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "random.onnx"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"random\.onnx"):
        from_onnx(path)


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=5))
@settings(max_examples=300, deadline=None)
def test_files_with_changed_bytes_are_read_or_refused(tmp_path_factory, changes):
    content = bytearray(good().SerializeToString())
    for place, byte in changes:
        content[place % len(content)] = byte
    path = tmp_path_factory.getbasetemp() / "changed.onnx"
    path.write_bytes(bytes(content))
    assert outcome(path).startswith(("Network of", str(path)))


# Claims.


@pytest.mark.parametrize("shape", [(10**6, 10**6), (3, 3), (2**62, 4), (-1, 2), (3, 2, 0)])
@pytest.mark.parametrize("is_raw", [True, False])
def test_tensors_that_claim_another_size(shape, is_raw):
    model = good()
    (tensor,) = model.graph.initializer
    if not is_raw:
        array = numpy_helper.to_array(tensor)
        tensor.CopyFrom(helper.make_tensor("W", FLOAT, array.shape, array.ravel()))
    del tensor.dims[:]
    tensor.dims.extend(shape)
    refused(model, r"the model: (the shape of )?the tensor 'W' must be")


@pytest.mark.parametrize("kind", [TensorProto.STRING, TensorProto.COMPLEX64, TensorProto.INT4, 99])
def test_tensors_of_other_types(kind):
    model = good()
    model.graph.initializer[0].data_type = kind
    refused(model, f"the tensor 'W' must be of floats, integers or booleans. Got type {int(kind)} of ONNX")


@pytest.mark.parametrize(
    "make",
    [
        lambda p: p.add("ConstantOfShape", p.integers(10**6, 10**6), value=numpy_helper.from_array(np.ones(1, "f4"))),
        lambda p: p.add("Expand", p.weights("w", 1), p.integers(10**6, 10**6)),
        lambda p: p.add("Tile", p.weights("w", 3, 2), p.integers(10**6, 10**6)),
        lambda p: p.add("Range", p.tensor("a", 0.0), p.tensor("b", 1e15), p.tensor("c", 1.0)),
        lambda p: p.add("Add", p.add("Expand", p.weights("w", 1), p.integers(10**6, 10**6)), p.weights("v", 1)),
        lambda p: p.add("MatMul", *(p.add("Expand", p.weights("w", 1), p.integers(10**6, 10**6)),) * 2),
        lambda p: p.add("Gather", p.weights("w", 3, 2), p.add("Expand", p.integers(0), p.integers(10**12)), axis=0),
        lambda p: p.add("Concat", *(p.add("Expand", p.weights("w", 1), p.integers(10**6, 10**6)),) * 2, axis=0),
        lambda p: p.add("Cast", p.add("Expand", p.weights("w", 1), p.integers(10**6, 10**6)), to=FLOAT),
        lambda p: p.add("Reshape", p.add("Expand", p.weights("w", 1), p.integers(10**6, 10**6)), p.integers(-1, 2)),
        lambda p: p.add("Pow", p.weights("w", 3, 2), p.add("Expand", p.weights("v", 1), p.integers(10**8, 3, 2))),
    ],
)
def test_graphs_that_compute_terabytes(make):
    made = parts()
    made.outputs.append(made.add("MatMul", "x", make(made)))
    refused(made.model(), "the model: .*must be")


def test_layers_of_terabytes():
    """A million features, and a thousand layers of one large tensor."""
    made = parts("width")
    wide = made.add("Concat", made.weights("w", 1), made.weights("v", 999_999), axis=0)
    made.outputs.append(made.add("Mul", "x", wide))
    refused(made.model(), "the input 'x' must be of at most .* numbers. Got .* x 1000000")
    made = parts(1000)
    x, W = "x", made.weights("W", 1000, 1000)
    for _ in range(1000):
        x = made.add("MatMul", x, W)
    made.outputs.append(x)
    words = refused(made.model(), "the weights of the node .* must be at most .* bytes")
    assert "4,000,000 more" in words


def test_doubling_is_bounded():
    made = parts()
    w = made.weights("w", 1)
    for _ in range(64):
        w = made.add("Concat", w, w, axis=0)
    made.outputs.append(made.add("Add", "x", w))
    refused(made.model(), "the memory of .* must be at most")


def test_initial_states_of_terabytes():
    made = Parts(np.random.default_rng(0))
    made.inputs["x"] = (np.float32, ("time", "batch", 3))
    state = made.add("Expand", made.weights("h", 1, 1, 2), made.integers(1, 10**12, 2))
    y = made.add("RNN", "x", made.weights("W", 1, 2, 3), made.weights("R", 1, 2, 2), "", "", state, hidden_size=2)
    made.outputs.append(made.add("Squeeze", y, made.integers(1)))
    refused(made.model(), "the memory of .* must be at most")


# Data in other files.


def external(folder, location, **entries):
    """A model whose weights are kept in another file."""
    model = good()
    (tensor,) = model.graph.initializer
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


DATA = np.arange(6, dtype=np.float32)


def test_data_in_the_folder_is_read(tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "data").write_bytes(b"junk" + DATA.tobytes())
    net = from_onnx(external(tmp_path, "inside/data", offset=4, length=24))
    np.testing.assert_array_equal(net.layers[0].W, DATA.reshape(3, 2))
    net = from_onnx(external(tmp_path, "inside/data", offset=4))
    np.testing.assert_array_equal(net.layers[0].W, DATA.reshape(3, 2))
    os.symlink(tmp_path / "inside" / "data", tmp_path / "link")
    np.testing.assert_array_equal(from_onnx(external(tmp_path, "link", offset=4)).layers[0].W, DATA.reshape(3, 2))


def test_data_outside_the_folder_is_not_read(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "data").write_bytes(DATA.tobytes())
    (folder / "data").write_bytes(DATA.tobytes())
    os.symlink(tmp_path / "data", folder / "link")
    os.symlink(tmp_path, folder / "up")
    locations = (
        "../data",
        str(tmp_path / "data"),
        "link",
        "up/data",
        "../model/data",
        "",
        "none",
        ".",
        "a\0b",
        "C:\\data",
    )
    for location in locations:
        words = refused(external(folder, location), "must be a file in the folder of the model, by a relative path")
        assert "model.onnx: the data of the tensor 'W'" in words
    assert from_onnx(external(folder, "data"))


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"offset": 1}, "must be within the 24 bytes of 'data'. Got 24 from 1 on"),
        ({"length": 10**12}, r"must be 24 bytes, as its shape says. Got 1,000,000,000,000"),
        ({"offset": -4}, "the offset of the data of the tensor 'W' must be a whole number from 0 up. Got '-4'"),
        ({"offset": "four"}, "must be a whole number from 0 up. Got 'four'"),
        ({"offset": 10**18}, "must be within the 24 bytes"),
    ],
)
def test_data_that_is_not_there(tmp_path, entries, words):
    (tmp_path / "data").write_bytes(DATA.tobytes())
    refused(external(tmp_path, "data", **entries), words)


@pytest.mark.parametrize("dims", [(), (1,), (1, 1)])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data_type": 2**31 - 1}, "must be of floats, integers or booleans"),
        ({"raw_data": b""}, "must be that of its data"),
        ({"raw_data": b"12"}, "must be that of its data"),
        ({"dims": [-1, -1]}, "must be of lengths from 0 up"),
        ({"data_location": TensorProto.EXTERNAL}, "must be a file in the folder of the model"),
    ],
)
def test_damaged_tensors_of_one_number(tmp_path, dims, change, words):
    """Refused where they are read, as larger ones are, and nothing where they are not."""
    for is_read in (True, False):
        made = parts()
        number = made.weights("number", *dims)
        made.outputs.append(made.add("Tanh", made.add("Mul", "x", number) if is_read else "x"))
        model = made.model()
        (tensor,) = (each for each in model.graph.initializer if each.name == "number")
        tensor.external_data.add(key="location", value="number")
        for field, value in change.items():
            tensor.ClearField(field)
            getattr(tensor, field).extend(value) if field == "dims" else setattr(tensor, field, value)
        (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
        if is_read:
            refused(tmp_path / "model.onnx", words)
        else:
            assert from_onnx(tmp_path / "model.onnx")


def test_data_of_a_model_without_a_folder(tmp_path):
    (tmp_path / "data").write_bytes(DATA.tobytes())
    model = onnx.load(external(tmp_path, "data"), load_external_data=False)
    refused(model, "the tensor 'W' must be in the model itself, which was given without a folder. Got 'data'")


# Graphs.


def test_circles():
    made = parts()
    made.nodes += [
        helper.make_node("Add", ["x", "b"], ["a"], "one"),
        helper.make_node("Relu", ["a"], ["b"], "two"),
    ]
    made.outputs.append("b")
    refused(made.model(), r"the graph must be without circles. Got the node '(one|two)' .* -> ")


def test_a_long_row_of_nodes_is_no_deep_recursion():
    made = parts()
    x = "x"
    for _ in range(2000):
        x = made.add("Relu", x)
    made.outputs.append(x)
    assert len(from_onnx(made.model()).layers) == 2000


def test_the_order_of_nodes_does_not_matter():
    made = parts()
    made.outputs.append(made.add("Relu", made.add("MatMul", "x", made.weights("W", 3, 2))))
    want = repr(from_onnx(made.model()))
    made.nodes.reverse()
    assert repr(from_onnx(made.model())) == want


def broken(change):
    model = good()
    change(model)
    return model


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda m: setattr(m.graph.node[0], "op_type", "Wavelet"),
            r"the node 'node0' \(Wavelet\) must be one that is read",
        ),
        (lambda m: setattr(m.graph.node[0], "op_type", "Loop"), "Got Loop: the exporter wrote the steps"),
        (lambda m: setattr(m.graph.node[0], "domain", "com.microsoft"), "one of the domain 'com.microsoft'"),
        (
            lambda m: m.graph.node[0].input.append("x"),
            "must be as operators of version 17 are. Got .* input size 3 not in range .min=2, max=2",
        ),
        (
            lambda m: m.graph.node[0].output.append("q"),
            "must be as operators of version 17 are. Got .* output size 2 not in range .min=1, max=1",
        ),
        (lambda m: m.graph.node[0].input.__setitem__(0, "q"), "the value 'q', which is read by .*node0.* Got none"),
        (
            lambda m: m.graph.node[0].input.__setitem__(0, ""),
            r"node0.* must be as operators .* are. Got .* input 0 is marked single but has an empty string",
        ),
        (lambda m: m.graph.output[0].__setattr__("name", "q"), "the value 'q', which is read by the outputs"),
        (lambda m: m.graph.node.append(m.graph.node[0]), "must be made once. Got it twice"),
        (lambda m: m.graph.node[0].output.__setitem__(0, "x"), "must be made once. Got it twice"),
        (lambda m: m.opset_import.pop(), "the version of the operators must be from 7 to .* Got none"),
        (lambda m: setattr(m.opset_import[0], "version", 6), "from 7 to .* Got 6"),
        (lambda m: setattr(m.opset_import[0], "version", 10**6), "from 7 to .* Got 1000000"),
        (lambda m: m.functions.add(name="f"), "without functions of its own. Got 1: f"),
        (lambda m: m.graph.sparse_initializer.add(), "without sparse tensors. Got 1"),
        (
            lambda m: m.graph.node[0].attribute.append(helper.make_attribute("k", 1)),
            "node0.* must be as operators .* are. Got .* Unrecognized attribute: k",
        ),
        (lambda m: m.graph.output.pop(), "an output of the graph must be that of a layer. Got none"),
        (lambda m: m.graph.input[0].type.ClearField("tensor_type"), "must be a tensor with a known number of axes"),
        (
            lambda m: m.graph.input[0].type.tensor_type.ClearField("shape"),
            "must be a tensor with a known number of axes",
        ),
        (lambda m: m.graph.output[0].__setattr__("name", "x"), "a network of at least one layer. Got none"),
        (lambda m: m.graph.output[0].__setattr__("name", "W"), "the output 'W' must be one of a layer"),
        (lambda m: m.graph.input[0].type.tensor_type.shape.dim[2].__setattr__("dim_value", 4), r"\(4, output\) floats"),
    ],
)
def test_graphs_that_are_wrong(change, words):
    refused(broken(change), "^the model: .*" + words)


def test_attributes_of_another_type():
    made = parts()
    made.outputs.append(made.add("Softmax", "x", axis=1.5))
    refused(
        made.model(),
        r"the node 'node0' \(Softmax\) must be as operators .*'node0 : axis'. Expected: 'INT', actual: 'FLOAT'",
    )


def test_attributes_and_inputs_that_must_be_given():
    """Also where all values are known, and an operator of many inputs has none."""
    for name, op, inputs in (
        ("axis", "Concat", lambda made: (made.tensor("a", [1]), made.tensor("b", [2]))),
        ("to", "Cast", lambda made: (made.tensor("a", [1]),)),
    ):
        made = parts()
        made.outputs.append(made.add(op, *inputs(made)))
        refused(made.model(), rf"the node 'node0' \({op}\) must be as .* Required attribute '{name}' is missing")
    made = parts()
    made.outputs.append(made.add("Concat", made.tensor("a", [1]), "", axis=0))
    refused(made.model(), r"each input of the node 'node0' \(Concat\) must be given\. Got one without a name")


def test_an_error_of_our_own_is_not_the_model_s(monkeypatch):
    from elman.interop.onnx.reading import operators

    for error in (KeyError("of our own"), AttributeError("of our own"), TypeError("of our own")):

        def fails(*args, error=error):
            raise error

        monkeypatch.setitem(operators.OPERATORS, "MatMul", fails)
        with pytest.raises(type(error), match="of our own"):
            from_onnx(good())


def test_graphs_in_attributes():
    """A switch that nothing decides, one whose branches have too few outputs, and names of branches that are taken."""
    for condition, words in (
        ("c", "Got one that follows from 'c': a switch, .* given={'c': 16000}"),
        ("x", "its inputs"),
    ):
        made = parts()
        made.inputs["c"] = (np.int64, ())
        question = made.add("Equal", condition, made.tensor("k", np.int64(3)))
        made.outputs.append(made.add("If", question, then_branch=good().graph, else_branch=good().graph))
        refused(made.model(), words)
    made = parts()
    empty = helper.make_graph([], "empty", [], [])
    made.outputs.append(made.add("If", made.tensor("c", True), then_branch=empty, else_branch=good().graph))
    refused(made.model(), "the attribute 'then_branch' of .* must be a graph of its outputs. Got one of 0")


def test_constants_that_are_text():
    made = parts()
    made.outputs.append(made.add("Add", "x", made.add("Constant", value_string="text")))
    refused(made.model(), r"\(Constant\) must be of numbers, by one attribute. Got value_string")


def test_text_that_is_none():
    made = Parts(np.random.default_rng(0))
    made.inputs["x"] = (np.float32, ("time", "batch", 3))
    y = made.add("RNN", "x", made.weights("W", 1, 2, 3), made.weights("R", 1, 2, 2), activations=[b"\xff\xfe"])
    made.outputs.append(y)
    refused(made.model(), "the attribute 'activations' .* must be text")


# What is no row of layers.


def branching(make):
    made = parts()
    h = made.add("MatMul", "x", made.weights("W", 3, 3))
    made.outputs += [make(made, h)] if not isinstance(make(made, h), list) else make(made, h)
    return made.model()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda m, h: m.add("Div", h, "x"), "its divisor or exponent must be known: no layer divides"),
        (lambda m, h: m.add("Add", h, m.add("MatMul", h, m.weights("V", 3, 2))), "of as many features. Got 3 and 2"),
        (lambda m, h: m.add("Concat", h, "x", axis=1), "of one layer at each step. Got the input 'x' and the node"),
        (
            lambda m, h: m.add("MatMul", h, m.add("Transpose", h, perm=[0, 2, 1])),
            "must be those of a softmax over the steps of a memory",
        ),
        (lambda m, h: m.add("ReduceSum", h, m.integers(2)), "its axis must be that of time, or of directions"),
        (lambda m, h: m.add("ReduceMean", h), r"its axes must be one: of time or of directions. Got \[0, 1, 2\]"),
        (
            lambda m, h: m.add("Slice", h, m.integers(1), m.integers(4), m.integers(1)),
            "all of an axis, its first or last",
        ),
        (lambda m, h: m.add("Reshape", h, m.integers(-1, 2)), "must be whole sequences of a batch, or a step of each"),
        (
            lambda m, h: m.add("Add", h, m.weights("v", 4, 1, 3)),
            "an axis of its numbers must be of length 1 beside 'batch', which the model leaves open. Got 4",
        ),
        (lambda m, h: m.add("Softmax", h, axis=1), "that of the features, the last. Got 1"),
        (
            lambda m, h: m.add("Div", m.tensor("one", np.float32(1)), h),
            "its divisor or exponent must be known: no layer divides",
        ),
        (lambda m, h: m.add("Cast", h, to=INT64), "must be a type of floats. Got int64"),
        (lambda m, h: m.add("Transpose", h, perm=[0, 0, 1]), "must be possible. Got an error: .*perm .* repeated"),
        (lambda m, h: m.add("Squeeze", h, m.integers(2)), "must be possible. Got an error: .*must be 1 instead of 3"),
        (lambda m, h: m.add("LeakyRelu", h, alpha=-1.0), "alpha must be a number over 0. Got -1.0"),
        (
            lambda m, h: m.add("Gather", m.weights("table", 5, 2), h),
            "its indices must be an input of the graph, of integers",
        ),
        (
            lambda m, h: m.add("Expand", h, m.integers(2, 4, 5, 3)),
            r"must be possible. Got an error: .* of .* and \[2, 4, 5, 3\]",
        ),
        (
            lambda m, h: m.add("Gather", h, m.integers(0, 1), axis=1),
            "its first or last step of time, .* Got 2 steps of the time",
        ),
    ],
)
def test_what_is_no_row_of_layers(make, words):
    refused(branching(make), r"^the model: the node 'node\d+' \(\w+\): .*" + words)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda m, h: m.add("Sqrt", m.add("ReduceMean", h, axes=[2])), "a step of a layer normalization"),
        (lambda m, h: m.add("Relu", m.weights("v", 2, 2)), "a value that no layer makes"),
    ],
)
def test_outputs_that_are_no_layer_s(make, words):
    refused(branching(make), rf"^the model: the output '\w+' must be one of a layer. Got {words}")


def test_cell_states_alone():
    made = Parts(np.random.default_rng(0))
    made.inputs["x"] = (np.float32, ("time", "batch", 3))
    weights = made.weights("W", 1, 8, 3), made.weights("R", 1, 8, 2)
    _, _, c = made.add("LSTM", "x", *weights, count=3, hidden_size=2)
    made.outputs.append(c)
    refused(made.model(), "that of a layer. Got cell states alone")


def test_weights_of_two_dtypes():
    made = parts()
    h = made.add("MatMul", "x", made.weights("W", 3, 3))
    made.outputs.append(made.add("MatMul", h, made.tensor("V", np.ones((3, 2)))))
    refused(made.model(), "all float32, or all float64. Got float32 and float64")


def test_nan_weights_are_weights():
    model = good()
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full((3, 2), np.nan, np.float32), "W"))
    assert np.isnan(from_onnx(model).layers[0].W).all()


def test_dead_nodes_may_be_anything():
    model = good()
    model.graph.node.add(op_type="Wavelet", input=["x"], output=["q"], domain="of.mine")
    assert repr(from_onnx(model)) == repr(from_onnx(good()))


def test_states_of_a_direction_that_the_network_does_not_have():
    """The last state of one of two directions is that of one layer in one direction, which has no other."""
    made = Parts(np.random.default_rng(0))
    made.inputs["x"] = (np.float32, ("time", "batch", 3))
    weights = made.weights("W", 2, 6, 3), made.weights("R", 2, 6, 2)
    _, h = made.add("GRU", "x", *weights, count=2, hidden_size=2, direction="bidirectional")
    made.outputs += [made.add("Relu", made.add("Gather", h, made.tensor("one", np.int64(1)), axis=0))]
    assert len(from_onnx(made.model()).layers) == 4
    made.outputs.append(h)
    refused(made.model(), r"the output 'GRU0_1' must be a state of a layer of the network, of all its directions")


def test_many_nodes_take_time_by_their_number_alone():
    made = parts()
    x, one = "x", made.tensor("number", np.float32(1.5))
    for i in range(10_000):
        x = made.add("Add" if i % 2 else "Mul", x, one)
    made.outputs.append(x)
    assert len(from_onnx(made.model()).layers) == 5000


@pytest.mark.parametrize("kind", ["BOOL", "STRING", "COMPLEX64", "COMPLEX128", "UNDEFINED"])
@pytest.mark.parametrize("op", ["Relu", "Identity", "Tanh"])
def test_inputs_of_types_that_no_layer_takes(kind, op):
    number = getattr(TensorProto, kind)
    ports = [helper.make_tensor_value_info("x", number, ["batch", "time", 2])]
    ends = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    nodes = [helper.make_node(op, ["x"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    graph = helper.make_graph(nodes, "graph", ports, ends)
    with pytest.raises(FormatError, match=rf"the input 'x' must be of floats or integers. Got type {number} of ONNX"):
        from_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
