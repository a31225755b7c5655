"""Calls and the process around them: its end, the arithmetic of signal handlers, threads that cannot be had."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest

import elman
from elman import engine

needs_kernels = pytest.mark.skipif(not engine.compiled(elman.LSTM(1, 1).cell), reason="the plain equations run here")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="signals, limits")


def python(code, *args, **options):
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


ENDS = """
    import sys, threading, time, numpy as np, elman
    call, threads, wait = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    elman.set_threads(threads)
    x, wide = np.zeros((8, 20, 8), np.float32), np.zeros((64, 64), np.float32)
    layer, net = elman.LSTM(8, 32, seed=0), elman.Network([elman.GRU(8, 32, seed=0), elman.Dense(32, 3, seed=1)])
    large, steps = np.zeros((32, 30, 64), np.float32), elman.Network([elman.LSTM(64, 256, seed=0)])

    def work():
        stream, one, wide_stream = net.stream(8), net.stream(), steps.stream(64)
        y, _, tape = layer.forward(x)
        calls = {
            "net": lambda: net(x),
            "forward": lambda: layer.forward(x),
            "backward": lambda: layer.backward(tape, y),
            "large": lambda: steps(large),
            "run": lambda: stream.run(x),
            "step": lambda: wide_stream.step(wide),
            "small step": lambda: one.step(x[0, 0]),
            "fit": lambda: elman.fit(net, x, x[..., :3], loss="squared_error", epochs=2, progress=False),
        }
        while True:
            calls[call]()

    for _ in range(3):
        threading.Thread(target=work, daemon=True).start()
    time.sleep(wait)
"""
CALLS = ["net", "forward", "backward", "large", "run", "step", "small step", "fit"]


def ends(count):
    return [(CALLS[i % len(CALLS)], 1 + i // len(CALLS) % 2, 0.05 + 0.01 * (i % 7)) for i in range(count)]


def check_ends(count):
    with ThreadPoolExecutor(4) as several:
        ended = list(several.map(lambda how: (how, python(ENDS, *how).returncode), ends(count)))
    assert [how for how, code in ended if code != 0] == []


def test_a_process_ends_while_daemon_threads_are_inside_calls():
    check_ends(16)


@pytest.mark.long
def test_a_hundred_processes_end_while_daemon_threads_are_inside_calls():
    check_ends(104)


LATE = """
    import os, numpy as np, elman
    net = elman.Network([elman.LSTM(3, 40, seed=0), elman.Dense(40, 4, seed=1)])
    stream = elman.Network([elman.LSTM(64, 256, seed=0)]).stream(64)

    class Late:
        def __init__(self, net, stream):
            self.net, self.stream, self.x, self.rows = net, stream, np.ones((2, 5, 3)), np.ones((64, 64), np.float32)

        def __del__(self, write=os.write):
            y, _, tape = self.net.forward(self.x)
            dx, _, _ = self.net.backward(tape, y)
            self.stream.step(self.rows)
            write(1, b"%d %d" % (y.shape[2], dx.shape[2]))

    late = Late(net, stream)
"""


@needs_kernels
def test_objects_compute_as_they_are_destroyed_with_the_interpreter():
    done = python(LATE)
    assert (done.returncode, done.stdout) == (0, "4 3"), done.stderr


MODE = """
    import signal, sys, numpy as np, elman
    call, threads, raises = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "raises"
    elman.set_threads(threads)
    layer = elman.LSTM(64, 192, seed=0)
    x = np.zeros((32, 400, 64), np.float32)
    _, _, tape = layer.forward(x)
    dy, stream = np.ones((32, 400, 192), np.float32), elman.Network([layer]).stream(32)
    tiny = "1e-310"
    arithmetic = lambda: (float(tiny), float(tiny) == 0, float(np.array([5e-324])[0] * 1.0), 1e-310 / 2 > 0)
    right = arithmetic()
    seen = []

    class Stop(Exception):
        pass

    def handler(*_):
        seen.append(arithmetic())
        if raises:
            raise Stop

    signal.signal(signal.SIGALRM, handler)
    calls = {
        "call": lambda: layer(x),
        "forward": lambda: layer.forward(x),
        "backward": lambda: layer.backward(tape, dy),
        "run": lambda: stream.run(x),
    }
    for _ in range(400):
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.008, 0 if raises else 0.008)
            calls[call]()
            signal.setitimer(signal.ITIMER_REAL, 0)
        except Stop:
            pass
        assert arithmetic() == right
        if len(seen) >= 3:
            break
    assert len(seen) >= 3 and set(seen) == {right}, seen
"""


@needs_linux
@needs_kernels
@pytest.mark.parametrize("how", ["returns", "raises"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("call", ["call", "forward", "backward", "run"])
def test_signal_handlers_compute_in_the_mode_of_the_caller(call, threads, how):
    done = python(MODE, call, threads, how)
    assert done.returncode == 0, done.stderr


CALLERS_MODE = """
    import ctypes, numpy as np, elman
    libm = ctypes.CDLL("libm.so.6")
    layer = elman.GRU(24, 40, seed=0)
    x = np.random.default_rng(0).normal(size=(40, 60, 24)).astype(np.float32)
    stream = elman.Network([layer]).stream()
    def results(threads):
        elman.set_threads(threads)
        stream.reset()
        y, h, tape = layer.forward(x)
        dx, _, gradients = layer.backward(tape, y)
        return [y, h, dx, *gradients.values(), stream.run(x[0]), stream.step(x[0, 0])]
    want = results(1)
    for mode in (0x0800, 0x0400, 0x0c00):  # up, down, to zero
        for threads in (1, 2):
            assert libm.fesetround(mode) == 0
            try:
                got = results(threads)
                assert libm.fegetround() == mode
            finally:
                libm.fesetround(0)
            assert all((a == b).all() for a, b in zip(got, want))
"""


@needs_linux
@needs_kernels
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="its numbers for the modes")
def test_an_unusual_mode_of_the_caller_stays_and_changes_no_result():
    done = python(CALLERS_MODE)
    assert done.returncode == 0, done.stderr


FEW_THREADS = """
    import resource, numpy as np, elman
    layer = elman.LSTM(40, 100, seed=0)
    x = np.random.default_rng(0).normal(size=(24, 100, 40)).astype(np.float32)
    def results(threads):
        elman.set_threads(threads)
        y, _, tape = layer.forward(x)
        dx, _, gradients = layer.backward(tape, y)
        return [y, dx, *gradients.values(), elman.Network([layer]).stream(24).run(x)]
    want = results(1)
    for a, b in zip(results(8), want):
        assert (a == b).all()
    now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    for room in (400, 1000):  # MB: none and a few of the others, which want stacks of 512 MB
        resource.setrlimit(resource.RLIMIT_AS, (now + room * 2**20, resource.RLIM_INFINITY))
        for _ in range(2):
            for a, b in zip(results(8), want):
                assert (a == b).all()
"""


@needs_linux
@needs_kernels
def test_fewer_threads_are_used_where_no_more_can_be_had():
    """Threads are given stacks as large as the limit of the main thread's, and memory runs out."""
    few = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = python(FEW_THREADS, env=few, preexec_fn=large_stacks)
    assert done.returncode == 0, done.stderr


def large_stacks():
    import resource

    resource.setrlimit(resource.RLIMIT_STACK, (512 * 2**20, resource.getrlimit(resource.RLIMIT_STACK)[1]))


THREADS = """
    import os, sys
    count = int(sys.argv[1])
    if count:
        os.sched_getaffinity = lambda pid: set(range(count))
        os.cpu_count = os.process_cpu_count = lambda: count
    import elman
    print(elman.get_threads())
"""
OURS, OPENMP, JOBLIB = "ELMAN_NUM_THREADS", "OMP_NUM_THREADS", "LOKY_MAX_CPU_COUNT"


def first_threads(variables, processors=0):
    environment = {name: value for name, value in os.environ.items() if name not in (OURS, OPENMP, JOBLIB)}
    return python(THREADS, processors, env={**environment, **variables})


@pytest.mark.parametrize(
    ("variables", "want"),
    [
        ({OURS: "3", OPENMP: "5"}, 3),
        ({OURS: "1024"}, 1024),
        ({OPENMP: "5"}, 5),
        ({OPENMP: " 4,2"}, 4),
        ({OURS: "", OPENMP: "6"}, 6),
        ({OPENMP: "7", JOBLIB: "2"}, 7),
        ({OPENMP: "99999"}, 1024),
    ],
    ids=str,
)
def test_the_first_count_of_threads(variables, want):
    done = first_threads(variables)
    assert done.stdout == f"{want}\n", done.stderr


@pytest.mark.parametrize("openmp", ["0", "-1", "true", ",3", "9" * 5000], ids=lambda text: text[:9])
def test_a_count_of_openmp_that_is_none_is_no_matter(openmp):
    done, usual = first_threads({OPENMP: openmp}), first_threads({})
    assert done.stdout == usual.stdout, done.stderr
    assert 1 <= int(usual.stdout) <= max(1, os.cpu_count() or 1)
    assert first_threads({OPENMP: openmp, JOBLIB: "1"}).stdout == "1\n"


@pytest.mark.parametrize("wrong", ["0", "-1", "none", "1.5", "1025", "4,2", "9" * 5000], ids=lambda text: text[:9])
def test_a_count_of_ours_that_is_none_is_refused(wrong):
    done = first_threads({OURS: wrong})
    assert "ValueError: ELMAN_NUM_THREADS must be a whole number from 1 to 1024. Got" in done.stderr
    assert len(done.stderr.splitlines()[-1]) < 200


@needs_linux
@pytest.mark.parametrize("processors", [1, 1025, 4096])
def test_machines_of_any_number_of_processors(processors):
    done = first_threads({}, processors)
    assert 1 <= int(done.stdout or 0) <= min(processors, 1024), done.stderr


@needs_kernels
def test_the_binding_is_a_module_that_can_be_looked_into():
    import inspect
    import pydoc

    import elman.kernels._native as binding

    assert inspect.ismodule(elman.kernels._native)
    assert elman.kernels._native is binding is elman.kernels.native
    assert "backward" in pydoc.render_doc(elman.kernels._native)
