"""Networks in files: the same bits again, or a clear refusal; the old file whole until the new one is."""

from __future__ import annotations

import json
import math
import os

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import elman
import elman.saving
from elman.files import checksum, write_safetensors
from elman.layers import LastSteps
from test_gradients import LEAKY


def big_net(dtype="float32"):
    return elman.Network(
        [
            elman.Embedding(11, 5, dtype, seed=0),
            elman.LSTM(5, 4, bidirectional=True, dtype=dtype, seed=1),
            elman.LayerNorm(8, dtype=dtype),
            elman.GRU(8, 3, reset_after=False, dtype=dtype, seed=2),
            elman.Dropout(0.3),
            elman.RNN(3, 6, activation=elman.Activation("elu", alpha=0.3), dtype=dtype, seed=3),
            elman.Network([elman.GRU(6, 7, dtype=dtype, seed=4), elman.MaxOverTime()]),
            elman.Dense(7, 2, "softsign", dtype=dtype, seed=5),
        ]
    )


TOKENS = [np.array([1, 10, 3]), np.array([0, 5, 5, 2])]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_outputs_are_bit_identical(tmp_path, dtype):
    net = big_net(dtype)
    for array in net.parameters.values():
        array += np.random.default_rng(0).normal(size=array.shape)
    net.save(tmp_path / "net.safetensors")
    again = elman.load(tmp_path / "net.safetensors")
    assert again.config == net.config
    assert repr(again) == repr(net)
    assert list(again.parameters) == list(net.parameters)
    np.testing.assert_array_equal(again(TOKENS)[0], net(TOKENS)[0])
    again.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "net.safetensors").read_bytes()
    again.layers[0].W += 1  # loaded weights are live, too
    assert (again(TOKENS)[0] != net(TOKENS)[0]).any()


def test_any_safetensors_reader_reads_the_weights(tmp_path):
    net = big_net()
    net.save(str(tmp_path / "net.safetensors"))
    for name, array in load_file(tmp_path / "net.safetensors").items():
        np.testing.assert_array_equal(array, net.parameters[name])


def test_a_cell_of_a_user(tmp_path):
    net = elman.Network([elman.Recurrent(LEAKY, 3, 4, seed=0)])
    path = tmp_path / "net.safetensors"
    net.save(path)
    x = np.ones((2, 5, 3))
    np.testing.assert_array_equal(elman.load(path, cells={"leaky": LEAKY})(x)[0], net(x)[0])
    with pytest.raises(elman.FormatError, match="the cell 'leaky' must be given"):
        elman.load(path)


def test_nan_weights_are_kept(tmp_path):
    net = elman.Network([elman.Dense(2, 1, seed=0)])
    net.layers[0].W = [[np.nan], [1.0]]
    net.save(tmp_path / "net")
    assert np.isnan(elman.load(tmp_path / "net").layers[0].W[0, 0])


def test_a_crash_half_way_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "net.safetensors"
    elman.Network([elman.Dense(2, 1, seed=0)]).save(path)
    before = path.read_bytes()

    def crash(*args):
        raise OSError("no space left on device")

    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, crash)
            with pytest.raises(OSError, match="no space"):
                elman.Network([elman.Dense(2, 1, seed=1)]).save(path)
        assert path.read_bytes() == before
        assert os.listdir(tmp_path) == [path.name]  # nothing half written lies about


def test_the_file_has_ordinary_permissions(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("")
    elman.Network([elman.Dense(2, 1)]).save(tmp_path / "net")
    assert (tmp_path / "net").stat().st_mode == plain.stat().st_mode


def sealed(description, tensors):
    """The texts of a header with such a description."""
    text = json.dumps(description)
    return {"elman": text, "checksum": checksum(tensors, text)}


def write(path, tensors, description):
    save_file(tensors, path, metadata=sealed(description, tensors))


def refused(path, *words):
    with pytest.raises(elman.FormatError) as caught:
        elman.load(path)
    for word in (str(path), *words):
        assert word in str(caught.value)


def test_files_that_are_refused(tmp_path):
    path = tmp_path / "net.safetensors"
    net = elman.Network([elman.LSTM(2, 3, seed=0), elman.Dense(3, 1, seed=1)])
    net.save(path)
    whole, tensors = path.read_bytes(), load_file(path)
    good = {"version": 2, "network": net.config}

    for cut in (0, 5, 8, 100, len(whole) - 1):
        path.write_bytes(whole[:cut])
        refused(path, "whole safetensors file")
    for start in range(20):
        path.write_bytes(np.random.default_rng(start).bytes(200))
        refused(path)
    write(path, tensors, {**good, "version": 3})
    refused(path, "'version' must be from 1 to 2. Got 3")
    save_file(tensors, path)
    refused(path, "must be the weights of")
    write(path, {**tensors, "0.Wh": tensors["0.Wh"][:2]}, good)
    refused(path, "0.Wh must have shape (3, 12). Got (2, 12).")
    write(path, {k: v for k, v in tensors.items() if k != "1.b"}, good)
    refused(path, "1.b must be among the parameters")
    write(path, {**tensors, "7.b": tensors["1.b"]}, good)
    refused(path, "Got 7.b too")
    write(path, {**tensors, "1.b": tensors["1.b"].astype(np.float64)}, good)
    refused(path, "'1.b' must be float32. Got float64")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"type": "LSTN"}, "Did you mean 'LSTM'?"),
        ({"type": None}, "type of a layer"),
        ({"hidden_size": 10**12}, "0.Wx must have shape (2, 4000000000000)"),
        ({"hidden_size": -1}, "hidden_size must be a whole number"),
        ({"hidden_size": "3"}, "hidden_size must be a whole number"),
        ({"color": "red"}, "color"),
        ({"dtype": "complex64"}, "dtype must be 'float32' or 'float64'"),
        ({"layers": 3}, "layers"),
    ],
)
def test_descriptions_that_are_refused(tmp_path, change, word):
    path = tmp_path / "net.safetensors"
    net = elman.Network([elman.LSTM(2, 3, seed=0)])
    net.save(path)
    layer = {**net.config["layers"][0], **change}
    write(path, load_file(path), {"version": 1, "network": {"layers": [layer]}})
    refused(path, word)


@pytest.mark.parametrize(
    "text", ["", "[]", "3", '{"version": 1}', "{" * 5000, "[" * 100000, '{"version": 1, "network": {}}']
)
def test_headers_that_are_refused(tmp_path, text):
    path = tmp_path / "net.safetensors"
    save_file({"0.b": np.ones(2, np.float32)}, path, metadata={"elman": text})
    refused(path)


def test_a_path_that_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="path must be a file"):
        elman.load(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError):
        elman.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="path must lie in a folder that exists"):
        elman.Network([elman.Dense(2, 1)]).save(tmp_path / "no" / "folder")


# Bytes, changed bits, and errors that are not the file's.


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_the_content_of_a_file_is_read_as_the_file(tmp_path, kind):
    net = big_net()
    net.save(tmp_path / "net")
    content = kind((tmp_path / "net").read_bytes())
    for _ in range(2):
        again = elman.load(content)
        assert repr(again) == repr(net)
        np.testing.assert_array_equal(again(TOKENS)[0], net(TOKENS)[0])
    again.layers[0].W += 1
    assert bytes(content) == (tmp_path / "net").read_bytes()
    for wrong in (content[:-1], content[:40], kind(b""), kind(bytes(84_000))):
        with pytest.raises(elman.FormatError, match=r"the bytes.* must be a") as caught:
            elman.load(wrong)
        assert len(str(caught.value)) < 300


def test_every_changed_bit_is_seen(tmp_path):
    """All bits of the header, and many of the weights."""
    net = elman.Network([elman.GRU(2, 3, seed=0), elman.Dense(3, 1, seed=1)])
    net.save(tmp_path / "net")
    content = (tmp_path / "net").read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    rng = np.random.default_rng(0)
    for bit in [*range(8 * begin), *rng.choice(np.arange(8 * begin, 8 * len(content)), 1000, replace=False)]:
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(elman.FormatError, match=r"the bytes.* must "):
            elman.load(flipped)


def test_what_is_no_path_is_refused_in_a_line():
    for wrong in (3, None, ["net"] * 10_000, np.zeros(9000), {"path": "net"}, object(), "n" * 84_000, "a\0b", "\ud800"):
        with pytest.raises((TypeError, OSError), match=r"^path must be .* Got ") as caught:
            elman.load(wrong)
        assert len(str(caught.value)) < 300


def test_an_error_of_our_own_is_not_the_file_s(tmp_path, monkeypatch):
    elman.Network([elman.Dense(2, 1, seed=0)]).save(tmp_path / "net")
    for error in (KeyError("of our own"), AttributeError("of our own"), IndexError("of our own")):

        def fails(*args, error=error):
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(elman.Network, "from_parameters", fails)
            with pytest.raises(type(error), match="of our own"):
                elman.load(tmp_path / "net")


ANYTHING = [None, True, 0, -3, 7, 10**30, 1.5, math.nan, "x", [], [1], ["x", {}], {}, {"name": "x"}, {"a": {"b": []}}]


def changed(part, value):
    """A description with each of its parts replaced by `value`, left out, and with one more."""
    yield value
    if isinstance(part, dict):
        yield from ({**part, name: value} for name in ("more", "dtype", "seed", "type"))
        for key in part:
            yield {name: entry for name, entry in part.items() if name != key}
            yield from ({**part, key: new} for new in changed(part[key], value))
    if isinstance(part, list):
        for i, entry in enumerate(part):
            yield from ([*part[:i], new, *part[i + 1 :]] for new in changed(entry, value))


def refusals(net, value):
    """How files of a network are refused, of whose descriptions one part is replaced by a value."""
    parameters = dict(net.parameters)
    whole = {"version": 2, "network": json.loads(json.dumps(elman.saving.describe_config(net)))}
    words = []
    for description in changed(whole, value):
        try:
            elman.load(write_safetensors(parameters, sealed(description, parameters)))
        except elman.FormatError as error:
            words.append(str(error))
    return words


@pytest.mark.parametrize("value", ANYTHING, ids=str)
def test_descriptions_of_any_form_are_refused_in_words(value):
    more = [
        elman.LSTM(7, 4, peepholes=True, zoneout=(0.1, 0.2), activations={"f": "relu"}, learned_state=True),
        elman.Recurrent(elman.LSTM(4, 5, projection=3, clip=2.0).cell, 4, 5, bidirectional=True),
        elman.MergeDirections("ave"),
        elman.Masking(0.5),
        elman.Dropout(0.3, per_sequence=True),
        LastSteps(3, 2),
    ]
    net = elman.Network([*big_net().layers[:5], elman.Network([elman.RNN(3, 7)]), *more])
    words = refusals(net, value)
    assert len(words) > 50
    assert not [text for text in words if " must " not in text]
    assert max(map(len, words)) < 1500


class Twice(elman.GRU):
    def run(self, x, state, rng, keep):
        y, state, kept = super().run(x, state, rng, keep)
        return y.with_values(2 * y.values), state, kept


class Doubled(elman.Dense):
    def step(self, x, state):
        y, state = super().step(x, state)
        return 2 * y, state


class Named(elman.Network):
    pass


class Changed(elman.Network):
    run = Twice.run


@pytest.mark.parametrize("write", ["save", "to_c", "to_onnx", "to_torch", "to_keras", "to_rtneural"])
def test_layers_of_ones_own_are_not_written_as_what_they_extend(write, tmp_path):
    """Into no file that computes something else."""
    if write in ("to_onnx", "to_torch", "to_keras"):
        pytest.importorskip({"to_onnx": "onnx", "to_torch": "torch", "to_keras": "h5py"}[write])
    call = elman.Network.save if write == "save" else getattr(elman, write)
    path = tmp_path / ("net.c" if write == "to_c" else "net.keras" if write == "to_keras" else "net.onnx")
    rest = [] if write == "to_torch" else [path]
    gru, dense = elman.GRU(2, 3, seed=0), elman.Dense(3, 4, seed=1)
    owns = [[Changed([gru]), dense], [Named([gru]), dense]]  # layers are saved: load(path, layers=[Twice, Doubled])
    if write != "save":
        owns[1:] = [[Twice(2, 3), dense], [gru, Doubled(3, 4)], [elman.Network([Twice(2, 3)]), dense]]
    for net in [*map(elman.Network, owns), Changed([gru.replace(), dense.replace()])]:
        with pytest.raises((elman.FormatError, elman.ShapeError), match=r"must .*Got"):
            call(net, *rest)
        assert not list(tmp_path.iterdir())
    named = Named([gru, dense])
    call(named, *rest)
    if write == "save":
        x = np.random.default_rng(0).normal(size=(5, 2))
        np.testing.assert_array_equal(elman.load(path)(x)[0], named(x)[0])
