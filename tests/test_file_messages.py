"""Files and modules that are not read are called what they are; the errors and the help of the command."""

from __future__ import annotations

import bz2
import dataclasses
import gzip
import io
import json
import lzma
import pickle
import re
import subprocess
import sys
import tarfile
import warnings
import zipfile
import zlib

import numpy as np
import pytest
import safetensors.numpy

pytest.importorskip("typer")

from typer.testing import CliRunner

import elman
from elman import from_keras, from_onnx, from_rtneural, from_torch
from elman.cli.app import app
from elman.interop import files, formats, peers
from elman.interop.conversion import convert
from elman.interop.inspection import inspect


def words_of(function, *arguments, **named):
    """The message of the call's error, which must be one of the library's kinds."""
    with pytest.raises((ValueError, TypeError, OSError, ImportError)) as caught:
        function(*arguments, **named)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 800
    return message


def tar(names=("sys_info", "pickle", "storages", "tensors")):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = 3
            archive.addfile(entry, io.BytesIO(b"abc"))
    return buffer.getvalue()


def numpy_file(write):
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


PICKLED = {protocol: pickle.dumps({"coef": [1.0, 2.0]}, protocol) for protocol in (0, 2, 3, 4, 5)}
NEVER_OPENED = "a pickle of unknown origin, which is never opened"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("model.joblib", PICKLED[4], NEVER_OPENED),
        ("model.pkl", PICKLED[0], NEVER_OPENED),
        ("model", PICKLED[2], NEVER_OPENED),
        ("model.sav", PICKLED[5], NEVER_OPENED),
        ("model.joblib.z", zlib.compress(PICKLED[3]), f"{NEVER_OPENED}.* packed by zlib"),
        ("model.gz", gzip.compress(PICKLED[3]), f"{NEVER_OPENED}.* packed by gzip"),
        ("model.bz2", bz2.compress(PICKLED[3]), f"{NEVER_OPENED}.* packed by bzip2"),
        ("model.xz", lzma.compress(PICKLED[3]), f"{NEVER_OPENED}.* packed by xz"),
        ("net.onnx.gz", gzip.compress(b"\x08\x07 a model"), "one packed by gzip"),
        ("net.tar", tar(), r"a tar archive, as the first versions of PyTorch wrote .* torch.save\(torch.load\("),
        ("a.npy", numpy_file(lambda f: np.save(f, np.ones(3))), "an array of NumPy: np.load .* elman.from_arrays"),
        ("a.npz", numpy_file(lambda f: np.savez(f, a=np.ones(3))), "an archive of NumPy's arrays"),
        ("page", b"<!DOCTYPE html><html>", "a page of markup, as a download gives"),
        ("net.lfs", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a pointer of Git LFS"),
        ("net.tflite", b"\x1c\x00\x00\x00TFL3" + bytes(30), "a TFLite model, which is not read"),
        ("empty", b"", "an empty one"),
        ("text", b"no weights", "one that begins with b'no weigh'"),
        ("pedal.json", json.dumps({"residual_channels": 2, "dilations": [1]}).encode(), "a WaveNet of PedalNet"),
        (
            "keras.json",
            json.dumps({"class_name": "Functional", "config": {}}).encode(),
            "the architecture of a Keras model",
        ),
        (
            "package.json",
            b'{"name": "left-pad", "version": "1"}',
            "JSON of another kind, with the keys 'name', 'version'",
        ),
        ("list.json", b"[1, 2]", r"JSON of another kind, \[1, 2\]|JSON of another kind, a list of length 2"),
        ("empty.json", b"{}", "JSON of another kind, with no keys"),
        ("broken.json", b'{"name": ', "it must be JSON. Got an error"),
    ],
)
def test_files_of_no_format_are_called_what_they_are(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content)
    told = words_of(inspect, path)
    assert re.search(words, told)
    assert "RTNeural: " not in told
    assert words_of(convert, path, tmp_path / "out.onnx") == told
    result = CliRunner().invoke(app, ["inspect", str(path)])
    assert (result.exit_code, result.stderr) == (2, f"elman inspect: {told}\n")
    if name.endswith(".json"):
        assert re.search(words, words_of(elman.interop.from_rtneural, path))


def test_a_pickle_is_not_opened_whatever_it_is_called(tmp_path):
    class Runs:
        def __reduce__(self):
            return (open, (str(tmp_path / "run"), "w"))

    for name in ("model.pt", "model.joblib", "model.bin"):
        (tmp_path / name).write_bytes(pickle.dumps(Runs()))
        assert NEVER_OPENED in words_of(elman.from_torch, tmp_path / name)
    assert NEVER_OPENED in repr(inspect(tmp_path / "model.pt"))
    assert not (tmp_path / "run").exists()
    (tmp_path / "old.pt").write_bytes(tar())
    assert "a tar archive" in words_of(elman.from_torch, tmp_path / "old.pt")


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"net.1.num_batches_tracked": np.array(3)}, "net.1.num_batches_tracked must stand beside running_mean"),
        ({"fc.zero_point": np.array(0)}, "fc must be a module .* of a quantized module"),
        ({"fc._packed_params.dtype": "qint8"}, "fc must be a module .* of a quantized module"),
        ({"lstm._all_weight_values.0.param": None}, "lstm must be a module .* of a quantized module"),
        ({"conv.weight": np.ones((3, 2, 5, 5))}, r"weight \(3, 2, 5, 5\), as a convolution over images has"),
    ],
)
def test_state_dicts_of_modules_that_are_not_read(weights, words):
    lstm = {"lstm.weight_ih_l0": np.ones((8, 3)), "lstm.weight_hh_l0": np.ones((8, 2))}
    assert re.search(words, words_of(elman.from_torch, {**lstm, **weights}))
    assert re.search(words, words_of(elman.from_torch, weights, like=elman.LSTM(3, 2)))


@pytest.mark.peer
def test_modules_and_files_of_pytorch_that_are_not_read(tmp_path):
    torch = pytest.importorskip("torch")
    nn = torch.nn
    told = words_of(elman.from_torch, [nn.Conv2d(2, 3, 3), nn.LSTM(3, 4)])
    assert re.search(r"the module \[0\]: .* Got torch.nn.modules.conv.Conv2d, which is not read\.$", told)
    assert "list" not in told
    told = words_of(elman.from_torch, nn.Sequential(nn.MultiheadAttention(4, 2)))
    assert "activation.MultiheadAttention, which is not read" in told
    assert words_of(elman.from_torch, nn.LSTM).endswith("Got the class LSTM.")
    own = type("Own", (nn.Module,), {})
    for source in (own(), [own()]):
        assert re.search(r"pass what it runs as a list, .* Got .*Own\.$", words_of(elman.from_torch, source))
    state = {"state_dict": nn.LSTM(2, 3).state_dict()}
    path = tmp_path / "net.pt"
    for content, name, way_out in (
        (nn.LSTM(2, 3), "torch.nn.modules.rnn.LSTM", "pass the module, or its state_dict"),
        ({**state, "best": np.float64(0.5)}, r"numpy\.[\w.]*scalar", r"save float\(number\)"),
        ({**state, "curve": np.ones(3)}, r"numpy\.[\w.]*_reconstruct", r"torch.from_numpy\(array\)"),
        ({**state, "path": tmp_path}, r"pathlib\.\w*Path", r"weights_only=False"),
    ):
        for zipped in (True, False):
            torch.save(content, path, _use_new_zipfile_serialization=zipped)
            told = words_of(elman.from_torch, path)
            assert re.search(f"Got the class {name}, which .* refuses; .*{way_out}", told)
            assert "failed" not in told
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # quantized tensors will be removed from PyTorch
        torch.save({"w": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}, path)
    assert "Got one that is quantized: pass the state_dict of the model before" in words_of(elman.from_torch, path)
    torch.save(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 4)).state_dict(), path)
    assert "0 and 2, two Linear in a row, must have an activation between them" in words_of(elman.from_torch, path)
    torch.save(nn.GRU(2, 3).state_dict(), path, _use_new_zipfile_serialization=False)
    assert isinstance(elman.from_torch(path).layers[0], elman.GRU)


# Conversion, and the command.


def test_a_peer_that_fails_is_explained(monkeypatch, tmp_path):
    elman.Network([elman.LSTM(1, 2), elman.Dense(2, 1)]).save(tmp_path / "net.safetensors")

    def fails(x):
        raise RuntimeError("first line\n  a traceback\n  of forty lines")

    row = dataclasses.replace(formats.FORMATS["rtneural"], peer=lambda path, net: peers.Peer("A system", fails))
    monkeypatch.setitem(formats.FORMATS, "rtneural", row)
    told = words_of(convert, tmp_path / "net.safetensors", tmp_path / "net.json")
    assert "failed, RuntimeError: first line, raised by RTNeural; elman.interop.formats.write writes" in told
    assert not (tmp_path / "net.json").exists()


def test_a_peer_that_cannot_be_imported_is_none(monkeypatch):
    def broken(package):
        raise ModuleNotFoundError("No module named 'tensorflow'")

    monkeypatch.setattr(peers, "find_spec", lambda package: True)
    monkeypatch.setattr(peers, "import_module", broken)
    with pytest.raises(peers.PeerUnavailable, match="Keras cannot be imported: ModuleNotFoundError: No module named"):
        peers.keras("net.keras", elman.Network([elman.GRU(2, 3)]))


def test_every_page_of_help_is_whole_in_80_columns():
    pages = [CliRunner().invoke(app, words, env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"}) for words in help_pages()]
    for page in pages:
        assert page.exit_code == 0
        assert "..." not in page.output.replace("[ARGS]...", "")
        assert max(map(len, page.output.splitlines())) <= 80
    whole = " ".join(pages[0].output.split())
    for command in app.registered_commands:
        assert " ".join(command.callback.__doc__.split()) in whole


def help_pages():
    return [["--help"], *([command.callback.__name__, "--help"] for command in app.registered_commands)]


def test_errors_of_the_command_are_one_line_and_exit_with_2(tmp_path):
    (tmp_path / "text").write_text("no weights")
    elman.Network([elman.GRU(1, 2)]).save(tmp_path / "net.safetensors")
    net = str(tmp_path / "net.safetensors")
    for words in (
        ["inspect", str(tmp_path / "none")],
        ["inspect", str(tmp_path)],
        ["inspect", str(tmp_path / "text")],
        ["convert", net, str(tmp_path / "no" / "net.onnx")],
        ["convert", net, str(tmp_path / "net.what")],
        ["convert", net, str(tmp_path / "net.json"), "--to", "what"],
        ["convert", net, str(tmp_path / "a b.c")],
        ["demo", "--folder", str(tmp_path / "text")],
        ["demo", "--folder", str(tmp_path / "text" / "inside")],
    ):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 2
        assert "Got " in result.stderr
        assert "Errno" not in result.stderr
        assert result.stderr.startswith(f"elman {words[0]}: ")
        assert len(result.stderr.splitlines()) == 1
        assert sorted(path.name for path in tmp_path.iterdir()) == ["net.safetensors", "text"]
    for words in ([], ["what"], ["inspect"], ["convert", net], ["inspect", "--what", net]):
        assert CliRunner().invoke(app, words).exit_code == 2


def test_output_that_nobody_reads(tmp_path):
    elman.Network([elman.GRU(1, 2)]).save(tmp_path / "net.safetensors")
    code = "import sys; sys.argv = ['elman', 'inspect', sys.argv[1]]; from elman.cli import main; main()"
    command = [sys.executable, "-c", code, str(tmp_path / "net.safetensors")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        errors = process.stderr.read()
    assert b"Traceback" not in errors
    assert process.returncode != 0


def test_the_words_for_contents_are_used_for_whole_beginnings():
    assert files.unread(b"\x08\x07ab", "net.onnx") is None
    assert files.unread(b"xylophone", "notes.txt") is None
    assert files.is_torch_pickle(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.")


def foreign_contents():
    """What stands under the name of a file that is read in vain, and the word for it."""
    rng = np.random.default_rng(0)
    array = io.BytesIO()
    np.save(array, rng.normal(size=3))
    return {
        "pickle": pickle.dumps([1, 2], protocol=4),
        "markup": b"<!DOCTYPE html><html><title>404</title></html>",
        "Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n",
        "gzip": gzip.compress(rng.bytes(50)),
        "NumPy": array.getvalue(),
        "empty": b"",
    }


@pytest.mark.parametrize("what", foreign_contents())
@pytest.mark.parametrize(
    ("read", "ending"),
    [(from_keras, ".keras"), (from_onnx, ".onnx"), (from_rtneural, ".json"), (from_torch, ".pt"),
     (from_torch, ".safetensors")],
)  # fmt: skip
def test_every_reader_calls_a_foreign_file_what_it_is(tmp_path, read, ending, what):
    if read is from_onnx:
        pytest.importorskip("onnx")
    path = tmp_path / f"net{ending}"
    path.write_bytes(foreign_contents()[what])
    for call in (read, inspect):
        if call is inspect and ending == ".safetensors":
            continue  # elman's own, by the name
        try:
            words = call(path).refused
        except elman.FormatError as error:
            words = str(error)
        assert what in words
        assert "Got " in words
        assert str(path) in words


@pytest.mark.parametrize("content", [b"x", b"x\n", b"BZ", b"BZh", b"\x1f\x8b", b"xyz", b"\xfd7zXZ", b"x" * 70])
def test_a_beginning_alone_is_not_taken_for_packed(content):
    assert "packed" not in str(files.unread(content, "file"))


@pytest.mark.parametrize("extra", [b"", b"\x1f\x8b", b"x", b"<"])
def test_safetensors_whose_length_looks_like_another_file_are_read(tmp_path, extra):
    lstm = nn_like(np.random.default_rng(1))
    content = safetensors.numpy.save(lstm)
    length = int.from_bytes(content[:8], "little")
    wanted = next(n for n in range(length, length + 2**17) if n.to_bytes(8, "little").startswith(extra))
    header = content[8 : 8 + length] + b" " * (wanted - length)
    (tmp_path / "net.safetensors").write_bytes(wanted.to_bytes(8, "little") + header + content[8 + length :])
    net = from_torch(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(elman.to_arrays(net.layers[0], "pytorch")["weight_ih_l0"], lstm["lstm.weight_ih_l0"])


def nn_like(rng):
    shapes = {"weight_ih_l0": (20, 3), "weight_hh_l0": (20, 5), "bias_ih_l0": (20,), "bias_hh_l0": (20,)}
    return {f"lstm.{name}": rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("text", ["a" * 5000, "two\nlines", "a" * 5000 + "\n"])
def test_texts_of_a_file_are_short_in_messages(tmp_path, text):
    pytest.importorskip("h5py")
    net = elman.Network([elman.GRU(2, 3), elman.Dense(3, 1)])
    elman.to_keras(net, tmp_path / "net.keras")
    with zipfile.ZipFile(tmp_path / "net.keras") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    whole = json.loads(parts["config.json"])
    for key in ("class_name", "registered_name", "module"):
        for layer in range(len(whole["config"]["layers"])):
            config = json.loads(parts["config.json"])
            config["config"]["layers"][layer][key] = text
            with zipfile.ZipFile(tmp_path / "net.keras", "w") as archive:
                for name, content in {**parts, "config.json": json.dumps(config)}.items():
                    archive.writestr(name, content)
            words_of(from_keras, tmp_path / "net.keras")


@pytest.mark.parametrize("text", ["", "{", "no JSON", "[" * 5000, "null", "[]", "3"])
def test_the_description_in_an_own_file_is_asked_for_in_words(tmp_path, text):
    arrays = {"0.Wx": np.zeros((2, 3), np.float32)}
    safetensors.numpy.save_file(arrays, tmp_path / "net.safetensors", metadata={"elman": text})
    told = words_of(elman.load, tmp_path / "net.safetensors")
    assert "its description must " in told
    assert "Got " in told
