"""`elman.load` opens any file, by path or content, and tells what it is by its content."""

from __future__ import annotations

import numpy as np
import pytest

import elman
from elman.interop import formats

NET = [elman.LSTM(2, 3, seed=0), elman.Dense(3, 1, seed=1)]


@pytest.mark.parametrize("ending", [".safetensors", ".json", ".state.safetensors"])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_file_and_its_content_give_the_same_network(tmp_path, ending, kind):
    opened(tmp_path, ending, kind)


@pytest.mark.peer
@pytest.mark.parametrize("ending", [".keras", ".onnx", ".pt"])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_file_of_other_libraries_and_its_content_give_the_same_network(tmp_path, ending, kind):
    pytest.importorskip({".keras": "h5py", ".onnx": "onnx", ".pt": "torch"}[ending])
    opened(tmp_path, ending, kind)


def opened(folder, ending, kind):
    net, x = elman.Network(NET), np.random.default_rng(0).standard_normal((4, 5, 2)).astype("float32")
    path = folder / f"net{ending}"
    formats.write(net, path, "torch" if "state" in ending else None)
    content = path.read_bytes()
    path.rename(folder / "net.of_no_ending")
    for source in (folder / "net.of_no_ending", str(folder / "net.of_no_ending"), kind(content)):
        np.testing.assert_allclose(elman.load(source)(x)[0], net(x)[0], rtol=1e-5, atol=1e-6)


def test_what_is_no_file_of_any_format_is_refused_in_one_line(tmp_path):
    for content in (
        b"",
        b"x" * 84_000,
        b"\x80\x04\x95pickle",
        b"PK\x03\x04",
        b"{}",
        b"[1, 2",
        bytes(84_000),
        b"<html>",
    ):
        (tmp_path / "file").write_bytes(content)
        for source in (tmp_path / "file", content):
            with pytest.raises(elman.FormatError, match=r" must .* Got ") as caught:
                elman.load(source)
            assert len(str(caught.value)) < 700
            assert "\n" not in str(caught.value)
    (tmp_path / "model.joblib").write_bytes(b"\x80\x04\x95pickle")
    with pytest.raises(elman.FormatError, match=r"a pickle of unknown origin, which is never opened.*save\(path\)"):
        elman.load(tmp_path / "model.joblib")
    elman.to_rtneural(elman.Network(NET), tmp_path / "net.json")
    for given in ({"cells": {}}, {"layers": [elman.LSTM]}):
        with pytest.raises(ValueError, match=r"^(cells|layers) must be left out for a file of RTNeural"):
            elman.load(tmp_path / "net.json", **given)
