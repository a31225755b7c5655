"""What `inspect` says of files, whole and broken ones; nothing in them is executed."""

from __future__ import annotations

import json
import os
import pickle
import zipfile

import numpy as np
import pytest

pytest.importorskip("typer")

from typer.testing import CliRunner

import elman
from elman.cli.app import app
from elman.engine import compiled
from elman.interop import formats
from elman.interop.inspection import inspect
from test_conversion import FILES, stack

ORDERS = {
    "elman": ("ifgo", "rzn"),
    "torch": ("ifgo", "rzn"),
    "keras": ("ifgo", "zrn"),
    "onnx": ("iofg", "zrn"),
    "rtneural": ("ifgo", "zrn"),
}


@pytest.mark.parametrize("form", ORDERS)
@pytest.mark.parametrize("ending", [True, False])
def test_every_format_is_told_by_its_content(tmp_path, form, ending):
    path = tmp_path / FILES[form]
    formats.write(stack(), path, form)
    if not ending and form != "torch":  # a safetensors file of PyTorch is read by its name
        path = path.rename(tmp_path / "net")
    report = inspect(path)
    assert (report.format, report.path, report.size) == (form, str(path), path.stat().st_size)
    assert report.refused == ""
    assert report.network.parameter_count == stack().parameter_count
    assert [layer.layer for layer in report.layers] == ["LSTM", "GRU", "Dense"]
    assert tuple("".join(layer.gates) for layer in report.layers[:2]) == ORDERS[form]
    assert report.layers[2].shapes == {"W": (5, 2), "b": (2,)}
    assert report.states == ("0.h (4,)", "0.c (4,)", "1.h (5,)")
    assert report.streams == ""
    assert report.not_finite == {}
    code = "compiled kernel" if compiled(elman.LSTM(1, 1).cell) else "plain equations"
    assert [layer.code for layer in report.layers] == [code, code, ""]
    for words in (f"gates {', '.join(ORDERS[form][1])} in the file; run by the {code}", "streams  yes", "all finite"):
        assert words in repr(report)


def test_versions_and_producers(tmp_path):
    for form, words in (("elman", "version 2"), ("keras", "archive of Keras 3"), ("onnx", "IR 8, opset 17")):
        formats.write(stack(), tmp_path / FILES[form], form)
        assert words in inspect(tmp_path / FILES[form]).version


def test_what_cannot_stream_what_is_not_finite_and_what_runs_on_the_equations(tmp_path):
    net = elman.Network([elman.GRU(2, 3, bidirectional=True, seed=0), elman.LSTM(6, 2, layer_norm=True, seed=0)])
    net.layers[0].b[1:3] = [np.inf, np.nan]
    net.save(tmp_path / "net")
    report = inspect(tmp_path / "net")
    assert report.not_finite == {"0.b": "1 NaN, 1 infinite"}
    assert "a stream must have layers that go forward step by step" in report.streams
    assert report.layers[1].code == "plain equations"
    assert report.states == ("0.h (2, 3)", "1.h (2,)", "1.c (2,)")
    assert "weights  0.b has 1 NaN, 1 infinite" in repr(report)


def test_widths_of_states_follow_a_projection(tmp_path):
    elman.Network([elman.LSTM(2, 5, projection=3)]).save(tmp_path / "net")
    assert inspect(tmp_path / "net").states == ("0.h (3,)", "0.c (5,)")


def changed_header(path, change):
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])


def test_two_directions_are_told_with_their_layers_and_states(tmp_path):
    unlike = elman.Bidirectional(elman.LSTM(3, 4), elman.GRU(3, 5))
    alike = elman.Bidirectional(elman.LSTM(9, 4, layer_norm=True), elman.LSTM(9, 4, layer_norm=True), "sum")
    elman.Network([unlike, alike]).save(tmp_path / "net")
    report = elman.inspect(tmp_path / "net")
    assert report.states == ("0.h (4,)", "0.c (4,)", "0.h_reverse (5,)", "1.h (2, 4)", "1.c (2, 4)")
    assert [(layer.gates, layer.code) for layer in report.layers] == [
        ((), elman.engine.runner(unlike.first.cell)),
        (("i", "f", "g", "o"), "plain equations"),
    ]
    assert "first=LSTM(input_size=3, hidden_size=4, bidirectional=False), second=GRU(" in str(report)


def test_a_file_of_another_elman_is_said_to_be_one(tmp_path):
    path = tmp_path / "net.safetensors"
    stack().save(path)
    changed_header(path, lambda header: header["__metadata__"].update(elman='{"version": 3, "network": {}}'))
    report = inspect(path)
    assert (report.format, report.version, report.network) == ("elman", "version 3", None)
    assert "the field 'version' must be from 1 to 2" in report.refused
    assert "0.Wx F32 (3, 16)" in report.contents


def test_tensors_of_another_system_are_listed(tmp_path):
    from safetensors.numpy import save_file

    save_file({"conv.weight": np.zeros((2, 3, 5), np.float32)}, tmp_path / "conv.safetensors")
    report = inspect(tmp_path / "conv.safetensors")
    assert (report.format, report.network) == ("torch", None)
    assert report.refused
    assert "conv.weight float32 (2, 3, 5)" in report.contents
    assert "cannot be loaded: " in repr(report)


def test_layers_of_rtneural_that_elman_has_not_are_listed(tmp_path):
    layer = {"type": "conv2d", "activation": "tanh", "shape": [None, None, 4], "weights": []}
    (tmp_path / "net.json").write_text(json.dumps({"in_shape": [None, None, 1], "layers": [layer, 3]}))
    report = inspect(tmp_path / "net.json")
    assert "a convolution over time and features" in report.refused
    assert report.contents == ("in_shape [None, None, 1]", "conv2d tanh [None, None, 4]", "an int")


def test_operators_of_onnx_that_elman_has_not_are_listed(tmp_path):
    import onnx

    formats.write(stack(), tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    model.graph.node[-1].op_type = "Conv"
    model.producer_name, model.producer_version = "someone", "1.2"
    onnx.save(model, tmp_path / "net.onnx")
    report = inspect(tmp_path / "net.onnx")
    assert report.network is None
    assert "Conv" in report.refused
    assert "1 Conv" in report.contents
    assert "by someone 1.2" in report.version
    assert "input x (batch, time, 3)" in report.contents


def test_layers_of_keras_that_elman_has_not_are_listed(tmp_path):
    formats.write(stack(), tmp_path / "net.keras")
    with zipfile.ZipFile(tmp_path / "net.keras") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    config["config"]["layers"][-1]["class_name"] = "Conv1D"
    with zipfile.ZipFile(tmp_path / "net.keras", "w") as archive:
        for name, content in {**parts, "config.json": json.dumps(config)}.items():
            archive.writestr(name, content)
    report = inspect(tmp_path / "net.keras")
    assert "Conv1D" in report.refused
    assert any(line.strip().startswith("Conv1D") for line in report.contents)
    assert any("LSTM" in line and "units=4" in line for line in report.contents)


class Runs:
    def __reduce__(self):
        return os.mkdir, (f"{os.environ['ELMAN_TEST_FOLDER']}/executed",)


@pytest.mark.filterwarnings("ignore")
def test_a_pickle_that_would_run_code_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("ELMAN_TEST_FOLDER", str(tmp_path))
    content = pickle.dumps(Runs())
    (tmp_path / "net.pt").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "archive.pt", "w") as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/version", "3\n")
    for name in ("net.pt", "archive.pt"):
        report = inspect(tmp_path / name)
        assert (report.format, report.network) == ("torch", None)
        assert report.refused
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive.pt", "net.pt"]
    assert "archive/data.pkl" in " ".join(report.contents)


def test_c_is_told_by_its_name_and_written_only(tmp_path):
    elman.to_c(stack(), tmp_path / "net")
    report = inspect(tmp_path / "net.c")
    assert (report.format, report.network, report.contents) == ("c", None, ())
    assert "Got C, which is written only" in report.refused


@pytest.mark.parametrize("content", [b"", b"hello", b"\x00" * 64, b"PK\x03\x04", b"PK\x05\x06" + b"\x00" * 18])
def test_files_of_no_format(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(
        elman.FormatError, match="file: it must be a file of elman, PyTorch, Keras, ONNX, RTNeural, AIDA-X"
    ):
        inspect(tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        inspect(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        inspect(tmp_path)


@pytest.mark.parametrize("form", ORDERS)
def test_files_cut_short_are_told_by_their_names(tmp_path, form):
    path = tmp_path / FILES[form]
    formats.write(stack(), path, form)
    whole = path.read_bytes()
    for share in (0.01, 0.3, 0.6, 0.99):
        path.write_bytes(whole[: int(len(whole) * share)])
        report = inspect(path)
        assert report.network is None
        assert str(path) in report.refused


def test_the_command_prints_the_report(tmp_path):
    stack().save(tmp_path / "net.safetensors")
    result = CliRunner().invoke(app, ["inspect", str(tmp_path / "net.safetensors")])
    assert result.exit_code == 0
    assert result.output.strip() == repr(inspect(tmp_path / "net.safetensors"))


def test_a_graph_says_what_each_layer_reads(tmp_path):
    inner = elman.Network(
        {"a": elman.GRU(3, 4, seed=0), "b": (elman.Dense(3, 4, seed=1), "x"), "c": (elman.Add(), "a", "b")}
    )
    net = elman.Network({"first": (inner, "series"), "both": (elman.Concatenate(), "first", "store")})
    net.save(tmp_path / "net.safetensors")
    lines = str(elman.inspect(tmp_path / "net.safetensors")).splitlines()
    for line in (
        "  first.a <- series            GRU(",
        "  first.b <- series            Dense(",
        "  first.c <- first.a, first.b  Add()",
        "  both <- first.c, store       Concatenate()",
    ):
        assert any(one.startswith(line) for one in lines), (line, lines)
