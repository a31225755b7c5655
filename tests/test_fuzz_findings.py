"""What `fuzz_readers.py` found, each as it was before it was mended; and that it finds what it is made for."""

from __future__ import annotations

import json
import struct
import tracemalloc
from pathlib import Path
from random import Random

import numpy as np
import pytest
from safetensors.numpy import save

import elman
import fuzz_readers
from elman.interop import formats
from elman.interop.files import read_bytes
from elman.interop.inspection import inspect
from mutations import mutated


def test_a_small_file_takes_the_memory_of_a_small_file(tmp_path):
    """2 GiB, the limit, were taken for every file before it was read."""
    (tmp_path / "small").write_bytes(b"123")
    tracemalloc.start()
    try:
        assert read_bytes(tmp_path / "small") == b"123"
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    with pytest.raises(elman.FormatError, match=r"its size must be at most 2 bytes. Got 3"):
        read_bytes(tmp_path / "small", limit=2)
    assert read_bytes(b"123") == b"123"
    with pytest.raises(elman.FormatError, match=r"^the bytes: its size must be at most 2 bytes. Got 3"):
        read_bytes(b"123", limit=2)


def test_a_shape_that_is_no_list_in_a_header(tmp_path):
    header = json.dumps({"__metadata__": {"elman": "{}"}, "W": {"dtype": "F32", "shape": 3, "data_offsets": [0, 0]}})
    path = tmp_path / "net.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode())
    report = inspect(path)
    assert report.network is None
    assert report.contents == ("W F32 3",)


def test_two_infinite_biases_of_pytorch_make_nan(tmp_path):
    weights = {"weight_ih_l0": (8, 3), "weight_hh_l0": (8, 2), "bias_ih_l0": (8,), "bias_hh_l0": (8,)}
    arrays = {name: np.ones(shape, np.float32) for name, shape in weights.items()}
    arrays["bias_ih_l0"][:2] = [np.inf, 3e38]
    arrays["bias_hh_l0"][:2] = [-np.inf, 3e38]
    (tmp_path / "state.safetensors").write_bytes(save(arrays))
    assert inspect(tmp_path / "state.safetensors").not_finite == {"0.b": "1 NaN, 1 infinite"}


def test_an_archive_that_says_it_spans_two_disks(tmp_path):
    """Python's own `is_zipfile` raises for it."""
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 2)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0, 0, 0, 0, 0)
    (tmp_path / "net.pt").write_bytes(b"PK\x03\x04" + locator + end)
    report = inspect(tmp_path / "net.pt")
    assert report.network is None
    assert "net.pt" in report.refused


def test_a_name_of_an_axis_in_onnx_that_is_no_text(tmp_path):
    import onnx

    formats.write(elman.GRU(2, 3, seed=0), tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "XXXXXXXX"
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString().replace(b"XXXXXXXX", b"\xff\xfeXXXXXX"))
    assert "input x" in repr(inspect(tmp_path / "net.onnx").contents)


@pytest.mark.parametrize("location", ["a" * 5000, "XXXXXXXX"])
def test_data_outside_an_onnx_file_under_a_name_that_no_file_has(tmp_path, location):
    import onnx

    formats.write(elman.GRU(2, 3, seed=0), tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString().replace(b"XXXXXXXX", b"\xff\xfeXXXXXX"))
    report = inspect(tmp_path / "net.onnx")
    assert report.network is None
    assert "must be a file in the folder of the model" in report.refused
    assert len(report.refused) < 1000


def test_a_tensor_of_no_numbers_in_onnx_with_a_shape_that_is_too_large(tmp_path):
    import onnx

    formats.write(elman.GRU(2, 3, seed=0), tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    tensor = model.graph.initializer[0]
    tensor.dims[:] = [2**40, 2**40, 0]
    tensor.raw_data = b""
    onnx.save(model, tmp_path / "net.onnx")
    assert "net.onnx: the shape of the tensor" in inspect(tmp_path / "net.onnx").refused


@pytest.mark.parametrize("length", [0, 2**64 - 1, 2**64 - 16, 2112])
def test_a_heap_of_hdf5_whose_objects_end_outside_of_it(tmp_path, length):
    """HDF5 1.14 reads such a heap for ever, in compiled code where no signal reaches it."""
    content = bytearray((Path(__file__).parent / "golden" / "keras" / "sequential_2.h5").read_bytes())
    heap = content.index(b"GCOL")
    size = int.from_bytes(content[heap + 8 : heap + 16], "little")
    at = heap + 16
    while content[at : at + 2] != b"\0\0":  # the objects that are there; behind them is the space that is left
        at += 16 + -(-int.from_bytes(content[at + 8 : at + 16], "little") // 8) * 8
    assert at + 40 < heap + size
    content[at : at + 16] = (900).to_bytes(8, "little") + length.to_bytes(8, "little")
    (tmp_path / "net.h5").write_bytes(content)
    with pytest.raises(elman.FormatError, match=f"net.h5: the heap at byte {heap} must be whole"):
        formats.read(tmp_path / "net.h5")


# The program itself.


def test_last_states_of_layers_with_batches_of_other_names():
    """Each input of the model has its own number of sequences."""
    from onnx_models import Parts

    made = Parts(np.random.default_rng(0))
    for name, batch in (("x", "many"), ("other", "some")):
        made.inputs[name] = (np.float32, ("time", batch, 3))
        weights = made.weights(f"W{name}", 1, 6, 3), made.weights(f"R{name}", 1, 6, 2)
        made.outputs += made.add("GRU", name, *weights, count=2, hidden_size=2, linear_before_reset=1)[1:]
    assert len(elman.from_onnx(made.model()).layers) >= 2


def test_files_are_changed_the_same_way_by_the_same_seed(tmp_path):
    files = fuzz_readers.corpus(tmp_path, None)
    assert set(files) >= {".safetensors", ".state.safetensors", ".keras", ".onnx", ".json"}
    for ending, contents in files.items():
        others = [*contents, b"another"]
        first = [mutated(Path(f"x{ending}").suffix, contents[0], Random(seed), others) for seed in range(20)]
        again = [mutated(Path(f"x{ending}").suffix, contents[0], Random(seed), others) for seed in range(20)]
        assert first == again
        assert len(set(first) - {contents[0]}) > 10


def test_what_a_reader_must_not_do_is_found(tmp_path, monkeypatch):
    path = tmp_path / "net.json"
    formats.write(elman.GRU(2, 3, seed=0), path)
    assert fuzz_readers.failure(path) is None

    def with_reader(read):
        row = formats.FORMATS["rtneural"]
        monkeypatch.setitem(formats.FORMATS, "rtneural", formats.Format("rtneural", "R", (".json",), read, row.write))
        return fuzz_readers.failure(path) or ""

    def names_no_file(path):
        raise elman.FormatError("something is wrong")

    def writes(path):
        (path.parent / "written").write_text("")
        return elman.Network([elman.GRU(2, 3, seed=0)])

    assert "KeyError" in with_reader(lambda path: {}["x"])
    assert "does not name the file" in with_reader(names_no_file)
    assert "written: ['written']" in with_reader(writes)


@pytest.mark.parametrize("name", ["elman", "torch", "keras", "onnx", "rtneural"])
def test_a_hundred_broken_files_of_each_format(tmp_path, name):
    files = fuzz_readers.corpus(tmp_path, name)
    ending, contents = next(iter(files.items()))
    rng = Random(5)
    for _ in range(100):
        path = tmp_path / f"net{ending}"
        path.write_bytes(mutated(Path(f"x{ending}").suffix, rng.choice(contents), rng, contents))
        assert fuzz_readers.failure(path) is None
        path.unlink()
