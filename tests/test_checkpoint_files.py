"""Checkpoints and logs from outside: what no run can have written is refused before any weight changes."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from elman.checks import FormatError
from elman.files import checksum
from elman.layers import GRU, LSTM, Dense, Dropout
from elman.network import Network
from elman.training import AdamW, Checkpoint, CosineSchedule, History, Quantile, fit

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((5, 20, 2)), RNG.standard_normal((5, 20, 1))
OPTIONS = {
    "loss": Quantile((0.2, 0.7)),
    "optimizer": AdamW(CosineSchedule(0.02)),
    "epochs": 3,
    "batch_size": 2,
    "truncate": (6, 9),
    "patience": 3,
    "validation": (X[:2], Y[:2]),
    "seed": 4,
    "progress": False,
}


def network():
    return Network([LSTM(2, 3, seed=0), Dropout(0.2), GRU(3, 2, seed=1), Dense(2, 2, seed=2)])


@pytest.fixture(scope="module")
def middle(tmp_path_factory):
    """A checkpoint in the middle of the second epoch, with a state carried on."""
    folder = tmp_path_factory.mktemp("runs")
    path, kept, move, count = folder / "run", folder / "middle", os.replace, []

    def keep(source, target, **options):
        count.append(1)
        if len(count) == 14:
            shutil.copy(source, kept)
        move(source, target, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", keep)
        fit(network(), X, Y, checkpoint=Checkpoint(path, every=0), **OPTIONS)
    header, tensors = read(kept)
    assert header["numbers"]["epoch"] == 1
    assert header["carried"]
    assert header["numbers"]["update"] > 0
    assert any(name.startswith("best/") for name in tensors)
    return kept


def read(path):
    with safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()["elman_checkpoint"])
    return header, load_file(path)


def write(path, header, tensors):
    """A file with a right checksum: what is wrong in it, nothing but a look at the content can tell."""
    text = json.dumps(header)
    save_file(tensors, path, metadata={"elman_checkpoint": text, "checksum": checksum(tensors, text)})


def refuse(path, net=None):
    """Asserts that a file is refused, that no weight changed, and that the file stays as it is."""
    net, content = net or network(), path.read_bytes()
    with pytest.raises(FormatError, match=r"checkpoint must be a whole checkpoint of elman\. Got '.*': "):
        fit(net, X, Y, checkpoint=path, **OPTIONS)
    for name, array in network().parameters.items():
        np.testing.assert_array_equal(array, net.parameters[name])
    assert path.read_bytes() == content


def test_the_file_itself_is_taken(middle, tmp_path):
    path, net, twin = tmp_path / "run", network(), network()
    write(path, *read(middle))
    assert len(fit(net, X, Y, checkpoint=path, **OPTIONS)) == 3
    fit(twin, X, Y, **OPTIONS)
    for name, array in net.parameters.items():
        np.testing.assert_array_equal(array, twin.parameters[name])


HUGE = 10**400
NONE = [None, True, "1", [], {}, math.nan, math.inf, -math.inf, -1, HUGE, -HUGE]
WHOLE = [*NONE, 1.5, 1.0, -2, 10**30, 999]
NUMBERS = {
    "epoch": [*WHOLE, 0, 2], "update": WHOLE, "best_epoch": [*WHOLE, 1, 5],
    "loss": [value for value in NONE if value != -1], "weight": NONE, "rate": NONE, "norm": NONE, "seconds": NONE,
    "best_loss": [*NONE, 0.0, 1e9], "stopped": [*NONE, 1.5, -2],
}  # fmt: skip


@pytest.mark.parametrize("name", NUMBERS)
def test_impossible_numbers_are_refused(name, middle, tmp_path):
    for value in NUMBERS[name]:
        header, tensors = read(middle)
        assert header["numbers"][name] != value or isinstance(value, (bool, float)), name
        header["numbers"][name] = value
        write(tmp_path / "run", header, tensors)
        refuse(tmp_path / "run")


def changed_headers(header):
    """Headers that no run writes, each with the change of one place."""
    state = header["noise"]["state"]["state"]
    places = {
        ("version",): [None, True, "2", 2.0, 0, 4, -1, HUGE],
        ("seed",): [None, -1, 4.0, "4", True],
        ("identity",): [None, [], "x", {"net": 3}, [["net", ""]]],
        ("first_weights",): [None, 3, []],
        ("python",): [None, 3],
        ("optimizer",): [None, "x", [3], {}],
        ("numbers",): [None, [], {}, {"epoch": 1}, {**header["numbers"], "more": 1}],
        ("noise",): [None, [], {}, {"bit_generator": "MT19937"}, np.random.MT19937(0).state["state"]["pos"]],
        ("noise", "bit_generator"): ["MT19937", "os.system", None, 3],
        ("noise", "state"): [None, [], {}, {"state": 1}, {"state": state, "inc": 3, "more": 1}],
        ("noise", "state", "state"): [None, -1, 2**128, 1.5, "1", True, HUGE],
        ("noise", "state", "inc"): [None, -1, 2**128, 1.5, "1", 1, header["noise"]["state"]["inc"] + 2],
        ("noise", "has_uint32"): [None, 2, -1, True, "0", 0.0],
        ("noise", "uinteger"): [None, -1, 2**32, 0.5, HUGE],
        ("carried",): [None, 0, True, "x", {}, [], ["list"], ["tuple", 0, 1], ["set", 0], ["list", ["tuple", 0, 0], 2],
                       ["list", ["tuple", 0, 1], 9], ["list", ["tuple", 0, 1], -1], ["list", ["tuple", 0, 1], 2, 2],
                       ["list", ["list", 0, 1], 2], ["list", ["tuple", 1, 0], 2], ["list", ["tuple", 0, 1], True],
                       ["list", ["tuple", 0, 1], 2.0], ["list", ["tuple", 0, None], 1]],
    }  # fmt: skip
    for place, values in places.items():
        for value in values:
            yield place, value
    deep: list = []
    for _ in range(900):
        deep = ["list", deep]
    yield ("carried",), deep
    for name in header:
        yield (name,), ...  # taken out
    yield ("more",), 1


def test_impossible_headers_are_refused(middle, tmp_path):
    for place, value in changed_headers(read(middle)[0]):
        header, tensors = read(middle)
        part = header
        for name in place[:-1]:
            part = part[name]
        if value is ...:
            del part[place[-1]]
        else:
            part[place[-1]] = value
        write(tmp_path / "run", header, tensors)
        refuse(tmp_path / "run")


def test_impossible_tensors_are_refused(middle, tmp_path):
    names = list(read(middle)[1])
    for name in names:
        array = read(middle)[1][name]
        others = [
            None,
            array.astype("f8" if array.dtype == "f4" else "f4"),
            array.astype("i4"),
            array.reshape(-1, 1, 1),
        ]
        others += [np.zeros((*array.shape, 2), array.dtype), np.concatenate([array.ravel(), array.ravel()])]
        if array.dtype.kind == "f" and not name.startswith(("optimizer/", "history")):
            others += [np.full_like(array, np.inf), np.where(np.arange(array.size).reshape(array.shape), array, np.nan)]
        if name == "optimizer/step":
            others += [np.full_like(array, -1), np.full_like(array, 2**62)]
        if name == "history":
            others += [np.full_like(array, -1), array[:0], np.concatenate([array, array])]
        for other in others:
            header, tensors = read(middle)
            if other is None:
                del tensors[name]
            else:
                tensors[name] = np.ascontiguousarray(other)
            write(tmp_path / "run", header, tensors)
            refuse(tmp_path / "run")
    for name in ("more", "weights/9.W", "best/9.W", "carried/3", "carried/-1", "carried/x", "optimizer/m.9.W"):
        header, tensors = read(middle)
        write(tmp_path / "run", header, tensors | {name: np.zeros(3, np.float32)})
        refuse(tmp_path / "run")


def test_a_change_without_its_checksum_is_refused(middle, tmp_path):
    header, tensors = read(middle)
    header["numbers"]["loss"] += 1e-9
    for more in ({}, {"checksum": ""}, {"checksum": "0" * 32}, {"cheksum": checksum(tensors, json.dumps(header))}):
        save_file(tensors, tmp_path / "run", metadata={"elman_checkpoint": json.dumps(header), **more})
        refuse(tmp_path / "run")


def test_every_flipped_bit_is_seen(middle, tmp_path):
    """Each bit of the header, and some of the tensors': refused, whichever it is."""
    content = middle.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    rng = np.random.default_rng()
    bits = np.concatenate([rng.choice(8 * header, 300, replace=False), rng.integers(8 * header, 8 * len(content), 300)])
    path, net = tmp_path / "run", network()
    for bit in [*range(64), *bits]:
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(damaged)
        refuse(path, net)


def test_cut_and_longer_files_are_refused(middle, tmp_path):
    content, path, net = middle.read_bytes(), tmp_path / "run", network()
    for size in [*range(40), *np.random.default_rng().integers(40, len(content), 40)]:
        path.write_bytes(content[:size])
        refuse(path, net)
    for more in (b"\0", b"\n", content):
        path.write_bytes(content + more)
        refuse(path, net)


def test_equal_runs_write_equal_bytes_but_for_the_seconds(tmp_path, monkeypatch):
    monkeypatch.setattr("time.perf_counter", lambda: 1.0)
    for name in ("one", "two"):
        fit(network(), X, Y, checkpoint=tmp_path / name, **OPTIONS)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


# Files of earlier versions.


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_checkpoint_of_an_earlier_version_goes_on(version, tmp_path):
    """Written by plain equations, in the second epoch; they finish it to the bit, kernels nearly so.

    Whoever changes how arguments are told makes a new version of the files, and keeps reading these.
    """
    golden = Path(__file__).parent / "golden" / "checkpoints" / f"version_{version}.safetensors"
    assert read(golden)[0]["version"] == version
    t = np.arange(60)
    scale = np.array([0.5, 1, 1.5, 2])[:, None, None]
    x = np.stack([np.sin(t / 3), np.cos(t / 5)], 1)[None].repeat(4, 0) * scale
    y = x[..., :1] * 0.5
    options = {"loss": Quantile((0.2, 0.7)), "optimizer": AdamW(CosineSchedule(0.02)), "epochs": 4, "batch_size": 2,
               "truncate": (12, 20), "clip_norm": 0.5, "patience": 3, "validation": (x[:2], y[:2]), "seed": 5,
               "progress": False}  # fmt: skip

    def make():
        return Network([GRU(2, 3, seed=1), Dropout(0.3), Dense(3, 2, seed=2)])

    whole = make()
    history = fit(whole, x, y, **options)
    shutil.copy(golden, tmp_path / "run")
    net = make()
    np.testing.assert_allclose(fit(net, x, y, checkpoint=tmp_path / "run", **options).loss, history.loss, rtol=1e-4)
    for name, array in net.parameters.items():
        np.testing.assert_allclose(array, whole.parameters[name], atol=1e-5)
    for name, value in {"batch_size": 3, "optimizer": AdamW(CosineSchedule(0.03)), "loss": Quantile((0.2, 0.8)),
                        "seed": 6, "clip_norm": None}.items():  # fmt: skip
        shutil.copy(golden, tmp_path / "run")
        with pytest.raises(ValueError, match=f"of a run that differs in {name}"):
            fit(make(), x, y, checkpoint=tmp_path / "run", **{**options, name: value})
    shutil.copy(golden, tmp_path / "run")
    change = Checkpoint(tmp_path / "run", change=("optimizer",))
    assert len(fit(make(), x, y, checkpoint=change, **{**options, "optimizer": AdamW(0.001)})) == 4


# Logs.

LINE = {"epoch": 1, "loss": 0.5, "validation_loss": 0.7, "learning_rate": 0.1, "gradient_norm": 1.0, "seconds": 0.1}
BAD_LINES = [
    b"\xff\xfe\x00", b"\xff", b"[" * 4, b"[" * 100000, b'{"epoch":' * 50000, b"[]", b'"x"', b"{}", b"null", b"3",
    b"true", b"", b" ", b"\x00", b'{"epoch": 1} {"epoch": 2}', b'{"epoch": 1,}', b'{"loss": 0.5}',
    b'\xef\xbb\xbf{"epoch": 1}',
    b'{"epoch": 1, "loss": ' + b"9" * 5000 + b"}", b'{"epoch": 1, "loss": 1e999}',
    *(json.dumps({**LINE, "epoch": value}).encode() for value in (0, 2, 5, -1, 1.0, "1", True, None, [1], HUGE)),
    *(
        json.dumps({**LINE, name: value}).encode()
        for name in LINE
        for value in ("0.5", None, True, [], {}, math.nan, -math.inf, 10**400)
    ),
    *(json.dumps({**LINE, name: -1}).encode() for name in ("learning_rate", "gradient_norm", "seconds")),
]  # fmt: skip


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_what_is_no_epoch_is_refused_with_its_line(ending, tmp_path):
    path, first = tmp_path / "log", b'{"epoch": 0, "loss": 1.0}' + ending
    for line in BAD_LINES:
        path.write_bytes(first + line + ending)
        with pytest.raises(FormatError, match=r"'.*log' must hold one epoch per line, as JSON\. Got line 2") as caught:
            History.read(path)
        assert len(str(caught.value)) < 600
    path.write_bytes(first + json.dumps(LINE).encode() + ending)
    assert History.read(path).loss.tolist() == [1.0, 0.5]
    path.write_bytes(first + json.dumps(LINE).encode())  # a last line without an end may still be growing
    assert History.read(path).loss.tolist() == [1.0]


def test_paths_of_no_log_are_refused_in_words(tmp_path):
    for path, kind, message in (
        (tmp_path, FileNotFoundError, "path must be a file"),
        (tmp_path / "none", FileNotFoundError, "path must be a file"),
        (3, TypeError, "path must be a path"),
        (None, TypeError, "path must be a path"),
    ):
        with pytest.raises(kind, match=message):
            History.read(path)


def test_a_history_without_epochs_prints_and_has_no_best_one(tmp_path):
    (tmp_path / "log").write_text("")
    history = History.read(tmp_path / "log")
    assert repr(history) == "History of 0 epochs"
    for call in (lambda: history.best_epoch, history.plot):
        with pytest.raises(ValueError, match=r"a history must have at least one epoch to have a best one\. Got none\."):
            call()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(-1e9, 1e9) | st.just(math.nan), st.floats(-1e9) | st.just(math.nan),
                          *[st.floats(0, 1e300)] * 3), max_size=5))  # fmt: skip
def test_a_log_holds_every_number_to_the_last_bit(records):
    from elman.training.history import _line, _record

    for i, record in enumerate(records):
        np.testing.assert_array_equal(_record(i, _line(i, record).encode()), record)
    assert re.fullmatch(r"History of \d epochs?( in [\s\S]*)?", repr(History.of_records(records, True)))
