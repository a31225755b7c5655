"""Whole files made wrong in one place, for `fuzz_readers.py`: bytes, and what stands in the parts of a format."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import struct
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

from elman.files import checksum, read_safetensors

Mutation = Callable[[bytes, Random, list[bytes]], bytes]

NUMBERS = (0, -1, 1, 2, 3, 7, 255, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, 10**30, 0.5, 1e308, float("nan"))
VALUES = (
    *NUMBERS,
    None,
    True,
    False,
    "",
    "x",
    "../../x",
    "/etc/passwd",
    "é" * 300,
    [],
    {},
    [[]],
    [0],
    {"a": 1},
    [[1.0]],
)


# Bytes.


def cut(content: bytes, rng: Random, others: list[bytes]) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def flip(content: bytes, rng: Random, others: list[bytes]) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def run_of_bytes(content: bytes, rng: Random, others: list[bytes]) -> bytes:
    start, length = rng.randrange(len(content) + 1), rng.choice((1, 2, 4, 8, 64, 1000))
    run = rng.choice((b"\0" * length, b"\xff" * length, b"[" * length, rng.randbytes(length), b""))
    return content[:start] + run + content[start + length * rng.randrange(2) :]


def large_number(content: bytes, rng: Random, others: list[bytes]) -> bytes:
    form = rng.choice(("<I", "<Q", ">I", "<H"))
    size = struct.calcsize(form)
    largest = 2 ** (8 * size) - 1
    start = rng.randrange(max(1, len(content) - size))
    number = rng.choice((0, 1, largest, largest // 2, largest // 2 + 1, len(content), 2**20, 2**31)) & largest
    return content[:start] + struct.pack(form, number) + content[start + size :]


def splice(content: bytes, rng: Random, others: list[bytes]) -> bytes:
    other = rng.choice(others)
    return content[: rng.randrange(len(content) + 1)] + other[rng.randrange(len(other) + 1) :]


def move(content: bytes, rng: Random, others: list[bytes]) -> bytes:
    a, b, c = sorted(rng.randrange(len(content) + 1) for _ in range(3))
    return content[:a] + content[b:c] + content[a:b] * rng.choice((0, 1, 2)) + content[c:]


BYTES: tuple[Mutation, ...] = (cut, flip, run_of_bytes, large_number, splice, move)


# JSON.


def change_json(value: Any, rng: Random) -> Any:
    """The value with one place changed, drawn from all of them."""
    value = copy.deepcopy(value)
    places = list(_places(value))
    if not places:
        return rng.choice(VALUES)
    holder, key = rng.choice(places)
    draw = rng.random()
    if draw < 0.15:
        del holder[key]
    elif draw < 0.3:
        other, at = rng.choice(places)
        holder[key] = copy.deepcopy(other[at]) if key in _keys(holder) and at in _keys(other) else None
    elif draw < 0.4:
        new = copy.deepcopy(holder[key])
        if isinstance(holder, list):
            holder.insert(key, new)
        else:
            holder[rng.choice(("dtype", "name", "layers", "config", "extra"))] = new
    elif draw < 0.45:
        for _ in range(rng.choice((10, 60, 2000))):
            holder[key] = [holder[key]]
    else:
        holder[key] = rng.choice(VALUES)
    return value


def _places(value: Any) -> Any:
    if isinstance(value, (list, dict)):
        for key in _keys(value):
            yield value, key
            yield from _places(value[key])


def _keys(value: Any) -> list[Any]:
    return list(range(len(value))) if isinstance(value, list) else list(value)


def _json_bytes(value: Any) -> bytes:
    try:
        return json.dumps(value).encode()
    except RecursionError:
        return b"[" * 5000


def json_file(content: bytes, rng: Random, others: list[bytes]) -> bytes:
    return _json_bytes(change_json(json.loads(content), rng))


# The parts of a format.


def safetensors_header(content: bytes, rng: Random, others: list[bytes]) -> bytes:
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    own = header.get("__metadata__", {})
    key = next((key for key in ("elman", "elman_estimator") if key in own), None)
    if key and rng.random() < 0.8:
        own[key] = _json_bytes(change_json(json.loads(own[key]), rng)).decode()
        with contextlib.suppress(ValueError, KeyError, TypeError):  # tensors that were changed before
            own["checksum"] = checksum(read_safetensors(content)[0], own[key])
    else:
        header = change_json(header, rng)
    text = _json_bytes(header)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def archive_part(content: bytes, rng: Random, others: list[bytes]) -> bytes:
    """One part of a ZIP archive changed and all packed anew, so that sizes and checksums are right."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice([*parts, *(name for name in parts if name.endswith((".json", ".pkl", ".h5")))])
    if name.endswith(".json") and rng.random() < 0.9:
        parts[name] = json_file(parts[name], rng, others)
    elif rng.random() < 0.1:
        parts[rng.choice(("../up", "/root", "config.json", "a" * 300))] = parts.pop(name)
    else:
        parts[name] = rng.choice(BYTES)(parts[name], rng, list(parts.values()))
    packed = io.BytesIO()
    with zipfile.ZipFile(
        packed, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    ) as new:
        for part, inside in parts.items():
            new.writestr(zipfile.ZipInfo(part), inside, new.compression)  # ZipInfo: without the time of day
    return packed.getvalue()


def onnx_field(content: bytes, rng: Random, others: list[bytes]) -> bytes:
    """Some fields of the messages of an ONNX model changed, removed or repeated."""
    import onnx

    model = onnx.ModelProto.FromString(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        _change_message(rng.choice(list(_messages(model))), rng)
    return model.SerializeToString()


def _messages(message: Any) -> Any:
    yield message
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for inner in value if field.is_repeated else [value]:
                yield from _messages(inner)


def _change_message(message: Any, rng: Random) -> None:
    fields = [field for field in message.DESCRIPTOR.fields if rng.random() < 0.3]
    present = [field for field, _ in message.ListFields()]
    field = rng.choice(present * 3 + fields or [None])
    if field is None:
        return
    if rng.random() < 0.15:
        message.ClearField(field.name)
    elif field.is_repeated:
        _change_repeated(getattr(message, field.name), field, rng)
    elif field.type != field.TYPE_MESSAGE:
        value = _value(field, rng)
        if value is not None:
            setattr(message, field.name, value)


def _change_repeated(values: Any, field: Any, rng: Random) -> None:
    draw, count = rng.random(), len(values)
    if count and draw < 0.3:
        del values[rng.randrange(count)]
    elif count and draw < 0.5:
        chosen = copy.deepcopy(values[rng.randrange(count)])
        values.append(chosen)
    elif field.type != field.TYPE_MESSAGE:
        value = _value(field, rng)
        if value is not None and count and draw < 0.9:
            values[rng.randrange(count)] = value
        elif value is not None:
            values.append(value)


def _value(field: Any, rng: Random) -> Any:
    kind = field.cpp_type
    if kind in (field.CPPTYPE_INT32, field.CPPTYPE_ENUM):
        return (
            rng.choice((0, 1, 2, 6, 7, 8, 10, 11, -1, 2**31 - 1)) if kind == field.CPPTYPE_INT32 else rng.randrange(8)
        )
    if kind == field.CPPTYPE_INT64:
        return rng.choice((0, 1, 2, 3, -1, -(2**63), 2**31, 2**40, 2**63 - 1))
    if kind == field.CPPTYPE_UINT64:
        return rng.choice((0, 1, 2**63))
    if kind in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return rng.choice((0.0, -1.0, 1e30, float("nan"), float("inf")))
    if kind == field.CPPTYPE_STRING:
        text = rng.choice(
            ("", "x", "y", "Tanh", "LSTM", "Loop", "If", "forward", "reverse", "../../etc/passwd", "a" * 999)
        )
        return text.encode() if field.type == field.TYPE_BYTES else text
    return None


def onnx_outside(content: bytes, rng: Random, others: list[bytes]) -> bytes:
    """A tensor that is kept in another file."""
    import onnx

    model = onnx.ModelProto.FromString(content)
    tensor = rng.choice(model.graph.initializer)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    claims = {
        "location": rng.choice(("net.onnx", "../up", "/etc/passwd", ".", "", "a\0b", "net.onnx/x")),
        "offset": rng.choice(("0", "8", "-1", str(2**62), "x")),
        "length": rng.choice(("4", "0", str(2**62), "-4")),
    }
    for key, value in claims.items():
        if rng.random() < 0.8:
            tensor.external_data.add(key=key, value=value)
    if rng.random() < 0.5:
        tensor.ClearField("raw_data")
    return model.SerializeToString()


STRUCTURE: dict[str, tuple[Mutation, ...]] = {
    ".safetensors": (safetensors_header,),
    ".json": (json_file,),
    ".keras": (archive_part,),
    ".pt": (archive_part,),
    ".onnx": (onnx_field, onnx_field, onnx_field, onnx_outside),
}


def mutated(ending: str, content: bytes, rng: Random, others: list[bytes]) -> bytes:
    """The file made wrong in one place, at times in two."""
    for _ in range(rng.choice((1, 1, 1, 2))):
        known = STRUCTURE.get(ending, ())
        mutation = rng.choice(known) if known and rng.random() < 0.6 else rng.choice(BYTES)
        try:
            content = mutation(content, rng, others)
        except Exception:  # it no longer has the parts that would be changed
            content = flip(content, rng, others)
    return content
