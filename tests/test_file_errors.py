"""Errors of files: which file it is, what it is instead, and never as long as what it holds."""

from __future__ import annotations

import json
import os
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import elman
from elman import FormatError
from elman.files import checksum, read_safetensors, write_safetensors


def test_a_checkpoint_and_a_network_are_told_from_each_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = elman.Network([elman.GRU(2, 3, seed=0), elman.Dense(3, 1, seed=0)])
    net.save("net.safetensors")
    x = np.ones((4, 3, 2))
    train = {"loss": "squared_error", "epochs": 1, "progress": False}
    elman.fit(net, x, x[..., :1], checkpoint="run", **train)
    words = "the field 'elman'. Got none: it is a checkpoint, with which elman.fit goes on"
    for call in (
        lambda: elman.load("run"),
        lambda: elman.load(Path("run").read_bytes()),
        lambda: elman.convert("run", "n.onnx"),
    ):
        with pytest.raises(FormatError, match=re.escape(words)):
            call()
    assert words in str(elman.inspect("run"))
    with pytest.raises(FormatError, match=r"'elman_checkpoint'\. Got none: it is a network, which elman\.load reads"):
        elman.fit(net, x, x[..., :1], checkpoint="net.safetensors", **train)


def test_errors_of_files_are_short_whatever_they_hold(tmp_path):
    """Names and numbers of a file may be of any length."""
    net = elman.Network([elman.GRU(2, 3, seed=0), elman.Dense(3, 1, seed=0)])
    x, run = np.ones((4, 3, 2)), tmp_path / "run"
    elman.fit(net, x, x[..., :1], loss="squared_error", epochs=1, checkpoint=run, progress=False)
    big, many = "x" * 100_000, {f"{i:070}": np.zeros(1) for i in range(3000)}
    tensors, metadata = read_safetensors(run.read_bytes())
    header = json.loads(metadata["elman_checkpoint"])
    headers = [
        {**header, big: 1},
        {**header, "version": big},
        {**header, "version": 10**4000},
        {**header, "noise": big},
    ]
    headers += [{**header, "numbers": {**header["numbers"], name: big}} for name in header["numbers"]]
    for found, more in [*((one, {}) for one in headers), (header, many), (header, {big: np.zeros(1)})]:
        text, arrays = json.dumps(found), {**tensors, **more}
        run.write_bytes(write_safetensors(arrays, {"elman_checkpoint": text, "checksum": checksum(arrays, text)}))
        with pytest.raises(FormatError) as caught:
            elman.fit(net, x, x[..., :1], loss="squared_error", epochs=1, checkpoint=run, progress=False)
        assert 50 < len(str(caught.value)) < 5000
    net.save(tmp_path / "net")
    tensors, metadata = read_safetensors((tmp_path / "net").read_bytes())
    gru = json.loads(metadata["elman"])["network"]["layers"][0]
    entries = [
        {**gru, big: 1},
        {**gru, "type": big},
        {**gru, "cell": {"name": big, "options": {}}},
        {**gru, "hidden_size": big},
    ]
    for entry, more in [*((one, {}) for one in entries), (gru, many), (gru, {big: np.zeros(1)})]:
        text, arrays = json.dumps({"version": 2, "network": {"layers": [entry]}}), {**tensors, **more}
        content = write_safetensors(arrays, {"elman": text, "checksum": checksum(arrays, text)})
        with pytest.raises(FormatError) as caught:
            elman.load(content)
        assert 50 < len(str(caught.value)) < 5000


def test_errors_of_the_system_name_the_file(tmp_path):
    """A full disk, most of all; here a limit of this process."""
    resource = pytest.importorskip("resource")
    net, before = elman.Network([elman.GRU(9, 30, seed=0)]), resource.getrlimit(resource.RLIMIT_FSIZE)
    net.save(tmp_path / "source.safetensors")
    writers = {"n.rtneural.json": lambda path: elman.convert(tmp_path / "source.safetensors", path)}
    writers |= {"n.safetensors": net.save, "n.onnx": partial(elman.to_onnx, net), "n.c": partial(elman.to_c, net)}
    for name, write in writers.items():
        path = tmp_path / name
        path.write_text("old")
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        try:
            with pytest.raises(OSError, match=f"{re.escape(str(path))}'$"):
                write(path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert path.read_text() == "old"
        assert not [other for other in os.listdir(tmp_path) if other.startswith(".")]
        os.unlink(path)


def test_files_that_cannot_be_read(tmp_path, monkeypatch):
    path = tmp_path / "net.safetensors"
    net = elman.Network([elman.RNN(2, 1, seed=0)])
    net.save(path)
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.R_OK and access(path, mode))
    x = np.ones((4, 3, 2))
    readers = [elman.load, elman.History.read, elman.inspect, elman.from_onnx]
    readers += [lambda path: elman.fit(net, x, x[..., :1], loss="squared_error", checkpoint=path)]
    for read in readers:
        with pytest.raises(
            PermissionError, match=rf"must be a file that can be read\. Got '{re.escape(str(path))}'\.$"
        ):
            read(path)
