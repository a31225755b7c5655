"""The table of formats: what docs/formats.md says that each holds is what its writer takes, and its reader too."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer")

import elman
from elman.interop import formats
from elman.interop.pytorch.state import state_dict, write_state_dict
from test_conversion import FILES, drawn

PAGE = (Path(__file__).parent.parent / "docs" / "formats.md").read_text()
PADDINGS = ("valid", "same")
SIGMOID = elman.Activation("hard_sigmoid", alpha=1 / 6)


def lstm(**options):
    return elman.LSTM(3, 4, **options)


def behind(*layers, **options):
    return elman.Network([lstm(**options), *layers])


def attending(attention):
    return elman.Network({"rnn": elman.GRU(3, 4), "at": (attention, "rnn", "rnn"), "out": elman.Dense(4, 2)})


def rows():
    """A row of the page -> the networks that it speaks of."""
    return {
        "`LSTM`, `GRU`": [lstm(), elman.GRU(3, 4)],
        "`GRU(reset_after=False)`": [elman.GRU(3, 4, reset_after=False)],
        "`RNN` with tanh or relu": [elman.RNN(3, 4), elman.RNN(3, 4, "relu")],
        "`RNN` with another activation": [elman.RNN(3, 4, "softsign")],
        "both directions": [lstm(bidirectional=True), elman.GRU(3, 4, bidirectional=True)],
        "peepholes, coupled gates, clip": [lstm(peepholes=True), lstm(coupled=True), lstm(clip=1.0)],
        "cell_clip": [lstm(cell_clip=1.0)],
        "projection": [lstm(projection=2)],
        "one activation for the gates, one for g and c": [
            lstm(activations={"g": "relu", "c": "relu"}),
            lstm(activations=dict.fromkeys("ifo", SIGMOID)),
        ],
        "any activation for each gate": [lstm(activations={"i": SIGMOID})],
        "layer_norm, zoneout": [lstm(layer_norm=True), lstm(zoneout=0.1)],
        "learned_state": [lstm(learned_state=True), elman.GRU(3, 4, learned_state=True)],
        "`Dense` with tanh, relu, sigmoid, elu; softmax": [
            *(behind(elman.Dense(4, 2, name)) for name in ("tanh", "relu", "sigmoid", "elu")),
            behind(elman.Dense(4, 2), elman.Activate("softmax")),
        ],
        "`Dense` with softplus, `LayerNorm`, `Embedding`": [
            behind(elman.Dense(4, 2, "softplus")),
            behind(elman.LayerNorm(4)),
            elman.Network([elman.Embedding(5, 3), lstm()]),
        ],
        "`LastStep`": [behind(elman.LastStep())],
        "`MeanOverTime`, `MaxOverTime`": [behind(elman.MeanOverTime()), behind(elman.MaxOverTime())],
        "`LastStep(bidirectional=True)`, `Reverse`, `MergeDirections`": [
            behind(elman.LastStep(bidirectional=True), bidirectional=True),
            elman.Network([elman.Reverse(), lstm()]),
            behind(elman.MergeDirections("sum"), bidirectional=True),
        ],
        "`Masking`": [elman.Network([elman.Masking(), lstm()])],
        '`Conv1d(padding="causal")`, `BatchNorm`': [
            elman.Network([elman.Conv1d(3, 4, 3, dilation=2, padding="causal", activation="relu"), elman.GRU(4, 5)]),
            elman.Network([elman.BatchNorm(3), lstm()]),
        ],
        "`Conv1d` with another padding, or a stride": [
            *(
                elman.Network([elman.Conv1d(3, 4, 3, padding=padding), elman.GRU(4, 5)])
                for padding in ("same", "valid")
            ),
            elman.Network([elman.Conv1d(3, 4, 3, stride=2, padding="causal"), elman.GRU(4, 5)]),
        ],
        "padding of `Conv1d` as a pair": [elman.Network([elman.Conv1d(3, 4, 3, padding=(2, 1)), elman.GRU(4, 5)])],
        "pads of pools as a pair, causal pools": [
            behind(elman.MaxPool1d(2, 1, "causal")),
            behind(elman.AveragePool1d(2, 1, "causal")),
        ],
        "`MaxPool1d`, `AveragePool1d`, valid or same": [
            *(behind(pool(3, 2, padding)) for pool in (elman.MaxPool1d, elman.AveragePool1d) for padding in PADDINGS),
        ],
        "`Scale`": [elman.Network([elman.Scale(3, [1, 2, 3], 0.5), lstm()])],
        "`Repeat`": [behind(elman.LastStep(), elman.Repeat(3), elman.GRU(4, 2))],
        "`Bidirectional` of two cells": [
            elman.Network([elman.Bidirectional(elman.GRU(3, 4), elman.LSTM(3, 5))]),
            elman.Network([elman.Bidirectional(elman.LSTM(3, 4), elman.GRU(3, 4), "multiply")]),
            elman.Network([elman.Bidirectional(elman.GRU(3, 4), elman.GRU(3, 4), "sum"), elman.GRU(4, 4)]),
            elman.Network({"both": elman.Bidirectional(elman.LSTM(3, 4), elman.LSTM(3, 4)), "end": elman.Dense(8, 2)}),
        ],
        "graphs with `Add`, `Concatenate`, `Multiply`": [
            elman.Network({"rnn": elman.GRU(3, 4), "side": (elman.Dense(3, 4), "x"), "both": (join, "rnn", "side")})
            for join in (elman.Add(), elman.Concatenate(), elman.Multiply())
        ],
        "several inputs, several outputs": [
            elman.Network({"a": (lstm(), "x"), "b": (elman.Dense(3, 4), "z"), "c": (elman.Add(), "a", "b")}),
            elman.Network({"a": lstm(), "b": elman.Dense(4, 2)}, outputs=("a", "b")),
        ],
        "a node that starts from the state of another": [
            elman.Network({"a": elman.GRU(3, 4), "b": elman.Node(elman.GRU(4, 4), "a", state="a")}),
        ],
        "last states as values": [
            elman.Network({"a": lstm(), "b": (elman.Dense(4, 2), "a.c")}),
            elman.Network({"a": lstm(), "b": (elman.Concatenate(), "a.h", "a.c"), "c": elman.Dense(8, 2)}),
        ],
        "a node that starts from values": [
            elman.Network(
                {
                    "a": elman.Bidirectional(elman.LSTM(3, 4), elman.LSTM(3, 4)),
                    **{f"first_{s}": (elman.Concatenate(), f"a.{s}", f"a.{s}_reverse") for s in "hc"},
                    "b": elman.Node(elman.LSTM(3, 8), "x", state=("first_h", "first_c")),
                }
            ),
            elman.Network(
                {"a": lstm(), "d": (elman.Dense(4, 5), "a.h"), "b": elman.Node(elman.GRU(3, 5), "x", state=("d",))}
            ),
        ],
        "`Attention`": [attending(elman.Attention(4, 4)), attending(elman.Attention(4, 4, scaled=False))],
        "`Attention(units=...)`": [
            attending(elman.Attention(4, 4, 5)),
            attending(elman.Attention(4, 4, 5, "additive")),
        ],
        "float64": [lstm(dtype="float64")],
        "`Dropout`": [behind(elman.Dropout(0.5))],
        "recurrent_dropout": [lstm(recurrent_dropout=0.1), elman.GRU(3, 4, recurrent_dropout=0.1)],
    }


def outputs(net, x):
    y, _ = net(x)
    return list(y.values()) if isinstance(y, dict) else [y]


def page_rows():
    table = PAGE[PAGE.index("## What each format holds") :].split("\n\n")[1].splitlines()
    head = [title.strip() for title in table[0].split("|")[2:-1]]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table[2:]]
    names = {form.title: name for name, form in formats.FORMATS.items()}
    return {line[0]: {names[title]: cell for title, cell in zip(head, line[1:], strict=True)} for line in lines}


def test_the_page_speaks_of_every_format_and_of_every_row():
    assert list(page_rows()) == list(rows())
    for row in page_rows().values():
        assert list(row) == [form.name for form in formats.FORMATS.values() if form.write is not None]


@pytest.mark.parametrize("row", rows())
def test_each_format_holds_what_the_page_says(tmp_path, row):
    for name, said in page_rows()[row].items():
        for net in rows()[row]:
            net = drawn(net if isinstance(net, elman.Network) else elman.Network([net]))
            path = tmp_path / FILES[name]
            if said == "no":
                with pytest.raises(ValueError, match="must"):
                    formats.write(net, path, name)
                assert not path.exists()
                continue
            formats.write(net, path, name)
            form = formats.FORMATS[name]
            if said == "written":
                with pytest.raises(elman.FormatError):
                    form.read(path)
            elif form.read is not None:
                again = form.read_back(path, net) if form.read_back else form.read(path)
                x = np.random.default_rng(1).normal(size=(2, 6, 3))
                x = np.array([[1, 4, 0, 2]]) if net.takes_tokens else x
                x = dict.fromkeys(net.inputs, x) if len(net.inputs) > 1 else x
                for one, other in zip(outputs(again, x), outputs(net, x), strict=True):
                    np.testing.assert_array_equal(one, other)
                assert again.dtype == net.dtype


def test_endings_tell_the_format_to_write():
    for path, name in (("a.safetensors", "elman"), ("b.pt", "torch"), ("C.KERAS", "keras"), ("d.e/f.json", "rtneural")):
        assert formats.to_write(path).name == name
    assert formats.to_write("a.safetensors", "torch").name == "torch"


def test_a_state_dict_has_the_names_of_pytorch_s_own():
    net = elman.Network(
        [
            elman.Embedding(5, 3),
            elman.Network([elman.LSTM(3, 4, bidirectional=True), elman.LayerNorm(8)]),
            elman.LSTM(8, 4, projection=2, learned_state=True),
            elman.Dropout(0.5),
            elman.Dense(2, 3, "tanh"),
            elman.Dense(3, 2),
        ]
    )
    names = [f"{name}{end}" for end in ("", "_reverse") for name in
             ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")]  # fmt: skip
    assert sorted(state_dict(net)) == sorted(
        ["0.weight", *(f"1.{name}" for name in names), "2.weight", "2.bias"]
        + [f"3.{name}" for name in (*names[:4], "weight_hr_l0", "h0", "c0")]
        + ["5.0.weight", "5.0.bias", "6.weight", "6.bias"]
    )


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
def test_a_state_dict_is_that_of_the_module(tmp_path):
    import torch

    from elman.interop.pytorch.networks import to_torch

    net = drawn(elman.Network([elman.Embedding(5, 3), lstm(learned_state=True), elman.LayerNorm(4), elman.Dense(4, 2)]))
    theirs = to_torch(net).state_dict()
    assert set(theirs) == set(state_dict(net))
    for name, array in state_dict(net).items():
        np.testing.assert_array_equal(theirs[name].numpy(), array)
    formats.write(net, tmp_path / "net.pt")
    for name, tensor in torch.load(tmp_path / "net.pt", weights_only=True).items():
        assert torch.equal(tensor, theirs[name])


READERS = {
    "inspect": elman.inspect, "find": formats.find, "from_keras": elman.from_keras, "from_onnx": elman.from_onnx,
    "from_rtneural": elman.from_rtneural, "load": elman.load,
}  # fmt: skip
WRITERS = {
    "to_c": elman.to_c, "to_keras": elman.to_keras, "to_onnx": elman.to_onnx, "to_rtneural": elman.to_rtneural,
    "write_state_dict": write_state_dict, "save": lambda net, path: net.save(path), "write": formats.write,
}  # fmt: skip


@pytest.mark.parametrize(
    "wrong", [3, 1.5, None, ["x"] * 9000, {"a": 1}, b"net.pt", "a\0b", "", "x" * 5000, object()], ids=str
)
def test_what_is_no_path_is_refused_by_every_reader_and_writer(tmp_path, monkeypatch, wrong):
    monkeypatch.chdir(tmp_path)
    net = elman.Network([elman.GRU(2, 3, seed=0)])
    for name, read in READERS.items():
        with pytest.raises((TypeError, ValueError, OSError), match=r"must .* Got |Got .* must ") as caught:
            read(wrong)
        assert len(str(caught.value)) < 400, name
    for name, write in WRITERS.items():
        with pytest.raises((TypeError, ValueError, OSError), match=r"must .* Got |Got .* must ") as caught:
            write(net, wrong)
        assert len(str(caught.value)) < 400, name
    assert not os.listdir(tmp_path)
