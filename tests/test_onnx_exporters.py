"""Models as the exporters of PyTorch and of Keras really write them: files of theirs, and PyTorch's beside it."""

from __future__ import annotations

import io
import json
import logging
import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx

from elman.checks import FormatError
from elman.interop.onnx.reading.reader import from_onnx, read_onnx

GOLDEN = Path(__file__).parent / "golden" / "onnx"
FILES = {
    name: fact
    for exporter in ("torch", "keras")
    for name, fact in json.loads((GOLDEN / f"expected_{exporter}.json").read_text())["files"].items()
}

LAYERS = {
    "script_lstm_last.onnx": "LSTM LSTM LastStep LayerNorm Dense",  # the normalization written out, as opset 11 has it
    "script_gru_halves.onnx": "GRU GRU LastStep Dense Activate",
    "script_rnn_tokens.onnx": "Embedding RNN Dense",
    "script_lstm_states.onnx": "LSTM LSTM Dense",
    "script_lstm_lengths.onnx": "LSTM",
    "dynamo_lstm_norm.onnx": "LSTM LSTM LayerNorm Dense",
    "dynamo_gru_mean.onnx": "GRU MeanOverTime Activate",
    "dynamo_lstm_started.onnx": "LSTM",
    "dynamo_gru_both.onnx": "Reverse GRU MergeDirections",
    "keras_lstm.onnx": "Reverse LSTM Dense",
    "keras_last.onnx": "LSTM LastStep Dense Activate",
    "keras_ave.onnx": "LSTM MergeDirections LastSteps Dense",
    "keras_tokens.onnx": "Embedding LSTM LastStep Dense",
    "keras_norm.onnx": "LSTM LayerNorm MaxOverTime",
}


def compare(reading, arguments, outputs, tolerance=1e-5):
    for _ in range(2):
        found = reading.results(*reading.network(**arguments))
        for (name, array), want in zip(found.items(), outputs, strict=True):
            np.testing.assert_allclose(array, want, rtol=tolerance, atol=tolerance, err_msg=name)
            assert array.shape == np.shape(want)


@pytest.mark.parametrize("name", FILES)
def test_files_of_exporters(name):
    given = {key: np.array(value) for key, value in FILES[name]["arguments"].items()}
    reading = read_onnx(GOLDEN / name)
    arguments = {key: given[key] for key in ("x", "lengths") if key in given}
    if "h" in given:
        arguments["state"] = list(zip(given["h"], given["c"], strict=True))
    assert " ".join(type(layer).__name__ for layer in reading.network.layers) == LAYERS[name]
    compare(reading, arguments, FILES[name]["outputs"])
    assert reading.lengths == ("lengths" if "lengths" in given else "")


def test_what_the_files_tell_of_layers():
    started = from_onnx(GOLDEN / "dynamo_lstm_started.onnx").layers[0]
    assert started.h0.all()
    assert not started.c0.any()
    assert from_onnx(GOLDEN / "script_lstm_last.onnx").layers[3].epsilon == pytest.approx(1e-5)
    assert from_onnx(GOLDEN / "keras_norm.onnx").layers[1].epsilon == pytest.approx(1e-3)
    assert from_onnx(GOLDEN / "keras_last.onnx").layers[1].bidirectional
    assert from_onnx(GOLDEN / "dynamo_gru_both.onnx").layers[2].mode == "sum"
    assert from_onnx(GOLDEN / "keras_ave.onnx").layers[1].mode == "ave"
    assert from_onnx(GOLDEN / "script_rnn_tokens.onnx").layers[1].config["activation"] == "tanh"
    assert from_onnx(GOLDEN / "dynamo_gru_mean.onnx").layers[0].cell.options["reset_after"]


# PyTorch itself.


def module_of(torch, kind, layers, bidirectional, batch_first, head):
    nn = torch.nn

    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            wide, dropout = 4 * (1 + bidirectional), 0.1 if layers > 1 else 0.0
            self.table = nn.Embedding(11, 3)
            self.rnn = getattr(nn, kind)(
                3, 4, layers, bidirectional=bidirectional, batch_first=batch_first, dropout=dropout
            )
            self.norm, self.dense = nn.LayerNorm(wide), nn.Linear(wide, 1 + batch_first)

        def forward(self, x):
            if head == "tokens":
                x = self.table(x)
            y, state = self.rnn(x)
            h = state[0] if kind == "LSTM" else state
            time = 1 if batch_first else 0
            if head == "last":
                y = y[:, -1] if batch_first else y[-1]
            if head == "h":
                y = torch.cat([h[-2], h[-1]], 1) if bidirectional else h[-1]
            if head == "mean":
                y = torch.relu(self.norm(y.mean(time)))
            if head == "max":
                y = y.max(time).values
            return self.dense(y) if batch_first else self.dense(y).squeeze(-1)

    return Module().eval()


def exported(torch, module, x, *, batch_first, dynamo, dynamic):
    """The model of one of the exporters; the axes of batch and time may be any where `dynamic`."""
    axes = {1 - batch_first: "batch", int(batch_first): "time"}
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if dynamo:
                dims = {axis: torch.export.Dim(name) for axis, name in axes.items()}
                shapes = (dims,) if dynamic else None
                program = torch.onnx.export(module, (x,), dynamo=True, dynamic_shapes=shapes, verbose=False)
                return program.model_proto
            file = io.BytesIO()
            torch.onnx.export(
                module, (x,), file, dynamo=False, input_names=["x"], dynamic_axes={"x": axes} if dynamic else None
            )
            return onnx.load_from_string(file.getvalue())
    finally:
        logging.disable(logging.NOTSET)


HEADS = ["steps", "last", "h", "mean", "max", "tokens"]
CASES = [  # kind, layers, bidirectional, batch_first, head, dynamo
    *((kind, 1 + i % 2, bool(i // 2 % 2), bool((i + j) % 2), head, False)
      for i, kind in enumerate(["LSTM", "GRU", "RNN", "LSTM", "GRU"]) for j, head in enumerate(HEADS)),
    *((kind, 1 + i // 2, i % 2 == 1, i % 2 == 0, HEADS[(i + j) % 6], True)
      for i in range(4) for j, kind in enumerate(["LSTM", "GRU"])),
]  # fmt: skip


@pytest.mark.peer
@pytest.mark.parametrize(("kind", "layers", "bidirectional", "batch_first", "head", "dynamo"), CASES)
def test_exporters_of_pytorch(kind, layers, bidirectional, batch_first, head, dynamo):
    torch = pytest.importorskip("torch")
    if dynamo:
        pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    module = module_of(torch, kind, layers, bidirectional, batch_first, head)
    x = torch.randint(0, 11, (3, 5)) if head == "tokens" else torch.randn(3, 5, 3)
    given = x if batch_first else x.transpose(0, 1).contiguous()
    dynamic = head in ("steps", "h", "max")
    model = exported(torch, module, given, batch_first=batch_first, dynamo=dynamo, dynamic=dynamic)
    reading = read_onnx(model)
    (fed,) = reading.feed(x.numpy()).values()
    np.testing.assert_array_equal(fed, given.numpy())
    compare(reading, {"x": x.numpy()}, [module(given).detach().numpy()])


@pytest.mark.peer
def test_steps_that_an_exporter_writes_out_are_refused():
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    module = module_of(torch, "RNN", 1, False, True, "steps")
    model = exported(torch, module, torch.randn(3, 5, 3), batch_first=True, dynamo=True, dynamic=False)
    assert "RNN" not in {node.op_type for node in model.graph.node}
    with pytest.raises(FormatError, match="one number, or one for each feature"):
        from_onnx(model)


def scores(nn, width):
    return nn.Sequential(nn.Linear(width, 3), nn.Tanh(), nn.Linear(3, 1, bias=False))


def pooled(torch, how, score, y):
    p = torch.softmax(score(y), 1)
    if how == "sum":
        return (p * y).sum(1)
    return torch.bmm(p.transpose(1, 2), y).squeeze(1) if how == "rows" else torch.bmm(y.transpose(1, 2), p).squeeze(2)


@pytest.mark.peer
@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("is_plain", [False, True])
@pytest.mark.parametrize("how", ["sum", "rows", "columns"])
def test_means_with_weights_of_a_softmax_over_time(how, is_plain, dynamo):
    torch = pytest.importorskip("torch")
    torch.manual_seed(1)

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = torch.nn.GRU(3, 4, batch_first=True, bidirectional=True)
            self.score = torch.nn.Linear(8, 1) if is_plain else scores(torch.nn, 8)
            self.head = torch.nn.Linear(8, 2)

        def forward(self, x):
            return self.head(pooled(torch, how, self.score, self.rnn(x)[0]))

    module, x = Module(), torch.randn(3, 5, 3)
    reading = read_onnx(exported(torch, module, x, batch_first=True, dynamo=dynamo, dynamic=False))
    assert ("Concatenate" in [type(layer).__name__ for layer in reading.network.layers]) != is_plain
    compare(reading, {"x": x.numpy()}, [module(x).detach().numpy()])


@pytest.mark.peer
def test_weights_of_steps_elsewhere_are_refused():
    torch = pytest.importorskip("torch")

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.score = torch.nn.GRU(3, 4, batch_first=True), torch.nn.Linear(4, 1)

        def forward(self, x):
            return torch.softmax(self.score(self.rnn(x)[0]), 1)

    model = exported(torch, Module(), torch.randn(3, 5, 3), batch_first=True, dynamo=False, dynamic=False)
    with pytest.raises(
        FormatError, match=r"the softmax over time of the node '/Softmax' \(Softmax\) must be the weights"
    ):
        from_onnx(model)


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")  # of the exporter
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (1, True), (2, False), (2, True)])
def test_a_decoder_starts_from_the_last_state_of_an_encoder(kind, layers, bidirectional):
    torch = pytest.importorskip("torch")
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(2)

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            options = {"batch_first": True, "num_layers": layers, "bidirectional": bidirectional}
            self.encoder, self.decoder = (
                getattr(torch.nn, kind)(3, 4, **options),
                getattr(torch.nn, kind)(2, 4, **options),
            )

        def forward(self, x, z):
            return self.decoder(z, self.encoder(x)[1])[0]

    file = io.BytesIO()
    x, z = torch.randn(3, 6, 3), torch.randn(3, 5, 2)
    torch.onnx.export(Module().eval(), (x, z), file, dynamo=False, input_names=["x", "z"])
    given = {"x": x.numpy(), "z": z.numpy()}
    (want,) = onnxruntime.InferenceSession(file.getvalue()).run(None, given)
    compare(read_onnx(file.getvalue()), {"x": given}, [want])


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")  # of the exporter
@pytest.mark.parametrize("order", ["batch first", "stacked"])
def test_one_input_with_the_states_of_two(order):
    torch = pytest.importorskip("torch")
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(3)

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = torch.nn.GRU(3, 4, 2) if order == "batch first" else torch.nn.LSTM(3, 4)

        def forward(self, x, state):
            if order == "batch first":
                return self.rnn(x, state.transpose(0, 1))[0]
            return self.rnn(x, (state[0], state[1]))[0]

    file = io.BytesIO()
    x, state = torch.randn(6, 3, 3), torch.randn(*((3, 2, 4) if order == "batch first" else (2, 1, 3, 4)))
    torch.onnx.export(Module().eval(), (x, state), file, dynamo=False, input_names=["x", "state"])
    reading, h = read_onnx(file.getvalue()), state.numpy()
    entries = [h[:, 0], h[:, 1]] if order == "batch first" else [(h[0, 0], h[1, 0])]
    arguments = {"x": x.numpy().transpose(1, 0, 2), "state": entries}
    fed = reading.feed(**arguments)
    np.testing.assert_array_equal(fed["state"], h)
    compare(reading, arguments, onnxruntime.InferenceSession(file.getvalue()).run(None, fed))


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")  # of the exporter
@pytest.mark.parametrize("gives_state", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_step_at_each_length_of_a_layer_that_reads_all_steps(bidirectional, gives_state):
    torch = pytest.importorskip("torch")
    torch.manual_seed(4)

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = torch.nn.GRU(3, 4, batch_first=True, bidirectional=bidirectional)

        def forward(self, x, lengths):
            y, h = self.rnn(x)
            index = (lengths - 1).view(-1, 1, 1).expand(-1, 1, y.size(2))
            last = y.gather(1, index).squeeze(1)
            return (last, h) if gives_state else last

    file, module = io.BytesIO(), Module().eval()
    x, lengths = torch.randn(3, 6, 3), torch.tensor([6, 1, 4])
    axes = {"x": {0: "batch", 1: "time"}, "lengths": {0: "batch"}}
    torch.onnx.export(module, (x, lengths), file, dynamo=False, input_names=list(axes), dynamic_axes=axes)
    if bidirectional or gives_state:  # what the padding changes
        with pytest.raises(FormatError, match="the same for all layers that read to their end"):
            from_onnx(file.getvalue())
    else:
        arguments = {"x": x.numpy(), "lengths": lengths.numpy()}
        compare(read_onnx(file.getvalue()), arguments, [module(x, lengths).detach().numpy()])
