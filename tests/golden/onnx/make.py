"""Makes the files of this folder: models as exporters write them, and what the exported modules compute.

    python make.py torch                               # PyTorch 2.13.0, onnxscript 0.7.2: both of its exporters
    KERAS_BACKEND=tensorflow python make.py keras      # Keras 3.15.1, TensorFlow 2.21.0, tf2onnx 1.17.0

`expected_*.json` holds the versions, and for each file its arguments and outputs, batch first. What the dynamo
exporter notes beside each node (where it came from in the source) is taken off, to keep the files small.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import onnx

FOLDER = Path(__file__).parent
BATCH, TIME, WIDTH, HIDDEN = 3, 5, 4, 2


def save(name, model, arguments, outputs, found):
    for owner in (
        model,
        model.graph,
        *model.graph.node,
        *model.graph.initializer,
        *model.graph.input,
        *model.graph.output,
    ):
        if hasattr(owner, "metadata_props"):
            del owner.metadata_props[:]
        owner.ClearField("doc_string")
    del model.graph.value_info[:]
    onnx.save(model, FOLDER / name)
    listed = {key: np.asarray(value).round(7).tolist() for key, value in arguments.items()}
    found[name] = {"arguments": listed, "outputs": [np.asarray(output).round(7).tolist() for output in outputs]}


def by_torch():
    import torch
    from torch import nn
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    class Module(nn.Module):
        def __init__(self, kind, layers, bidirectional, batch_first, forward):
            super().__init__()
            wide = HIDDEN * (1 + bidirectional)
            self.rnn = getattr(nn, kind)(WIDTH, HIDDEN, layers, bidirectional=bidirectional, batch_first=batch_first)
            self.table, self.norm, self.dense = nn.Embedding(6, WIDTH), nn.LayerNorm(wide), nn.Linear(wide, 3)
            self.start = nn.Parameter(torch.randn(layers * (1 + bidirectional), 1, HIDDEN))
            self.run = forward

    class Plain(Module):
        def forward(self, x):
            return self.run(self, x)

    class WithStates(Module):
        def forward(self, x, h, c):
            y, (h, c) = self.rnn(x, (h, c))
            return self.dense(y), h, c

    class WithLengths(Module):
        def forward(self, x, lengths):
            packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=True)
            return pad_packed_sequence(self.rnn(packed)[0], batch_first=True)[0]

    def halves(module, x):
        h = module.rnn(x)[1]
        return torch.softmax(module.dense(torch.cat([h[-2], h[-1]], 1)), -1)

    def started(module, x):
        start = module.start.expand(-1, x.shape[0], -1).contiguous()
        return module.rnn(x, (start, torch.zeros_like(start)))[0]

    def both(module, x):
        y = module.rnn(torch.flip(x, [1]))[0]
        return y[:, :, :HIDDEN] + y[:, :, HIDDEN:]

    cases = {  # name: class, dynamo, opset, its arguments
        "script_lstm_last.onnx": (
            Plain,
            False,
            11,
            "LSTM",
            2,
            True,
            True,
            lambda m, x: m.dense(m.norm(m.rnn(x)[0][:, -1])),
        ),
        "script_gru_halves.onnx": (Plain, False, 17, "GRU", 2, True, False, halves),
        "script_rnn_tokens.onnx": (Plain, False, 13, "RNN", 1, False, True, lambda m, x: m.dense(m.rnn(m.table(x))[0])),
        "script_lstm_states.onnx": (WithStates, False, 17, "LSTM", 2, False, True, None),
        "script_lstm_lengths.onnx": (WithLengths, False, 17, "LSTM", 1, True, True, None),
        "dynamo_lstm_norm.onnx": (Plain, True, None, "LSTM", 2, True, True, lambda m, x: m.dense(m.norm(m.rnn(x)[0]))),
        "dynamo_gru_mean.onnx": (
            Plain,
            True,
            None,
            "GRU",
            1,
            False,
            False,
            lambda m, x: torch.relu(m.rnn(x)[0].mean(0)),
        ),
        "dynamo_lstm_started.onnx": (Plain, True, None, "LSTM", 1, True, True, started),
        "dynamo_gru_both.onnx": (Plain, True, None, "GRU", 1, True, True, both),
    }
    found = {}
    for seed, (name, (cls, dynamo, opset, *arguments)) in enumerate(cases.items()):
        torch.manual_seed(seed)
        module = cls(*arguments).eval()
        batch_first = arguments[3]
        x = torch.randint(0, 6, (BATCH, TIME)) if "tokens" in name else torch.randn(BATCH, TIME, WIDTH)
        given = {"x": x if batch_first else x.transpose(0, 1).contiguous()}
        if cls is WithStates:
            given |= {key: torch.randn(2, BATCH, HIDDEN) for key in "hc"}
        if cls is WithLengths:
            given["lengths"] = torch.tensor([5, 4, 2])
        outputs = module(*given.values())
        kept = {**given, "x": x}
        axes = {"x": {1 - batch_first: "batch", int(batch_first): "time"}, "h": {1: "batch"}, "c": {1: "batch"}}
        axes = {key: axes.get(key, {0: "batch"}) for key in given}
        if dynamo:
            dims = {key: torch.export.Dim(key) for key in ("batch", "time")}
            shapes = tuple({axis: dims[dim] for axis, dim in axes[key].items()} for key in given)
            model = torch.onnx.export(module, tuple(given.values()), dynamo=True, dynamic_shapes=shapes, verbose=False)
            model = model.model_proto
        else:
            file = io.BytesIO()
            torch.onnx.export(
                module, tuple(given.values()), file, dynamo=False, input_names=list(given), dynamic_axes=axes,
                opset_version=opset,
            )  # fmt: skip
            model = onnx.load_from_string(file.getvalue())
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        save(
            name, model, {k: v.numpy() for k, v in kept.items()}, [output.detach().numpy() for output in outputs], found
        )
    import onnxscript

    return found, f"torch {torch.__version__}, onnxscript {onnxscript.__version__}"


def by_keras():
    import keras
    import tensorflow
    import tf2onnx

    L = keras.layers
    cases = {  # name: time or None, layers
        "keras_lstm.onnx": (None, [L.LSTM(HIDDEN, return_sequences=True, go_backwards=True), L.Dense(3, "relu")]),
        "keras_last.onnx": (None, [L.Bidirectional(L.LSTM(HIDDEN)), L.Dense(3, "softmax")]),
        "keras_ave.onnx": (
            TIME,
            [L.Bidirectional(L.LSTM(HIDDEN, return_sequences=True), "ave"), L.Flatten(), L.Dense(3)],
        ),
        "keras_tokens.onnx": (None, [L.Embedding(6, WIDTH), L.LSTM(HIDDEN), L.Dropout(0.5), L.Dense(3)]),
        "keras_norm.onnx": (
            None,
            [L.LSTM(HIDDEN, return_sequences=True), L.LayerNormalization(), L.GlobalMaxPooling1D()],
        ),
    }
    found = {}
    for seed, (name, (time, layers)) in enumerate(cases.items()):
        rng = np.random.default_rng(seed)
        tokens = "tokens" in name
        source = keras.Input((time,), dtype="int32") if tokens else keras.Input((time, WIDTH))
        x = rng.integers(0, 6, (BATCH, TIME)).astype("int32") if tokens else rng.normal(size=(BATCH, TIME, WIDTH))
        x = x if tokens else x.astype("float32")
        model = keras.Sequential([source, *layers])
        y = model(x)
        model.set_weights([rng.normal(size=weight.shape, scale=0.6) for weight in model.get_weights()])
        y = np.asarray(model(x))
        model.export(FOLDER / name, format="onnx", verbose=False)
        save(name, onnx.load(FOLDER / name), {"x": x}, [y], found)
    return found, f"keras {keras.__version__}, tensorflow {tensorflow.__version__}, tf2onnx {tf2onnx.__version__}"


if __name__ == "__main__":
    files, versions = {"torch": by_torch, "keras": by_keras}[sys.argv[1]]()
    text = json.dumps({"made_with": versions, "files": files})
    (FOLDER / f"expected_{sys.argv[1]}.json").write_text(text.replace('}, "', '},\n"') + "\n")
