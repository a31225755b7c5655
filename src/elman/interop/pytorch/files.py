"""The weights in files of PyTorch: safetensors, read without it, and .pt, of which it executes nothing."""

from __future__ import annotations

import io
import os
import re
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array, FormatError
from elman.files import read_safetensors
from elman.interop.files import (
    Source,
    check_beginning,
    is_torch_pickle,
    name_of,
    named,
    numbers,
    of_json,
    parse_json,
    read_bytes,
    state_dicts,
)

#: What a file must be.
_MUST = "a file of PyTorch, as torch.save(model.state_dict(), path) writes"

#: How many times the numbers of a file may count: modules share weights, an embedding and the layer above it.
_SHARED = 8

#: No more JSON is read: parsed it takes up to some twenty times its size.
_LARGEST_JSON = 2**27


def read_weights(source: Source, dtype: Any = np.float32) -> dict[str, Array]:
    """The tensors of a file by name, in float32, or in float64 where they are; nothing in the file is executed.

    A file of safetensors is read by safetensors alone, and JSON, whose numbers become `dtype`, without any library.
    All others are left to ``torch.load(weights_only=True)``. Of a checkpoint, the state_dict in it. Raises
    `FormatError`, naming the file, for what is cut short, of another kind, or holds more than tensors;
    `MissingExtraError` where a .pt needs PyTorch and it is not installed; `FileNotFoundError`.
    """
    name, content = name_of(source), read_bytes(source)
    begins = content[8:9] == b"{" and int.from_bytes(content[:8], "little") <= len(content) - 8
    with named(told(source)):
        if begins or name.lower().endswith(".safetensors"):
            check_beginning(content, "a safetensors file")
            tensors, metadata = read_safetensors(content)
            if "elman" in metadata:
                must = "it must hold the weights of PyTorch's modules"
                raise FormatError(f"{must}. Got a network, which elman.load reads.")
            return arrays_of(dict(sorted(tensors.items())))  # their order tells nothing
        check_beginning(content, _MUST)
        if content[:99].lstrip()[:1] == b"{":
            return arrays_of(_from_json(content, dtype))
        weights = _state_dict(_from_pickle(name, content))
        # A tensor may claim any size for a few numbers, repeated.
        total = sum(t.numel() * t.element_size() for t in weights.values() if hasattr(t, "element_size"))
        if total > _SHARED * len(content):
            must = f"its tensors must hold at most {_SHARED} times its own {len(content):,} bytes"
            raise FormatError(f"{must}. Got {total:,}.")
        return arrays_of(weights)


def told(source: Source) -> str:
    """A source as errors call it here: a path in quotes."""
    return repr(name_of(source)) if isinstance(source, (str, os.PathLike)) else name_of(source)


def _from_json(content: bytes, dtype: Any) -> dict[str, Array]:
    if len(content) > _LARGEST_JSON:
        must = f"JSON must be at most {_LARGEST_JSON:,} bytes, or a file of safetensors"
        raise FormatError(f"{must}. Got {len(content):,}.")
    model = parse_json("it", content)
    form, what = of_json(model)
    if form != "torch":
        by = ", which elman.from_rtneural reads" if form else ""
        raise FormatError(f"it must be a state_dict. Got {what}{by}.")
    return {name: numbers("it", name, value, dtype) for name, value in _state_dict(model).items()}


def arrays_of(weights: Mapping[Any, Any]) -> dict[str, Array]:
    """A state_dict of tensors or arrays as arrays of one dtype, without what a BatchNorm has counted."""
    arrays: dict[str, Array] = {}
    weights = _state_dict(weights)
    for name, value in weights.items():
        if not isinstance(name, str):
            raise FormatError(f"a state_dict must have names for keys. Got {checks.show(name)}.")
        packed = re.search(r"\.?(_packed_params|_all_weight_values)\b|(^|\.)zero_point$", name)
        if packed:
            must = f"{name[: packed.start()] or 'the module'} must be a module that is read"
            raise FormatError(f"{must}. Got {name}, of a quantized module, which is not read: {_UNQUANTIZED}.")
        if not name.endswith("num_batches_tracked"):
            arrays[name] = _array(name, value)
        elif name.replace("num_batches_tracked", "running_mean") not in weights:
            raise FormatError(f"{name} must stand beside running_mean, as a BatchNorm has them. Got it alone.")
    for name, array in arrays.items():
        first, other = next(iter(arrays.items()))
        if array.dtype != other.dtype:
            got = f"{first} in {other.dtype} and {name} in {array.dtype}"
            raise FormatError(f"all weights must be float64, or none. Got {got}.")
    return arrays


_UNQUANTIZED = "pass the state_dict of the model before it was quantized"


def _array(name: str, value: Any) -> Array:
    """A tensor or an array of floating point as an array of its own: float64 where it is, else float32, exactly."""
    if hasattr(value, "is_meta"):
        layout = str(value.layout)
        if value.is_meta or value.is_quantized or layout != "torch.strided":
            kind = "meta" if value.is_meta else f"quantized: {_UNQUANTIZED}" if value.is_quantized else layout
            raise FormatError(f"{name} must be a dense tensor with numbers in it. Got one that is {kind}.")
        try:
            narrow = value.is_floating_point() and value.element_size() < 8  # each is a number of float32
            value = (value.float() if narrow else value).detach().cpu().numpy()
        except (RuntimeError, TypeError, ValueError) as error:
            raise FormatError(f"{name} must be a tensor that NumPy can read. Got an error: {error}.") from error
    array = checks.plain_array(name, value)
    if array.dtype.name not in ("float16", "bfloat16", "float32", "float64"):
        got = f"an array of dtype {array.dtype}" if isinstance(value, np.ndarray) else checks.describe(value)
        raise FormatError(f"{name} must hold weights in floating point. Got {got}.")
    return array.astype(np.float64 if array.dtype == np.float64 else np.float32)


def _state_dict(weights: Any) -> Mapping[Any, Any]:
    """The state_dict, or the one in a checkpoint, under whatever name it stands there."""
    if not isinstance(weights, Mapping):
        raise FormatError(f"it must hold a state_dict, names and tensors. Got {checks.describe(weights)}.")
    inside = dict(state_dicts(weights))
    if len(inside) > 1:
        raise FormatError(f"a checkpoint must hold one state_dict. Got {', '.join(inside)}: pass the one to be read.")
    return next(iter(inside.values()), weights)


def _from_pickle(name: str, content: bytes) -> Any:
    """What torch.load reads; not archives that it would run, TorchScript, or that unpack to more than they are."""
    if not content.startswith(b"PK") and not is_torch_pickle(content):
        raise FormatError(f"it must be {_MUST}. Got one that begins with {content[:8]!r}.")
    entries: list[zipfile.ZipInfo] = []  # none of the form before version 1.6
    try:
        if zipfile.is_zipfile(io.BytesIO(content)):
            entries = zipfile.ZipFile(io.BytesIO(content)).infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise FormatError(f"it must be a whole file of PyTorch. Got an error: {error}.") from None
    if any(entry.filename.endswith("constants.pkl") for entry in entries):
        raise FormatError(
            "it must be a file of tensors alone. Got a TorchScript archive, which holds a program: "
            "save its state_dict() instead."
        )
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED:
            raise FormatError(f"every part must be stored as it is, as torch.save does. Got {entry.filename} packed.")
    try:
        import torch
    except ImportError:
        raise checks.missing_extra(f"{name!r}, a file that PyTorch reads,", "torch") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of another protocol of pickle
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a broken or hostile file makes PyTorch raise
        raise FormatError(
            f"it must be a file of tensors alone, as torch.save(model.state_dict(), path) writes. Got {_why(error)}."
        ) from None


def _why(error: Exception) -> str:
    """What torch.load(weights_only=True) refuses, in words: a class by its name, and the way out."""
    found = re.search(r"Unsupported (?:global|class)\W+(?:GLOBAL )?([\w.]+)", str(error))
    if found is None:
        reason = str(error).strip().partition("\n")[0].partition(". ")[0]  # what follows is advice to trust the file
        return f"what torch.load(weights_only=True) refuses: {type(error).__name__}{reason and f': {reason}'}"
    name = found[1]
    if name == "torch.ScriptObject" or "quantized" in name:
        way_out = "quantized modules have it: save the state_dict of the model before it is quantized"
    elif name.startswith("numpy."):
        way_out = (
            "a number or an array of NumPy stands beside the weights: save float(number), torch.from_numpy(array), or "
            "the state_dict alone"
        )
    else:
        way_out = (
            "a module or another object was saved, not its weights alone: where you trust the file, load it by "
            "torch.load(path, weights_only=False) and pass the module, or its state_dict"
        )
    return f"the class {name}, which torch.load(weights_only=True) refuses; {way_out}"
