"""Files computed by the systems they belong to, where those are installed, to hold elman's own numbers beside them.

Each function takes a file and the network that elman reads of it. It raises `PeerUnavailable`, with the reason, where
its system is not installed or does not have the model. What the system itself raises comes through.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from elman.checks import Array, shorten
from elman.files import Where
from elman.interop.chain import sequence_inputs
from elman.interop.onnx.reading.reader import read_onnx
from elman.interop.pytorch.files import read_weights
from elman.interop.pytorch.networks import to_torch
from elman.network import Network


class PeerUnavailable(Exception):  # noqa: N818
    """Why a file is not computed by its own system."""


@dataclass(frozen=True)
class Peer:
    """A system that computes one sequence at a time, (time, features) or (time,) of tokens, or several by name.

    `run` gives pairs of arrays that must be equal: what the system computes, and what elman does.
    """

    name: str
    run: Callable[[Any], list[tuple[Array, Array]]]
    in_float32: bool = False  #: whether it may compute in float32 what stands in float64


def _system(package: str, title: str, settings: Mapping[str, str] | None = None) -> tuple[Any, str]:
    """The package of another system, and its name with the version. The environment of the process stays as it was.

    `settings` are variables of the environment while the package is imported.
    """
    if find_spec(package) is None:
        raise PeerUnavailable(f"{title} is not installed")
    before = dict(os.environ)
    try:
        os.environ.update(settings or {})
        return import_module(package), f"{title} {version(package)}"
    except Exception as error:  # a broken installation, or a part of it that is missing, says nothing of the file
        raise PeerUnavailable(f"{title} cannot be imported: {type(error).__name__}: {shorten(str(error))}") from None
    finally:
        for name in [name for name, value in os.environ.items() if before.get(name) != value]:
            del os.environ[name]
        os.environ.update({name: value for name, value in before.items() if name not in os.environ})


def torch(path: Where, net: Network) -> Peer:
    """The module of `net` with the tensors of the file itself, where they bear its names."""
    library, name = _system("torch", "PyTorch")
    module = to_torch(net)
    weights = {key: library.from_numpy(array) for key, array in read_weights(path).items()}
    if set(weights) != set(module.state_dict()):
        raise PeerUnavailable("a state_dict of other names does not tell the module to run")
    module.load_state_dict(weights)

    def run(x: Array) -> list[tuple[Array, Array]]:
        with library.no_grad():
            y = module(library.from_numpy(x[None].copy()))[0]
        return [(y[0].numpy(), net(x)[0])]

    return Peer(name, run)


def keras(path: Where, net: Network) -> Peer:
    """The model of the file; its states, where they are inputs, are 0."""
    backend = next((name for name in ("torch", "jax", "tensorflow") if find_spec(name)), None)
    # One that is installed, where nobody has chosen; Keras looks there once, when it is imported.
    chosen = {} if backend is None else {"KERAS_BACKEND": os.environ.get("KERAS_BACKEND", backend)}
    library, name = _system("keras", "Keras", chosen)
    model = library.saving.load_model(path, compile=False, safe_mode=True)
    batch = model.inputs[0].shape[0] or 1

    def run(x: Any) -> list[tuple[Array, Array]]:
        for layer in model.layers:
            if getattr(layer, "stateful", False):
                layer.reset_state()
        given, feeds = x if isinstance(x, dict) else {model.inputs[0].name: x}, []
        for tensor in model.inputs:
            part = given.get(tensor.name)
            part = np.zeros(tensor.shape[1:], np.float32) if part is None else part
            if part.ndim + 1 != len(tensor.shape):
                raise PeerUnavailable(f"{tensor.name} may be a sequence or a vector, and is the other one there")
            feeds.append(np.repeat(part[None], batch, axis=0))
        y, found = net(x)[0], model(feeds if len(feeds) > 1 else feeds[0])
        ours, theirs = list(y.values()) if isinstance(y, dict) else [y], library.tree.flatten(found)
        if len(ours) != len(theirs):
            raise PeerUnavailable("states are among its outputs")
        return [(library.ops.convert_to_numpy(part)[0], own) for part, own in zip(theirs, ours, strict=True)]

    return Peer(name, run, in_float32=True)  # keras.ops.matmul of float64 gives float32 on PyTorch (Keras 3.15)


def onnx(path: Where, net: Network) -> Peer:
    """The graph of the file; where it fixes the batch or the number of steps, sequences are repeated to fill them."""
    onnxruntime, name = _system("onnxruntime", "ONNX Runtime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    name_of_file = os.fspath(path)
    source: str | bytes = name_of_file
    try:
        name_of_file.encode()
    except UnicodeEncodeError:  # it opens no file of such a name
        with open(path, "rb") as file:
            source = file.read()
    try:
        session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented as error:  # of float64, most recurrent operators
        raise PeerUnavailable(f"{name} does not have it: {str(error).strip()}") from None
    reading = read_onnx(path)
    fixed = {axis.role: axis.length for axis in reading.assembly.roots[0].axes if not axis.name}

    def run(x: Any) -> list[tuple[Array, Array]]:
        several, over_time = x if isinstance(x, dict) else {net.inputs[0]: x}, sequence_inputs(net)
        count, steps, batch = fixed.get("batch", 1), 1, {}
        for part, each in several.items():
            if part in over_time:
                steps = fixed.get("time", len(each))
                each = np.resize(each, (steps, *each.shape[1:]))
            batch[part] = np.repeat(np.asarray(each)[None], count, axis=0)
        together: Any = batch if len(batch) > 1 else next(iter(batch.values()))
        y, state = net(together)
        feeds = reading.feed(together, lengths=np.full(count, steps))
        given = {value.name: _fed(value, feeds.get(value.name), count) for value in session.get_inputs()}
        outputs = session.run(list(reading.outputs), given)
        return list(zip(outputs, reading.results(y, state).values(), strict=True))

    return Peer(name, run, in_float32=True)


def _fed(value: Any, array: Array | None, batch: int) -> Array:
    """The array for an input in its dtype; what is not given is a state, which starts at 0."""
    dtype = {"float": "float32", "double": "float64"}.get(kind := value.type[7:-1], kind)
    if array is None:
        array = np.zeros([size if isinstance(size, int) else batch for size in value.shape])
    return array.astype(dtype)


def c(path: Where, net: Network) -> Peer:
    """The C, compiled into a shared object that is called step by step."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise PeerUnavailable("there is no C compiler")
    source = Path(path).resolve()
    name = source.stem
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        size, made = Path(folder, "size.c"), Path(folder, "model.so")
        size.write_text(f"const unsigned long elman_size = sizeof({name}_state);\n")
        options = ["-std=c99", "-O2", "-shared", "-fPIC", "-lm"]
        files = map(str, (source, size, "-include", source.with_suffix(".h"), "-o", made))
        result = subprocess.run([compiler, *files, *options], capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise RuntimeError(result.stderr)
        library = ctypes.CDLL(str(made))
    state = ctypes.create_string_buffer(ctypes.c_ulong.in_dll(library, "elman_size").value)
    over_time = sequence_inputs(net)

    def run(x: Any) -> list[tuple[Array, Array]]:
        getattr(library, f"{name}_init")(state)
        y, given = net(x)[0], x if isinstance(x, dict) else {net.inputs[0]: x}
        ours = [*y.values()] if net.graph.named else [y]
        rows = []
        for t in range(max(len(given[part]) for part in over_time)):
            arguments = []
            for part in net.inputs:
                value = np.array(given[part][t] if part in over_time else given[part])
                arguments.append(value.astype(np.float32) if value.dtype.kind == "f" else value)
            rows.append([np.empty(one.shape[-1], np.float32) for one in ours])
            arrays = [ctypes.c_void_p(each.ctypes.data) if each.ndim else int(each) for each in arguments + rows[-1]]
            getattr(library, f"{name}_step")(state, *arrays)
        # After a pool it is the last step that is compared.
        every = [
            np.stack(values) if one.ndim == 2 else values[-1]
            for values, one in zip(zip(*rows, strict=True), ours, strict=True)
        ]
        return list(zip(every, ours, strict=True))

    return Peer(Path(compiler).name, run, in_float32=True)
