"""Files: the one place that puts anything at a path, whole or not at all, and what readers of files share.

A file is first written beside its place, under a name of its own that begins with a dot, and then moved there in one
step (rename of POSIX): a reader, or a crash, sees the old file or the new one. While it is written, it is locked. A
process that was killed holds no lock, so the next writer of the same place knows what it left, and removes it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from elman.checks import Array, FormatError, shorten, show

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

Where: TypeAlias = str | os.PathLike[str]

#: Without locks, as on some network drives, what is older than so many seconds was left by a dead process.
_ABANDONED = 24 * 3600.0
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}


class PathError(ValueError, OSError):
    """A path that can never be that of a file."""


def path_text(name: str, path: Any) -> str:
    """A path as text; names that are not UTF-8 as `os.fsdecode` gives them."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path, as text or a pathlib.Path. Got {show(path)}.")
    try:
        text = os.fsdecode(path)
    except (TypeError, ValueError, AttributeError, RuntimeError):  # of an object whose __fspath__ gives no path
        raise TypeError(f"{name} must be a path that can be written as text. Got {show(path)}.") from None
    if "\0" in text:
        raise PathError(f"{name} must be a path without null bytes. Got {show(text)}.")
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise PathError(f"{name} must be a path that the file system can hold. Got {show(text)}.") from None
    return text


def check_source(name: str, path: Any) -> str:
    """The path of a file to read, as text; refuses what is none."""
    text = path_text(name, path)
    if not os.path.isfile(text):
        raise FileNotFoundError(f"{name} must be a file. Got {show(text)}, which is none.")
    if not os.access(text, os.R_OK):
        raise PermissionError(f"{name} must be a file that can be read. Got {show(text)}.")
    return text


def check_path(name: str, path: Any) -> str:
    """The path of the file that writing to `path` replaces, links followed; refuses one that cannot be written.

    Raises `TypeError` for what is no path, `PathError` for what can be no file's (a folder, a FIFO, a device, a socket,
    a link that leads back to itself, an empty or too long name), `FileNotFoundError` where its folder is missing,
    `PermissionError` where folder or file must not be written.
    """
    given = target = path_text(name, path)
    for _ in range(40):  # as many as Linux follows
        folder, last = os.path.split(target)
        if not last:
            raise PathError(f"{name} must name a file. Got {show(given)}.")
        if target.startswith("/proc/"):  # where /dev/stdout leads
            raise PathError(f"{name} must be a file. Got {show(given)}, a device.")
        if not os.path.islink(target):
            break
        target = os.path.join(folder, os.readlink(target))
    else:
        raise PathError(f"{name} must be a file. Got {show(given)}, a link that leads back to itself.")
    try:
        mode = os.stat(target).st_mode
    except (FileNotFoundError, NotADirectoryError):
        mode = None
    except PermissionError:
        raise PermissionError(f"{name} must lie in a folder that can be read. Got {show(given)}.") from None
    except OSError as error:  # a name that is too long, most of all
        must = f"{name} must be a path that the file system can hold"
        raise PathError(f"{must}. Got {show(given)}: {error.strerror}.") from None
    if mode is not None and not stat.S_ISREG(mode):
        raise PathError(f"{name} must be a file. Got {show(given)}, {_KINDS.get(stat.S_IFMT(mode), 'a device')}.")
    if not os.path.isdir(folder or os.curdir):
        raise FileNotFoundError(f"{name} must lie in a folder that exists. Got {show(given)}.")
    if not os.access(folder or os.curdir, os.W_OK | os.X_OK):
        raise PermissionError(f"{name} must lie in a folder that can be written to. Got {show(given)}.")
    if mode is not None and not os.access(target, os.W_OK):
        raise PermissionError(f"{name} must be a file that can be written to. Got {show(given)}.")
    return target


def fixed(path: Where) -> str:
    """A path as text that stays that of the same file where the process goes to another folder."""
    with contextlib.suppress(FileNotFoundError):  # the folder it is in was removed
        return os.path.join(os.getcwd(), path_text("path", path))
    return path_text("path", path)


def replace(path: Where, content: bytes) -> None:
    """Puts `content` at `path` in one move: a reader, or a crash, sees the old file or the new one.

    A link is followed, and stays. A file that is there gives the new one its mode; other names of it (hard links) keep
    the old content. See `check_path` for what is refused.
    """
    replace_all({path_text("path", path): content})


def replace_all(contents: Mapping[Where, bytes]) -> None:
    """Replaces several files, none before all are written; where one cannot be moved, all stay as they were.

    They are moved in their order. A process that is killed in between leaves the first ones new and the others old.
    """
    targets = {check_path("path", path): content for path, content in contents.items()}
    if len({os.path.realpath(target) for target in targets}) < len(contents):
        raise PathError(f"paths must be of different files. Got {', '.join(map(show, contents))}, links followed.")
    with contextlib.ExitStack() as stack:
        written = {}
        for target, content in targets.items():
            with _about(target):
                written[target] = stack.enter_context(_written(target, content))
        several = targets if len(targets) > 1 else ()
        before = {target: Path(target).read_bytes() if os.path.exists(target) else None for target in several}
        try:
            for target, temporary in written.items():
                os.replace(temporary, target)
        except BaseException:
            moved = [target for target, temporary in written.items() if not os.path.exists(temporary)]
            for target in moved if len(moved) < len(written) else ():
                if (content_before := before[target]) is None:
                    os.unlink(target)
                else:
                    replace(target, content_before)
            raise
    for folder in {os.path.dirname(target) or os.curdir for target in targets}:
        with contextlib.suppress(OSError):  # the move lasts through a loss of power where the system can do it
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


@contextlib.contextmanager
def _about(target: str, within: str = "") -> Iterator[None]:
    """Errors of the system in here name the file that was to be written, not a temporary one in `within`."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename2 is None and str(error.filename).startswith(within):
            error.filename = target
        raise


@contextlib.contextmanager
def _written(target: str, content: bytes) -> Iterator[str]:
    """A file with the content beside its place, whole on the disk; gone afterwards unless it was moved.

    It has the mode of the file that is there. For a new file the kernel applies the umask, which a process with
    threads cannot read without changing it.
    """
    try:
        old = os.stat(target)
    except FileNotFoundError:
        old = None
    # Nobody who must not read the old file may read the new one while it is written.
    permissions = 0o666 if old is None else 0o600
    while True:
        temporary = _temporary(target)
        try:
            with open(temporary, "xb", opener=lambda path, flags: os.open(path, flags, permissions)) as file:
                _lock(file.fileno())
                if not os.path.exists(temporary):
                    continue  # another writer found it before it was locked, and removed it
                if old is not None:
                    _take_permissions(file.fileno(), temporary, old)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                if fcntl is None:
                    file.close()  # Windows moves no open file
                yield temporary
                return
        finally:
            with contextlib.suppress(FileNotFoundError):  # it was moved
                os.unlink(temporary)


def _take_permissions(handle: int, temporary: str, old: os.stat_result) -> None:
    """Owner, where that is allowed, and mode of the old file, without its setuid and setgid bits."""
    mode = stat.S_IMODE(old.st_mode) & 0o777
    new = os.fstat(handle)
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        try:
            os.chown(temporary, old.st_uid, old.st_gid)
        except PermissionError:
            if new.st_gid != old.st_gid:
                mode &= ~0o070  # what the old group may do says nothing of the new one
    if mode != stat.S_IMODE(new.st_mode):
        os.chmod(temporary, mode)


def _temporary(target: str) -> str:
    """A name beside `target` that nobody else has; removes what dead writers of the same target left.

    The name holds a digest of the target's, which may itself be as long as names can be.
    """
    folder, name = os.path.split(target)
    prefix = f".elman-{hashlib.blake2b(os.fsencode(name), digest_size=6).hexdigest()}-"
    with contextlib.suppress(OSError):
        for other in os.listdir(folder or os.curdir):
            if other.startswith(prefix):
                _remove_abandoned(os.path.join(folder, other))
    return os.path.join(folder, f"{prefix}{secrets.token_hex(6)}.tmp")


def _lock(handle: int, wait: bool = True) -> bool | None:
    """Locks a file until it is closed: True; False where another holds it, None where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _remove_abandoned(temporary: str) -> None:
    """Removes a temporary file or folder that no living process writes."""
    with contextlib.suppress(OSError):  # gone meanwhile, or another user's
        handle = os.open(temporary, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)) if fcntl is not None else -1
        try:
            free = _lock(handle, wait=False)
            if free is None:
                free = time.time() - os.lstat(temporary).st_mtime > _ABANDONED
            if free and os.path.isdir(temporary):
                shutil.rmtree(temporary, ignore_errors=True)
            elif free:
                os.unlink(temporary)
        finally:
            if handle >= 0:
                os.close(handle)


@contextlib.contextmanager
def folder_beside(path: Where) -> Iterator[str]:
    """A new folder beside `path` for what is not yet sure to go there; removed at the end, or by the next writer."""
    target = check_path("path", path)
    while True:
        temporary, handle = _temporary(target), -1
        try:
            with _about(target, within=temporary):
                os.mkdir(temporary, 0o700)
                if fcntl is not None:
                    with contextlib.suppress(FileNotFoundError):
                        handle = os.open(temporary, os.O_RDONLY)
                        _lock(handle)
                if os.path.exists(temporary):  # else another writer found it before it was locked, and removed it
                    yield temporary
                    return
        finally:
            if handle >= 0:
                os.close(handle)
            shutil.rmtree(temporary, ignore_errors=True)


def append(path: Where, content: bytes) -> None:
    """Adds to the end of the file at `path`, as one writes a log."""
    target = check_path("path", path)
    with _about(target), open(target, "ab") as file:
        file.write(content)


def checksum(tensors: Mapping[str, Array], text: str) -> str:
    """A digest of arrays, with their names, dtypes and shapes, and of the text that describes them.

    A file that holds it shows where a bit of it was changed.
    """
    found = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16)
    for name in sorted(tensors):
        array = tensors[name]
        found.update(f"\0{name}\0{array.dtype}\0{array.shape}\0".encode("utf-8", "surrogatepass"))
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def write_safetensors(tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> bytes:
    """The content of a safetensors file. The same arrays and texts give the same bytes.

    The library safetensors puts several texts in a random order; else this is what it writes.
    """
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    parts, end = [], 0
    for name in sorted(tensors, key=lambda name: (-tensors[name].itemsize, name)):  # so that all are aligned
        array = np.ascontiguousarray(tensors[name])
        begin, end = end, end + array.nbytes
        kind = _NAMES[array.dtype.str]
        header[name] = {"dtype": kind, "shape": tensors[name].shape, "data_offsets": [begin, end]}
        parts.append(array.data)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def read_safetensors(content: bytes) -> tuple[dict[str, Array], Mapping[str, str]]:
    """The tensors of a safetensors file, and the texts in its header; bfloat16 becomes float32.

    Raises `FormatError` for what is none, is cut short, or holds numbers that NumPy has not.
    """
    import safetensors

    deserialize: Any = safetensors.deserialize
    try:
        parts = deserialize(content)
    except safetensors.SafetensorError as error:
        raise FormatError(f"it must be a whole safetensors file. Got an error: {shorten(str(error))}.") from None
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])  # known to be whole
    tensors = {}
    for name, part in parts:
        kind, shape = part["dtype"], part["shape"]
        if kind not in _DTYPES:
            raise FormatError(f"the tensor {show(name)} must hold numbers that NumPy has. Got {kind}.")
        array = np.frombuffer(part["data"], _DTYPES[kind])
        if kind == "BF16":  # the upper half of a float32
            array = (array.astype(np.uint32) << 16).view(np.float32)
        try:
            tensors[name] = array.reshape(shape)
        except ValueError:  # without elements, and too large if there were any
            raise FormatError(f"the tensor {show(name)} must have a shape that NumPy has. Got {show(shape)}.") from None
    return tensors, header.get("__metadata__") or {}


_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2",
           "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8", "I64": "<i8"}  # fmt: skip
_NAMES = {np.dtype(code).str: name for name, code in _DTYPES.items() if name != "BF16"}
