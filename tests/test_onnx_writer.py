"""What `to_onnx` writes computes in ONNX Runtime what the network computes here, for any batch, time and lengths."""

from __future__ import annotations

import sys
from itertools import count

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator

import elman
from elman import GRU, LSTM, RNN, Activation, Dense, Dropout, Embedding, LastStep, LayerNorm, Network, Recurrent
from elman.cells.functions import CURVES
from elman.checks import FormatError, MissingExtraError, ShapeError
from elman.interop.onnx.writing import writer as onnx_writer
from elman.interop.onnx.writing.writer import to_onnx
from elman.layers import LAYERS, Activate, MaxOverTime, MeanOverTime, Reverse
from onnx_networks import COUNT, fill, flip, random_input, random_network, recurrent_layers


def written(folder, net, **options):
    """The session of a network written as a model; the model is checked on its way."""
    path = folder / "net.onnx"
    to_onnx(net, path, **options)
    content = path.read_bytes()
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    return onnxruntime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])


def run(session, x, **feeds):
    """The outputs by name."""
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(None, {"x": x, **feeds}), strict=True))


def nested(net, entries):
    """States in the order of the recurrent layers, as the network takes them."""
    if isinstance(net, Network):
        return [nested(layer, entries) for layer in net.layers if layer.stateful]
    return next(entries)


def flat(net, state):
    """What `nested` made, in a row again."""
    if not isinstance(net, Network):
        return [state]
    inner = [layer for layer in net.layers if layer.stateful]
    return [entry for layer, own in zip(inner, state, strict=True) for entry in flat(layer, own)]


def as_arrays(layers, states):
    """States as the model names and shapes them, without its prefix."""
    found = {}
    for i, layer, state in zip(count(), layers, states, strict=False):
        for name, array in zip(layer.cell.states, state if isinstance(state, tuple) else (state,), strict=True):
            found[f"{i}_{name}"] = array if layer.bidirectional else array[None]
    return found


def random_states(net, batch, rng):
    """Non-zero states, as the network takes them and as the model does."""
    layers = recurrent_layers(net)
    states = []
    for layer in layers:
        shape = (2, batch, layer.hidden_size)[not layer.bidirectional :]
        arrays = tuple(0.5 * rng.standard_normal(shape).astype(layer.dtype) for _ in layer.cell.states)
        states.append(arrays if len(arrays) > 1 else arrays[0])
    feeds = {f"state_{name}": array for name, array in as_arrays(layers, states).items()}
    return nested(net, iter(states)), feeds


def close(got, want):
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


class TestRandomNetworks:
    @pytest.mark.parametrize("seed", range(COUNT))
    def test_computes_the_same(self, seed, tmp_path):
        net, rng = random_network(seed), np.random.default_rng(seed + 1000)
        states, lengths = flip(rng), flip(rng)
        session = written(tmp_path, net, states=states, lengths=lengths)
        for shape in ((2, 5), (3, 8), (1, 1), (3, 8)):
            x, feeds, options = random_input(net, shape, rng), {}, {}
            if lengths:
                options["lengths"] = rng.integers(1, shape[1] + 1, shape[0])
                feeds["lengths"] = options["lengths"].astype(np.int32)
            if states and net.stateful:
                options["state"], given = random_states(net, shape[0], rng)
                feeds |= given
            y, end = net(x, **options)
            if lengths and not net.takes_tokens:
                x[np.arange(shape[1]) >= options["lengths"][:, None]] = [np.nan, 1e30][rng.integers(2)]
            got = run(session, x, **feeds)
            close(got.pop("y"), y)
            if states and net.stateful:
                layers = recurrent_layers(net)
                for name, array in as_arrays(layers, flat(net, end)).items():
                    close(got.pop(f"next_state_{name}"), array)
            assert not got

    def test_every_layer_is_among_them(self):
        def kinds(net):
            if isinstance(net, Network):
                return {kind for layer in net.layers for kind in kinds(layer)}
            return {type(net).__name__}

        found = {kind for seed in range(COUNT) for kind in kinds(random_network(seed))}
        others = {
            "Add",
            "Attention",
            "AveragePool1d",
            "BatchNorm",
            "Bidirectional",
            "Concatenate",
            "Conv1d",
            "MaxPool1d",
            "Multiply",
            "Repeat",
            "Scale",
        }
        assert (
            found == set(LAYERS) - {"Masking", "Network", "Recurrent"} - others
        )  # of graphs, which are drawn elsewhere


class TestStates:
    NET = (LSTM(3, 4, seed=0), GRU(4, 5, seed=1), RNN(5, 2, seed=2), Dense(2, 3, seed=3))

    @pytest.mark.parametrize("chunks", [(3, 1, 4), (1, 1, 6)])
    def test_chunks_are_the_whole(self, chunks, tmp_path):
        net, rng = fill(Network(self.NET), np.random.default_rng(0)), np.random.default_rng(1)
        session = written(tmp_path, net, states=True)
        x = random_input(net, (2, sum(chunks)), rng)
        state, feeds = random_states(net, 2, rng)
        y, end = net(x, state)
        parts = []
        for part in np.split(x, np.cumsum(chunks)[:-1], axis=1):
            got = run(session, part, **feeds)
            parts.append(got.pop("y"))
            feeds = {name.removeprefix("next_"): array for name, array in got.items()}
        close(np.concatenate(parts, axis=1), y)
        for name, array in as_arrays(recurrent_layers(net), end).items():
            close(feeds[f"state_{name}"], array)

    def test_one_step_at_a_time_is_a_stream(self, tmp_path):
        net = Network([LSTM(3, 4, seed=0), LastStep(), Dense(4, 2, seed=1)])
        session, stream = written(tmp_path, net, states=True), net.stream()
        feeds = {"state_0_h": np.zeros((1, 1, 4), np.float32), "state_0_c": np.zeros((1, 1, 4), np.float32)}
        for x in np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32):
            got = run(session, x[None, None], **feeds)
            close(got.pop("y")[0], stream.step(x))
            feeds = {name.removeprefix("next_"): array for name, array in got.items()}

    @pytest.mark.parametrize("bidirectional", [False, True])
    def test_learned_states_may_be_left_out(self, bidirectional, tmp_path):
        rng = np.random.default_rng(0)
        net = fill(Network([LSTM(3, 4, bidirectional=bidirectional, learned_state=True)]), rng)
        session = written(tmp_path, net, states=True)
        x = random_input(net, (3, 5), rng)
        state, feeds = random_states(net, 3, rng)
        close(run(session, x)["y"], net(x)[0])
        close(run(session, x, **feeds)["y"], net(x, state)[0])
        for i in range(3):  # given once, they count for every sequence
            one = {name: array[:, i : i + 1] for name, array in feeds.items()}
            every = tuple(np.broadcast_to(s[..., i : i + 1, :], s.shape) for s in state[0])
            close(run(session, x, **one)["y"], net(x, [every])[0])

    def test_names_and_shapes(self, tmp_path):
        layers = [Embedding(7, 3), Network([LSTM(3, 4), Dropout(0.1)]), GRU(4, 5, bidirectional=True)]
        session = written(tmp_path, Network(layers), states=True, lengths=True)
        assert {value.name: value.shape for value in session.get_inputs()} == {
            "x": ["batch", "time"],
            "lengths": ["batch"],
            "state_0_h": [1, "batch", 4],
            "state_0_c": [1, "batch", 4],
            "state_1_h": [2, "batch", 5],
        }
        assert {value.name: value.shape for value in session.get_outputs()} == {
            "y": ["batch", "time", 10],
            "next_state_0_h": [1, "batch", 4],
            "next_state_0_c": [1, "batch", 4],
            "next_state_1_h": [2, "batch", 5],
        }


class TestLengths:
    @pytest.mark.parametrize("garbage", [-1, 7, 10**9])
    def test_padding_may_hold_what_is_no_token(self, garbage, tmp_path):
        net = Network([Embedding(7, 3, seed=0), GRU(3, 4, seed=1), Dense(4, 2, seed=2)])
        fill(net, np.random.default_rng(0))
        x = np.array([[1, 6, 2, 0], [3, garbage, garbage, garbage], [5, 4, garbage, garbage]])
        lengths = np.array([4, 1, 2], np.int32)
        got = run(written(tmp_path, net, lengths=True), x, lengths=lengths)["y"]
        close(got, net(x, lengths=lengths)[0])
        assert not got[1, 1:].any()

    @pytest.mark.parametrize("layer", [Reverse(), Dense(3, 2, seed=0), Dropout(0.5), Activate("sigmoid")])
    def test_padding_is_0_in_y(self, layer, tmp_path):
        x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype(np.float32)
        lengths = np.array([5, 2], np.int32)
        want = layer(x, lengths=lengths)[0]
        x[1, 2:] = np.nan
        close(run(written(tmp_path, layer, lengths=True), x, lengths=lengths)["y"], want)


class TestGraph:
    def operators(self, tmp_path, layers, **options):
        to_onnx(Network(layers), tmp_path / "net.onnx", **options)
        return onnx.load(tmp_path / "net.onnx").graph.node

    def test_time_is_turned_at_the_ends_alone(self, tmp_path):
        layers = [LSTM(3, 4), LayerNorm(4), Dropout(0.1), Dense(4, 2), GRU(2, 5), RNN(5, 3)]
        assert [node.op_type for node in self.operators(tmp_path, layers)] == [
            "Transpose", "LSTM", "Squeeze", "LayerNormalization", "MatMul", "Add", "GRU", "Squeeze", "RNN", "Squeeze",
            "Transpose",
        ]  # fmt: skip

    @pytest.mark.parametrize("bidirectional", [False, True])
    def test_of_a_layer_whose_last_state_is_read_the_steps_are_left_out(self, bidirectional, tmp_path):
        layers = [LSTM(3, 4, bidirectional=bidirectional), Dropout(0.1), LastStep(bidirectional=bidirectional)]
        nodes = self.operators(tmp_path, layers)
        assert list(nodes[1].output) == ["", "0.LSTM/Y_h"]
        assert "Gather" not in {node.op_type for node in nodes}

    def test_between_two_reverse_stands_the_direction(self, tmp_path):
        nodes = self.operators(tmp_path, [Reverse(), Dropout(0.1), GRU(3, 4), Reverse(), Reverse(), GRU(4, 2)])
        assert [node.op_type for node in nodes] == [
            "Transpose",
            "GRU",
            "Squeeze",
            "Slice",
            "GRU",
            "Squeeze",
            "Transpose",
        ]
        assert [a.s for a in nodes[1].attribute if a.name == "direction"] == [b"reverse"]

    def test_what_is_the_default_is_not_written(self, tmp_path):
        nodes = self.operators(tmp_path, [LSTM(3, 4), GRU(4, 5, reset_after=False), RNN(5, 2)])
        operators = [node for node in nodes if node.op_type in ("LSTM", "GRU", "RNN")]
        assert [[a.name for a in node.attribute] for node in operators] == [["hidden_size"]] * 3
        assert [len(node.input) for node in operators] == [4, 4, 4]

    def test_alpha_and_beta_are_written_even_where_they_are_the_default(self, tmp_path):
        """ONNX Runtime takes 0 for those of Affine, ThresholdedRelu and ScaledTanh, against the text of ONNX."""
        node = self.operators(tmp_path, [RNN(3, 4, activation="scaled_tanh", bidirectional=True)])[1]
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        assert attributes["activations"] == [b"ScaledTanh"] * 2
        assert attributes["activation_alpha"] == attributes["activation_beta"] == [1.0, 1.0]

    def test_the_model_says_what_it_is(self, tmp_path):
        net = Network([LSTM(3, 4, seed=0), Dropout(0.25)])
        to_onnx(net, tmp_path / "net.onnx", states=True)
        model = onnx.load(tmp_path / "net.onnx")
        assert (model.ir_version, [(s.domain, s.version) for s in model.opset_import]) == (8, [("", 17)])
        assert (model.producer_name, model.producer_version) == ("elman", elman.__version__)
        assert model.doc_string == repr(net)
        assert '"type": "Dropout", "rate": 0.25' in model.metadata_props[0].value
        assert all(value.doc_string for value in (*model.graph.input, *model.graph.output))

    @pytest.mark.parametrize("seed", range(0, COUNT, 10))
    def test_the_same_network_gives_the_same_bytes(self, seed, tmp_path):
        for name in "ab":
            to_onnx(random_network(seed), tmp_path / name, states=True, lengths=True)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    def test_the_network_is_left_alone(self, tmp_path):
        net = random_network(3)
        before = {name: array.copy() for name, array in net.parameters.items()}
        to_onnx(net, tmp_path / "net.onnx", states=True)
        assert all((before[name] == array).all() for name, array in net.parameters.items())

    def test_nan_weights_are_written(self, tmp_path):
        net = Network([Dense(2, 3, seed=0)])
        net.layers[0].W[0, 0] = np.nan
        y = run(written(tmp_path, net), np.ones((1, 2, 2), np.float32))["y"]
        assert np.isnan(y[..., 0]).all()
        assert np.isfinite(y[..., 1:]).all()


class TestDouble:
    """ONNX Runtime has the recurrent operators in float32 alone; onnx's own evaluator has their plain forms."""

    @pytest.mark.parametrize(
        "layer",
        [
            LSTM(3, 4, dtype="float64"),
            LSTM(3, 4, peepholes=True, dtype="float64"),
            LSTM(3, 4, learned_state=True, dtype="float64"),
            GRU(3, 4, dtype="float64"),
            GRU(3, 4, reset_after=False, dtype="float64"),
            RNN(3, 4, dtype="float64"),
        ],
        ids=lambda layer: str(layer),
    )
    def test_recurrent_layers(self, layer, tmp_path):
        rng = np.random.default_rng(0)
        net = fill(Network([layer, Dense(4, 2, "tanh", dtype="float64")]), rng)
        to_onnx(net, tmp_path / "net.onnx", states=not layer.learned_state)
        onnx.checker.check_model(tmp_path / "net.onnx", full_check=True)
        x = random_input(net, (2, 5), rng)
        state, feeds = (None, {}) if layer.learned_state else random_states(net, 2, rng)
        y = ReferenceEvaluator(str(tmp_path / "net.onnx")).run(None, {"x": x, **feeds})[0]
        assert y.dtype == np.float64
        np.testing.assert_allclose(y, net(x, state)[0], rtol=1e-10, atol=1e-10)

    @pytest.mark.parametrize("pool", [LastStep, MeanOverTime, MaxOverTime])
    def test_other_layers_run(self, pool, tmp_path):
        rng = np.random.default_rng(1)
        acts = [
            "relu",
            "tanh",
            "sigmoid",
            Activation("scaled_tanh", alpha=0.7, beta=0.9),
            Activation("affine", beta=0.1),
        ]
        layers = [Dense(3, 3, act, dtype="float64") for act in acts]
        layers += [LayerNorm(3, dtype="float64"), Reverse(), pool()]
        net = fill(Network([*layers, Activate("log_softmax")]), rng)
        x = random_input(net, (2, 5), rng)
        lengths = np.array([5, 3], np.int32)
        y = run(written(tmp_path, net, lengths=True), x, lengths=lengths)["y"]
        np.testing.assert_allclose(y, net(x, lengths=lengths)[0], rtol=1e-10, atol=1e-10)

    def test_numbers_that_an_attribute_cannot_hold(self, tmp_path):
        for alpha in (0.1, 0.5, 0.33333334):  # the shortest decimals of their float32
            to_onnx(Dense(2, 3, Activation("elu", alpha=alpha), dtype="float64"), tmp_path / "net.onnx")
        with pytest.raises(FormatError, match=r"alpha of elu must be a number that float32 can hold.* Got 0.33333"):
            to_onnx(Dense(2, 3, Activation("elu", alpha=1 / 3), dtype="float64"), tmp_path / "net.onnx")
        with pytest.raises(FormatError, match=r"alpha of elu must be a number that float32 can hold.* Got 1e\+39"):
            to_onnx(Dense(2, 3, Activation("elu", alpha=1e39)), tmp_path / "net.onnx")


def own_cell():
    def step(x, state, weights):
        raise AssertionError("a writer reads the data of a cell only")

    return elman.Cell("mine", {"Wx": ("input", "hidden"), "Wh": ("hidden", "hidden")}, ("h",), step, step)


REFUSED = {
    "projection": (lambda: LSTM(3, 4, projection=2), FormatError, r"projection must be left out for ONNX.* Got 2"),
    "cell clip": (lambda: LSTM(3, 4, cell_clip=2.0), FormatError, r"cell_clip must be left out for ONNX.* Got 2.0"),
    "layer norm": (lambda: LSTM(3, 4, layer_norm=True), FormatError, r"for ONNX.* Got"),
    "zoneout": (lambda: GRU(3, 4, zoneout=0.1), FormatError, r"zoneout must be 0 for ONNX"),
    "own cell": (lambda: Recurrent(own_cell(), 3, 4), FormatError, r"the cell must be a built-in one for ONNX"),
    "gates that differ": (
        lambda: LSTM(3, 4, activations={"o": "tanh"}),
        FormatError,
        r"the activations of i, f, o must be the same for ONNX.* Got sigmoid, sigmoid, tanh",
    ),
    "coupled gates that differ": (
        lambda: LSTM(3, 4, coupled=True, activations={"i": "hard_sigmoid"}),
        FormatError,
        r"the activations of i, o must be the same for ONNX.* Got hard_sigmoid, sigmoid",
    ),
    "gates of a GRU that differ": (
        lambda: GRU(3, 4, activations={"z": "relu"}),
        FormatError,
        r"the activations of r, z must be the same for ONNX.* Got sigmoid, relu",
    ),
    "masking": (lambda: elman.Masking(), FormatError, r"layer 0.Masking must be one that ONNX has operators for"),
    "behind a pool": (
        lambda: Network([LastStep(), GRU(3, 4)]),
        ShapeError,
        r"layer 1.GRU must be given sequences. Got vectors",
    ),
    "two pools": (lambda: Network([LastStep(), MeanOverTime()]), ShapeError, r"layer 1.MeanOverTime must be given"),
    "no network": (
        lambda: [1, 2],
        TypeError,
        r"net must be a network, a layer or a fitted estimator. Got a list of length 2",
    ),
}


class TestRefused:
    @pytest.mark.parametrize("case", REFUSED)
    def test_with_the_reason_and_nothing_written(self, case, tmp_path):
        make, error, message = REFUSED[case]
        with pytest.raises(error, match=message):
            to_onnx(make(), tmp_path / "net.onnx")
        (tmp_path / "net.onnx").write_text("what was there before")
        with pytest.raises(error):
            to_onnx(make(), tmp_path / "net.onnx", lengths=True)
        assert [file.read_text() for file in tmp_path.iterdir()] == ["what was there before"]

    def test_models_that_no_file_can_hold(self, tmp_path, monkeypatch):
        monkeypatch.setattr(onnx_writer, "MAX_BYTES", 100)
        with pytest.raises(FormatError, match=r"the model must hold under 2 GB of weights.* Got 1,\d\d\d bytes"):
            to_onnx(GRU(3, 10), tmp_path / "net.onnx")
        assert not list(tmp_path.iterdir())

    def test_what_is_no_flag(self, tmp_path):
        with pytest.raises(TypeError, match=r"states must be True or False. Got 'yes'"):
            to_onnx(GRU(3, 4), tmp_path / "net.onnx", states="yes")
        with pytest.raises(TypeError, match=r"lengths must be True or False. Got \[3\]"):
            to_onnx(GRU(3, 4), tmp_path / "net.onnx", lengths=[3])

    def test_a_folder_that_is_not_there(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"path must lie in a folder that exists"):
            to_onnx(GRU(3, 4), tmp_path / "no" / "net.onnx")

    def test_without_the_extra(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "onnx", None)
        with pytest.raises(
            MissingExtraError, match=r'to_onnx must have its extra installed: pip install "elman\[onnx\]"'
        ):
            to_onnx(GRU(3, 4), tmp_path / "net.onnx")


@pytest.mark.parametrize("name", sorted(CURVES))
def test_curves(name, tmp_path):
    rng = np.random.default_rng(0)
    net = fill(Network([Dense(3, 4, "relu" if name == "sqrt" else "identity"), Activate(name)]), rng)
    x = rng.normal(size=(2, 5, 3)).astype(np.float32)
    np.testing.assert_allclose(run(written(tmp_path, net), x)["y"], net(x)[0], rtol=1e-5, atol=1e-6)


def test_flags_of_numpy_are_flags(tmp_path):
    net = elman.Network([elman.GRU(3, 4, seed=0), elman.LastStep()])
    for name, flag in (("plain", True), ("numpy", np.True_)):
        to_onnx(net, tmp_path / f"{name}.onnx", states=flag, lengths=flag)
    assert (tmp_path / "plain.onnx").read_bytes() == (tmp_path / "numpy.onnx").read_bytes()
