"""Files of Keras without Keras: golden ones, round trips, and files that are damaged or mean harm."""

from __future__ import annotations

import copy
import io
import json
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

import elman
from elman.interop.arrays import to_arrays
from elman.interop.keras.files import CONFIG, METADATA, WEIGHTS
from elman.interop.keras.reader import from_keras
from elman.interop.keras.writer import to_keras

h5py = pytest.importorskip("h5py")
pytestmark = pytest.mark.filterwarnings("ignore:.*masked steps must stand last:UserWarning")

GOLDEN = Path(__file__).parent / "golden" / "keras"
EXPECTED = {
    name: fact
    for file in sorted(GOLDEN.glob("expected_*.json"))
    for name, fact in json.loads(file.read_text())["files"].items()
}


@pytest.mark.parametrize("name", EXPECTED)
def test_golden_files_of_keras_2_and_3(name):
    """The archives and HDF5 files of both, nested models, masks, frozen layers and their hard_sigmoid."""
    net = from_keras(GOLDEN / name)
    x = np.array(EXPECTED[name]["x"])
    for _ in range(2):
        np.testing.assert_allclose(net(x)[0], EXPECTED[name]["y"], rtol=1e-5, atol=1e-6)


def test_hard_sigmoid_is_that_of_the_keras_that_wrote_the_file():
    slopes = {}
    for version in (2, 3):
        net = from_keras(GOLDEN / f"functional_{version}.keras")
        layer = next(layer for layer in net.layers if isinstance(layer, elman.LSTM))
        slopes[version] = elman.Activation(**_named(layer.config["activations"]["i"])).parameters["alpha"]
    assert slopes == {2: 0.2, 3: 1 / 6}


def _named(config):
    return config if isinstance(config, dict) else {"name": config}


# There and back.


def recurrent_block(rng, inputs, dtype, last):
    """A random recurrent layer with what may stand around it, and how many features come out."""
    hidden, both = int(rng.integers(1, 6)), bool(rng.random() < 0.4)
    gate, outer = rng.choice(["sigmoid", "relu", "softsign"], 2)
    options = {"bidirectional": both, "dtype": dtype, "seed": int(rng.integers(99))}
    options["recurrent_dropout"] = float(rng.choice([0.0, 0.25]))
    layer = [
        lambda: elman.RNN(inputs, hidden, activation=str(outer), **options),
        lambda: elman.LSTM(inputs, hidden, **options),
        lambda: elman.LSTM(
            inputs, hidden, activations={"i": gate, "f": gate, "o": gate, "g": outer, "c": outer}, **options
        ),
        lambda: elman.GRU(inputs, hidden, reset_after=bool(rng.random() < 0.5), **options),
        lambda: elman.GRU(inputs, hidden, activations={"r": gate, "z": gate, "n": outer}, **options),
    ][rng.integers(5)]()
    layers = [elman.Reverse()] * bool(rng.random() < 0.3) + [layer]
    layers += [elman.LastStep(bidirectional=both)] * last
    if both and rng.random() < 0.5:
        return [*layers, elman.MergeDirections(str(rng.choice(["sum", "mul", "ave"])))], hidden
    return layers, hidden * (1 + both)


def random_network(seed):
    rng, dtype = np.random.default_rng(seed), ["float32", "float64"][seed % 2]
    layers, width = [], int(rng.integers(1, 5))
    if rng.random() < 0.3:
        layers = [elman.Embedding(7, width, dtype, seed=seed)]
    elif rng.random() < 0.3:
        layers = [elman.Masking(0.5)]
        rng = np.random.default_rng(seed + 1000)
    if rng.random() < 0.5:
        layers.append(elman.Dropout(0.25, per_sequence=True))
    last = bool(rng.random() < 0.5)
    block, width = recurrent_block(rng, width, dtype, last)
    layers += block
    layers += [
        elman.LayerNorm(width, 0.01, dtype),
        elman.Dense(width, 3, "elu", dtype, seed=seed),
        elman.Dropout(0.5),
    ]
    layers.append(elman.Dense(3, 2, elman.Activation("leaky_relu", alpha=0.3), dtype, seed=seed + 1))
    layers.append(elman.Activate(str(rng.choice(["softmax", "log_softmax", "identity"]))))
    if not last and not any(isinstance(layer, elman.Reverse) for layer in layers):
        layers.append(elman.MeanOverTime())
    net = elman.Network(layers)
    for array in net.parameters.values():
        array[...] = rng.standard_normal(array.shape)
    return net


@pytest.mark.parametrize("seed", range(60))
def test_there_and_back_to_the_last_bit(seed, tmp_path):
    net, path = random_network(seed), tmp_path / "net.keras"
    to_keras(net, path)
    same = from_keras(path)
    assert same.config == net.config
    for name, array in net.parameters.items():
        np.testing.assert_array_equal(same.parameters[name], array)
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 7, (3, 5)) if net.takes_tokens else rng.standard_normal((3, 5, net.input_size))
    np.testing.assert_array_equal(same(x)[0], net(x)[0])
    content = path.read_bytes()
    to_keras(same, path)
    assert path.read_bytes() == content


def test_a_single_layer_and_nested_networks(tmp_path):
    layer, path = elman.GRU(3, 4, seed=0), tmp_path / "net.keras"
    to_keras(layer, path)
    assert from_keras(path).layers[0].config == layer.config
    to_keras(elman.Network([elman.Network([layer]), elman.Dense(4, 2, seed=1)]), path)
    assert [type(each).__name__ for each in from_keras(path).layers] == ["GRU", "Dense"]


def test_dropout_of_vectors_has_one_mask_a_sequence_anyway(tmp_path):
    layers = [elman.LSTM(3, 4, seed=0), elman.LastStep(), elman.Dropout(0.5, per_sequence=True)]
    to_keras(elman.Network(layers), tmp_path / "net.keras")
    assert from_keras(tmp_path / "net.keras").layers[-1].config == {"rate": 0.5}


@pytest.mark.parametrize("last", [True, False])
def test_the_second_layer_of_keras_2_is_the_first_one_turned(last, tmp_path):
    """Keras 2 does not write it, and it goes forwards where the first one goes backwards."""
    layers = [elman.Reverse(), elman.GRU(3, 4, bidirectional=True, seed=0), elman.LastStep(bidirectional=True)]
    net, path = elman.Network(layers[: 2 + last]), tmp_path / "net.keras"
    to_keras(net, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    written(path, described(members, lambda layers, config: layers[1]["config"].pop("backward_layer")))
    x = np.random.default_rng(0).standard_normal((2, 5, 3))
    assert from_keras(path).config == net.config
    np.testing.assert_array_equal(from_keras(path)(x)[0], net(x)[0])


HELD = {
    "one activation for i, f and o": elman.LSTM(3, 4, activations={"i": "relu"}),
    "one for g and c": elman.LSTM(3, 4, activations={"g": "relu"}),
    "one for r and z": elman.GRU(3, 4, activations={"z": "relu"}),
    "peepholes": elman.LSTM(3, 4, peepholes=True),
    "coupled": elman.LSTM(3, 4, coupled=True),
    "projection": elman.LSTM(3, 4, projection=2),
    "clip": elman.GRU(3, 4, clip=1.0),
    "cell_clip": elman.LSTM(3, 4, cell_clip=1.0),
    "layer_norm": elman.LSTM(3, 4, layer_norm=True),
    "zoneout": elman.GRU(3, 4, zoneout=0.1),
    "learned_state": elman.GRU(3, 4, learned_state=True),
    "hard_sigmoid": elman.Dense(3, 4, elman.Activation("hard_sigmoid", beta=0.4)),
    "scaled_tanh": elman.RNN(3, 4, elman.Activation("scaled_tanh", alpha=2.0)),
    "right after one": [elman.LSTM(3, 4), elman.Dense(4, 2), elman.LastStep()],
    "bidirectional=True": [elman.LSTM(3, 4, bidirectional=True), elman.LastStep()],
    "bidirectional=False": [elman.LSTM(3, 4), elman.LastStep(bidirectional=True)],
    "right before a recurrent layer": [elman.Reverse(), elman.Dense(3, 2)],
    "after a bidirectional layer": [elman.Dense(3, 4), elman.MergeDirections("sum")],
    "after masked steps": [elman.Masking(), elman.LSTM(3, 4), elman.MaxOverTime()],
    "only as Flatten": [elman.LSTM(3, 4), elman.layers.LastSteps(4, 2)],
    "the only mask": [elman.Masking(), elman.LSTM(3, 4), elman.Masking(1.0), elman.LSTM(4, 2)],
    "in the old order": [elman.Masking(), elman.Reverse(), elman.LSTM(3, 4), elman.LSTM(4, 2)],
}  # fmt: skip


@pytest.mark.parametrize("reason", HELD)
def test_what_keras_cannot_hold_is_refused(reason, tmp_path):
    net = HELD[reason] if isinstance(HELD[reason], elman.Layer) else elman.Network(HELD[reason])
    words = {
        "one activation for i, f and o": "share one",
        "one for g and c": "share one",
        "one for r and z": "share one",
    }
    with pytest.raises(elman.FormatError, match=words.get(reason, reason)) as error:
        to_keras(net, tmp_path / "net.keras")
    assert "layer " in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_network_and_no_name_of_keras(tmp_path):
    with pytest.raises(TypeError, match="net must be"):
        to_keras([1], tmp_path / "net.keras")
    with pytest.raises(ValueError, match="must end in"):
        to_keras(elman.GRU(2, 3), tmp_path / "net.h5")
    with pytest.raises(FileNotFoundError, match="must be a file"):
        from_keras(tmp_path / "none.keras")
    with pytest.raises(TypeError, match="a path or a Keras model"):
        from_keras(3)


def test_without_h5py_the_error_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(elman.MissingExtraError, match=r"elman\[keras\]"):
        to_keras(elman.GRU(2, 3), tmp_path / "net.keras")
    with pytest.raises(elman.MissingExtraError, match=r"elman\[keras\]"):
        from_keras(GOLDEN / "functional_3.keras")


# Files that are damaged, or mean harm. None may do more than raise a FormatError with its name.


@pytest.fixture
def good(tmp_path):
    """A file that can be read, and its members."""
    path = tmp_path / "good.keras"
    to_keras(elman.Network([elman.LSTM(3, 4, seed=0), elman.LastStep(), elman.Dense(4, 2, seed=1)]), path)
    with zipfile.ZipFile(path) as archive:
        return path, {name: archive.read(name) for name in archive.namelist()}


def written(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def refused(path, *words, like=None):
    """The file is refused by name, without taking memory that it does not account for."""
    tracemalloc.start()
    try:
        with pytest.raises(elman.FormatError) as error:
            from_keras(path, like=like)
        assert tracemalloc.get_traced_memory()[1] < 2**25 + 20 * path.stat().st_size
    finally:
        tracemalloc.stop()
    message = str(error.value)
    assert message.count(path.name) == 1
    for word in words:
        assert word in message
    return message


@pytest.mark.parametrize("name", ["functional_3.keras", "sequential_2.h5"])
def test_files_cut_short(name, tmp_path):
    content = (GOLDEN / name).read_bytes()
    path = tmp_path / name
    for length in [*range(0, 64, 7), *range(64, len(content), len(content) // 40), len(content) - 1]:
        path.write_bytes(content[:length])
        refused(path)


@pytest.mark.parametrize("start", [b"", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"])
def test_random_bytes(start, tmp_path):
    path = tmp_path / "noise.keras"
    for seed in range(20):
        path.write_bytes(start + np.random.default_rng(seed).bytes(2000))
        refused(path)


@pytest.mark.parametrize("name", ["functional_3.keras", "sequential_3.h5"])
def test_bytes_that_changed_on_the_way(name, tmp_path):
    """A changed byte may be part of a weight, and then nobody can know; anything else is a FormatError."""
    content, path, refusals = (GOLDEN / name).read_bytes(), tmp_path / name, 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        changed = bytearray(content)
        for place in rng.integers(0, len(content), rng.integers(1, 20)):
            changed[place] = rng.integers(256)
        path.write_bytes(changed)
        try:
            from_keras(path)
        except elman.FormatError:
            refusals += 1
    assert refusals > 20


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/evil", "C:\\evil", "..\\evil"])
def test_a_member_that_climbs_out(name, good, tmp_path):
    path, members = good
    refused(written(path, {**members, name: b"x"}), "a path inside the archive", "evil")
    assert [each.name for each in tmp_path.iterdir()] == ["good.keras"]


@pytest.mark.parametrize("name", [CONFIG, METADATA, WEIGHTS])
def test_members_that_are_missing_twice_there_or_encrypted(name, good):
    path, members = good
    refused(written(path, {key: value for key, value in members.items() if key != name}), "members")
    twice = zipfile.ZipInfo(name[:-1] + "#")
    content = written(path, {**members, twice: members[name]}).read_bytes()
    path.write_bytes(content.replace(twice.filename.encode(), name.encode()))
    refused(path, "two of one name")
    content = bytearray(written(path, members).read_bytes())
    place = content.index(b"PK\x01\x02")
    while content[place + 46 :][: len(name)] != name.encode():
        place = content.index(b"PK\x01\x02", place + 1)
    content[place + 8] |= 1
    path.write_bytes(content)
    refused(path, name, "encrypted")


@pytest.mark.parametrize("name", [CONFIG, METADATA, WEIGHTS])
def test_an_archive_that_swells(name, good):
    path, members = good
    bomb = {**members, name: members[name] + bytes(2**27)}
    refused(written(path, bomb, zipfile.ZIP_DEFLATED), name, "at most")


def hdf5(change):
    """The bytes of an HDF5 file."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        change(file)
    return buffer.getvalue()


def changed_weights(members, change):
    """The members with another HDF5 file, after `change(group of the first array)`."""
    buffer = io.BytesIO(members[WEIGHTS])
    with h5py.File(buffer, "a") as file:
        change(file["layers/lstm/cell/vars"])
    return {**members, WEIGHTS: buffer.getvalue()}


def replaced(**arguments):
    def change(group):
        del group["0"]
        group.create_dataset("0", **arguments)

    return change


def linked(link):
    def change(group):
        del group["0"]
        group["0"] = link

    return change


def virtual(group):
    layout = h5py.VirtualLayout((3, 16), "f4")
    layout[:] = h5py.VirtualSource("/etc/other.h5", "data", (3, 16))
    del group["0"]
    group.create_virtual_dataset("0", layout)


OTHER = [("/etc/passwd", 0, 192)]
HUGE = {"dtype": "f8", "chunks": (64, 64), "compression": "gzip"}
HARM = {
    "a link to another file": (linked(h5py.ExternalLink("/etc/passwd", "/x")), "ExternalLink"),
    "a link to another place": (linked(h5py.SoftLink("/layers/dense/vars/0")), "SoftLink"),
    "an array in another file": (replaced(shape=(3, 16), dtype="f4", external=OTHER), "in other files"),
    "a virtual array": (virtual, "in other files"),
    "terabytes": (replaced(shape=(2**20, 2**20), **HUGE), "accounts for"),
    "terabytes in a row": (replaced(shape=(2**20, 2**20), dtype="f8"), "accounts for"),
    "more than there is": (replaced(shape=(64, 2**18), **HUGE), "accounts for"),
    "objects": (replaced(data=["a"] * 3), "float32 or float64"),
    "whole numbers": (replaced(data=np.ones((3, 16), int)), "float32 or float64"),
    "nothing": (replaced(data=h5py.Empty("f4")), "float32 or float64"),
    "another shape": (replaced(data=np.ones((3, 15), "f4")), "kernel must have shape", "(3, 15)"),
    "another rank": (replaced(data=np.ones(48, "f4")), "kernel must have shape"),
    "another dtype": (replaced(data=np.ones((3, 16))), "dtype"),
    "a group": (lambda group: (group.__delitem__("0"), group.create_group("0")), "an array", "a group"),
    "one too many": (lambda group: group.create_dataset("3", data=np.ones(3, "f4")), "Got 4 arrays"),
    "one too few": (lambda group: group.__delitem__("2"), "Got 2 arrays"),
}  # fmt: skip


@pytest.mark.parametrize("name", HARM)
def test_weights_that_mean_harm(name, good):
    path, members = good
    change, *words = HARM[name]
    refused(written(path, changed_weights(members, change)), "lstm", *words)


def test_nan_is_a_number_like_others(good):
    path, members = good
    spoiled = changed_weights(members, replaced(data=np.full((3, 16), np.nan, "f4")))
    assert np.isnan(from_keras(written(path, spoiled)).layers[0].Wx).all()


def test_a_heap_that_has_no_end(tmp_path):
    """HDF5 goes round for ever where the object behind the last one has no length."""
    content = bytearray((GOLDEN / "sequential_3.h5").read_bytes())
    heap = content.index(b"GCOL\x01")
    content[heap + 8 : heap + 16] = (int.from_bytes(content[heap + 8 : heap + 16], "little") + 9000).to_bytes(
        8, "little"
    )
    path = tmp_path / "endless.h5"
    path.write_bytes(content)
    refused(path, "heap")


# Legacy files.


def legacy(path, model=None, names=("dense",), weights=("kernel", "bias"), version="2.4.0"):
    """A whole model in one HDF5 file, of one Dense layer."""
    layer = {"class_name": "Dense", "config": {"name": "dense", "units": 2, "activation": "hard_sigmoid"}}
    model = {"class_name": "Sequential", "config": [layer]} if model is None else model  # as Keras before 2.2.3

    def fill(file):
        file.attrs["model_config"] = json.dumps(model).encode()
        file.attrs["keras_version"] = version.encode()
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [name.encode() for name in names]
        dense = group.create_group("dense")
        dense.attrs["weight_names0"] = [name.encode() for name in weights[:1]]  # long lists stand in several pieces
        dense.attrs["weight_names1"] = [name.encode() for name in weights[1:]]
        dense["kernel"], dense["bias"] = np.eye(3, 2, dtype="f4"), np.ones(2, "f4")

    path.write_bytes(hdf5(fill))
    return path


def test_a_file_of_an_early_keras_2(tmp_path):
    net = from_keras(legacy(tmp_path / "old.h5"))
    x = np.array([[0.5, -2.0, 9.0]], "f4")
    np.testing.assert_allclose(net(x)[0], [[0.2 * 1.5 + 0.5, 0.2 * -1.0 + 0.5]], rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"weights": ("../dense/kernel", "bias")}, "stays where it stands"),
        ({"weights": ("/model_weights/dense/kernel", "bias")}, "stays where it stands"),
        ({"weights": ("kernel",)}, "kernel, bias"),
        ({"weights": ("kernel", "bias", "bias")}, "1 more"),
        ({"weights": ("bias", "kernel")}, "kernel must have shape"),
        ({"weights": ("gone", "bias")}, "nothing"),
        ({"names": ()}, "kernel, bias"),
        ({"version": "1.2.2"}, "Keras 2 or 3"),
        ({"version": "x"}, "Keras 2 or 3"),
        ({"model": {"class_name": "Sequential", "config": {"layers": []}}}, "list of layers"),
    ],
)
def test_legacy_files_that_mean_harm(arguments, word, tmp_path):
    refused(legacy(tmp_path / "old.h5", **arguments), word)


def test_attributes_that_are_no_text(tmp_path):
    path = tmp_path / "odd.h5"
    for value in (
        np.void(b"\x80\x04pickle"),
        3,
        np.zeros((2, 2)),
        [b"{}", b"{}"],
        b"\xff\xfe",
        b"{" * 100_000,
        b"1" * 5000,
    ):
        path.write_bytes(hdf5(lambda file, value=value: file.attrs.__setitem__("model_config", value)))
        refused(path)


def test_weights_alone(tmp_path):
    net, path = elman.Network([elman.LSTM(3, 4, seed=0), elman.Dense(4, 2, seed=1)]), tmp_path / "net.keras"
    to_keras(net, path)
    weights = tmp_path / "net.weights.h5"
    with zipfile.ZipFile(path) as archive:
        weights.write_bytes(archive.read(WEIGHTS))
    refused(weights, "without a description", "like=network")
    empty = elman.Network([elman.LSTM(3, 4), elman.Dense(4, 2)])
    filled = from_keras(weights, like=empty)
    for name, array in net.parameters.items():
        np.testing.assert_array_equal(filled.parameters[name], array)
    refused(weights, "units must be 4", like=elman.Network([elman.LSTM(3, 5), elman.Dense(5, 2)]))
    refused(weights, "gru", like=elman.GRU(3, 4))
    refused(legacy(tmp_path / "old.h5"), "lstm", like=empty)
    whole = from_keras(path, like=empty)  # of a whole model, its weights alone
    for name, array in net.parameters.items():
        np.testing.assert_array_equal(whole.parameters[name], array)


def test_weights_that_the_network_has_no_layer_for_are_not_left_out(tmp_path):
    path = tmp_path / "net.keras"
    layers = [elman.LSTM(3, 4, seed=0), elman.LSTM(4, 4, seed=1), elman.LastStep(), elman.Dense(4, 2, seed=2)]
    to_keras(elman.Network(layers), path)
    weights = tmp_path / "net.weights.h5"
    with zipfile.ZipFile(path) as archive:
        weights.write_bytes(archive.read(WEIGHTS))
    fewer = elman.Network([elman.LSTM(3, 4), elman.LastStep(), elman.Dense(4, 2)])
    refused(weights, "like must have each layer", "layers/lstm_1/cell/vars/0", like=fewer)
    refused(weights, "layers/dense/vars/0", like=elman.Network([elman.LSTM(3, 4), elman.LSTM(4, 4)]))


def old_layer(kind, name, **config):
    return {"class_name": kind, "config": {"name": name, **config}}


@pytest.mark.parametrize("root", ["", "model_weights/"])
@pytest.mark.parametrize("between", ["/", "\\"])
def test_weights_of_keras_2_for_a_network_and_a_description(root, between, tmp_path):
    import h5py

    net = elman.Network([elman.LSTM(3, 4, seed=0), elman.BatchNorm(4, epsilon=1e-3), elman.Dense(4, 2, seed=1)])
    net.layers[1].buffers["mean"][:] = np.arange(4)
    rows = {"lstm_7": to_arrays(net.layers[0], "keras"), "norm": {"gamma": net.layers[1].gain}, "out": {}}
    rows["norm"] |= {"beta": net.layers[1].bias, **{f"moving_{k}": v for k, v in net.layers[1].buffers.items()}}
    rows["out"] = {"kernel": net.layers[2].W, "bias": net.layers[2].b}
    with h5py.File(tmp_path / "old.h5", "w") as file:
        top = file.require_group(root) if root else file
        top.attrs["layer_names"] = list(rows)
        for layer, arrays in rows.items():
            names = [f"{layer}{between}cell/{name}:0" for name in arrays]
            group = top.create_group(layer)
            group.attrs["weight_names"] = names
            for name, array in zip(names, arrays.values(), strict=True):
                group[name] = array
        top.create_group("top_level_model_weights")
    layers = [
        old_layer("LSTM", "a", units=4, recurrent_activation="sigmoid", batch_input_shape=[None, None, 3],
                  return_sequences=True),
        old_layer("BatchNormalizationV1", "b", axis=[2]),
        old_layer("TimeDistributed", "c", layer=old_layer("Dense", "d", units=2, activation="linear")),
    ]  # fmt: skip
    described = tmp_path / "model.json"
    model = {"class_name": "Sequential", "config": {"name": "s", "layers": layers}, "keras_version": "2.2.4-tf"}
    described.write_text(json.dumps(model))
    x = np.random.default_rng(5).normal(size=(2, 6, 3)).astype(np.float32)
    np.testing.assert_array_equal(from_keras(tmp_path / "old.h5", like=net)(x)[0], net(x)[0])
    np.testing.assert_allclose(from_keras(tmp_path / "old.h5", like=described)(x)[0], net(x)[0], atol=1e-6)


def old_call(kind, name, *reads, states=(), **config):
    node = [[read, 0, 0, {"initial_state": [[*s] for s in states]} if states else {}] for read in reads]
    return {**old_layer(kind, name, **config), "name": name, "inbound_nodes": [node] if node else []}


def old_graph(tmp_path, *layers, output):
    model = {"name": "m", "layers": list(layers), "output_layers": [[output, 0, 0]]}
    model["input_layers"] = [[layer["name"], 0, 0] for layer in layers if layer["class_name"] == "InputLayer"]
    path = tmp_path / "model.json"
    path.write_text(json.dumps({"class_name": "Model", "config": model, "keras_version": "2.9.0"}))
    return path


def test_states_of_keras_2_given_by_name(tmp_path):
    net = elman.Network({"e": elman.LSTM(3, 4, seed=0), "d": elman.Node(elman.LSTM(2, 4, seed=1), "y", state="e")})
    x = {name: np.random.default_rng(3).normal(size=(2, 5, n)).astype(np.float32) for name, n in (("x", 3), ("y", 2))}
    path = old_graph(
        tmp_path,
        old_call("InputLayer", "x", batch_input_shape=[None, None, 3]),
        old_call("InputLayer", "y", batch_input_shape=[None, None, 2]),
        old_call("LSTM", "e", "x", units=4, recurrent_activation="sigmoid", return_state=True),
        old_call("LSTM", "d", "y", states=[("e", 0, 1), ("e", 0, 2)], units=4, recurrent_activation="sigmoid",
                 return_sequences=True),
        output="d",
    )  # fmt: skip
    import h5py

    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["layer_names"] = ["e", "d"]
        for name, layer in zip("ed", net.layers, strict=True):
            arrays = to_arrays(layer, "keras")
            group = file.create_group(name)
            group.attrs["weight_names"] = list(arrays)
            for key, array in arrays.items():
                group[key] = array
    np.testing.assert_array_equal(from_keras(tmp_path / "old.h5", like=path)(x)[0], net(x)[0])


@pytest.mark.parametrize("case", ["twice", "option", "inside", "selu"])
def test_refusals_name_the_layer_and_its_class(case, tmp_path):
    x = old_call("InputLayer", "x", batch_input_shape=[None, 5, 3])
    layer = old_call("LSTM", "rnn", "x", units=4)
    if case == "twice":
        layer["inbound_nodes"] *= 2
    elif case == "option":
        layer["inbound_nodes"][0][0][3] = {"slice_spec": 1}
    elif case == "inside":
        layer = old_call("TimeDistributed", "rnn", "x", layer=old_layer("Conv1D", "c", filters=2, kernel_size=[2]))
    else:
        layer["config"]["activation"] = "selu"
    path = old_graph(tmp_path, x, layer, output="rnn")
    weights = legacy(tmp_path / "old.h5", names=("rnn",)) if case != "selu" else tmp_path / "selu.h5"
    if case == "selu":
        import h5py

        with h5py.File(weights, "w") as file:
            file.attrs["layer_names"] = ["rnn"]
            group = file.create_group("rnn")
            group.attrs["weight_names"] = ["k", "r", "b"]
            for name, shape in (("k", (3, 16)), ("r", (4, 16)), ("b", (16,))):
                group[name] = np.zeros(shape, np.float32)
    words = {"twice": "2 uses", "option": "slice_spec", "inside": "Conv1D", "selu": "a cell has"}
    kind = "TimeDistributed" if case == "inside" else "LSTM"
    with pytest.raises(elman.FormatError, match=words[case]) as error:
        from_keras(weights, like=path)
    assert f"the layer 'rnn' ({kind})" in str(error.value)


# Descriptions.

NONSENSE = [None, [], {}, "x", -1, 1e400, True, [[]], {"class_name": "LSTM"}]


def places(value, path=()):
    """Every place in nested JSON."""
    yield path
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def graph_of_many_layers():
    """A graph with a node of most kinds that Keras has."""
    nodes = {
        "scaled": (elman.Scale(3, [1.0, 2.0, 3.0], 0.5), "a"),
        "conv": elman.Conv1d(3, 4, 3, padding="causal", activation="relu", seed=0),
        "norm": elman.BatchNorm(4),
        "pool": elman.MaxPool1d(2, padding="same"),
        "left": elman.LSTM(4, 4, seed=1),
        "mean": (elman.AveragePool1d(2, padding="same"), "b"),
        "right": elman.Bidirectional(elman.GRU(3, 2, seed=2), elman.RNN(3, 2, seed=3)),
        "both": (elman.Concatenate(), "left", "right"),
        "dot": (elman.Attention(8, 8, scaled=False), "both", "both"),
        "sum": (elman.Add(), "dot", "both"),
        "product": (elman.Multiply(), "left", "right"),
        "seen": (elman.Attention(4, 4, kind="additive", seed=4), "left", "product"),
        "vector": elman.MaxOverTime(),
        "again": elman.Repeat(3),
        "out": elman.Dense(4, 2, "tanh", seed=5),
    }
    return elman.Network(nodes, outputs=("sum", "out"))


@pytest.mark.parametrize("model", ["functional_3", "graph"])
def test_nonsense_anywhere_in_a_description(model, tmp_path):
    """Whatever stands in the place of whatever: a network, or a FormatError with the name of the file."""
    if model == "graph":
        elman.to_keras(graph_of_many_layers(), tmp_path / "graph.keras")
    with zipfile.ZipFile(tmp_path / "graph.keras" if model == "graph" else GOLDEN / f"{model}.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config, path, refusals, read = json.loads(members[CONFIG]), tmp_path / "odd.keras", 0, 0
    everywhere = [place for place in places(config) if place and "initializer" not in str(place)][::2]
    for i, place in enumerate(everywhere):
        changed = copy.deepcopy(config)
        *way, last = place
        at = changed
        for key in way:
            at = at[key]
        at[last] = NONSENSE[i % len(NONSENSE)]
        written(path, {**members, CONFIG: json.dumps(changed)})
        try:
            from_keras(path)
        except elman.FormatError as error:
            refusals += str(error).startswith(str(path))
        else:
            read += 1
    assert refusals + read == len(everywhere)
    assert refusals > read // 2


def test_what_is_no_axis_no_output_and_no_list_is_named(tmp_path):
    path = tmp_path / "graph.keras"
    elman.to_keras(graph_of_many_layers(), path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}

    def refused(change):
        written(path, described(members, change))
        for _ in range(2):
            with pytest.raises(elman.FormatError) as error:
                from_keras(path)
        return str(error.value)

    def joined(layers, value):
        next(layer for layer in layers if layer["class_name"] == "Concatenate")["config"]["axis"] = value

    def stacked(layers, value):
        cells = {"class_name": "StackedRNNCells", "config": {"cells": value}}
        cell = next(layer for layer in layers if layer["class_name"] == "LSTM")
        cell.update(class_name="RNN", config={**cell["config"], "cell": cells})

    for value in ("x", {}, [1], 0):
        assert "axis must be -1, the features. Got" in refused(
            lambda layers, config, value=value: joined(layers, value)
        )
    for value in (True, "x", {"a": 1}):
        assert "cells must be a list. Got" in refused(lambda layers, config, value=value: stacked(layers, value))
    ended = refused(lambda layers, config: config["config"]["input_layers"][0].__setitem__(2, 7))
    assert "'a', an input, must give one output. Got its output 7." in ended


def described(members, change):
    config = json.loads(members[CONFIG])
    change(config["config"]["layers"], config)
    return {**members, CONFIG: json.dumps(config)}


def foreign(layers, config):
    layers[1] |= {"module": "antigravity", "class_name": "LSTM"}


def registered(layers, config):
    layers[1]["registered_name"] = "mine>LSTM"


def code(layers, config):
    layers[1] |= {
        "class_name": "Lambda",
        "config": {"name": "l", "function": {"class_name": "__lambda__", "config": {}}},
    }


def function(layers, config):
    custom = {"module": "antigravity", "class_name": "function", "config": "evil", "registered_name": "evil"}
    layers[-1]["config"]["activation"] = custom


DESCRIPTIONS = {
    "a class of others": (foreign, "antigravity.LSTM"),
    "a registered class": (registered, "mine>LSTM"),
    "code": (code, "Lambda"),
    "a function of others": (function, "antigravity"),
    "two layers of one name": (lambda layers, config: layers[2]["config"].update(name="lstm"), "a name of its own"),
    "another size": (lambda layers, config: layers[1]["config"].update(units=5), "units must be 4"),
    "a huge size": (lambda layers, config: layers[2]["config"].update(units=10**18), "kernel must have shape"),
    "half precision": (lambda layers, config: layers[1]["config"].update(dtype="float16"), "float16"),
    "images": (lambda layers, config: layers[0]["config"].update(batch_shape=[None, 8, 8, 3]), "axes"),
    "two states": (lambda layers, config: layers[1]["config"].update(time_major=True), "time_major"),
    "no model": (lambda layers, config: config.update(class_name="Dense"), "Sequential or functional"),
    "an unknown activation": (lambda layers, config: layers[1]["config"].update(activation="gelu"), "'gelu'"),
}  # fmt: skip


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_descriptions_that_mean_harm(name, good):
    path, members = good
    change, word = DESCRIPTIONS[name]
    refused(written(path, described(members, change)), word)
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(("depth", "word"), [(400, "units must be 4"), (5000, "must be JSON")])
def test_descriptions_nested_deep(depth, word, tmp_path):
    """Deeper than any size is, and deeper than JSON can be read."""
    path = tmp_path / "deep.keras"
    to_keras(elman.GRU(3, 4, bidirectional=True, seed=0), path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    units = b'{"a": [' * depth + b"]}" * depth
    refused(written(path, {**members, CONFIG: members[CONFIG].replace(b'"units": 4', b'"units": ' + units)}), word)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"3", b"null", b"{", b"\xff", b"[" * 100_000, b"1" * 5000, b'{"class_name": 3}']
)
def test_descriptions_that_are_none(text, good):
    path, members = good
    refused(written(path, {**members, CONFIG: text}))


def graph(layers, output, source="in"):
    """A functional model in the form of Keras 2, from layer name to its class and the layer before it."""
    listed = []
    for name, (kind, calls) in layers.items():
        config = {"name": name, **({"batch_input_shape": [None, None, 2]} if kind == "InputLayer" else {})}
        config |= {"activation": "relu"} if kind == "Activation" else {}
        nodes = [[[before, 0, 0, {}] for before in call] for call in calls]
        listed.append({"name": name, "class_name": kind, "config": config, "inbound_nodes": nodes})
    config = {"layers": listed, "input_layers": [[source, 0, 0]], "output_layers": [[output, 0, 0]]}
    return {"class_name": "Functional", "config": {"name": "model", **config}}


START = {"in": ("InputLayer", [])}
GRAPHS = {
    "a cycle": ({"a": ("Activation", [["b"]]), "b": ("Activation", [["a"]])}, "a cycle"),
    "a layer that feeds itself": ({"b": ("Activation", [["b"]])}, "a cycle"),
    "a layer that is not there": ({"b": ("Activation", [["gone"]])}, "'gone'"),
    "a layer beside the chain": ({"a": ("Activation", [["in"]]), "b": ("Activation", [["in"]])}, "beside it"),
    "two uses": ({"b": ("Activation", [["in"], ["in"]])}, "used once"),
    "no call": ({"b": ("Activation", [])}, "used once"),
    "an empty call": ({"b": ("Activation", [[]])}, "called with tensors"),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_that_are_no_chain(name, tmp_path):
    layers, word = GRAPHS[name]
    refused(legacy(tmp_path / "graph.h5", model=graph({**START, **layers}, "b"), names=()), word)


def test_a_chain_in_any_order_of_its_list(tmp_path):
    layers = {"b": ("Activation", [["a"]]), "a": ("Masking", [["in"]]), **START}
    net = from_keras(legacy(tmp_path / "graph.h5", model=graph(layers, "b"), names=()))
    assert [type(layer).__name__ for layer in net.layers] == ["Masking", "Activate"]


def test_a_difference_of_more_than_two(tmp_path):
    layers = {name: ("Activation", [["in"]]) for name in "abc"}
    for count in (1, 2, 3):
        model = graph({**START, **dict(list(layers.items())[:count]), "d": ("Subtract", [[*"abc"[:count]]])}, "d")
        path = legacy(tmp_path / "graph.h5", model=model, names=())
        if count == 2:
            np.testing.assert_array_equal(from_keras(path)([[1.0, -1.0]])[0], [[0.0, 0.0]])
        else:
            refused(path, f"it must read two values. Got {count}")


def test_a_layer_of_the_name_that_an_input_has_by_itself(tmp_path):
    layers = [old_layer("Dense", "dense", units=2), old_layer("Activation", "x", activation="tanh")]
    net = from_keras(legacy(tmp_path / "old.h5", {"class_name": "Sequential", "config": layers}))
    np.testing.assert_allclose(net([[0.0, 1.0, 2.0]])[0], np.tanh([[1.0, 2.0]]), rtol=1e-6)


@pytest.mark.parametrize("axis", [-1, [-1], 2, [2], 1, "x", None, [0, 1]])
def test_the_axis_of_a_normalization(axis, tmp_path):
    """2 is the last axis of sequences; where time is gone it is 1."""
    listed = [
        {"class_name": "InputLayer", "config": {"name": "in", "batch_shape": [None, None, 3]}},
        {"class_name": "LayerNormalization", "config": {"name": "norm", "axis": axis, "center": False, "scale": False}},
    ]
    path = legacy(tmp_path / "norm.h5", {"class_name": "Sequential", "config": {"layers": listed}}, names=())
    if axis in (-1, 2, [-1], [2]):
        assert from_keras(path).layers[0].config == {"size": 3, "epsilon": 1e-3, "dtype": "float32"}
    else:
        refused(path, "axis must be -1")


def test_mask_zero_drops_token_0_and_says_so_where_it_cannot(good, tmp_path):
    path, _ = good
    table = np.random.default_rng(0).standard_normal((5, 3)).astype("f4")
    for wrong in (False, True):
        table[3] *= not wrong
        net = elman.Network([elman.Embedding(5, 3, seed=0), elman.LSTM(3, 4, seed=1), elman.LastStep()])
        net.layers[0].W = table
        to_keras(net, path)
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        written(path, described(members, lambda layers, config: layers[1]["config"].update(mask_zero=True)))
        if wrong:
            refused(path, "embeddings must not be 0")
        else:
            y, _ = from_keras(path)([[1, 0, 2, 0, 0], [3, 4, 0, 1, 2]])
            np.testing.assert_array_equal(y, net([np.array([1, 2]), np.array([3, 4, 1, 2])])[0])


# Weights alone of Keras 2, and files of Windows.

LAYERS = [
    {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 5, 3], "name": "lstm_input"}},
    {"class_name": "LSTM", "config": {"name": "lstm", "units": 4, "recurrent_activation": "hard_sigmoid"}},
    {"class_name": "Dense", "config": {"name": "dense", "units": 2}},
]
SHAPES = {"lstm": [(3, 16), (4, 16), (16,)], "dense": [(4, 2), (2,)]}


def drawn(shapes=SHAPES):
    rng = np.random.default_rng(3)
    return {name: [rng.normal(size=shape).astype("f4") for shape in each] for name, each in shapes.items()}


def weights_of_2(path, weights):
    """What save_weights of Keras 2 writes; its layers have other numbers in their names from run to run."""

    def fill(file):
        file.attrs["layer_names"] = [b"lstm_input", *(f"{name}_7".encode() for name in weights)]
        file.create_group("lstm_input").attrs["weight_names"] = np.zeros(0, "S1")
        for name, arrays in weights.items():
            group = file.create_group(f"{name}_7")
            group.attrs["weight_names"] = [f"{name}_7/a{i}:0".encode() for i in range(len(arrays))]
            for i, array in enumerate(arrays):
                group[f"{name}_7/a{i}:0"] = array

    path.write_bytes(hdf5(fill))
    return path


def test_weights_alone_of_keras_2(tmp_path):
    weights = drawn()
    path, described = weights_of_2(tmp_path / "w.h5", weights), tmp_path / "arch.json"
    model = {"class_name": "Sequential", "config": {"name": "s", "layers": LAYERS}, "keras_version": "2.8.0"}
    described.write_text(json.dumps(model))
    refused(path, "like=network", "to_json()")
    gates = {gate: elman.Activation("hard_sigmoid", alpha=0.2) for gate in "ifo"}
    like = elman.Network([elman.LSTM(3, 4, activations=gates), elman.LastStep(), elman.Dense(4, 2)])
    x = np.random.default_rng(4).normal(size=(2, 5, 3)).astype("f4")
    one, other = from_keras(path, like=described), from_keras(path.read_bytes(), like=like)
    np.testing.assert_array_equal(one(x)[0], other(x)[0])
    np.testing.assert_array_equal(one.layers[0].Wx, weights["lstm"][0])
    assert one.layers[0].config == like.layers[0].config
    refused(path, "weights of 1 layers", like=elman.LSTM(3, 4))
    with pytest.raises(TypeError, match="like must be a network, or the path"):
        from_keras(path, like=3)
    with pytest.raises(elman.FormatError, match=r"save_weights|first bytes"):
        from_keras(described, like=like)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_weights_of_cudnn_layers(kind, bidirectional, tmp_path):
    """Keras 2 kept each gate's matrix transposed in the memory of its shape, and two biases in one row."""
    rng, both = np.random.default_rng(6), 1 + bidirectional
    net = elman.Network([getattr(elman, kind)(3, 4, bidirectional=bidirectional, seed=0), elman.Dense(4 * both, 2)])
    plain = to_arrays(net.layers[0], "keras")
    arrays = []
    for side in ("", *([key for key in plain if key.startswith("kernel") and key != "kernel"][:1])):
        names = [name + side.removeprefix("kernel") for name in ("kernel", "recurrent_kernel", "bias")]
        kernel, recurrent, bias = (plain[name] for name in names)
        count = kernel.shape[1] // 4
        kernel = np.hstack([part.T.ravel().reshape(part.shape) for part in np.split(kernel, count, 1)])
        recurrent = np.hstack([part.T for part in np.split(recurrent, count, 1)])
        half = rng.normal(size=bias.shape).astype("f4")
        bias = np.concatenate([half, bias - half]) if kind == "LSTM" else bias.ravel()
        arrays += [kernel, recurrent, bias]
    dense = [net.layers[1].W, net.layers[1].b]
    path = weights_of_2(tmp_path / "w.h5", {"cudnn": arrays, "dense": dense})
    layer = old_layer(f"CuDNN{kind}", "a", units=4, return_sequences=True, stateful=False)
    layer = old_layer("Bidirectional", "b", layer=layer, merge_mode="concat") if bidirectional else layer
    layer["config"]["batch_input_shape"] = [None, None, 3]
    described = tmp_path / "model.json"
    layers = [layer, old_layer("Dense", "d", units=2)]
    model = {"class_name": "Sequential", "config": {"name": "s", "layers": layers}, "keras_version": "2.2.4"}
    described.write_text(json.dumps(model))
    x = rng.normal(size=(2, 5, 3)).astype("f4")
    for like in (net, described):
        np.testing.assert_allclose(from_keras(path, like=like)(x)[0], net(x)[0], rtol=1e-6, atol=1e-6)
    odd = weights_of_2(tmp_path / "odd.h5", {"cudnn": [np.ones((), "f4")] * len(arrays), "dense": dense})
    refused(odd, "shape", like=described)
    relu = {"g": "relu", "c": "relu"}
    first = elman.GRU(3, 4, reset_after=False) if kind == "GRU" else elman.LSTM(3, 4, activations=relu)
    if not bidirectional:
        refused(path, "weights are those of a CuDNN layer", like=elman.Network([first, net.layers[1]]))


@pytest.mark.parametrize("top", ["layers", "_layer_checkpoint_dependencies"])
def test_names_that_windows_wrote_as_one(top, tmp_path):
    weights, x = drawn(), np.ones((1, 5, 3), "f4")
    config = {"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": LAYERS}}
    outputs = []
    for sep in ("/", "\\"):

        def fill(file, sep=sep):
            for name, cell in (("lstm", f"{sep}cell"), ("dense", "")):
                for i, array in enumerate(weights[name]):
                    file[f"{top}{sep}{name}{cell}/vars/{i}"] = array

        metadata = json.dumps({"keras_version": "2.13.1"})
        members = {CONFIG: json.dumps(config), METADATA: metadata, WEIGHTS: hdf5(fill)}
        outputs.append(from_keras(written(tmp_path / "w.keras", members))(x)[0])
    np.testing.assert_array_equal(*outputs)


@pytest.mark.parametrize("alpha", [0.2, 0.35])
def test_a_hard_sigmoid_of_another_slope_is_written_by_scaled_weights(alpha, tmp_path):
    act = elman.Activation("hard_sigmoid", alpha=alpha)
    layers = [elman.LSTM(3, 4, activations=dict.fromkeys("ifo", act), seed=0), elman.GRU(4, 3, seed=1)]
    layers += [
        elman.GRU(3, 4, activations={"r": act, "z": act}, reset_after=False, seed=2),
        elman.RNN(4, 3, act, seed=3),
    ]
    net = elman.Network(
        [*layers, elman.Conv1d(3, 2, 2, activation=act, seed=4), elman.Dense(2, 2, act), elman.Activate(act)]
    )
    for array in net.parameters.values():
        array += np.float32(0.1)
    to_keras(net, tmp_path / "net.keras")
    same, x = from_keras(tmp_path / "net.keras"), np.random.default_rng(0).normal(size=(2, 6, 3)).astype("f4")
    assert same.layers[0].config["activations"]["i"]["alpha"] == 1 / 6
    np.testing.assert_allclose(same(x)[0], net(x)[0], rtol=1e-5, atol=1e-5)


def test_names_of_nodes_inputs_and_outputs(tmp_path):
    """Those of the file; a dot and the ending of second directions, which no node may have, are changed."""
    layers = {
        "a.b": ("Activation", [["in"]]),
        "c_reverse": ("Activation", [["in"]]),
        "d": ("Add", [["a.b", "c_reverse"]]),
    }
    model = graph({**START, **layers}, "d")
    model["config"]["output_layers"] = [["d", 0, 0], ["a.b", 0, 0]]
    net = from_keras(legacy(tmp_path / "graph.h5", model=model, names=()))
    assert (net.inputs, net.names) == (("in",), ("a_b", "c_reverse_", "d"))
    y, _ = net([[1.0, -1.0], [2.0, 3.0]])
    assert list(y) == ["d", "a_b"]
    np.testing.assert_array_equal(y["d"], [[2.0, 0.0], [4.0, 6.0]])


def test_a_warning_where_masked_steps_keep_their_places(tmp_path):
    to_keras(elman.Network([elman.Masking(), elman.GRU(2, 3)]), tmp_path / "net.keras")
    with pytest.warns(UserWarning, match=r"net.keras: masked steps must stand last for what 'gru' gives"):
        from_keras(tmp_path / "net.keras")
    net = elman.Network([elman.Masking(), elman.Reverse(), elman.GRU(2, 3)])
    to_keras(net, tmp_path / "turned.keras")
    with pytest.warns(UserWarning, match=r"left out. Steps of 'gru' go backwards: masked ones come first in Keras\."):
        from_keras(tmp_path / "turned.keras")
