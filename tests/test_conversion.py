"""From any format to any other, checked before the file is there; and the command that does it."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("typer")

from typer.testing import CliRunner

import elman
from c_programs import CC
from elman import to_rtneural
from elman.cli.app import app
from elman.interop import formats, peers
from elman.interop.conversion import convert
from elman.interop.formats import FORMATS

FILES = {
    "elman": "net.safetensors",
    "torch": "state.safetensors",
    "keras": "net.keras",
    "onnx": "net.onnx",
    "rtneural": "net.json",
    "c": "net.c",
}
PAIRS = [(a, b) for a in FILES for b in FILES if a not in ("c", b)]


@pytest.fixture
def small(monkeypatch):
    """PyTorch and Keras take seconds to start: here they are as if not installed."""
    there = importlib.util.find_spec
    monkeypatch.setattr(peers, "find_spec", lambda name: None if name in ("torch", "keras") else there(name))


def stack(dtype="float32", seed=0):
    """A network that every format can hold."""
    net = elman.Network([elman.LSTM(3, 4, dtype=dtype), elman.GRU(4, 5, dtype=dtype), elman.Dense(5, 2, dtype=dtype)])
    return drawn(net, seed)


def drawn(net, seed=0):
    rng = np.random.default_rng(seed)
    for array in net.parameters.values():
        array[...] = rng.normal(size=array.shape) / 2
    return net


X = [np.random.default_rng(2).normal(size=(steps, 3)) for steps in (5, 8)]


def same(a, b):
    for one, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_from_any_format_to_any_other(small, tmp_path, source, target):
    net = stack()
    formats.write(net, tmp_path / FILES[source], source)
    done = convert(tmp_path / FILES[source], tmp_path / f"new_{FILES[target]}", target)
    assert (done.source_format, done.target_format) == (source, target)
    assert not any(check.failed for check in done.checks)
    same(done.network(X)[0], net(X)[0])
    if target == "c":
        assert (done.checks[0].difference, done.checks[0].reason) == (None, "C is written only")
        assert (tmp_path / "new_net.h").exists()
        return
    assert done.checks[0].difference == 0
    form = FORMATS[target]
    again = form.read_back(done.target, net) if form.read_back else form.read(done.target)
    same(again(X)[0], net(X)[0])
    assert formats.find(done.target).name == target


@pytest.mark.parametrize("target", FILES)
def test_the_systems_that_are_here_run_what_was_written(small, tmp_path, target):
    stack().save(tmp_path / "net.safetensors")
    done = convert(tmp_path / "net.safetensors", tmp_path / f"new_{FILES[target]}", target)
    reasons = {
        "keras": "Keras is not installed",
        "torch": "PyTorch is not installed",
        "rtneural": "its files have no runtime in Python",
    }
    assert len(done.checks) == 1 + (target != "elman")
    if target in reasons:
        assert done.checks[1].reason == reasons[target]
    if target in ("onnx", "c"):
        assert 0 < done.checks[1].difference < 1e-5


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("target", ["torch", "keras"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pytorch_and_keras_run_what_was_written(tmp_path, target, dtype):
    stack(dtype).save(tmp_path / "net.safetensors")
    ending = ".pt" if target == "torch" else ".keras"
    done = convert(tmp_path / "net.safetensors", tmp_path / f"net{ending}")
    assert done.checks[1].what.startswith(f"the written file by {'PyTorch' if target == 'torch' else 'Keras'} ")
    tolerance = 1e-10 if (dtype, target) == ("float64", "torch") else 1e-5  # Keras multiplies float64 in float32
    assert done.checks[1].difference < tolerance
    back = convert(tmp_path / f"net{ending}", tmp_path / "back.safetensors")
    assert back.checks[1].what.startswith("the source file by")
    assert back.checks[1].difference < tolerance
    same(elman.load(tmp_path / "back.safetensors")(X)[0], stack(dtype)(X)[0])


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
def test_a_stateful_model_of_keras_starts_each_sequence_anew(tmp_path):
    keras = importlib.import_module("keras")
    inner = keras.layers.Bidirectional(keras.layers.GRU(3, return_sequences=True, stateful=True))
    model = keras.Sequential([keras.Input(batch_shape=(2, None, 3)), inner, keras.layers.LSTM(4, stateful=True)])
    model.save(tmp_path / "net.keras")
    done = convert(tmp_path / "net.keras", tmp_path / "net.safetensors")
    assert done.checks[1].what.startswith("the source file by Keras")
    assert done.checks[1].difference < 1e-5


@pytest.mark.parametrize("states", [False, True])
def test_inputs_and_outputs_of_onnx_that_a_network_has_as_arguments(tmp_path, states):
    formats.FORMATS["onnx"].write(stack(), tmp_path / "net.onnx", states=states, lengths=True)
    done = convert(tmp_path / "net.onnx", tmp_path / "net.safetensors")
    assert done.checks[1].what.startswith("the source file by ONNX Runtime")
    assert done.checks[1].difference < 1e-5
    same(done.network(X)[0], stack()(X)[0])


def test_an_onnx_file_of_a_fixed_batch_and_number_of_steps_that_has_time_first(tmp_path):
    import onnx

    rng = np.random.default_rng(0)
    shapes = {"W": (2, 16, 3), "R": (2, 16, 4), "B": (2, 32)}
    weights = [onnx.numpy_helper.from_array(rng.normal(size=s).astype("float32"), n) for n, s in shapes.items()]
    node = onnx.helper.make_node("LSTM", ["x", *shapes], ["y", "h", "c"], hidden_size=4, direction="bidirectional")
    ports = [
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in part.items()]
        for part in ({"x": (5, 2, 3)}, {"y": (5, 2, 2, 4), "h": (2, 2, 4), "c": (2, 2, 4)})
    ]
    graph = onnx.helper.make_graph([node], "g", *ports, weights)
    onnx.save(onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 17)]),
              tmp_path / "net.onnx")  # fmt: skip
    done = convert(tmp_path / "net.onnx", tmp_path / "net.safetensors")
    assert done.checks[1].what.startswith("the source file by ONNX Runtime")
    assert 0 < done.checks[1].difference < 1e-5


def variants():
    masked = drawn(elman.Network([elman.Embedding(7, 3), elman.Masking(), elman.LSTM(3, 2)]))
    masked.layers[0].W[0] = 0  # the token that stands for no step
    return {
        "tokens": elman.Network([elman.Embedding(7, 3), elman.LSTM(3, 4, bidirectional=True), elman.LastStep()]),
        "masked": masked,
        "learned": elman.LSTM(3, 4, learned_state=True),
        "variant": elman.LSTM(3, 4, peepholes=True, projection=2, clip=1.0, activations={"g": "relu"}),
        "pooled": elman.Network([elman.RNN(3, 4), elman.MaxOverTime(), elman.Dense(4, 2), elman.Activate("softmax")]),
        "no size": elman.Activate("softsign"),
    }


@pytest.mark.parametrize("name", variants())
def test_networks_of_every_kind_go_through_elman_s_own_file(tmp_path, name):
    net = variants()[name]
    formats.write(net, tmp_path / "net.safetensors")
    done = convert(tmp_path / "net.safetensors", tmp_path / "new.safetensors")
    assert [check.difference for check in done.checks] == [0]


def test_weights_that_are_not_finite_are_said(small, tmp_path):
    net = stack()
    net.layers[0].Wx[0, :3] = [np.nan, np.nan, np.inf]
    net.save(tmp_path / "net.safetensors")
    done = convert(tmp_path / "net.safetensors", tmp_path / "net.keras")
    assert done.checks[0].difference == 0
    assert done.notes == ("0.Wx is not finite: 2 NaN, 1 infinite",)


def wrong(net, path):
    """A writer that loses a bias."""
    other = elman.Network.from_parameters(net.config, net.parameters)
    other.layers[-1].b += 0.5
    to_rtneural(other, path)


def with_writer(monkeypatch, name, writer):
    row = FORMATS[name]
    monkeypatch.setitem(FORMATS, name, formats.Format(row.name, row.title, row.endings, row.read, writer))


def test_a_file_that_computes_something_else_is_not_left(monkeypatch, tmp_path):
    stack().save(tmp_path / "net.safetensors")
    (tmp_path / "net.json").write_text("the old one")
    with_writer(monkeypatch, "rtneural", wrong)
    words = "it must compute what .*net.safetensors computes.* Got read back by elman: largest difference .* more than"
    with pytest.raises(elman.FormatError, match=words):
        convert(tmp_path / "net.safetensors", tmp_path / "net.json")
    assert (tmp_path / "net.json").read_text() == "the old one"
    with pytest.raises(elman.FormatError):
        convert(tmp_path / "net.safetensors", tmp_path / "new.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.json", "net.safetensors"]


ZEROS, ONES = np.zeros((3, 2)), np.ones((3, 2))


@pytest.mark.parametrize("run", [lambda x: [(ZEROS, ONES)], lambda x: [(ZEROS, ZEROS.T)], lambda x: 1 / 0])
def test_a_system_that_computes_something_else_or_fails_is_heard(monkeypatch, tmp_path, run):
    stack().save(tmp_path / "net.safetensors")
    row = dataclasses.replace(FORMATS["rtneural"], peer=lambda path, net: peers.Peer("A system 1.0", run))
    monkeypatch.setitem(FORMATS, "rtneural", row)
    with pytest.raises(elman.FormatError, match=r"A system|failed, ZeroDivisionError"):
        convert(tmp_path / "net.safetensors", tmp_path / "net.json")
    assert not (tmp_path / "net.json").exists()


def test_a_crash_while_writing_leaves_nothing(monkeypatch, tmp_path):
    stack().save(tmp_path / "net.safetensors")

    def crash(net, path):
        path.write_text("half of it")
        raise OSError("the disk is full")

    with_writer(monkeypatch, "rtneural", crash)
    with pytest.raises(OSError, match="full"):
        convert(tmp_path / "net.safetensors", tmp_path / "net.json")
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


def test_what_is_refused_before_anything_is_written(tmp_path):
    stack().save(tmp_path / "net.safetensors")
    source = tmp_path / "net.safetensors"
    for target, form, error, words in (
        ("net.mystery", None, ValueError, "path must end in one of .safetensors, .pt"),
        ("net.json", "rtneura", ValueError, "Did you mean 'rtneural'"),
        ("net.json", "onnx", ValueError, "a path for ONNX must end in .onnx"),
        ("none/net.json", None, FileNotFoundError, "a folder that exists"),
    ):
        with pytest.raises(error, match=words):
            convert(source, tmp_path / target, form)
    with pytest.raises(FileNotFoundError, match="path must be a file"):
        convert(tmp_path / "none", tmp_path / "net.json")
    elman.Network([elman.RNN(2, 3)]).save(source)
    with pytest.raises(elman.FormatError, match="must be an LSTM or a GRU"):
        convert(source, tmp_path / "net.json")
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


# The command.


def command(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_the_command_says_what_was_read_written_and_checked(small, tmp_path):
    net = stack()
    net.save(tmp_path / "net.safetensors")
    result = command("convert", tmp_path / "net.safetensors", tmp_path / "net.onnx")
    assert result.exit_code == 0, result.output
    for words in (
        f"read     {tmp_path / 'net.safetensors'}: elman",
        "Network of 3 layers",
        "written  net.onnx (",
        "checked  read back by elman: the same to the last bit",
        "checked  the written file by ONNX Runtime",
    ):
        assert words in result.output
    same(formats.read(tmp_path / "net.onnx")(X)[0], net(X)[0])


def test_the_command_names_another_format(small, tmp_path):
    stack().save(tmp_path / "net.safetensors")
    result = command("convert", tmp_path / "net.safetensors", tmp_path / "state.safetensors", "--to", "torch")
    assert result.exit_code == 0, result.output
    assert "note     a state_dict holds weights alone" in result.output


def test_the_command_refuses_in_one_line(monkeypatch, tmp_path):
    stack().save(tmp_path / "net.safetensors")
    (tmp_path / "text").write_text("no weights")
    for words in (
        ("convert", tmp_path / "net.safetensors", tmp_path / "net.mystery"),
        ("convert", tmp_path / "text", tmp_path / "net.json"),
        ("convert", tmp_path / "none", tmp_path / "net.json"),
        ("inspect", tmp_path / "none"),
        ("inspect", tmp_path / "text"),
        ("inspect", tmp_path),
    ):
        result = command(*words)
        assert result.exit_code == 2
        assert result.stderr.startswith(f"elman {words[0]}: ")
        assert len(result.stderr.splitlines()) == 1
        assert "Traceback" not in result.output
    with_writer(monkeypatch, "rtneural", wrong)
    result = command("convert", tmp_path / "net.safetensors", tmp_path / "net.json")
    assert result.exit_code == 2
    assert "more than 1e-05" in result.stderr
    assert not (tmp_path / "net.json").exists()


def test_another_system_leaves_the_environment_as_it_was(tmp_path, monkeypatch):
    """What it sets when it is imported, and what tells Keras its backend, is gone afterwards; what was there stays."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("ELMAN_TEST_OLD", "old")
    monkeypatch.setenv("ELMAN_TEST_GONE", "stays")
    monkeypatch.setattr(peers, "version", lambda package: "1.0")
    (tmp_path / "elman_test_system.py").write_text(
        "import os\nseen = dict(os.environ)\nos.environ['ELMAN_TEST_NEW'] = '1'\n"
        "os.environ['ELMAN_TEST_OLD'] = 'new'\ndel os.environ['ELMAN_TEST_GONE']\n"
    )
    before = dict(os.environ)
    system, name = peers._system("elman_test_system", "Test", {"ELMAN_TEST_BACKEND": "torch"})
    assert dict(os.environ) == before
    assert (system.seen["ELMAN_TEST_BACKEND"], name) == ("torch", "Test 1.0")
    monkeypatch.setattr(peers, "import_module", lambda package: os.environ.update(ELMAN_TEST_NEW="1") or 1 / 0)
    with pytest.raises(peers.PeerUnavailable, match="ZeroDivisionError"):
        peers._system("elman_test_system", "Test")
    assert dict(os.environ) == before


@pytest.mark.peer
@pytest.mark.parametrize("file", ["net.keras", "net.onnx", "net.pt", "net.c"])
def test_a_conversion_leaves_the_environment_as_it_was(tmp_path, file):
    for package in {"net.keras": ["keras", "torch"], "net.onnx": ["onnxruntime"], "net.pt": ["torch"]}.get(file, []):
        pytest.importorskip(package)
    elman.Network([elman.GRU(2, 3, seed=0)]).save(tmp_path / "net.safetensors")
    code = (
        "import os, elman, sys\nbefore = dict(os.environ)\nprint(elman.convert(*sys.argv[1:]))\n"
        "assert dict(os.environ) == before"
    )
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, tmp_path / "net.safetensors", tmp_path / file],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "largest difference" in result.stdout


def test_a_link_and_the_mode_of_a_target_stay(tmp_path):
    elman.Network([elman.GRU(2, 3, seed=0)]).save(tmp_path / "net.safetensors")
    (tmp_path / "real.json").write_text("{}")
    (tmp_path / "real.json").chmod(0o600)
    (tmp_path / "link.json").symlink_to("real.json")
    for _ in range(2):
        convert(tmp_path / "net.safetensors", tmp_path / "link.json")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.json", "net.safetensors", "real.json"]
    for wrong in (3, None, b"x.json", tmp_path, "", "no/folder.json"):
        with pytest.raises((TypeError, OSError, ValueError), match="must "):
            convert(tmp_path / "net.safetensors", wrong)
        with pytest.raises((TypeError, OSError), match="must "):
            convert(wrong, tmp_path / "x.json")


def branching(streams=True):
    """Several inputs and outputs, a mask, steps that are not enough for a window, a node that starts from another."""
    nodes = {
        "word": (elman.Embedding(5, 3, seed=0), "words"),
        "known": elman.Masking(-1.0) if not streams else elman.Scale(3, 0.5, 2.0),
        "rnn": elman.LSTM(3, 4, seed=1),
        "both": (elman.Concatenate(), "rnn", "store"),
        "out": elman.Dense(6, 2, seed=2),
        "last": (elman.MaxOverTime(), "rnn"),
    }
    if not streams:
        nodes["next"] = elman.Node(elman.LSTM(2, 4, seed=3), "series", state="rnn")
        nodes["few"] = (elman.Conv1d(4, 2, 9, padding="valid", seed=4), "next")
    return elman.Network(nodes, outputs=("out", "last") if streams else ("out", "last", "few"))


@pytest.mark.parametrize("streams", [True, False])
def test_graphs(streams, tmp_path):
    branching(streams).save(tmp_path / "net.safetensors")
    for _ in range(2):
        done = convert(tmp_path / "net.safetensors", tmp_path / "again.safetensors")
        assert done.checks[0].difference == 0
    if streams and CC is not None:
        done = convert(tmp_path / "net.safetensors", tmp_path / "net.c")
        assert [check.difference is None for check in done.checks] == [True, False]
        assert done.checks[1].difference < 1e-5
        assert "x_store" in (tmp_path / "net.h").read_text()


def test_networks_within_a_network_have_their_states_where_the_file_has_one_row_of_layers(small, tmp_path):
    pytest.importorskip("onnx")
    inner = elman.Network([elman.GRU(3, 4, seed=0), elman.LSTM(4, 2, seed=1)])
    net = elman.Network([elman.Dense(3, 3, seed=2), elman.Network([inner, elman.RNN(2, 5, seed=3)])])
    net.save(tmp_path / "net.safetensors")
    for name in ("net.onnx", "again.safetensors"):
        done = convert(tmp_path / "net.safetensors", tmp_path / name)
        assert done.checks[0].difference == 0
    assert "Network of 2 layers" in repr(net)


def test_what_is_written_and_cannot_be_read_is_refused_in_the_words_of_its_reader(tmp_path, monkeypatch):
    def read(path):
        raise elman.FormatError(f"{path}: its steps must be less. Got 3.")

    elman.Network([elman.GRU(2, 3, seed=0)]).save(tmp_path / "net.safetensors")
    form = dataclasses.replace(FORMATS["rtneural"], read=read)
    monkeypatch.setattr(formats, "to_write", lambda *_: form)
    words = "Got read back by elman: failed, its steps must be less. Got 3.; elman.interop.formats.write writes without"
    with pytest.raises(elman.FormatError, match=words):
        convert(tmp_path / "net.safetensors", tmp_path / "net.json")
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]
