"""What stands at a path before, while and after the library writes there: the old file or the new one, nothing else."""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import elman
from elman import files
from elman.checks import FormatError
from elman.files import PathError, checksum, read_safetensors, replace, replace_all, write_safetensors

OLD, NEW = b"what stood here before", b"what comes" * 1000


class Stop(Exception):
    """What stops a write in a test."""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def python(code: str, *args: object) -> subprocess.Popen[str]:
    """A process that has this elman, wherever it runs."""
    found = {**os.environ, "PYTHONPATH": str(Path(elman.__file__).parents[1])}
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, args)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=found)


# Interrupted and failing writes.

STEPS = ("listdir", "open", "fsync", "replace", "stat", "chmod", "unlink")


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, Stop, OSError])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("there", [False, True])
def test_an_exception_at_any_step_comes_out_as_it_is(place, monkeypatch, step, kind, after, there):
    """Before or after the step; what stands there is whole, and nothing lies beside it."""
    if there:
        Path("file").write_bytes(OLD)
        os.chmod("file", 0o640)
    real, error, calls, raised = getattr(os, step), kind(errno.ENOSPC, "no space left on device"), [], None

    def fails(*args, **options):
        calls.append(args)
        if len(calls) > 1:
            return real(*args, **options)
        if after:
            with contextlib.suppress(FileNotFoundError):
                real(*args, **options)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fails)
        try:
            replace("file", NEW)
        except (KeyboardInterrupt, Stop, OSError) as caught:
            raised = caught
    if step == "chmod" and not there:
        assert not calls
    elif not (kind is OSError and step in ("listdir", "stat")):  # of no importance, and told in words
        assert raised is error
    found = Path("file").read_bytes() if os.path.exists("file") else None
    assert found in ((OLD, NEW) if there else (None, NEW))
    assert set(os.listdir()) <= {"file"}
    replace("file", NEW)
    assert os.listdir() == ["file"]
    assert Path("file").read_bytes() == NEW


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a file stopped before its `with` began
def test_interrupted_at_random_moments(place):
    """A signal's exception at any bytecode: raised as itself, the file whole, nothing beside it."""
    before = signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(Stop()))
    rng = np.random.default_rng(0)
    stopped, end = 0, time.monotonic() + 60
    gc.disable()  # an exception within what others do when it runs would be lost
    try:
        replace("file", OLD)
        for _ in range(300):
            try:
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-5, 1e-3))
                while time.monotonic() < end:
                    replace("file", NEW)
            except Stop:
                stopped += 1
            assert os.listdir() == ["file"]
            assert Path("file").read_bytes() in (OLD, NEW)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()
    assert stopped == 300


KILLED = """
    import os, signal, sys
    from elman.files import replace
    step, count = sys.argv[1], int(sys.argv[2])
    real, calls = getattr(os, step), []
    def dies(*args, **options):
        calls.append(1)
        if len(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **options)
    setattr(os, step, dies)
    replace(sys.argv[3], b"of the killed")
"""


def killed(step: str, name: str) -> None:
    with python(KILLED, step, 1, name) as process:
        assert process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("name", ["net", ".net", "*[a]?", "n" * 255, "ein Netz ü"])
def test_what_killed_writers_left_is_removed_by_the_next(place, name):
    replace(name, OLD)
    replace("other", OLD)
    for step in ("fsync", "replace", "replace"):
        killed(step, name)
    killed("replace", "other")
    assert len(os.listdir()) == 4  # each writer removed what the one before it left
    assert Path(name).read_bytes() == OLD
    replace(name, NEW)
    assert len(os.listdir()) == 3  # that of another file is not touched
    replace("other", NEW)
    assert sorted(os.listdir()) == sorted([name, "other"])


def test_what_another_living_process_writes_is_not_touched(place):
    code = """
        import os, sys
        from elman.files import replace
        real = os.replace
        os.replace = lambda *args: (print("waits", flush=True), sys.stdin.readline(), real(*args))
        replace("net", b"of the other process")
    """
    with python(code) as other:
        assert other.stdout.readline() == "waits\n"
        for _ in range(3):
            replace("net", NEW)
        assert len(os.listdir()) == 2
        other.communicate("go\n")
    assert other.returncode == 0
    assert Path("net").read_bytes() == b"of the other process"
    assert os.listdir() == ["net"]


def test_many_threads_and_processes_write_one_path(place):
    code = "from elman.files import replace\nfor i in range(60): replace('net', bytes([65 + i % 26]) * 5000)"
    with python(code) as other:
        errors = []

        def work(letter: bytes) -> None:
            try:
                for _ in range(30):
                    replace("net", letter * 5000)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(bytes([97 + i]),)) for i in range(6)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            if os.path.exists("net"):
                content = Path("net").read_bytes()
                assert len(content) == 5000
                assert len(set(content)) == 1
        for thread in threads:
            thread.join()
    assert (errors, other.returncode) == ([], 0)
    assert os.listdir() == ["net"]


def test_without_locks_age_decides(place, monkeypatch):
    monkeypatch.setattr(files, "fcntl", None)
    replace("net", OLD)
    prefix = files._temporary("net").rpartition("-")[0]
    for name, age in (("young", 3600), ("old", 90000)):
        path = Path(f"{prefix}-{name}.tmp")
        path.write_bytes(b"left")
        os.utime(path, times=(path.stat().st_atime, path.stat().st_mtime - age))
    replace("net", NEW)
    assert sorted(os.listdir()) == sorted([f"{prefix}-young.tmp", "net"])


# What replacing does to what stands there.


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o664, 0o755, 0o777, 0o400, 0o4755, 0o2711])
def test_the_mode_of_a_file_is_kept(place, mode):
    Path("file").write_bytes(OLD)
    os.chmod("file", mode)
    for _ in range(2):
        replace("file", NEW)
        assert stat.S_IMODE(os.stat("file").st_mode) == mode & 0o777
    assert Path("file").read_bytes() == NEW


def test_a_secret_file_is_never_readable_for_others(place, monkeypatch):
    Path("file").write_bytes(OLD)
    os.chmod("file", 0o600)
    seen = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (seen.append(os.fstat(handle).st_mode & 0o077), fsync(handle))[1])
    replace("file", NEW)
    assert seen[0] == 0


def test_new_files_follow_the_umask(place):
    before = os.umask(0o077)
    try:
        for mask in (0o077, 0o022, 0o002, 0):
            os.umask(mask)
            replace(f"new{mask}", NEW)
            assert stat.S_IMODE(os.stat(f"new{mask}").st_mode) == 0o666 & ~mask
    finally:
        os.umask(before)


def test_the_umask_of_a_process_with_threads_stays(place, monkeypatch):
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the umask must not be set"))
    replace("new", NEW)
    replace("new", OLD)
    assert Path("new").read_bytes() == OLD


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_is_kept(place):
    Path("file").write_bytes(OLD)
    os.chown("file", 1234, 4321)
    replace("file", NEW)
    assert (os.stat("file").st_uid, os.stat("file").st_gid) == (1234, 4321)


def test_rights_of_a_group_are_not_given_to_another(place, monkeypatch):
    Path("file").write_bytes(OLD)
    os.chmod("file", 0o664)
    stats = os.stat_result((*os.stat("file")[:5], os.stat("file").st_gid + 1, *os.stat("file")[6:]))
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda path, **more: stats if path == "file" else real(path, **more))
    monkeypatch.setattr(os, "chown", lambda *_: (_ for _ in ()).throw(PermissionError()))
    replace("file", NEW)
    assert stat.S_IMODE(real("file").st_mode) == 0o604


@pytest.mark.parametrize("absolute", [False, True])
def test_links_are_followed_and_stay(place, absolute):
    os.mkdir("a")
    os.mkdir("b")
    Path("b/target").write_bytes(OLD)
    os.chmod("b/target", 0o600)
    os.symlink(place / "b/target" if absolute else "../b/target", "a/link")
    os.symlink("a/link", "twice")
    for link in ("a/link", "twice"):
        replace(link, NEW)
        assert os.path.islink(link)
        assert Path("b/target").read_bytes() == NEW
        assert stat.S_IMODE(os.stat("b/target").st_mode) == 0o600
        Path("b/target").write_bytes(OLD)
    os.symlink("../b/new", "a/dangling")
    replace("a/dangling", NEW)
    assert os.path.islink("a/dangling")
    assert Path("b/new").read_bytes() == NEW
    assert (sorted(os.listdir("a")), sorted(os.listdir("b"))) == (["dangling", "link"], ["new", "target"])


def test_other_names_of_a_file_keep_the_old_content(place):
    Path("one").write_bytes(OLD)
    os.link("one", "two")
    replace("one", NEW)
    assert (Path("one").read_bytes(), Path("two").read_bytes()) == (NEW, OLD)


# What is refused, in words, by each function that writes, and nothing is written.

WRITERS = {
    "save": lambda net, path: net.save(path),
    "to_onnx": elman.to_onnx,
    "to_keras": lambda net, path: elman.to_keras(net, path),
    "to_rtneural": elman.to_rtneural,
    "fit": lambda net, path: train(net, checkpoint=elman.Checkpoint(path)),
    "log": lambda net, path: train(net, log=path),
}


def train(net: elman.Network, **options: object) -> elman.History:
    return elman.fit(net, np.ones((2, 3, 2)), np.ones((2, 3, 1)), "squared_error", epochs=1, progress=False, **options)


def refusals(place: Path) -> dict[str, tuple[object, type[Exception], str]]:
    """Paths that are refused, each with its error and words."""
    os.mkdir("folder.keras")
    os.mkfifo("fifo.keras")
    os.symlink("loop2.keras", "loop.keras")
    os.symlink("loop.keras", "loop2.keras")
    os.symlink("folder.keras", "to-folder.keras")
    os.symlink("missing/x.keras", "to-missing.keras")
    Path("file.keras").write_bytes(OLD)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.keras")
    return {
        "a number": (1, TypeError, "must be "),
        "bytes": (b"net.keras", TypeError, "must be "),
        "a list": (["x"] * 10000, TypeError, "must be "),
        "a folder": ("folder.keras", PathError, "must be a file. Got 'folder.keras', a folder."),
        "a link to a folder": ("to-folder.keras", PathError, "must be a file. Got 'to-folder.keras', a folder."),
        "a FIFO": ("fifo.keras", PathError, "must be a file. Got 'fifo.keras', a FIFO."),
        "a socket": ("socket.keras", PathError, "must be a file. Got 'socket.keras', a socket."),
        "a loop": ("loop.keras", PathError, "must be a file. Got 'loop.keras', a link that leads back to itself."),
        "a null byte": ("a\0.keras", PathError, "must be a path without null bytes. Got 'a\\x00.keras'."),
        "half a pair": ("\ud800.keras", PathError, "must be a path that the file system can hold. Got '\\ud800.k"),
        "too long": ("n" * 300 + ".keras", PathError, "must be a path that the file system can hold. Got 'nnn"),
        "far too long": ("n/" * 9000 + ".keras", PathError, "must be a path that the file system can hold. Got 'n/n"),
        "no folder": ("none/x.keras", FileNotFoundError, "must lie in a folder that exists. Got 'none/x.keras'."),
        "a link to none": ("to-missing.keras", FileNotFoundError, "must lie in a folder that exists. Got 'to-missing"),
        "in a file": ("file.keras/x.keras", FileNotFoundError, "must lie in a folder that exists. Got 'file.keras/x"),
    }  # fmt: skip


@pytest.mark.parametrize("writer", WRITERS)
def test_paths_that_are_refused(place, writer):
    net = elman.Network([elman.GRU(2, 3, seed=0), elman.Dense(3, 1, seed=1)])
    weights = {name: array.copy() for name, array in net.parameters.items()}
    cases = refusals(place)
    before = sorted(os.listdir())
    for path, kind, words in cases.values():
        for given in (path, Path(path)) if isinstance(path, str) and "\0" not in path else (path,):
            with pytest.raises(kind, match=re.escape(words)) as caught:
                WRITERS[writer](net, given)
            assert len(str(caught.value)) < 400
    assert sorted(os.listdir()) == before
    assert stat.S_ISFIFO(os.stat("fifo.keras").st_mode)
    for name, array in net.parameters.items():
        np.testing.assert_array_equal(array, weights[name])


@pytest.mark.parametrize("path", ["", ".", "..", "folder/", "new/", "/", "/dev/null", "/dev/stdout", "/dev/zero"])
@pytest.mark.parametrize("write", [lambda path: replace(path, NEW), lambda path: elman.GRU(2, 3).save(path)])
def test_paths_without_a_file_s_name(place, path, write):
    os.mkdir("folder")
    net = elman.Network([elman.GRU(2, 3)])
    with pytest.raises(PathError, match=r"path must (be a|name a) file\. Got"):
        net.save(path)
    assert os.listdir() == ["folder"]
    assert not os.listdir("folder")


def test_folders_and_files_that_must_not_be_written(place, monkeypatch):
    Path("file").write_bytes(OLD)
    for refused, words in (
        (os.curdir, "lie in a folder that can be written to"),
        ("file", "a file that can be written"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(os, "access", lambda path, mode, refused=refused: path != refused)
            with pytest.raises(PermissionError, match=words):
                replace("file", NEW)
    assert Path("file").read_bytes() == OLD


@pytest.mark.parametrize("path", [os.fsdecode(b"not-\xff-utf8"), Path("of-pathlib"), "with\nline", "  "])
def test_paths_of_every_form(place, path):
    net = elman.Network([elman.GRU(2, 3, seed=0)])
    for _ in range(2):
        net.save(path)
    assert os.listdir() == [os.fspath(path)]
    np.testing.assert_array_equal(elman.load(path).layers[0].Wx, net.layers[0].Wx)


# Several files at once.


def test_several_files_or_none(place, monkeypatch):
    Path("a").write_bytes(OLD)
    real, calls = os.replace, []

    def fails_at_the_third(*args):
        calls.append(args)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "no space left on device")
        real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fails_at_the_third)
        with pytest.raises(OSError, match="no space left"):
            replace_all({"a": NEW, "b": NEW, "c": NEW})
    assert os.listdir() == ["a"]
    assert Path("a").read_bytes() == OLD
    replace_all({"a": NEW, "b": OLD, "c": NEW})
    assert [Path(name).read_bytes() for name in "abc"] == [NEW, OLD, NEW]


def test_several_files_at_one_place_are_refused(place):
    """A link from the one to the other: both would be written, and one of them lost."""
    for first, second, link in (("a", "b", "a"), ("b", "a", "b"), ("folder/a", "a", "../a")):
        os.makedirs("folder", exist_ok=True)
        os.symlink(link, second if "/" not in first else first)
        with pytest.raises(PathError, match=r"^paths must be of different files\. Got '.*', '.*', links followed\.$"):
            replace_all({first: OLD, second: NEW})
        os.unlink(second if "/" not in first else first)
        assert sorted(os.listdir()) == ["folder"]
    net = elman.Network([elman.GRU(2, 3, seed=0)])
    os.symlink("net.c", "net.h")
    with pytest.raises(PathError, match="different files"):
        elman.to_c(net, "net.c")
    assert not os.path.exists("net.c")


def test_several_files_interrupted_after_the_last(place, monkeypatch):
    real = os.replace
    Path("b").write_bytes(OLD)

    def stops(temporary, target):
        real(temporary, target)
        if os.path.basename(target) == "b":
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stops)
    with pytest.raises(KeyboardInterrupt):
        replace_all({"a": NEW, "b": NEW})
    assert sorted(os.listdir()) == ["a", "b"]
    assert Path("a").read_bytes() == Path("b").read_bytes() == NEW


def test_the_library_writes_in_one_place():
    """Files are opened for writing, moved and made in elman/files.py alone; C is compiled in a folder of its own."""
    writing = re.compile(
        r"open\([^)]*[\"'][wax]b?\+?[\"']|write_text|write_bytes|os\.replace|os\.rename|savefig\(path|\.tofile\(|np\.save"
        r"|mkstemp|NamedTemporaryFile|to_csv\(|save_file\("
    )
    found = {}
    for file in Path(elman.__file__).parent.rglob("*.py"):
        lines = [line for line in file.read_text().splitlines() if writing.search(line)]
        if lines and file.name != "files.py":
            found[file.name] = lines
    assert set(found) <= {"peers.py"}, found
    assert len(found.get("peers.py", [])) == 1


def test_a_checksum_tells_names_dtypes_shapes_numbers_and_text():
    rng = np.random.default_rng(0)
    arrays = {"a": rng.normal(size=(3, 4)).astype(np.float32), "b": np.zeros(0), "c": np.float64(2) * np.ones(())}
    first = checksum(arrays, "text")
    assert checksum(dict(reversed(arrays.items())), "text") == first
    assert checksum({**arrays, "a": np.asfortranarray(arrays["a"])}, "text") == first
    changed = arrays["a"].copy()
    changed.view(np.uint32)[1, 2] ^= 1
    others = [
        {**arrays, "a": changed},
        {**arrays, "a": arrays["a"].reshape(4, 3)},
        {**arrays, "a": arrays["a"].view(np.int32)},
        {"x" if name == "a" else name: array for name, array in arrays.items()},
        {name: arrays[name] for name in "ab"},
    ]
    found = {checksum(other, "text") for other in others} | {checksum(arrays, "texu"), first}
    assert len(found) == 7


def test_safetensors_are_those_of_the_library(place):
    """To the byte where the order of their texts is not random; and read back as they were."""
    rng = np.random.default_rng(1)
    for dtype in ("f4", "f8"):
        tensors = {
            name: rng.normal(size=(i, 3)[: i % 3]).astype(dtype) for i, name in enumerate(["0.Wx", "1.b", "ü", "x"])
        }
        for metadata in ({}, {"elman": 'a "text" \n ü'}):
            content = write_safetensors(tensors, metadata)
            assert content == safetensors.numpy.save(tensors, metadata=metadata)
            again, texts = read_safetensors(content)
            assert (texts, set(again)) == (metadata, set(tensors))
            for name, array in again.items():
                np.testing.assert_array_equal(array, tensors[name])
                assert array.dtype == tensors[name].dtype
    both = {"b": "2", "a": "1"}
    assert len({write_safetensors(tensors, both) for _ in range(20)}) == 1
    assert safetensors.numpy.load(write_safetensors(tensors, both)).keys() == tensors.keys()


@pytest.mark.parametrize("wrong", [b"", b"{}", bytes(100), b"\x02" + bytes(7) + b"{}", b"\x10" + bytes(7) + b"[" * 16])
def test_what_is_no_safetensors_file(wrong):
    if wrong.endswith(b"{}") and len(wrong) > 2:
        assert read_safetensors(wrong) == ({}, {})
    else:
        with pytest.raises(FormatError, match="it must be a whole safetensors file"):
            read_safetensors(wrong)


@pytest.mark.parametrize(("dtype", "shape", "size"), [("F8_E4M3", [4], 4), ("F32", [0, 1 << 62, 5], 0)])
def test_tensors_that_numpy_has_not(dtype, shape, size):
    header = json.dumps({"a": {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}}).encode()
    with pytest.raises(FormatError, match="the tensor 'a' must h"):
        read_safetensors(len(header).to_bytes(8, "little") + header + bytes(size))
