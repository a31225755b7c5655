#include "interpreter.hpp"

#include <atomic>
#include <chrono>
#include <thread>

#include "flush.hpp"

namespace elman {

namespace nb = nanobind;

namespace {

std::atomic<int> threads{1};

// False once the interpreter ends; what may be left of it then is not to be touched.
bool interpreter_runs() { return Py_IsInitialized(); }

}  // namespace

void set_threads(int count) { threads = count < 1 ? 1 : count; }
int get_threads() { return threads; }

void sleep_for_ever() {
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

void run_unlocked(const std::function<bool(const Running&)>& work) {
    const ProcessorMode::Bits callers = ProcessorMode::current();
    PyThreadState* state = PyEval_SaveThread();
    const auto interrupted = [&] {
        if (!interpreter_runs()) return true;  // the threads of the team go; this one sleeps below
        const ProcessorMode as_called(callers);
        return in_interpreter([&] {
            PyEval_RestoreThread(state);
            const bool stopped = PyErr_CheckSignals() != 0;
            state = PyEval_SaveThread();
            return stopped;
        });
    };
    const auto lock_again = [&] {
        if (!interpreter_runs()) sleep_for_ever();
        in_interpreter([&] { PyEval_RestoreThread(state); });
    };
    bool finished;
    try {
        finished = work(Running{threads, interrupted});
    } catch (...) {
        lock_again();
        throw;
    }
    lock_again();
    if (!finished) throw nb::python_error();
}

}  // namespace elman
